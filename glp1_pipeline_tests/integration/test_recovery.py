"""A run whose worker died is ended; one that lives, or waits for a worker, is left alone, whatever Postgres did."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from glp1_pipeline.adapters.alive import Alive, without_worker
from glp1_pipeline.defs import recovery
from glp1_pipeline.defs.launcher import Launcher
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.small_road import connect, empty_database

NAME = "a test's run"


@pytest.fixture(scope="module")
def url() -> str:
    return empty_database()


@pytest.fixture
def instance(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    monkeypatch.setattr(recovery, "SILENT_AFTER", timedelta(0))
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> str:
    tags = {DAGSTER_CELERY_TASK_ID_TAG: "a task"}
    made = dg.DagsterRun(job_name="intake", run_id=str(uuid.uuid4()), status=status, tags=tags)
    return instance.add_run(made).run_id


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    """One tick of the sensor; its cursor afterwards."""
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"road": Road()}) as context:
        recovery.dead_runs(context)
        return context.cursor


def earlier(cursor: str | None, seconds: float) -> str:
    """As if the looks had been so long ago."""
    return json.dumps(
        {
            run_id: (datetime.fromisoformat(at) - timedelta(seconds=seconds)).isoformat()
            for run_id, at in json.loads(cursor or "").items()
        }
    )


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found.status


@pytest.fixture
def long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's server is seconds old: two looks need not be far apart."""
    monkeypatch.setattr(recovery, "FREE_FOR", timedelta(milliseconds=1))


def test_a_run_whose_lock_is_free_twice_is_ended_and_not_before(instance, long_up):
    run_id = run(instance)
    cursor = look(instance)
    assert status(instance, run_id) is DagsterRunStatus.STARTED
    time.sleep(0.01)
    assert json.loads(look(instance, cursor) or "").keys() == {run_id}
    assert status(instance, run_id) is DagsterRunStatus.FAILURE
    assert json.loads(look(instance, cursor) or "") == {}


def test_two_looks_in_quick_succession_are_one(instance):
    run_id = run(instance)
    look(instance, look(instance))
    assert status(instance, run_id) is DagsterRunStatus.STARTED


def test_a_look_before_postgres_started_again_is_no_look(instance, long_up):
    run_id = run(instance)
    ago = earlier(json.dumps({run_id: datetime.now(UTC).isoformat()}), 86_400)
    look(instance, ago)
    assert status(instance, run_id) is DagsterRunStatus.STARTED


@pytest.mark.parametrize(
    ("task", "is_ended"), [(WorkerStatus.UNKNOWN, False), (WorkerStatus.RUNNING, True), (WorkerStatus.FAILED, True)]
)
def test_a_run_that_waits_for_a_worker_is_left_alone(instance, long_up, monkeypatch, task, is_ended):
    """It is ended where a worker took it and died before it said that the run has begun."""
    launcher = type(instance.run_launcher)
    monkeypatch.setattr(launcher, "supports_check_run_worker_health", True)
    monkeypatch.setattr(launcher, "check_run_worker_health", lambda *_: CheckRunHealthResult(task))
    run_id, waiting = run(instance, DagsterRunStatus.STARTING), run(instance, DagsterRunStatus.NOT_STARTED)
    cursor = look(instance)
    time.sleep(0.01)
    look(instance, cursor)
    assert status(instance, run_id) is (DagsterRunStatus.FAILURE if is_ended else DagsterRunStatus.STARTING)
    assert status(instance, waiting) is DagsterRunStatus.NOT_STARTED


def test_a_living_run_takes_its_lock_again_after_postgres_let_go_of_it(instance, url, long_up):
    run_id = run(instance)
    with connect(url) as own, Alive(lambda: connect(url, NAME), run_id, look_seconds=0.05):
        assert without_worker(own, [run_id]) == set()
        own.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", (NAME,))
        while not without_worker(own, [run_id]):
            time.sleep(0.001)
        cursor, ends = look(instance), time.monotonic() + 10
        while without_worker(own, [run_id]):
            assert time.monotonic() < ends
            time.sleep(0.01)
        look(instance, cursor)
        assert status(instance, run_id) is DagsterRunStatus.STARTED
    with connect(url) as own:
        assert without_worker(own, [run_id]) == {run_id}


def test_a_run_goes_on_while_postgres_is_away(url):
    tries = 0

    def away_twice():
        nonlocal tries
        tries += 1
        if tries in (2, 3):
            raise ConnectionError("the store does not answer")
        return connect(url, NAME)

    run_id = str(uuid.uuid4())
    with connect(url) as own, Alive(away_twice, run_id, look_seconds=0.02):
        own.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", (NAME,))
        ends = time.monotonic() + 10
        while tries < 4 or without_worker(own, [run_id]):
            assert time.monotonic() < ends
            time.sleep(0.01)


def test_a_run_that_a_person_ends_is_known_as_ended_by_a_person(instance: dg.DagsterInstance):
    """Else its history reads as of one that failed, and that nobody had asked for it."""
    launcher = Launcher("dagster", broker="memory://", backend="cache+memory://")
    launcher.register_instance(instance)
    run_id = run(instance)
    assert launcher.terminate(run_id)
    ended = instance.get_run_by_id(run_id)
    assert ended
    assert ended.status is DagsterRunStatus.CANCELING
    instance.report_run_canceled(ended)
    assert not launcher.terminate(run_id), "it is over"
    assert not launcher.terminate(str(uuid.uuid4()))
