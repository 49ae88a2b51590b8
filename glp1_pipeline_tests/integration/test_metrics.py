"""The metrics: dbt counts them from `ops` alone, as a role that can see nothing else, and they are what a hand counts."""

from __future__ import annotations

import os
import shutil
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.rows import dict_row

from glp1_pipeline import definitions, metrics_definitions
from glp1_pipeline.adapters import dbt, matches
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.defs import metrics
from glp1_pipeline_tests.sample_inputs import ABSENT
from glp1_pipeline_tests.small_road import (
    SmallRoad,
    small_road,
    submission,
    url_of_who_counts,
)

MONDAY = datetime(2026, 1, 12, 12, tzinfo=UTC)
AS_OF = MONDAY + timedelta(days=9)
WEEK, NEXT_WEEK = MONDAY.date(), MONDAY.date() + timedelta(days=7)
CHARTED, NOT_CHARTED = 21, 6


def at(day: float, seconds: float = 0) -> datetime:
    return MONDAY + timedelta(days=day, seconds=seconds)


def person(n: int, when: datetime, **more: Any) -> dict[str, Any]:
    told, weighed = when.isoformat(), (when - timedelta(days=1)).date().isoformat()
    answers = {"anthro.weight_measured_at": weighed, **more}
    return submission(n, time=told, authored_at=told, received_at=told, **answers)


def lead(n: int, when: datetime) -> dict[str, Any]:
    """The CRM tells of somebody before they open the form."""
    known = [{"system": "intake-account:/intake/web", "value": f"canary-{n:07d}"}]
    return {
        "specversion": "1.0", "type": "contact.updated", "source": "/crm/sales", "id": f"contact/{n}/1", "subject": f"{n}",
        "time": when.isoformat(),
        "data": {"contact_id": str(n), "version": "1", "properties": {"firstname": "Lena"}, "identifiers": known},
    }  # fmt: skip


def record(road: SmallRoad, n: int) -> str:
    return str(road.one("select record_id from phi.identifiers where value = %s", f"canary-{n:07d}"))


def deliver(road: SmallRoad, n: int, when: datetime) -> None:
    """As delivery leaves it: the first write of the patient's chart is in the EHR."""
    road.connection.execute(
        "update ops.writes set status = 'delivered', settled_at = %s where target = 'ehr' and n = 1 and patient_id = %s",
        (when, record(road, n)),
    )


def fill(road: SmallRoad) -> None:
    # Twenty-one people press submit on Monday; the n-th has a chart (n + 1) * 100 s later. Six more have none, and of
    # two of these the chart lacks an answer.
    road.send(*(person(n, at(0)) for n in range(CHARTED)))
    road.send(*(person(n, at(1)) for n in range(CHARTED, CHARTED + NOT_CHARTED - 2)))
    road.send(
        *(person(n, at(1), **{"hx.men2": ABSENT}) for n in (CHARTED + NOT_CHARTED - 2, CHARTED + NOT_CHARTED - 1))
    )
    for n in range(CHARTED):
        deliver(road, n, at(0, 100 * (n + 1)))
    # One was a lead a week before; one is the same person as another, who came a day earlier; both in the next week.
    road.send(lead(100, at(-7)), person(100, at(7)), person(101, at(7)), person(102, at(8)))
    matches.decide(
        road.connection, road.contract, road.cipher, "merge", (record(road, 102), record(road, 101)), "steward-7", "one"
    )
    road.chart()
    deliver(road, 100, at(7, 3600))
    deliver(road, 102, at(8, 600))
    # As if all this had happened then: an hour from submission to the queue, the writes decided at once.
    road.connection.execute(
        "update ops.provider_queue q set entered_at = s.submitted_at + interval '1 hour'"
        " from ops.patient_starts s where s.patient_id = q.patient_id"
    )
    road.connection.execute("update ops.writes set created_at = %s where target = 'ehr'", (at(0),))
    fill_sync(road)


def fill_sync(road: SmallRoad) -> None:
    """Ten writes to another target: seven delivered, two of them at the second try; one given up, one pending, one off."""
    states = ["delivered"] * 7 + ["dead", "ready", "cancelled"]
    for n, state in enumerate(states):
        (write_id,) = road.connection.execute(
            "insert into ops.writes (target, patient_id, n, kind, resources, status, tries, events, created_at,"
            " settled_at) values ('crm', %s, 1, 'crm_contact', 1, %s, 1, '{}', %s, %s) returning write_id",
            (uuid.UUID(int=n), state, at(0), at(0, 500) if state == "delivered" else None),
        ).fetchone() or (0,)  # fmt: skip
        outcomes = {"delivered": ["delivered"], "dead": ["retry", "retry", "dead"]}.get(state, [])
        for attempt, outcome in enumerate([*(["in_doubt"] if n < 2 else []), *outcomes], start=1):
            road.connection.execute(
                "insert into ops.deliveries (write_id, attempt, at, ms, outcome, delivered_on) values (%s, %s, %s, 5, %s, %s)",
                (write_id, attempt, at(0, 100 * attempt), outcome, MONDAY.date()),
            )
    for alert, opened, detected, resolved in (
        ("write_waiting", 0, 60, 600), ("breaker_open", 1000, 1030, 2000), ("write_dead", 2000, 2000, None),
        ("queue_overdue", 0, 0, 90_000),
    ):  # fmt: skip
        road.connection.execute(
            "insert into ops.incidents (alert, scope, severity, owner, called, link, affected, most_affected, opened_at,"
            " detected_at, resolved_at) values (%s, 'ehr', 'critical', 'integration', 'x', '', 1, 1, %s, %s, %s)",
            (alert, at(0, opened), at(0, detected), None if resolved is None else at(0, resolved)),
        )


