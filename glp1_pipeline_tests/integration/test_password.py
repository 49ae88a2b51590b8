"""A new password of the database promises: running processes go on by themselves, the old one is refused, no crash locks out."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from glp1_pipeline.adapters import postgres_password
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.postgres_password import change_password
from glp1_pipeline.adapters.postgres_place import PostgresError
from glp1_pipeline.adapters.secrets import Secrets
from glp1_pipeline.adapters.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[EmbeddedPostgres, Settings]]:
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path_factory.mktemp("home") / "home")})
    running = EmbeddedPostgres(settings, say=lambda _: None)
    running.start()
    yield running, settings
    running.remove()


def lets_in(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def test_processes_that_connect_anew_go_on_and_the_old_password_and_its_sessions_are_out(server):
    _, settings = server
    old = settings.store_url()
    thief = psycopg.connect(old)
    refused: list[str] = []
    is_over = threading.Event()
    done = [0, 0]

    def work(n: int) -> None:
        """As our processes do: each piece of work asks for the address and opens a connection."""
        while not is_over.is_set():
            try:
                with psycopg.connect(settings.store_url(), connect_timeout=5) as connection:
                    connection.execute("select 1")
                done[n] += 1
            except psycopg.OperationalError as error:
                refused.append(str(error))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(4):
        change_password(settings, "glp1")
        time.sleep(0.1)
    before = list(done)
    ended = change_password(settings, "glp1", ends_sessions=True)
    time.sleep(0.3)
    is_over.set()
    for worker in workers:
        worker.join()
    assert ended is not None and ended >= 1  # noqa: PT018
    assert all(now > then > 0 for now, then in zip(done, before, strict=True))
    assert len(refused) <= 2 * 5 + 2  # at worst once for each change, and the sessions that were ended
    assert not lets_in(old)
    assert lets_in(settings.store_url())
    with pytest.raises(psycopg.OperationalError):
        thief.execute("select 1")


@pytest.mark.parametrize("role", ["glp1", SETUP_ROLE])
@pytest.mark.parametrize("dies_at", ["before the server knows it", "before it is adopted"])
def test_cut_short_at_any_point_the_same_command_or_the_next_start_finishes_it(server, monkeypatch, role, dies_at):
    running, settings = server

    def dies(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if dies_at == "before it is adopted":
            patch.setattr(Secrets, "adopt", dies)
        else:
            patch.setattr(postgres_password, "hashed", dies)
        with pytest.raises(KeyboardInterrupt):
            change_password(settings, role)
    if role == "glp1":
        running.set_up()  # what each start does
    else:
        running.wait_ready(timeout=10)
        change_password(settings, role)
    assert lets_in(running.url(role))
    assert not settings.secrets.has_draft(f"postgres_{role}")


def test_dagsters_password_waits_for_the_next_start_since_its_processes_were_told_the_old_one(server):
    running, settings = server
    old = running.url("dagster")
    assert change_password(settings, "dagster") is None
    assert lets_in(old)
    running.set_up()
    assert not lets_in(old)
    assert lets_in(running.url("dagster"))


def test_a_server_that_is_not_ours_is_left_alone_and_the_way_is_told():
    settings = Settings.from_env(
        {"GLP1_DATABASE_URL": "postgresql://h/d", "GLP1_DAGSTER_DATABASE_URL": "postgresql://h/e"}
    )
    with pytest.raises(PostgresError, match="passfile="):
        change_password(settings, "glp1")


def test_an_address_that_names_a_password_file_follows_it_without_a_restart(server, tmp_path: Path):
    running, settings = server
    kept = tmp_path / "pgpass"
    address = f"127.0.0.1:{running.port}/glp1?sslmode=disable&passfile={kept}"
    env = dict.fromkeys(("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"), f"postgresql://glp1@{address}")
    external = Settings.from_env({"GLP1_HOME": str(tmp_path), **env})
    engine = create_engine(external.dagster_url())  # as Dagster does, by psycopg2
    for _ in range(2):
        change_password(settings, "glp1")
        kept.write_text(f"127.0.0.1:{running.port}:*:glp1:{settings.secrets.get('postgres_glp1')}\n")
        kept.chmod(0o600)
        assert lets_in(external.store_url())
        engine.dispose()
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("role", ["glp1", SETUP_ROLE])
def test_several_who_change_one_password_at_once_end_well_one_after_the_other(server, role):
    running, settings = server
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: change_password(settings, role), range(12))) == [0] * 12
    assert lets_in(running.url(role))
    assert not settings.secrets.has_draft(f"postgres_{role}")
