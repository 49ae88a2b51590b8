"""What keeps a run from going on is told in Dagster's UI in words that say what to do; what may quote a patient is not.

Not here: the contract (`test_alerts_doors`), the landing zone (`test_landing_door`).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from glp1_pipeline.adapters.cipher import KeyRing
from glp1_pipeline.adapters.store import StoreGone
from glp1_pipeline.defs.alerts import look_and_send
from glp1_pipeline.defs.delivery import deliver
from glp1_pipeline.defs.partitions import today
from glp1_pipeline.defs.resources import KEYS, Road
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline_tests.deliveries import World
from glp1_pipeline_tests.ehr_changes import chart
from glp1_pipeline_tests.other_ehr import Make, OtherEhr


@pytest.fixture
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "GLP1_HOME": str(tmp_path), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url,
        "DAGSTER_REDACT_USER_CODE_ERRORS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "secrets").mkdir(mode=0o700)
    KeyRing.create(tmp_path / "secrets" / KEYS)
    return tmp_path


def told_of(asset: dg.AssetsDefinition, day: str | None = None) -> str:
    """What the page of the run says of the step that failed."""
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize(
            [asset], instance=instance, resources={"road": Road()}, raise_on_error=False, partition_key=day
        )
        (failed,) = [event for event in ran.all_events if event.is_step_failure]
    return str(failed.event_specific_data)


def test_an_ehr_that_may_not_be_spoken_to_as_it_is_set_up(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLP1_EHR_URL", "http://ehr.example.org/fhir")
    assert "It must be https://" in told_of(deliver, str(today()))


def test_an_ehr_that_speaks_another_fhir(home: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    with (
        closing(World(url, "http://127.0.0.1/none", EHR)) as world,
        OtherEhr(Make(statement=lambda of: {**of, "fhirVersion": "5.0.0"})) as ehr,
    ):
        (patient,) = world.patients(1)
        world.plan(patient, chart(patient))
        monkeypatch.setenv("GLP1_EHR_URL", ehr.url)
        assert "another version" in told_of(deliver, str(today()))


def test_a_key_ring_that_is_not_there(home: Path):
    (home / "secrets" / KEYS).rename(home / "elsewhere.json")
    assert "keys.json" in told_of(deliver, str(today()))


def test_a_store_that_does_not_answer_and_who_waits_for_it_hears_the_same(home: Path, monkeypatch: pytest.MonkeyPatch):
    @dg.asset
    def waits(road: Road) -> None:
        monkeypatch.setenv("GLP1_DATABASE_URL", "postgresql://glp1:secret-word@127.0.0.1:9/glp1")
        with pytest.raises(StoreGone):
            road.connect()
        road.connect()

    told = told_of(waits)
    assert "the store does not answer: start it with `glp1 up`" in told
    assert "secret-word" not in told


def test_a_store_that_takes_no_write(home: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    @dg.asset
    def looks(road: Road) -> None:
        as_standby = f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
        monkeypatch.setenv("GLP1_DATABASE_URL", as_standby)
        look_and_send(road)

    assert "the store takes no writes" in told_of(looks)
    assert (home / "run" / "store-away.json").exists(), "and it is noted, so that somebody is called if it lasts"


def test_what_another_class_than_ours_says_stays_masked(home: Path):
    @dg.asset
    def quotes(road: Road) -> None:
        with road.in_words():
            raise ValueError("Jane Canary")

    told = told_of(quotes)
    assert "masked" in told
    assert "Canary" not in told
