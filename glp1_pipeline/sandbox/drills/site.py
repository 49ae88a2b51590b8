"""An installation to break things in: Postgres, EHR, CRM and the pipeline at work, in a folder that goes with it.

Here: servers, and how they are stopped and started. Not here: what is broken (`drill`), what is proven (`proof`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import psycopg
import requests
from psycopg import sql

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.ehr.polling import KINDS
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.settings import Settings

from ..crm import crm_command
from ..ehr import ehr_command
from ..supervisor import StackError
from .looping import EHR, LOOPS
from .proxy import FaultProxy

DATABASE, BLANK = "glp1", "glp1_blank"
START_SECONDS = 60.0


class SiteError(StackError):
    """A server of a drill does not start or stop; the message says which."""


class Site:
    """`with Site() as site:` everything runs when it begins and is gone, folder and all, when it ends.

    `env`: more GLP1_* settings, for us and for the pipeline. Where GLP1_EHR_URL is among them, the faults befall that
    server: the caller has made sure that it is one to be broken.
    """

    is_whole = False
    """Whether Dagster is at work (`StackSite`); else the same functions in loops."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="glp1_drill_", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name) / "home"
        self.env = {**(env or {}), "GLP1_HOME": str(self.home)}
        self.foreign_ehr = self.env.pop("GLP1_EHR_URL", None)
        self.settings = Settings.from_env(self.env)
        self.postgres = EmbeddedPostgres(self.settings, say=lambda _: None)
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self.proxy: FaultProxy | None = None

    # ---- beginning and end

    def __enter__(self) -> Site:
        try:
            self.settings.make_home()
            self.start_ehr()
            self.start_crm()
            self.postgres.start()
            self._prepare()
            self.wait_for(f"{self.ehr_url}/metadata", EHR)
            self.wait_for(f"{self.settings.crm_access()[0]}/health", "crm")
            self.proxy = FaultProxy(self.ehr_url).__enter__()
            if self.foreign_ehr is None:
                self.settings.state.keep(ehr_port=self.proxy.port_of_its_own)
            else:
                self.env["GLP1_EHR_URL"] = self.proxy.url
                self.settings = Settings.from_env(self.env)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in list(self.programs):
            self.stop(name)
        if self.proxy:
            self.proxy.__exit__()
            self.proxy = None
        self.postgres.remove()
        self._folder.cleanup()

    def _prepare(self) -> None:
        """Tables and keys; the empty database is kept as what each drill begins with."""
        from ..demo import prepare

        prepare(self.settings)
        with self._superuser() as connection:
            # A process that dies takes nothing with it that was written; only a machine would, and none dies here.
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
            connection.execute(
                sql.SQL("alter database {} rename to {}").format(sql.Identifier(DATABASE), sql.Identifier(BLANK))
            )
        self._new_database()

    def _superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.postgres.url(SETUP_ROLE), autocommit=True, connect_timeout=5)

    def _new_database(self) -> None:
        with self._superuser() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(DATABASE)))
            connection.execute(
                sql.SQL("create database {0} owner {0} template {1} strategy file_copy").format(
                    sql.Identifier(DATABASE), sql.Identifier(BLANK)
                )
            )
            connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(DATABASE)))

    def reset(self) -> None:
        """Whatever the drill before left: a new database, empty folders, an empty CRM, and everything running.

        The EHR keeps what it has: each drill's patients are its own.
        """
        if self.proxy:
            self.proxy.heal()
        if not self.postgres_is_up:
            self.start_postgres()
        self._signal_loops(signal.SIGSTOP)
        self._new_database()
        for folder in (Path(self.settings.landing_url), self.home / "archive"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
        with closing(sqlite3.connect(self.home / "crm" / "contacts.sqlite3")) as contacts:
            for table in ("contacts", "unique_values", "history", "notices"):
                contacts.execute(f"delete from {table}")  # noqa: S608 - our own names
            contacts.commit()
        with self.connect() as connection:
            began = datetime.now(UTC) - timedelta(milliseconds=1)
            for kind in KINDS:  # else all of the drills before would be read again
                connection.execute(
                    "insert into ops.poll_cursors (system, kind, since) values (%s, %s, %s)", (EHR, kind, began)
                )
        if not self.is_up(EHR) and self.foreign_ehr is None:
            self.start_ehr()
        if not self.is_up("crm"):
            self.start_crm()
        self.wait_for(f"{self.ehr_url}/metadata", EHR)
        self.wait_for(f"{self.settings.crm_access()[0]}/health", "crm")
        self._signal_loops(signal.SIGCONT)
        started = {name: self.size_of_log(name) for name in LOOPS if not self.is_up(name)}
        self.start_loops()
        for name, size in started.items():
            wait_until(
                lambda name=name, size=size: b"ready" in self.log_of(name).read_bytes()[size:],
                START_SECONDS, f"the loop {name} does not start",
            )  # fmt: skip

    def connect(self) -> psycopg.Connection:
        """To the pipeline's database, in autocommit."""
        return psycopg.connect(
            self.settings.store_url(), autocommit=True, application_name="glp1 drill", connect_timeout=5
        )

    # ---- servers

    @property
    def ehr_url(self) -> str:
        """The EHR itself, beside the proxy."""
        return self.foreign_ehr or f"http://127.0.0.1:{self.settings.state.get('ehr_itself_port')}/fhir"

    def start_ehr(self) -> None:
        """Does nothing where the EHR is another's."""
        if self.foreign_ehr is None:
            port, _ = self.settings.state.port("ehr_itself_port")
            argv, env = ehr_command(self.settings, port)
            self.launch(EHR, argv, env)

    def start_crm(self) -> None:
        port, _ = self.settings.state.port("crm_port")
        self.launch("crm", *crm_command(self.settings, port, None))

    def start_postgres(self) -> None:
        """After `stop_postgres`, or when it died."""
        self.postgres.stop()
        self.postgres.start()

    @property
    def postgres_is_up(self) -> bool:
        return self.postgres.process is not None and self.postgres.process.poll() is None

    def move_database(self, folder: Path | None) -> None:
        """Put the pipeline's database on another disk: `folder`, which Postgres owns; None: back where it was."""
        self._signal_loops(signal.SIGSTOP)
        with self._superuser() as connection:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (DATABASE,))
            if folder is not None:
                connection.execute(sql.SQL("create tablespace small location {}").format(sql.Literal(str(folder))))
            connection.execute(
                sql.SQL("alter database {} set tablespace {}").format(
                    sql.Identifier(DATABASE), sql.Identifier("small" if folder else "pg_default")
                )
            )
            if folder is None:
                connection.execute("drop tablespace small")
        self._signal_loops(signal.SIGCONT)

    def stop_postgres(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: asked to stop at once. SIGKILL: it and all its children die."""
        server = self.postgres.process
        if server is not None and server.poll() is None:
            processes.signal_all(processes.family(server.pid), number) if number == signal.SIGKILL else (
                server.send_signal(number)
            )
            server.wait(30)

    def start_loops(self) -> None:
        """The pipeline at work, each loop a process; those that run already are left alone."""
        started = [name for name in LOOPS if not self.is_up(name)]
        for name in started:
            argv = [sys.executable, "-m", "glp1_pipeline.sandbox.drills.looping", name]
            self.launch(name, argv, {})

    def stop_loops(self, number: signal.Signals = signal.SIGTERM) -> None:
        for name in LOOPS:
            self.stop(name, number)

    def _signal_loops(self, number: signal.Signals) -> None:
        for name in filter(self.is_up, LOOPS):
            self.programs[name].send_signal(number)

    def size_of_log(self, name: str) -> int:
        return self.log_of(name).stat().st_size if self.log_of(name).exists() else 0

    def launch(self, name: str, argv: list[str], env: Mapping[str, str]) -> None:
        """Start a program of this site; its log is in the folder logs."""
        with open(self.log_of(name), "ab") as log:
            self.programs[name] = processes.start(
                argv, env=_inherited() | self.env | dict(env), cwd=self.home / "run", output=log
            )

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a program and all its children; SIGKILL is a death without a word."""
        program = self.programs.pop(name, None)
        if program is not None and program.poll() is None:
            leader = processes.find(program.pid)
            if leader and number == signal.SIGKILL:
                processes.signal_all(processes.family(program.pid), number)
            processes.end([leader] if leader else [], number, grace=5)
            program.wait(10)

    def is_up(self, name: str) -> bool:
        return name in self.programs and self.programs[name].poll() is None

    def log_of(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def wait_for(self, url: str, name: str) -> None:
        """Until it answers; SiteError when it does not."""

        def answers() -> bool:
            if name in self.programs and not self.is_up(name):
                raise SiteError(f"the {name} of the drill ended while starting: {self.log_of(name)}")
            return requests.get(url, timeout=5).status_code in (200, 401)

        wait_until(answers, START_SECONDS, f"the {name} of the drill does not answer")


def wait_until(is_so: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Ask until it is so; a server that is not there yet says no. SiteError(`otherwise`) when time is over."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if is_so():
                return
        except (psycopg.OperationalError, ConnectionError, requests.RequestException):
            pass  # not there yet: asked again until the time is over
        time.sleep(0.05)
    raise SiteError(otherwise)


def _inherited() -> dict[str, str]:
    """Ours, without what would lead a program to another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GLP1_", "PG"))}
