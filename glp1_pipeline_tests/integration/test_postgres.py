"""The embedded Postgres: closed to strangers, and up again after every kind of death. Real servers in temporary folders."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from glp1_pipeline.adapters import postgres_place, processes
from glp1_pipeline.adapters.postgres import ROLES, EmbeddedPostgres, _first_demand
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.postgres_place import ACCOUNT, SHARED, PostgresError
from glp1_pipeline.adapters.schema import migrate
from glp1_pipeline.adapters.secrets import SecretError, Secrets
from glp1_pipeline.adapters.server_log import may_quote
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline_tests.ledgers import assert_in_balance
from glp1_pipeline_tests.small_road import SmallRoad, connect, submission

AS_ROOT = os.geteuid() == 0
PROJECT = Path(__file__).resolve().parents[2]


def settings_for(home: Path) -> Settings:
    return Settings.from_env({"GLP1_HOME": str(home)})


class Server(EmbeddedPostgres):
    """Remembers what it said."""

    def __init__(self, home: Path) -> None:
        self.said: list[str] = []
        self.settings = settings_for(home)
        super().__init__(self.settings, self.said.append)

    def ask(self, query: str, role: str = "glp1") -> object:
        with psycopg.connect(self.url(role), connect_timeout=5) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def tell(self, *statements: str) -> None:
        with psycopg.connect(self.url("glp1"), connect_timeout=5) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def kill_all(self) -> None:
        for process in processes.standing_in(self.place.data):
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """In a folder that every account may walk through, for the tests that change nothing."""
    folder = Path(tempfile.mkdtemp(prefix="glp1-test-"))
    folder.chmod(0o755)
    running = Server(folder / "home")
    running.start()
    yield running
    running.remove()
    shutil.rmtree(folder)


@pytest.mark.parametrize("role", [SETUP_ROLE, *ROLES])
def test_every_role_is_asked_for_a_strong_proof_of_its_password(server: Server, role: str) -> None:
    assert _first_demand(server.port, role) == 10


@pytest.mark.parametrize("password", ["", "wrong"])
def test_nobody_gets_in_without_the_password(server: Server, password: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1",
            port=server.port,
            user=SETUP_ROLE,
            dbname="postgres",
            password=password,
            passfile="/dev/null",
        )


def test_a_role_is_let_into_its_own_database_alone_and_has_no_special_rights(server: Server) -> None:
    for role, other in (("glp1", "dagster"), ("dagster", "glp1"), ("glp1", "postgres")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(server.url(role).replace(f"/{role}?", f"/{other}?"))
        rights = "rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
        assert server.ask(f"SELECT {rights} FROM pg_roles WHERE rolname = current_user", role) is False


def test_it_listens_on_loopback_alone_and_has_no_socket_file(server: Server) -> None:
    assert server.ask("SHOW listen_addresses") == "127.0.0.1"
    assert server.ask("SHOW data_checksums") == "on"
    assert [server.ask("SHOW synchronous_commit", role) for role in ROLES] == ["on", "on"]
    with psycopg.connect(server.url(SETUP_ROLE)) as connection:
        row = connection.execute("SHOW unix_socket_directories").fetchone()
    assert row == ("",)


def test_a_failed_statement_leaves_no_value_in_the_server_log(server: Server) -> None:
    server.tell("CREATE TABLE IF NOT EXISTS canary (name text PRIMARY KEY, n int CHECK (n > 0))")
    for statement in (
        "INSERT INTO canary VALUES ('Zebulon Quux', -1)",
        "SELECT 'Zebulon Quux'::int",
        "SELECT nothing FROM nowhere WHERE name = 'Zebulon Quux'",
    ):
        with pytest.raises(psycopg.Error):
            server.tell(statement)
    assert "Zebulon" not in (server.settings.home / "logs" / "postgres.log").read_text()


def test_a_server_whose_log_may_quote_patients_is_told_with_what_mends_it(server: Server) -> None:
    """As a server comes that is not ours: it is true of it, and no more so after what is told."""

    def logged(connection: psycopg.Connection, name: str) -> bool:
        with pytest.raises(psycopg.DataError):
            connection.execute("select %s::text::int", (f"refused {name}",))
        connection.execute("set log_min_duration_statement = 0")
        connection.execute("select %s::text", (f"slow {name}",))
        connection.execute("set log_min_duration_statement = -1")
        return name in (server.settings.home / "logs" / "postgres.log").read_text()

    with psycopg.connect(server.url(SETUP_ROLE), autocommit=True) as connection:
        assert may_quote(connection) == []
        connection.execute("set log_min_messages = 'warning'")
        connection.execute("set log_parameter_max_length = -1")
        assert logged(connection, "Zora Canary")
        told = may_quote(connection)
        assert len(told) == 2
        for one in told:
            connection.execute(one.replace(f'alter role "{SETUP_ROLE}" ', "").encode())
        assert may_quote(connection) == []
        assert not logged(connection, "Greta Canary")


def test_secrets_and_data_are_closed_to_other_users(server: Server) -> None:
    secrets = server.settings.home / "secrets"
    for path, mode in ((secrets, 0o700), (server.place.data, 0o700), (secrets / "postgres_glp1", 0o600)):
        assert path.stat().st_mode & 0o777 == mode
    for lock in (server.place.base / "lock", server.settings.home / "state.lock"):
        assert lock.stat().st_mode & 0o777 == 0o600, "who could open it could hold it, and nothing would start"
    if AS_ROOT:
        for path in (secrets / "postgres_glp1", server.place.data / "PG_VERSION"):
            read = subprocess.run(["cat", path], user=65534, group=65534, extra_groups=[], capture_output=True)
            assert read.returncode != 0


@pytest.mark.skipif(not AS_ROOT, reason="only root hands Postgres to another account")
def test_under_root_it_runs_as_its_own_account_and_opens_no_folder_of_others(fresh: Server) -> None:
    parents = {parent: parent.stat().st_mode for parent in fresh.settings.home.parents}
    fresh.start()
    assert fresh.place.base.parent == SHARED  # pytest's folder is closed to that account
    assert fresh.place.data.owner() == ACCOUNT
    assert {parent: parent.stat().st_mode for parent in parents} == parents
    owners = set()
    for process in processes.standing_in(fresh.place.data):
        with contextlib.suppress(FileNotFoundError):  # a short-lived worker of Postgres that ended since
            owners.add(Path(f"/proc/{process.pid}").owner())
    assert owners == {ACCOUNT}


@pytest.mark.skipif(shutil.which("useradd", path="/usr/sbin") is None, reason="no useradd here")
def test_its_account_is_made_also_where_the_path_of_root_is_that_of_an_ordinary_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    made_as = SimpleNamespace(pw_uid=990, pw_gid=990)

    def look_up(_: str) -> SimpleNamespace:
        if not made:
            raise KeyError
        return made_as

    monkeypatch.setenv("PATH", str(tmp_path))  # of some systems /usr/sbin is /usr/bin
    monkeypatch.setattr(postgres_place.pwd, "getpwnam", look_up)
    monkeypatch.setattr(postgres_place.subprocess, "run", lambda argv, **_: made.extend(argv))
    assert postgres_place._account() == (990, 990)
    assert (made[0], made[-1]) == ("/usr/sbin/useradd", ACCOUNT)


@pytest.mark.skipif(not AS_ROOT, reason="only root hands Postgres to another account")
def test_what_a_deleted_home_left_in_the_place_of_all_is_told_with_what_removes_it(
    fresh: Server, tmp_path: Path
) -> None:
    gone = Server(tmp_path / "gone")
    gone.prepare()
    gone.release()
    fresh.prepare()
    assert str(gone.place.base) not in " ".join(fresh.said), "its home is there"
    shutil.rmtree(gone.settings.home)
    fresh.release()
    fresh.said.clear()  # what it said before may be of others on this machine
    fresh.prepare()
    (told,) = [sentence for sentence in fresh.said if "homes that are not there" in sentence]
    assert f" {gone.place.base}" in told.partition("rm -r")[2]
    assert str(fresh.place.base) not in told
    shutil.rmtree(gone.place.base)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_data_made_by_another_user_is_refused_with_a_way_on(fresh: Server) -> None:
    fresh.start()
    fresh.stop()
    os.chown(fresh.place.data, 65534, 65534)
    with pytest.raises(PostgresError, match=r"belongs to another user .* GLP1_HOME"):
        fresh.prepare()


def test_committed_rows_outlive_the_killing_of_every_process(fresh: Server) -> None:
    fresh.start()
    fresh.tell("CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 50000)")
    assert fresh.process
    fresh.kill_all()
    # Not reaped on purpose: the dead server's number is still taken, as under a first process that reaps nobody.
    assert (fresh.place.data / "postmaster.pid").exists()
    again = Server(fresh.settings.home)
    fresh.release()
    again.start()
    assert again.ask("SELECT count(*) FROM kept") == 50000
    again.stop()
    fresh.process.wait()


def test_what_was_charted_in_the_moment_before_every_process_is_killed_is_charted_again_and_once(
    fresh: Server, tmp_path: Path
) -> None:
    fresh.start()
    migrate(fresh.url("glp1"))
    with connect(fresh.url("glp1")) as connection:
        road = SmallRoad(fresh.url("glp1"), tmp_path, connection)
        road.drop("a.ndjson", *[submission(n) for n in range(300)])
        road.take()
        assert road.chart().events == 300
        fresh.kill_all()
    fresh.release()
    again = Server(fresh.settings.home)
    again.start()
    with connect(again.url("glp1")) as connection:
        road = SmallRoad(again.url("glp1"), tmp_path, connection)
        assert road.one("select count(*) from phi.events") == 300, "the ledger is on disk before its drop is put away"
        road.chart()
        assert road.events() == {"charted": 300}
        assert road.one("select count(*) from ops.writes") == 300
        assert_in_balance(road)
    again.stop()


def test_a_server_left_behind_is_ended_before_the_next_one_starts(fresh: Server) -> None:
    fresh.start()
    fresh.tell("CREATE TABLE kept (n int)")
    first = fresh.process
    fresh.release()  # what the kernel does when our process is killed
    again = Server(fresh.settings.home)
    again.start()
    assert again.ask("SELECT count(*) FROM kept") == 0
    assert any("left behind" in sentence for sentence in again.said)
    assert first is not None
    assert first.wait(10) is not None
    again.stop()


def test_a_pid_file_whose_number_now_is_another_program_does_not_stop_the_start(fresh: Server) -> None:
    fresh.start()
    lines = (fresh.place.data / "postmaster.pid").read_text().splitlines()
    fresh.stop()
    (fresh.place.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    fresh.start()
    assert fresh.ask("SELECT 1") == 1


def test_a_half_made_first_start_is_moved_aside_and_done_again(fresh: Server) -> None:
    fresh.prepare()
    (fresh.place.base / "initdb.done").unlink()
    shutil.rmtree(fresh.place.data / "global")
    fresh.release()
    fresh.start()
    assert fresh.ask("SELECT 1") == 1
    assert any("cut short" in sentence for sentence in fresh.said)
    assert list(fresh.place.base.glob("data.half-made-*/data/PG_VERSION"))


def test_the_password_of_a_first_start_that_was_killed_does_not_stay_beside_the_data(
    fresh: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(processes, "run", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        fresh.prepare()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    secret = fresh.settings.secrets.get("postgres_glp1_setup")

    def copies() -> list[Path]:
        base = Path(fresh.settings.state.get("postgres_place") or fresh.settings.home / "postgres")
        return [path for path in base.iterdir() if path.is_file() and secret in path.read_text("utf-8")]

    assert copies()
    fresh.prepare()
    assert copies() == []


def test_a_port_taken_meanwhile_is_given_up_aloud(fresh: Server) -> None:
    fresh.start()
    old = fresh.port
    fresh.stop()
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", old))
        thief.listen()
        fresh.start()
        assert fresh.port != old
        assert any(str(old) in sentence and str(fresh.port) in sentence for sentence in fresh.said)
        assert fresh.settings.store_url() == fresh.url("glp1")


def test_a_second_process_on_the_same_folder_is_told_so(fresh: Server) -> None:
    fresh.start()
    with pytest.raises(PostgresError, match=r"already run by another process.*GLP1_HOME"):
        Server(fresh.settings.home).start()
    assert fresh.ask("SELECT 1") == 1


def test_a_lost_password_is_an_error_that_names_the_file(fresh: Server) -> None:
    fresh.start()
    fresh.stop()
    (fresh.settings.home / "secrets" / f"postgres_{SETUP_ROLE}").unlink()
    with pytest.raises(SecretError, match=f"postgres_{SETUP_ROLE} is missing.*backup"):
        fresh.start()


def test_a_long_recovery_is_waited_for(fresh: Server) -> None:
    fresh.start()
    fresh.tell("CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    assert fresh.process
    os.kill(fresh.process.pid, signal.SIGSTOP)  # answers nobody, as one that repeats its log
    resume = subprocess.Popen(
        [sys.executable, "-c", f"import time, os; time.sleep(2); os.kill({fresh.process.pid}, 18)"]
    )
    begun = time.monotonic()
    fresh.wait_ready()
    assert time.monotonic() - begun > 1
    assert fresh.ask("SELECT count(*) FROM kept") == 1
    resume.wait()


def test_a_server_that_dies_while_starting_is_no_reason_to_wait(fresh: Server) -> None:
    fresh.prepare()
    (fresh.place.data / "global" / "pg_control").unlink()
    with pytest.raises(PostgresError, match="ended while starting"):
        fresh.start()


def test_two_processes_that_ask_for_a_new_secret_at_once_get_the_same(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from glp1_pipeline.adapters.secrets import Secrets; "
    code += "print(Secrets(Path(sys.argv[1])).get_or_create('key'))"
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    askers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=env) for _ in range(6)
    ]
    assert len({asker.communicate()[0] for asker in askers}) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["key"]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    value = secrets.get_or_create("key")
    (tmp_path / "secrets" / "key").chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600") as caught:
        secrets.get("key")
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"GLP1_DATABASE_URL": "postgresql://h/d"}, "GLP1_DAGSTER_DATABASE_URL is not"),
        ({"GLP1_DAGSTER_DATABASE_URL": "postgresql://h/d"}, "GLP1_DATABASE_URL is not"),
        ({"GLP1_DATABASE_URL": "mysql://h/d", "GLP1_DAGSTER_DATABASE_URL": "mysql://h/d"}, "begin with postgresql"),
        ({"GLP1_BROKER_URL": "rpc://"}, "GLP1_BROKER_URL must begin with redis:// or amqp://"),
        ({"GLP1_BROKER_URL": "amqp://h", "GLP1_BROKER_RESULT_URL": "rpc://"}, "GLP1_BROKER_RESULT_URL"),
        ({"GLP1_UI_PORT": "eighty"}, "whole number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error_that_says_how_to_mend_it(env: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_env(env)


def test_a_place_that_cannot_be_a_folder_is_a_sentence_with_the_way_on(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(SettingsError, match=rf"^{re.escape(str(place))} cannot .* \(.*\)\. .* GLP1_HOME"):
            Settings.from_env({"GLP1_HOME": str(place)}).make_home()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(SettingsError, match=r"Read-only file system.* GLP1_HOME"):
        Settings.from_env({"GLP1_HOME": str(tmp_path)}).make_home()


def test_settings_show_no_password_and_an_address_names_the_driver_that_works(tmp_path: Path) -> None:
    url = "postgres://u:opensesame@db.example/x"
    settings = Settings.from_env(
        {"GLP1_HOME": str(tmp_path), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url}
    )
    assert "opensesame" not in repr(settings)
    assert settings.store_url() == "postgresql://u:opensesame@db.example/x"
    assert settings.dagster_url() == "postgresql+psycopg2://u:opensesame@db.example/x"


def test_without_a_database_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="glp1 up"):
        settings_for(tmp_path).store_url()
