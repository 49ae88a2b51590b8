"""The whole sandbox on one machine: Postgres and who watches it, the EHR, the CRM, and Dagster's five processes, on
loopback.

What does not belong here: keeping processes alive (supervisor.py), tables (a function is handed in), samples (demo.py).
"""

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

import psycopg

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.postgres import EmbeddedPostgres, PostgresError
from glp1_pipeline.adapters.retention import dagster_rows
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.state import is_port_free
from glp1_pipeline.sandbox.crm import crm_command, crm_page
from glp1_pipeline.sandbox.dagster_home import WORKSPACE, dagster_env, write_dagster_yaml
from glp1_pipeline.sandbox.ehr import ehr_command
from glp1_pipeline.sandbox.supervisor import Program, StackError, Supervisor

POSTGRES, EHR, CODE = "Postgres", "sandbox EHR", "code server"
METRICS = "code server of the metrics"
CRM, RECEIVER = "sandbox CRM", "receiver of webhooks"
DAEMON, WORKER, WEB = "daemon", "worker", "web server"
WATCH = "watch of the database"
_OLD_RESULT = 86_400.0
CODE_THREADS = 24


@dataclass(frozen=True)
class Modules:
    """What the processes of Dagster load; a test may name others."""

    definitions: str = "glp1_pipeline.definitions"
    worker: str = "glp1_pipeline.defs.worker"
    metrics: str = "glp1_pipeline.metrics_definitions"


