"""Conflicts between systems in a real Postgres: opened, kept, closed, and told by patient, by field and by day."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from glp1_pipeline.adapters.charts.conflicts import conflicts_of, drift, open_conflicts, save_conflicts
from glp1_pipeline.adapters.cipher import Cipher
from glp1_pipeline.defs import conflicts as wiring
from glp1_pipeline.domain.chart import Chart, Conflict
from glp1_pipeline.domain.charting import Known, PatientOutcome
from glp1_pipeline.domain.gates import GateResult
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import RING

DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENT, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
KNOWN = Known(patients={PATIENT, OTHER})


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as made:
        made.execute("truncate ops.field_conflicts")
        yield made


def conflict(name: str = "demo.dob", source: str = "intake", outcome: Any = "task", n: int = 1) -> Conflict:
    rule = "hold_and_block" if outcome == "task" else "latest_verified"
    return Conflict(name, rule, "ehr", source, str(uuid.UUID(int=n)), DAY, outcome, "clinical_review")


def outcome(*conflicts: Conflict, patient_id: str = PATIENT) -> PatientOutcome:
    chart = Chart(patient_id, conflicts=conflicts)
    return PatientOutcome(chart, [], DAY, {}, GateResult(patient_id, "g", "1", "held", (), 0.0), [], [], None)


def counts(connection: psycopg.Connection) -> tuple[int, int]:
    rows = connection.execute("select closed_at is null from ops.field_conflicts").fetchall()
    return sum(is_open for (is_open,) in rows), len(rows)


def test_a_batch_of_new_patients_who_agree_asks_the_database_nothing() -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the database was asked: {name}")

    save_conflicts(Untouchable(), [outcome()], DAY, Known())  # type: ignore[arg-type]


def saved(connection: psycopg.Connection, *batch: Any, **named: Any) -> dict[str, int]:
    """Save a batch; how many conflicts it opened and closed."""
    opened = "select patient_id, field, source from ops.field_conflicts where closed_at is null"
    before = set(connection.execute(opened).fetchall())
    save_conflicts(connection, *batch, **named)
    after = set(connection.execute(opened).fetchall())
    return {"opened": len(after - before), "closed": len(before - after)}


def test_a_conflict_is_opened_kept_by_a_replay_closed_when_gone_and_opened_again(connection: psycopg.Connection):
    both = outcome(conflict(), conflict("demo.mobile", "ehr", "merged"))
    assert saved(connection, [both], DAY, Known()) == {"opened": 2, "closed": 0}
    for later in (1, 2):
        replayed = saved(connection, [both], DAY + timedelta(days=later), KNOWN)
        assert replayed == {"opened": 0, "closed": 0}
    assert {row["day"] for row in drift(connection)} == {DAY.date()}
    assert saved(connection, [outcome(conflict())], DAY, KNOWN) == {"opened": 0, "closed": 1}
    assert counts(connection) == (1, 2)
    again = DAY + timedelta(days=3)
    assert saved(connection, [both], again, KNOWN) == {"opened": 1, "closed": 0}
    assert {row["field"]: row["day"] for row in drift(connection)} == {
        "demo.dob": DAY.date(), "demo.mobile": again.date(),
    }  # fmt: skip


def test_another_patients_conflicts_stay_and_those_of_a_retired_record_close(connection: psycopg.Connection):
    saved(connection, [outcome(conflict()), outcome(conflict(), patient_id=OTHER)], DAY, Known())
    assert saved(connection, [outcome()], DAY, KNOWN)["closed"] == 1
    assert [len(conflicts_of(connection, p)) for p in (PATIENT, OTHER)] == [0, 1]
    assert saved(connection, [], DAY, Known(), retired=[OTHER])["closed"] == 1
    assert counts(connection) == (0, 2)


def test_a_person_reads_which_rule_settled_what_since_when_and_never_a_value(connection: psycopg.Connection):
    saved(connection, [outcome(conflict())], DAY, Known())
    (told,) = conflicts_of(connection, PATIENT)
    assert told == {
        "field": "demo.dob", "rule": "hold_and_block", "source": "intake", "owner": "ehr", "outcome": "task",
        "stage": "clinical_review", "since": DAY,
    }  # fmt: skip


def test_the_drift_report_counts_by_day_system_field_and_rule(connection: psycopg.Connection):
    saved(connection, [outcome(conflict()), outcome(conflict(), patient_id=OTHER)], DAY, Known())
    saved(connection, [outcome(conflict()), outcome(patient_id=OTHER)], DAY, KNOWN)
    (row,) = drift(connection, DAY.date())
    assert row == {
        "day": DAY.date(), "system": "intake", "field": "demo.dob", "rule": "hold_and_block", "outcome": "task",
        "times": 2, "open": 1,
    }  # fmt: skip
    assert drift(connection, date(2026, 1, 1)) == []
    assert json.dumps(open_conflicts(connection))
    assert [(r["field"], r["open"]) for r in open_conflicts(connection)] == [("demo.dob", 1)]


class Store:
    """The road's door to the store alone."""

    def __init__(self, url: str) -> None:
        self.url, self.contract, self.cipher = url, contract(), Cipher(RING)

    def connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, application_name=name)


def counted(url: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.materialize([wiring.count_conflicts], instance=instance, resources={"road": Store(url)})


def test_the_count_plots_by_field_and_rule_and_warns_only_when_more_are_open(connection: psycopg.Connection, url: str):
    with dg.DagsterInstance.ephemeral() as instance:
        passed = []
        for opened in ([], [conflict()], [conflict()], [conflict(), conflict("demo.mobile", "ehr", "merged")], []):
            saved(connection, [outcome(*opened)], DAY, KNOWN)
            result = counted(url, instance)
            passed.append(result.get_asset_check_evaluations()[0].passed)
        assert passed == [True, False, True, False, True]
        saved(connection, [outcome(conflict())], DAY, KNOWN)
        (field, day) = counted(url, instance).get_asset_materialization_events()
        numbers = {name: value.value for name, value in field.materialization.metadata.items()}
        assert numbers["open conflicts"] == numbers["for a steward"] == 1
        assert numbers["field demo.dob"] == numbers["rule hold_and_block"] == 1
        table = str(day.materialization.metadata["by day"].value)
        assert "| 2026-11-20 | intake | demo.dob | hold_and_block | task | 1 | 1 |" in table
