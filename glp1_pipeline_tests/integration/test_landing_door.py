"""Whoever may drop a file may not speak as another system: only for sources that the installation names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from glp1_pipeline.adapters import ledger
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline.defs.intake import intake_sensor, receive
from glp1_pipeline.defs.resources import Road, Shown
from glp1_pipeline.sandbox.dagster_home import dagster_env
from glp1_pipeline_tests.small_road import RING, SmallRoad, small_road, submission

REFUSED = "rejected:not_by_this_door"


@pytest.fixture
def road(url: str, tmp_path: Path) -> Iterator[SmallRoad]:
    with small_road(url, tmp_path) as made:
        yield replace(made, named=())


def chart_change(source: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "type": "chart.updated", "source": source, "id": "Patient/7/_history/2",
        "subject": "Patient/7", "time": "2026-11-21T10:00:00Z",
        "data": {"resource_type": "Patient", "resource_id": "7", "version": "2", "deleted": False,
                 "resource": {"resourceType": "Patient", "id": "7"}},
    }  # fmt: skip


def contact_change(source: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "type": "contact.updated", "source": source, "id": "contact/7/_history/2",
        "subject": "7", "time": "2026-11-21T10:00:00Z",
        "data": {"contact_id": "7", "version": "2", "deleted": False, "properties": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "named", "is_taken"),
    [
        (chart_change("/ehr/clinic"), (), False),
        (chart_change("/ehr/clinic"), ("/ehr/clinic",), True),
        (chart_change("/ehr/clinic"), ("/ehr/",), True),
        (chart_change("/ehr/clinic-2"), ("/ehr/clinic", "/crm/"), False),
        (chart_change("/crm/sales"), ("/ehr/", "/crm/"), False),
        (chart_change("/intake/web"), ("/ehr/", "/intake/"), False),
        (chart_change("/ehr/ehr"), ("/ehr/", "/ehr/ehr"), False),
        (contact_change("/crm/sales"), (), False),
        (contact_change("/crm/sales"), ("/crm/sales",), True),
        (contact_change("/crm/crm"), ("/crm/", "/crm/crm"), False),
        (submission(1), (), True),
        (submission(1, source="/a/partner"), (), True),
        (submission(1, source="/ehr/clinic"), (), False),
        (submission(1, source="/ehr/ehr"), ("/ehr/",), False),
        (submission(1, source="/steward/glp1"), ("/steward/",), False),
    ],
)
def test_another_systems_word_is_taken_from_sources_alone_that_are_named(
    road: SmallRoad, event: dict[str, Any], named: tuple[str, ...], is_taken: bool
) -> None:
    road = replace(road, named=named)
    road.drop("a.json", event)
    road.take()
    assert road.events() == {"waiting" if is_taken else REFUSED: 1}
    hints = [hint for (hint,) in road.rows("select hint from phi.events where hint is not null")]
    assert not any(event["source"] in hint for hint in hints)


def test_who_drops_the_id_of_a_true_change_first_does_not_keep_it_out(road: SmallRoad) -> None:
    change = chart_change("/ehr/ehr")
    for forged in (change, submission(1, source="/ehr/ehr", id=change["id"])):
        road.send(forged)
    assert road.events() == {REFUSED: 2}
    true = {**change, "time": "2026-11-21T11:00:00Z"}
    assert ledger.append(road.connection, road.contract, road.cipher, [orjson.dumps(true)]) == 1
    road.replay()
    assert road.events()[REFUSED] == 2  # nor do they come in by a replay


def test_nothing_is_named_by_default_and_the_sandbox_names_what_it_stands_for(tmp_path: Path) -> None:
    home = {
        "GLP1_HOME": str(tmp_path),
        "GLP1_DATABASE_URL": "postgresql://x",
        "GLP1_DAGSTER_DATABASE_URL": "postgresql://x",
    }
    assert Settings.from_env(home).drop_sources == ()
    named = lambda **more: dagster_env(Settings.from_env({**home, **more}))["GLP1_DROP_SOURCES"].split()  # noqa: E731
    assert {"/ehr/", "/crm/"} <= {*named()}
    assert "/ehr/" not in named(GLP1_EHR_URL="https://ehr.example.org/fhir")
    assert named(GLP1_DROP_SOURCES="/ehr/clinic, /crm/sales") == ["/ehr/clinic", "/crm/sales"]
    for wrong in ("/", "ehr", "/ehr"):
        with pytest.raises(SettingsError, match="GLP1_DROP_SOURCES"):
            Settings.from_env({**home, "GLP1_DROP_SOURCES": wrong})


def test_a_landing_zone_that_is_away_is_told_in_the_ui_by_the_sensor_that_waits_for_it(
    road: SmallRoad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    ring = tmp_path / "secrets" / "keys.json"
    ring.parent.mkdir(exist_ok=True)
    told = {name: base64.b64encode(key).decode() for name, key in RING.keys.items()}
    patient_key = base64.b64encode(RING.patient_key).decode()
    ring.write_text(json.dumps({"active": RING.active, "keys": told, "patient_key": patient_key}))
    for name, value in {
        "GLP1_HOME": tmp_path, "GLP1_DATABASE_URL": road.url, "GLP1_DAGSTER_DATABASE_URL": road.url,
        "GLP1_LANDING_URL": tmp_path / "not-mounted",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    sensor = intake_sensor(dg.define_asset_job("intake", selection=dg.AssetSelection.assets("drops", "events")))
    repository = dg.Definitions(assets=[receive], sensors=[sensor], resources={"road": Road()}).get_repository_def()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            instance, repository_def=repository, sensor_name=sensor.name, resources={"road": Road()}
        ) as context,
        pytest.raises(Shown) as told_by,
    ):
        sensor.evaluate_tick(context)
    assert "the landing zone cannot be listed (No such file or directory): mount it" in str(told_by.value)
    assert str(tmp_path) not in str(told_by.value)
