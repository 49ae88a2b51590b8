"""A setting that makes no sense is told in a sentence, without what it holds; one that does leads every process to one
place."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from dagster_celery.launcher import CeleryRunLauncher

from glp1_pipeline.adapters.landing import Bucket, Folder, landing_zone
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline.sandbox.dagster_home import dagster_env

HIDDEN = "OtterTide"
DATABASES = ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL", "GLP1_METRICS_DATABASE_URL")
AMQP = "amqp://glp1@mq.example.org/%2F"


def settings(home: Path, **more: str) -> Settings:
    urls = dict.fromkeys(DATABASES, "postgresql://glp1@db.example.org/glp1")
    return Settings.from_env({"GLP1_HOME": str(home), **urls, **more})


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("sign", ["/", "@", "%z", " ", "@:/%"])
def test_a_password_whose_signs_are_not_written_with_percent_is_told_and_not_quoted(
    name: str, sign: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is no address .* @ as %40") as told:
        settings(tmp_path, **{name: f"postgresql://glp1:{HIDDEN}{sign}{HIDDEN}@db.example.org:5432/glp1"})
    assert HIDDEN not in str(told.value)


@pytest.mark.parametrize("rest", ["db.example.org/glp1?sslmod=require", "db.example.org:port/glp1"])
def test_an_address_of_postgres_that_its_library_cannot_read_is_told_at_once(rest: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GLP1_DATABASE_URL is no address"):
        settings(tmp_path, GLP1_DATABASE_URL=f"postgresql://glp1@{rest}")


@pytest.mark.parametrize(
    "rest",
    [
        "glp1:p%40ss%3A%2F%25%20@db.example.org/odd%20name%401?sslmode=verify-full&sslrootcert=/etc/ca.crt",
        "glp1@[::1]:5432/glp1",
        "glp1@one.example.org:5432,two.example.org:5433/glp1?target_session_attrs=read-write",
        "/glp1?host=/var/run/postgresql",
    ],
)
def test_every_address_that_its_library_can_read_is_taken_as_it_is(rest: str, tmp_path: Path) -> None:
    assert settings(tmp_path, GLP1_DATABASE_URL=f"postgres://{rest}").store_url() == f"postgresql://{rest}"


def test_no_setting_that_may_hold_a_password_is_in_what_is_shown_of_them(tmp_path: Path) -> None:
    shown = repr(settings(tmp_path, GLP1_LANDING_URL=f"sftp://glp1:{HIDDEN}@files.example.org/in"))
    assert HIDDEN not in shown


def test_a_folder_of_drops_is_the_same_to_every_process_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for given, meant in (("drops", "drops"), (f"file://{tmp_path}/drops", "drops"), ("~/drops", "me/drops")):
        made = settings(tmp_path, GLP1_LANDING_URL=given)
        assert made.landing_url == dagster_env(made)["GLP1_LANDING_URL"] == str(tmp_path / meant)
        cipher: Any = None
        zone = landing_zone(made.landing_url, None, cipher)
        assert (type(zone), zone.path) == (Folder, tmp_path / meant)
    bucket = settings(tmp_path, GLP1_LANDING_URL="memory://drops/in")
    assert dagster_env(bucket)["GLP1_LANDING_URL"] == "memory://drops/in"
    assert isinstance(landing_zone(bucket.landing_url, None, cipher), Bucket)


def test_dagster_and_the_worker_declare_one_queue_alike_since_rabbitmq_refuses_a_second_that_differs(
    tmp_path: Path,
) -> None:
    broker = settings(tmp_path, GLP1_BROKER_URL=AMQP).broker()
    launcher = CeleryRunLauncher("dagster", broker.url, broker.backend, config_source=broker.celery)
    worker = Celery("dagster", broker=broker.url, backend=broker.backend)
    worker.conf.update(task_default_queue="dagster", **broker.celery)
    worker.amqp.queues.select(["dagster"])  # as its option -Q does
    assert _declared(worker) == _declared(launcher.celery) == {"x-max-priority": 10}


def _declared(app: Celery) -> dict[str, Any]:
    queue = app.amqp.queues["dagster"]
    return {"x-max-priority": queue.max_priority, **(queue.queue_arguments or {})}


def test_how_a_run_stands_is_kept_where_every_process_can_read_it(tmp_path: Path) -> None:
    assert settings(tmp_path, GLP1_BROKER_URL=AMQP).broker().backend == f"file://{tmp_path}/broker/results"
    redis = "redis://mq.example.org/0"
    assert settings(tmp_path, GLP1_BROKER_URL=redis).broker().backend == redis
    assert settings(tmp_path, GLP1_BROKER_URL=AMQP, GLP1_BROKER_RESULT_URL=redis).broker().backend == redis
    with pytest.raises(SettingsError, match="every process can read"):
        settings(tmp_path, GLP1_BROKER_URL=AMQP, GLP1_BROKER_RESULT_URL="rpc://")