class Stack:
    """`with Stack(settings, migrate) as stack: stack.start(); stack.wait()`. Leaving it ends all that it started."""

    def __init__(
        self,
        settings: Settings,
        migrate: Callable[[Settings], None],
        *,
        say: Callable[[str], None] = print,
        modules: Modules | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self._migrate = settings, migrate
        self._modules, self._extra = modules or Modules(), dict(extra_env or {})
        self.supervisor = Supervisor(settings.home, say)
        self._say = self.supervisor.say
        self._signals = self.supervisor.signals()
        self._postgres = EmbeddedPostgres(settings, self._say) if settings.database_url is None else None
        self._env: dict[str, str] = {}
        self._claim: psycopg.Connection | None = None

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.state.get('ui_port')}"

    @property
    def crm_page(self) -> str | None:
        """The page where a person looks at the sandbox CRM's contacts; None where the CRM is another's."""
        return None if self.settings.crm_url else crm_page(self.settings)

    def __enter__(self) -> "Stack":
        self.settings.make_home()
        self.supervisor.open()
        self._signals.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.supervisor.stop()
            if self._claim:
                self._claim.close()
            if self._postgres:
                self._postgres.release()
        finally:
            self._signals.__exit__(None, None, None)

    def start(self) -> None:
        """Returns when all of it answers. What needs no database starts while Postgres does."""
        ui_port = self._choose_ui_port()
        self._env = _inherited() | {"GLP1_HOME": str(self.settings.home)} | self._extra
        if self.settings.ehr_url is None:
            self._launch_ehr()
        else:
            self.settings.ehr_credentials()  # a key that is not there is told now, and not by each run
        hook_port = self._port("crm_hook_port", f"the {RECEIVER}")
        if self.settings.crm_url is None:
            self._launch_crm(f"http://127.0.0.1:{hook_port}/crm")
        if self._postgres:
            self._start_postgres(self._postgres)
        write_dagster_yaml(self.settings)
        self._prune_results()
        self._env |= dagster_env(self.settings)
        self.claim_dagster()
        self.prepare_dagster(self._env)
        self._launch_code_server(CODE, "code_port", "GLP1_CODE_PORT", self._modules.definitions, "glp1_pipeline")
        self._launch_code_server(METRICS, "metrics_port", "GLP1_METRICS_PORT", self._modules.metrics, "glp1_metrics")
        self._migrate(self.settings)
        self._launch_receiver(hook_port)
        watch = ["-m", "glp1_pipeline.cli", "alerts", "watch"]
        self._launch(WATCH, watch, self._log_says(WATCH, "watching"))
        self._launch(
            DAEMON, ["-m", "glp1_pipeline.sandbox.daemon", "run", "-w", str(WORKSPACE)], self._has_begun(DAEMON)
        )
        self._launch(WORKER, self._worker_arguments(), self._log_says(WORKER, "ready."), grace=20)
        web = ["-m", "glp1_pipeline.sandbox.web", "-h", "127.0.0.1", "-p", str(ui_port), "-w", str(WORKSPACE)]
        self._launch(WEB, web, _answers(f"http://127.0.0.1:{ui_port}/server_info"))
        others = [
            *([EHR] if self.settings.ehr_url is None else []),
            *([CRM] if self.settings.crm_url is None else []),
        ]
        self.supervisor.wait_ready(*others, RECEIVER, WATCH, CODE, METRICS, WORKER, WEB, DAEMON)

    def wait(self, seconds: float | None = None) -> None:
        """Until Ctrl-C (which raises KeyboardInterrupt), or for so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            time.sleep(0.2)

    # ---- the programs

    def _start_postgres(self, postgres: EmbeddedPostgres) -> None:
        for attempt in range(3):
            postgres.prepare()
            argv, account, env = postgres.command()
            program = Program(
                POSTGRES,
                argv,
                env,
                lambda: True,
                account=account,
                stop_signal=signal.SIGINT,
                grace=30,
                before_restart=postgres.end_leftovers,
            )
            self.supervisor.launch(program)
            try:
                postgres.wait_ready(is_alive=lambda: not self.supervisor.has_ended(POSTGRES))
            except PostgresError:
                port_was_lost = self.supervisor.has_ended(POSTGRES) and not is_port_free(postgres.port)
                if attempt == 2 or not port_was_lost:
                    raise
                continue
            self.supervisor.wait_ready(POSTGRES)
            postgres.set_up()
            return

    def _launch_ehr(self) -> None:
        argv, env = ehr_command(self.settings, self._port("ehr_port", "the sandbox EHR"))
        ready = _answers(self.settings.ehr_base_url() + "/metadata")
        self.supervisor.launch(Program(EHR, argv, self._env | env, ready, wave=1))

    def _launch_crm(self, hook_url: str) -> None:
        port = self._port("crm_port", "the sandbox CRM")
        argv, env = crm_command(self.settings, port, hook_url)
        ready = _answers(f"http://127.0.0.1:{port}/health")
        self.supervisor.launch(Program(CRM, argv, self._env | env, ready, wave=1))

    def _launch_receiver(self, port: int) -> None:
        argv = ["-m", "uvicorn", "glp1_pipeline.adapters.hooks:app", "--factory", "--no-access-log"]
        argv += ["--log-level", "warning", "--host", "127.0.0.1", "--port", str(port)]
        # It turns our subscriptions in the EHR off while it ends, and the EHR ends after it.
        self._launch(RECEIVER, argv, _answers(f"http://127.0.0.1:{port}/health"), grace=10)

    def _launch_code_server(self, name: str, key: str, variable: str, module: str, location: str) -> None:
        port = self._port(key, f"the {name}")
        self._env[variable] = str(port)
        argv = ["-m", "dagster", "api", "grpc", "-m", module, "-h", "127.0.0.1", "-p", str(port)]
        # By itself it would have four threads more than the machine has cores. Sensors that listen hold one each for as
        # long as a tick lasts: all others, and whoever opens a page of the UI, would wait for one of them.
        argv += ["--max-workers", str(CODE_THREADS), "--location-name", location]
        self._launch(name, argv, lambda: not is_port_free(port), wave=1)

    def _worker_arguments(self) -> list[str]:
        argv = ["-m", "celery", "-A", self._modules.worker, "worker", "-Q", "dagster", "-l", "INFO"]
        return [*argv, "-c", str(self.settings.workers), "--without-gossip", "--without-mingle", "--without-heartbeat"]

    def _launch(
        self, name: str, arguments: list[str], is_ready: Callable[[], bool], wave: int = 2, grace: float = 3
    ) -> None:
        program = Program(name, [sys.executable, *arguments], dict(self._env), is_ready, wave=wave, grace=grace)
        self.supervisor.launch(program)

    def claim_dagster(self) -> None:
        """Refuses a second stack on the database of Dagster, one that is embedded in another's home among them: two
        daemons there would ask each sensor twice, with one cursor between them. The lock goes with the session; a
        machine that vanishes holds it for a minute."""
        self._claim = claim = dagster_rows.connect(self.settings.dagster_url())
        claim.execute("set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3")
        if claim.execute("select pg_try_advisory_lock(hashtextextended('glp1 up', 7))").fetchone() != (True,):
            raise StackError(
                "Another `glp1 up` runs on the database that GLP1_DAGSTER_DATABASE_URL names, and Dagster knows one"
                " daemon alone. Stop that one, or give this one another database; GLP1_DATABASE_URL may be shared."
            )

    def prepare_dagster(self, env: Mapping[str, str]) -> None:
        """Makes Dagster's tables once, before its processes would each try to: two at a time fail."""
        if self.settings.state.get("dagster_schema") == f"{_dagster_version()} {self._dagster_tables()}":
            return
        log = self.supervisor.log_of("dagster tables")
        log.touch(mode=0o600)
        with open(log, "ab") as output:
            argv = [sys.executable, "-m", "glp1_pipeline.sandbox.dagster_tables"]
            code = processes.run(argv, env=env, cwd=self.settings.home / "run", output=output)
        if code:
            raise StackError(f"Dagster could not make its tables (exit code {code}); see {log}.")
        self.settings.state.keep(dagster_schema=f"{_dagster_version()} {self._dagster_tables()}")

    def _dagster_tables(self) -> str:
        """Tells these tables from those of another database, or of one that was deleted; StoreGone where it is away."""
        if self._postgres:
            return str((self._postgres.place.base / "initdb.done").stat().st_mtime_ns)
        with dagster_rows.connect(self.settings.dagster_url()) as connection:
            told = connection.info
            (table,) = connection.execute("select to_regclass('runs')::oid").fetchone() or (None,)
            return f"{told.host} {told.port} {told.dbname} {table}"

    def _prune_results(self) -> None:
        """One small file per run piles up with the broker of files, and the drafts of senders that were killed."""
        broker = self.settings.home / "broker"
        for path in (*(broker / "results").iterdir(), *(broker / "queue").glob("*.part")):
            if path.stat().st_mtime < time.time() - _OLD_RESULT:
                path.unlink(missing_ok=True)

    # ---- ports and readiness

    def _port(self, key: str, whose: str) -> int:
        port, given_up = self.settings.state.port(key)
        if given_up:
            self._say(f"Port {given_up} is used by another program now; {whose} moves to {port}.")
        return port

    def _choose_ui_port(self) -> int:
        wanted = self.settings.ui_port
        if not is_port_free(wanted) and self.settings.ui_port_is_asked_for:
            raise StackError(f"Port {wanted} is in use by another program. Choose another: GLP1_UI_PORT={wanted + 1}")
        port = next((p for p in range(wanted, min(wanted + 100, 65536)) if is_port_free(p)), None)
        if port is None:
            raise StackError(f"No port from {wanted} on is free for the web page. Choose one: GLP1_UI_PORT=...")
        if port != wanted:
            self._say(f"Port {wanted} is in use by another program; the web page is on {port} (GLP1_UI_PORT chooses).")
        self.settings.state.keep(ui_port=port)
        return port

    def _log_says(self, name: str, words: str) -> Callable[[], bool]:
        log = self.supervisor.log_of(name)
        old = log.stat().st_size if log.exists() else 0

        def looks() -> bool:
            with open(log, "rb") as file:
                file.seek(old if log.stat().st_size >= old else 0)
                return words.encode() in file.read()

        return looks

    def _has_begun(self, name: str) -> Callable[[], bool]:
        return self._log_says(name, "following daemons")


def _answers(url: str) -> Callable[[], bool]:
    parts = urlsplit(url)

    def asks() -> bool:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status in (200, 401)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return asks


def _inherited() -> dict[str, str]:
    """Ours, without what would slow the children down or lead them to another database."""
    unwanted = {"PYTHONDONTWRITEBYTECODE", "DAGSTER_HOME"}
    return {name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("PG")}


def _dagster_version() -> str:
    from importlib.metadata import version

    return version("dagster")
