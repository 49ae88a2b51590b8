"""Patients whose treatment goes on by day on a small road, with our own clock beside it, and doors that reach that road.

Here: walking days, keys and settings. Not here: any expectation, and messages (`refills`, `treatments`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import clock
from glp1_pipeline.cli import main
from glp1_pipeline.defs.resources import contract
from glp1_pipeline_tests import refills, treatments
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.small_road import RING, SmallRoad, small_road
from glp1_pipeline_tests.treatments import dispensed, ordered

ACCOUNT = "canary-0000001"
WINDOW_ON = 24.9
"""Days of the treatment of `begin`, shortly after the check-in was missed and after the refill window opened."""


@contextmanager
def reachable_road(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    """A road that the command line and Dagster's jobs reach by their settings."""
    ring = folder / "secrets" / "keys.json"
    ring.parent.mkdir()
    told = {name: base64.b64encode(key).decode() for name, key in RING.keys.items()}
    patient_key = base64.b64encode(RING.patient_key).decode()
    ring.write_text(json.dumps({"active": RING.active, "keys": told, "patient_key": patient_key}))
    for name, value in {"GLP1_HOME": str(folder), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url}.items():
        monkeypatch.setenv(name, value)
    with small_road(url, folder) as made:
        yield made.under(contract())


def begin_lately(monkeypatch: pytest.MonkeyPatch, day: float) -> None:
    """Treatments began so many days ago: what people say now is said on that day of them."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=day)
    for module in (treatments, refills):
        monkeypatch.setattr(module, "BEGAN", began)


def begin(road: SmallRoad, account: str = ACCOUNT, **answers: Any) -> None:
    """An intake, an order of the starting dose, and four pens handed over on the third day."""
    road.send(
        intake(account, **answers),
        of(ordered(0, 0.25, account=account), account),
        of(dispensed(3, 0.25, account=account), account),
    )


def of(event: dict[str, Any], account: str) -> dict[str, Any]:
    """An event of the treatment of another account: two people's orders have ids of their own."""
    data = dict(event["data"])
    for key in ("medication_request_ref", "dispense_ref"):
        if key in data:
            data[key] = f"{account}-{data[key]}"
    return {**event, "data": data}


def ring(road: SmallRoad, day: float, rounds: int = 20) -> int:
    """Move the clock to that day of the treatment, and chart all that follows; how many moments were reached."""
    reached = 0
    for _ in range(rounds):
        now = treatments.BEGAN + timedelta(days=day)
        if not (more := clock.ring(road.connection, road.contract, road.cipher, now=now)):
            return reached
        reached += more
        road.chart()
    raise AssertionError("the clock does not come to rest")


def held(road: SmallRoad, account: str = ACCOUNT, **answers: Any) -> str:
    """A request in the window whose check-in is whole, but for these answers; our id of it."""
    begin(road, account)
    ring(road, 20)
    road.send(checkin(22, account=account, **answers))
    ring(road, WINDOW_ON)
    road.send(requested(25, account=account))
    return request_of(road, account)


def patient_of(road: SmallRoad, account: str = ACCOUNT) -> str:
    return road.one("select record_id::text from phi.identifiers where value = %s", account)


def request_of(road: SmallRoad, account: str = ACCOUNT) -> str:
    return road.one(
        "select refill_id::text from ops.refills where patient_id = %s and status = 'open'", patient_of(road, account)
    )


def stands(road: SmallRoad, refill_id: str) -> tuple[str, str]:
    """Outcome and rule."""
    (found,) = road.rows("select outcome, decided_by from ops.refills where refill_id = %s", refill_id)
    return found


SIDE_EFFECT: dict[str, Any] = {"side_effects": [{"symptom": "nausea", "severity": "severe"}]}
NEW_FLAG: dict[str, Any] = {"neck_mass": "yes"}


class Store:
    """The road's door to the store, contract and cipher, for assets and sensors."""

    def __init__(self, road: SmallRoad) -> None:
        self.url, self.contract, self.cipher = road.url, road.contract, road.cipher

    def connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, application_name=name)


def ask(*arguments: str, code: int = 0) -> Any:
    """The command line's answer in JSON; what it says where it ends with another code."""
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


def say(*arguments: str, code: int = 0) -> str:
    """The command line's answer in words."""
    done = CliRunner().invoke(main, [*arguments])
    assert done.exit_code == code, done.output
    return done.output
