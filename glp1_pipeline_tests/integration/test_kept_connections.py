"""A process keeps a connection from one piece of work to the next, ours and Dagster's; what one did does not show in the
next, and a connection that went away is replaced without an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.store import Store, StoreFault, kept
from glp1_pipeline.sandbox.dagster_home import write_dagster_yaml
from glp1_pipeline.sandbox.drills.programs import wait_until
from glp1_pipeline_tests.small_road import empty_database


@pytest.fixture
def watch(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()"
        )
        yield connection


def pid_of(store: Store) -> int:
    return store.info.backend_pid


def test_the_next_piece_of_work_has_the_connection_of_the_last_and_nothing_of_what_it_did(
    url: str, watch: psycopg.Connection
) -> None:
    with kept(url, "first") as store:
        first = pid_of(store)
        store.execute("select pg_advisory_lock(77)")
        store.execute("set time zone 'Asia/Tokyo'; set synchronous_commit = off; set enable_seqscan = off")
        store.execute("select set_config('glp1.run_id', 'first', false)")
    with kept(url, "second") as store:
        assert pid_of(store) == first
        told = store.execute(
            "select current_setting('application_name'), current_setting('TimeZone'), current_setting('IntervalStyle'),"
            " current_setting('synchronous_commit'), current_setting('enable_seqscan'),"
            " nullif(current_setting('glp1.run_id', true), '')"
        ).fetchone()
        assert told == ("second", "UTC", "postgres", "on", "on", None)
        assert watch.execute("select pg_try_advisory_lock(77)").fetchone() == (True,)


def test_what_is_done_at_once_has_a_connection_each_and_one_is_kept(url: str, watch: psycopg.Connection) -> None:
    with kept(url, "one") as one, kept(url, "two") as two:
        assert pid_of(one) != pid_of(two)
    ours = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    wait_until(lambda: watch.execute(ours).fetchone() == (1,), 5, "more than one is kept")


def test_a_piece_of_work_that_fails_leaves_no_connection_and_no_value(url: str, watch: psycopg.Connection) -> None:
    used: list[int] = []

    def fail() -> None:
        with kept(url, "fails") as store:
            used.append(pid_of(store))
            store.execute("select 'Canary'::int")

    with pytest.raises(StoreFault) as caught:
        fail()
    assert "Canary" not in str(caught.value)
    with kept(url, "next") as store:
        assert pid_of(store) not in used
        open_ = pid_of(store)
        store.execute("begin")  # and so does one that leaves something open
    with kept(url, "next") as store:
        assert pid_of(store) != open_


def test_one_that_went_away_meanwhile_is_replaced(url: str, watch: psycopg.Connection) -> None:
    with kept(url, "first") as store:
        gone = pid_of(store)
    watch.execute("select pg_terminate_backend(%s, 5000)", (gone,))
    with kept(url, "second") as store:
        assert pid_of(store) != gone
        assert store.execute("select 1").fetchone() == (1,)


def test_one_that_nobody_used_for_a_minute_is_not_trusted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between two machines may have forgotten it: the first word over it would wait for an answer for long."""
    with kept(url, "first") as store:
        old = pid_of(store)
    monkeypatch.setattr("glp1_pipeline.adapters.store.KEPT_SECONDS", 0.0)
    with kept(url, "second") as store:
        assert pid_of(store) != old


def test_a_forked_process_has_a_connection_of_its_own(url: str, watch: psycopg.Connection) -> None:
    with kept(url, "parent") as store:
        ours = pid_of(store)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with kept(url, "child") as store:
                os.write(writer, str(pid_of(store)).encode())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert int(os.read(reader, 20)) != ours
    with kept(url, "parent") as store:
        assert pid_of(store) == ours


# ---- Dagster's


@pytest.fixture(scope="module")
def dagster_url() -> str:
    return empty_database()


@pytest.fixture
def home(dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GLP1_DAGSTER_URL", dagster_url.replace("postgresql://", "postgresql+psycopg2://"))
    monkeypatch.setenv("GLP1_BROKER", "filesystem://")
    monkeypatch.setenv("GLP1_BROKER_RESULTS", "file:///nowhere")
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path)})
    settings.make_home()
    return str(write_dagster_yaml(settings))


@dg.asset
def told() -> dg.MaterializeResult:
    """Some twenty events of a run."""
    return dg.MaterializeResult(metadata={"n": 1})


def _sessions(watch: psycopg.Connection) -> int:
    """How many connections were opened to this database since its beginning."""
    watch.execute("select pg_stat_clear_snapshot()")
    row = watch.execute("select sessions from pg_stat_database where datname = current_database()").fetchone()
    assert row is not None
    return row[0]


def test_the_runs_of_a_process_record_all_their_events_over_the_connections_of_the_first(
    dagster_url: str, home: str
) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        assert dg.materialize([told], instance=instance).success
    with psycopg.connect(dagster_url, autocommit=True) as watch:
        before = _sessions(watch)
        for _ in range(3):  # each run of a worker makes an instance
            with dg.DagsterInstance.from_config(home) as instance:
                run = dg.materialize([told], instance=instance)
                assert len(instance.all_logs(run.run_id)) > 10
        assert _sessions(watch) - before <= 1  # this one's own; Dagster's own storage opens sixty a run


def test_a_run_goes_on_recording_after_postgres_ended_all_connections(dagster_url: str, home: str) -> None:
    with dg.DagsterInstance.from_config(home) as instance, psycopg.connect(dagster_url, autocommit=True) as watch:

        @dg.asset
        def cut() -> None:
            watch.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid()"
            )

        run = dg.materialize([cut], instance=instance)
        assert run.success
        recorded = instance.get_run_by_id(run.run_id)
        assert recorded is not None
        assert recorded.status is dg.DagsterRunStatus.SUCCESS


def test_the_first_click_after_a_restart_of_postgres_is_answered(dagster_url: str, home: str) -> None:
    """The web server's pools are those that Dagster makes by `optimize_for_webserver`."""
    with dg.DagsterInstance.from_config(home) as instance, psycopg.connect(dagster_url, autocommit=True) as watch:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        run = dg.materialize([told], instance=instance)
        end_all = (
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()"
        )
        for click in (
            lambda: instance.get_run_by_id(run.run_id),
            lambda: instance.all_logs(run.run_id),
            lambda: instance.all_instigator_state() == [],
        ):
            assert click()
            watch.execute(end_all)
            assert click()


def test_threads_that_record_at_once_do_not_wait_for_each_other(dagster_url: str, home: str) -> None:
    """As the daemon's, one of each sensor."""
    with dg.DagsterInstance.from_config(home) as instance:
        run = dg.materialize([told], instance=instance)
        all_are_in = threading.Barrier(8)

        def record() -> None:
            all_are_in.wait()
            for _ in range(10):
                instance.report_engine_event("at once", run.dagster_run)

        threads = [threading.Thread(target=record, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        said = [entry.message for entry in instance.all_logs(run.run_id)]
        assert said.count("at once") == 80