@pytest.fixture(scope="module")
def counted(
    url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[tuple[str, date, str], dict[str, Any]]]:
    """Metric -> (kind of window, its first day, target) -> row."""
    with small_road(url, tmp_path_factory.mktemp("road")) as road:
        fill(road)
    folder = tmp_path_factory.mktemp("dbt")
    built = dbt.build(url_of_who_counts(url), folder, {"as_of": AS_OF.isoformat()})
    assert (set(built.models.values()), dict(built.failed_tests)) == ({"success"}, {})
    return read(url)


def read(url: str) -> dict[str, dict[tuple[str, date, str], dict[str, Any]]]:
    found: dict[str, dict[tuple[str, date, str], dict[str, Any]]] = {}
    with psycopg.connect(url_of_who_counts(url)) as connection, connection.cursor(row_factory=dict_row) as cursor:
        for metric in dbt.metrics():
            rows = cursor.execute(f"select * from analytics.{metric.name}".encode()).fetchall()
            found[metric.name] = {(r["window_kind"], r["window_from"], r.get("target", "")): r for r in rows}
    return found


def test_lead_to_chart_is_what_a_hand_counts_and_who_has_no_chart_is_told_beside_it(counted: Any) -> None:
    week = counted["lead_to_chart"]["week", WEEK, ""]
    assert (week["charts"], week["p50_seconds"], week["p90_seconds"]) == (21, 1100, 1900)
    assert week["submitted_to_chart_p50_seconds"] == 1100
    assert (week["started"], week["started_with_chart"], week["started_without_chart"]) == (27, 21, 6)
    assert week["conversion"] == pytest.approx(21 / 27, abs=1e-4)
    # The 14th of 27, where the six without a chart wait longer than all.
    assert week["censored_p50_seconds"] == 1400
    assert week["longest_wait_seconds"] == (AS_OF - at(1)).total_seconds()
    assert week["has_enough"] is True


def test_the_clock_begins_with_the_first_word_of_anybody_and_a_merged_person_has_one(counted: Any) -> None:
    week = counted["lead_to_chart"]["week", NEXT_WEEK, ""]
    # The lead: fourteen days and an hour. The merged: since the first of the two records, a day and ten minutes.
    a_day, fortnight = 86_400 + 600, 14 * 86_400 + 3600
    assert (week["charts"], week["p50_seconds"], week["started"]) == (2, (a_day + fortnight) / 2, 1)
    before = counted["lead_to_chart"]["week", WEEK - timedelta(days=7), ""]
    assert (before["charts"], before["started"], before["conversion"]) == (0, 1, 1.0)
    assert week["has_enough"] is False


def test_the_last_30_days_hold_what_all_their_weeks_hold(counted: Any) -> None:
    rows = counted["lead_to_chart"]
    (newest,) = [row for (kind, _, _), row in rows.items() if kind == "last_30_days"]
    weeks = [row for (kind, _, _), row in rows.items() if kind == "week"]
    for column in ("charts", "started", "started_with_chart", "started_without_chart"):
        assert newest[column] == sum(row[column] for row in weeks)
    assert (newest["charts"], newest["started"]) == (23, 29)


def test_completeness_counts_who_may_be_reviewed_and_who_pressed_submit(counted: Any) -> None:
    rows = counted["chart_completeness_before_first_review"]
    week = rows["week", WEEK, ""]
    assert (week["submitted"], week["submitted_complete"]) == (27, 25)
    assert week["submitted_completeness"] == pytest.approx(25 / 27, abs=1e-4)
    assert 0.9 < week["mean_score"] < 1
    reviewable = [row["reviewable"] for (kind, _, _), row in rows.items() if kind == "week"]
    assert sum(reviewable) == 27
    assert (week["reviewable"], week["completeness"], week["submitted_to_queue_p50_seconds"]) == (25, 1.0, 3600)
    assert sum(row["submitted"] for (kind, _, _), row in rows.items() if kind == "week") == 29


def test_the_sync_fails_in_what_was_given_up_and_not_in_what_was_tried_again(counted: Any) -> None:
    week = counted["sync_failure_rate"]["week", WEEK, "crm"]
    assert (week["writes"], week["failed"], week["delivered"], week["pending"]) == (9, 1, 7, 1)
    assert week["failure_rate"] == pytest.approx(1 / 9, abs=1e-4)
    assert (week["attempts"], week["failed_attempts"]) == (12, 5)


