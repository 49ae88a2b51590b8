"""The embedded Postgres 18: made safe at first start, found healthy by asking it, up again after any death.

Only the binaries of the wheel are used. What does not belong here: tables (Alembic), its files (postgres_cluster.py),
and who restarts it when it dies (sandbox/stack.py).
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import IO

import psycopg
from psycopg import sql

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE, bare_environment, make_cluster
from glp1_pipeline.adapters.postgres_password import hashed, set_password
from glp1_pipeline.adapters.postgres_place import Place, PostgresError, choose_place, left_behind
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.state import is_port_free
from glp1_pipeline.adapters.variables import embedded_url

ROLES = ("glp1", "dagster")  # each owns the database of its name and is let into no other
READER = "glp1_metrics"  # reads schema ops of database glp1, and writes analytics (`schema.grant`)
_SASL = 10


class EmbeddedPostgres:
    def __init__(self, settings: Settings, say: Callable[[str], None] = print) -> None:
        self._settings, self._say = settings, say
        self._place: Place | None = None
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> Place:
        if self._place is None:
            raise PostgresError("Postgres has not been prepared.")
        return self._place

    @property
    def port(self) -> int:
        return int(self._settings.state.get("postgres_port"))

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        return self._process

    def url(self, role: str, scheme: str = "postgresql") -> str:
        database = "glp1" if role == READER else role if role in ROLES else "postgres"
        return embedded_url(scheme, role, self._settings.secrets.get(f"postgres_{role}"), self.port, database)

    def prepare(self) -> None:
        """All that comes before the program runs: place, lock, leftovers, initdb, configuration, port."""
        self._settings.make_home()
        self._place = choose_place(self._settings)
        if self._place.account and (others := left_behind()):
            self._say(
                f"Data of {len(others)} homes that are not there is kept. If a home was deleted, and is not on a disk"
                f" that is away, nobody can open it: rm -r {' '.join(map(str, others))}"
            )
        self._take_lock()
        self.end_leftovers()
        make_cluster(self._settings, self.place, self._say)
        port, given_up = self._settings.state.port("postgres_port")
        if given_up:
            self._say(f"Port {given_up} is used by another program now; Postgres moves to {port}.")

    def command(self) -> tuple[list[str], tuple[int, int] | None, dict[str, str]]:
        """How to run it in the foreground: arguments, account (user and group id, or none), environment."""
        base = self.place.base
        argv = [str(self.place.binaries / "postgres"), "-D", str(self.place.data), "-p", str(self.port)]
        for name, value in (("config_file", base / "glp1.conf"), ("hba_file", base / "pg_hba.conf")):
            argv += ["-c", f"{name}={value}"]
        return argv, self.place.account, bare_environment()

    def end_leftovers(self) -> None:
        """Ends a server that its supervisor left behind, and removes its pid file: Postgres would take any living
        process, or an unreaped dead one, that now has its number for a rival."""
        left = processes.standing_in(self.place.data)
        if left:
            self._say("Ending a Postgres that an earlier start left behind.")
            processes.end(left, signal.SIGINT, grace=20)
        (self.place.data / "postmaster.pid").unlink(missing_ok=True)

    def wait_ready(self, timeout: float = 600, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Ready is an answered `SELECT 1`. A long recovery is waited for, with a line each 15 s."""
        deadline, next_word = time.monotonic() + timeout, time.monotonic() + 15
        while True:
            try:
                with psycopg.connect(self.url(SETUP_ROLE), connect_timeout=5) as connection:
                    connection.execute("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if error.sqlstate == "28P01" or "password authentication failed" in str(error):
                    if self._settings.secrets.has_draft(f"postgres_{SETUP_ROLE}"):
                        self._settings.secrets.adopt(f"postgres_{SETUP_ROLE}")  # a change of it was cut short
                        continue
                    raise PostgresError(self._wrong_password()) from None
            if not is_alive():
                raise PostgresError("Postgres ended while starting.")
            if time.monotonic() > deadline:
                raise PostgresError(f"Postgres did not answer within {timeout:.0f} s.")
            if time.monotonic() > next_word:
                self._say("Postgres is still starting (after a crash it first repeats its log); waiting.")
                next_word += 15
            time.sleep(0.03)

    def set_up(self) -> None:
        """Roles, databases, and the proof that nobody gets in without a password. Safe to repeat."""
        self._prove_closed()
        with self._settings.secrets.alone(), psycopg.connect(self.url(SETUP_ROLE), autocommit=True) as connection:
            for role in ROLES:
                self._set_up_role(connection, role)
                self._set_up_database(connection, role)
            self._set_up_role(connection, READER)
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE glp1 TO {}").format(sql.Identifier(READER)))
            for database in ("postgres", "template1"):
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))

    def start(self, timeout: float = 600) -> None:
        """Runs it as this process's child (the stack does the same in its own way)."""
        for attempt in range(3):
            self.prepare()
            argv, account, env = self.command()
            with open(self._settings.home / "logs" / "postgres.log", "ab") as log:
                self._process = processes.start(
                    argv, env=env, cwd="/", output=log, account=account, signal_when_orphaned=signal.SIGINT
                )
            server = self._process
            try:
                self.wait_ready(timeout, lambda server=server: server.poll() is None)
            except PostgresError:
                port_was_lost = server.poll() is not None and not is_port_free(self.port)
                self.stop()
                if attempt == 2 or not port_was_lost:
                    raise
                continue
            self.set_up()
            return

    def stop(self) -> None:
        if self._process is not None and self._place is not None:
            leader = processes.find(self._process.pid)
            processes.end([leader] if leader else [], signal.SIGINT, grace=20)
            self._process.wait(10)
            self._process = None
        self.release()

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Deletes the data (and the copied binaries) for good."""
        self.stop()
        shutil.rmtree((self._place or choose_place(self._settings)).base, ignore_errors=True)

    def _take_lock(self) -> None:
        if self._lock is None:
            lock = open(self.place.base / "lock", "w", encoding="ascii")  # noqa: SIM115 - held as long as the server
            os.fchmod(lock.fileno(), 0o600)  # anybody who may open it could hold it, and root's home is walked through
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise PostgresError(
                    f"The Postgres of {self._settings.home} is already run by another process. "
                    "Stop that one first, or set GLP1_HOME to another folder."
                ) from None
            self._lock = lock

    def _set_up_role(self, connection: "psycopg.Connection[tuple[object, ...]]", role: str) -> None:
        password = self._settings.secrets.get_or_create(f"postgres_{role}")
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if exists and self._settings.secrets.has_draft(f"postgres_{role}"):
            set_password(connection, self._settings.secrets, role)
        elif not exists or not self._lets_in(role):
            verb = "ALTER" if exists else "CREATE"
            rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            connection.execute(
                sql.SQL(verb + " ROLE {} " + rights + " PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(hashed(connection, role, password))
                )
            )

    def _set_up_database(self, connection: "psycopg.Connection[tuple[object, ...]]", role: str) -> None:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [role]).fetchone():
            # By file copy: two empty databases through the log would cost a second.
            connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0} STRATEGY file_copy").format(sql.Identifier(role)))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(role)))

    def _lets_in(self, role: str) -> bool:
        try:
            psycopg.connect(self.url(role), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _prove_closed(self) -> None:
        for role in (SETUP_ROLE, *ROLES, READER):
            if _first_demand(self.port, role) != _SASL:
                raise PostgresError("Postgres did not ask for a password. It is not used like that; run `make clean`.")

    def _wrong_password(self) -> str:
        return (
            f"The server on port {self.port} refuses the kept password. Restore {self._settings.home / 'secrets'} from "
            "a backup, or begin anew with `make clean`."
        )


def _first_demand(port: int, role: str) -> int | None:
    """What the server asks of a client that has only said its name: 0 nothing, 3 and 5 weak passwords, 10 SCRAM."""
    body = struct.pack("!I", 196608) + f"user\0{role}\0database\0postgres\0\0".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(struct.pack("!I", len(body) + 4) + body)
        answer = connection.makefile("rb").read(9)
    return struct.unpack("!I", answer[5:9])[0] if answer[:1] == b"R" else None
