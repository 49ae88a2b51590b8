"""An installation to break things in: Postgres, EHR, CRM and the pipeline at work, in a folder that goes with it.

Here: servers, and how they are stopped and started. Not here: programs by themselves (`programs`), what is broken
(`scene`), what is proven (`proof`).
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.ehr.polling import KINDS
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.settings import Settings

from ..crm import crm_command
from ..ehr import ehr_command
from .looping import EHR, LOOPS
from .programs import START_SECONDS, Programs, wait_until
from .proxy import FaultProxy

DATABASE, BLANK = "glp1", "glp1_blank"


class Site(Programs):
    """`with Site() as site:` everything runs when it begins and is gone, folder and all, when it ends.

    `env`: more GLP1_* settings, for us and for the pipeline. Where GLP1_EHR_URL is among them, the faults befall that
    server: the caller has made sure that it is one to be broken.
    """

    is_whole = False
    """Whether Dagster is at work (`StackSite`); else the same functions in loops."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="glp1_drill_", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name) / "home"
        self.env = {**(env or {}), "GLP1_HOME": str(self.home)}
        self.foreign_ehr = self.env.pop("GLP1_EHR_URL", None)
        self.settings = Settings.from_env(self.env)
        self.postgres = EmbeddedPostgres(self.settings, say=lambda _: None)
        self.proxy: FaultProxy | None = None
        self.loop_options: tuple[str, ...] = ()
        """With which the loops are started."""

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
            argv = [sys.executable, "-m", "glp1_pipeline.sandbox.drills.looping", name, *self.loop_options]
            self.launch(name, argv, {})

    def stop_loops(self, number: signal.Signals = signal.SIGTERM) -> None:
        for name in LOOPS:
            self.stop(name, number)

    def _signal_loops(self, number: signal.Signals) -> None:
        for name in filter(self.is_up, LOOPS):
            self.programs[name].send_signal(number)