def test_recovery_averages_what_ended_and_counts_what_is_open(counted: Any) -> None:
    week = counted["mean_time_to_recovery"]["week", WEEK, ""]
    assert (week["resolved"], week["mttr_seconds"], week["mttd_seconds"]) == (2, 800, 45)
    assert (week["opened"], week["still_open"]) == (3, 1)
    assert week["oldest_open_seconds"] == (AS_OF - at(0, 2000)).total_seconds()
    assert (week["writes_recovered"], week["write_recovery_p50_seconds"]) == (2, 400)


def test_who_counts_can_see_ops_alone_and_change_nothing_there(url: str, counted: Any) -> None:
    if "GLP1_TEST_DATABASE_URL" in os.environ:
        pytest.skip("this server has no such role")
    for statement in (
        "select body from phi.events", "select value from phi.identifiers", "select doc from phi.patient_values",
        "update ops.writes set status = 'dead'", "delete from ops.tasks", "create table ops.x (n int)",
    ):  # fmt: skip
        with psycopg.connect(url_of_who_counts(url)) as who, pytest.raises(psycopg.errors.InsufficientPrivilege):
            who.execute(statement.encode())
    with psycopg.connect(url_of_who_counts(url)) as who:
        assert who.execute("select count(*) from ops.patient_starts").fetchone() == (29,)


def test_analytics_holds_no_person_not_even_a_key(url: str, counted: Any) -> None:
    with psycopg.connect(url_of_who_counts(url)) as who:
        columns = who.execute(
            "select table_name, column_name, data_type from information_schema.columns where table_schema = 'analytics'"
        ).fetchall()
    assert {table for table, _, _ in columns} == {metric.name for metric in dbt.metrics()}
    texts = {name for _, name, kind in columns if kind not in ("bigint", "double precision", "boolean", "date")}
    assert texts == {"window_kind", "target"}
    assert {target for _, _, target in counted["sync_failure_rate"]} == {"ehr", "crm"}


def test_a_metric_that_cannot_be_counted_fails_by_its_name_and_leaves_the_last_numbers(
    url: str, counted: Any, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(dbt.PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "models/marts/lead_to_chart.sql").write_text("select no_such_column from {{ ref('stg_patients') }}")
    with pytest.raises(dbt.DbtFailure, match=r"^not made: lead_to_chart; see .*dbt\.log$"):
        dbt.build(url_of_who_counts(url), tmp_path / "dbt", {"as_of": AS_OF.isoformat()}, project)
    assert read(url)["lead_to_chart"] == counted["lead_to_chart"]


def test_the_asset_builds_them_and_shows_the_last_30_days(
    url: str, counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_METRICS_DATABASE_URL", url_of_who_counts(url))
    done = dg.materialize([metrics.build_metrics])
    assert done.success
    assert {c.passed for c in done.get_asset_check_evaluations()} == {True}
    shown = {
        m.asset_key.to_user_string(): {k: v.value for k, v in m.metadata.items()}
        for m in (e.step_materialization_data.materialization for e in done.get_asset_materialization_events())
    }
    assert set(shown) == {metric.name for metric in dbt.metrics()}
    assert (shown["lead_to_chart"], shown["sync_failure_rate"]) == ({"charts": 0, "started without chart": 0}, {})


@pytest.mark.parametrize(("has_enough", "shown"), [(True, {"charts": 3, "p50 seconds": 7.0}), (False, {"charts": 3})])
def test_of_too_few_the_count_alone_is_shown(has_enough: bool, shown: dict[str, Any]) -> None:
    (metric,) = [m for m in dbt.metrics() if m.name == "lead_to_chart"]
    row = dict.fromkeys(metric.headline) | {"charts": 3, "p50_seconds": 7.0, "has_enough": has_enough}
    assert metrics.numbers(metric, [row]) == shown


def test_the_second_location_loads_and_stands_on_assets_of_the_first() -> None:
    dg.Definitions.validate_loadable(metrics_definitions.defs)
    first = {key for node in definitions.defs.assets or () for key in node.keys}  # type: ignore[union-attr]
    mine = {s.key for s in metrics.build_metrics.specs}
    asked = {dep.asset_key for s in metrics.build_metrics.specs for dep in s.deps}
    assert len(mine) == 4
    assert asked <= first, "a misspelt table would be an asset that nobody makes"
    assert mine.isdisjoint(first)
    assert all(s.description and s.owners and s.group_name == "metrics" for s in metrics.build_metrics.specs)


def test_troubles_of_the_sync_are_alerts_of_the_contract() -> None:
    project = (dbt.PROJECT / "dbt_project.yml").read_text("utf-8")
    (line,) = [line for line in project.splitlines() if "sync_alerts:" in line]
    named = {name.strip() for name in line.partition("[")[2].rstrip("]").split(",")}
    assert named <= load_alerts().alerts.keys()


def test_where_no_role_was_set_up_the_schedule_says_what_to_do(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    monkeypatch.delenv("GLP1_METRICS_DATABASE_URL", raising=False)
    told = metrics.metrics_schedule(dg.build_schedule_context())
    assert isinstance(told, dg.SkipReason)
    assert "GLP1_METRICS_DATABASE_URL" in (told.skip_message or "")
