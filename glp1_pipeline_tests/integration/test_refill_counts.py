"""Check-ins and refills in numbers: what plots, and which check says what, in a real Postgres and a real Dagster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from glp1_pipeline.defs import followup, refill
from glp1_pipeline_tests.refill_road import (
    NEW_FLAG,
    SIDE_EFFECT,
    Store,
    begin,
    begin_lately,
    held,
    ring,
)
from glp1_pipeline_tests.refills import by_provider, checkin, overridden, requested
from glp1_pipeline_tests.small_road import SmallRoad, small_road
from glp1_pipeline_tests.treatments import dispensed


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    begin_lately(monkeypatch, 25.5)
    with small_road(url, tmp_path) as made:
        yield made


def counted(road: SmallRoad) -> tuple[dict[str, dict[str, Any]], dict[str, bool]]:
    """Numbers by asset, and checks."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [followup.count_follow_ups, refill.count_refills], instance=instance, resources={"road": Store(road)},
            selection=["follow_ups", "refills", "refill_decisions", "refill_overrides"],
        )  # fmt: skip
        numbers = {
            event.materialization.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in done.get_asset_materialization_events()
        }
        return numbers, {check.check_name: check.passed for check in done.get_asset_check_evaluations()}


def test_on_an_empty_road_all_is_zero_and_every_check_passes(road: SmallRoad):
    numbers, passed = counted(road)
    assert set(numbers) == {"follow_ups", "refills", "refill_decisions", "refill_overrides"}
    assert numbers["refill_decisions"]["decisions"] == 0
    assert set(passed.values()) == {True}


def test_check_ins_plot_by_status_with_the_time_that_is_left_for_exceptions(road: SmallRoad):
    begin(road)
    begin(road, "canary-0000002")
    ring(road, 23.6)
    road.send(checkin(23.7, account="canary-0000002"))
    numbers, passed = counted(road)
    found = numbers["follow_ups"]
    assert (found["status missed"], found["status completed"], found["open exceptions"]) == (1, 1, 1)
    assert "hours to the window (least)" not in found, "its window has opened by now"
    assert found["open exceptions, window open"] == 1
    assert (found["answered late in 28 days"], found["never answered in 28 days"]) == (1, 1)
    assert passed["exceptions_before_the_window"], "we heard of the hand-over just now, long after the window"


def test_an_exception_that_came_after_its_window_fails_the_check_where_we_knew_of_the_supply_in_time(road: SmallRoad):
    begin(road)
    ring(road, 23.6)
    assert counted(road)[1]["exceptions_before_the_window"]
    road.connection.execute(
        "update phi.events set received_at = received_at - interval '20 days' where type <> 'followup.missed'"
    )
    numbers, passed = counted(road)
    assert not passed["exceptions_before_the_window"]
    assert numbers["follow_ups"]["exceptions in 28 days"] == 1
    road.connection.execute(
        "update phi.events set received_at = (select missed_at + interval '1 min' from ops.follow_ups) where type = 'followup.missed'"
    )
    assert counted(road)[1]["exceptions_before_the_window"], "reached a minute after it was due, long before the window"
    road.connection.execute("update ops.follow_ups set window_at = missed_at - interval '1 hour'")
    assert not counted(road)[1]["exceptions_before_the_window"]


def test_moments_that_are_due_and_do_not_ring_warn(road: SmallRoad):
    begin(road)
    numbers, passed = counted(road)
    assert (passed["clocks_are_on_time"], numbers["follow_ups"]["moments due"]) == (False, 1)
    ring(road, 25.5)
    numbers, passed = counted(road)
    assert (passed["clocks_are_on_time"], numbers["follow_ups"]["moments due"]) == (True, 0)


def test_requests_and_decisions_plot_by_outcome_rule_and_reason(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    held(road, "canary-0000002")
    held(road, "canary-0000003", **NEW_FLAG)
    road.send(by_provider("refill.approved", 25.3, account="canary-0000002", refill_id="request-25"))
    numbers, passed = counted(road)
    requests = numbers["refills"]
    assert (requests["status open"], requests["status approved"]) == (2, 1)
    assert (requests["open escalate"], requests["open hold_urgent"]) == (1, 1)
    assert requests["oldest escalate (hours)"] == pytest.approx(12, abs=0.1)
    assert (requests["reason nausea:severe"], requests["reason NECK_MASS"]) == (1, 1)
    assert requests["hours to the queue (median)"] == 0
    assert requests["went on against a hold"] == 0
    decisions = numbers["refill_decisions"]
    assert (decisions["decisions"], decisions["versions of the rules"]) == (3, 1)
    assert (decisions["outcome provider_queue"], decisions["rule red_symptom"], decisions["escalate in 7 days"]) == (
        1,
        1,
        1,
    )
    assert set(passed.values()) == {True}


def test_a_refill_that_went_on_without_its_check_in_fails_the_check(road: SmallRoad):
    begin(road)
    ring(road, 25)
    road.send(requested(25.1), by_provider("refill.approved", 25.2, refill_id="request-25.1"))
    numbers, passed = counted(road)
    assert not passed["no_refill_without_its_fields"]
    assert not passed["none_went_on_against_a_hold"]
    assert numbers["refills"]["went on against a hold in 30 days"] == 1


def test_a_refill_that_was_held_and_handed_over_all_the_same_warns_and_lacks_no_field(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    road.send(dispensed(25.3, 0.25, name="again"))
    _, passed = counted(road)
    assert passed["no_refill_without_its_fields"]
    assert not passed["none_went_on_against_a_hold"]


def test_a_request_in_the_queue_whose_check_in_lacks_something_is_seen_whatever_was_decided(road: SmallRoad):
    held(road)
    assert counted(road)[1]["no_refill_without_its_fields"]
    road.connection.execute("update ops.follow_ups set missing = '{anthro.weight:absent}', answered_at = null")
    assert not counted(road)[1]["no_refill_without_its_fields"]


def test_records_are_proven_and_one_that_is_not_what_was_kept_fails_the_check(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    held(road, "canary-0000002")
    assert counted(road)[1]["records_decide_again_the_same"]
    (row,) = road.rows("select decision_id::text from phi.refill_decisions where outcome = 'escalate'")
    kid, body = road.cipher.seal(b"{}", f"refill_decisions|{row[0]}")
    road.connection.execute(
        "update phi.refill_decisions set kid = %s, body = %s where decision_id = %s", (kid, body, row[0])
    )
    assert not counted(road)[1]["records_decide_again_the_same"]


def test_overrides_plot_with_their_rate_by_reason_and_role_and_warn_when_they_grow(road: SmallRoad, monkeypatch):
    for n in range(1, 5):
        held(road, f"canary-{n:07d}", **SIDE_EFFECT)
    road.send(overridden(25.1, "request-25", ["side_effect"]))
    by_pharmacist: dict[str, Any] = {"role": "pharmacist", "reason_code": "EDUCATION"}
    road.send(overridden(25.2, "request-25", ["side_effect"], name="2", account="canary-0000002", **by_pharmacist))
    numbers, passed = counted(road)
    found = numbers["refill_overrides"]
    assert (found["overrides"], found["in force"], found["rate"]) == (2, 2, 50.0)
    assert (found["rate role provider"], found["rate role pharmacist"]) == (25.0, 25.0)
    assert (found["rate reason ASSESSED_PATIENT"], found["reason EDUCATION"]) == (25.0, 1)
    assert (found["rate reason OTHER"], found["role ops_lead"], found["rate role data_steward"]) == (0, 0, 0)
    assert passed["overrides_do_not_grow"], "two say nothing yet"
    monkeypatch.setattr(refill, "FEWEST", 2)
    assert not counted(road)[1]["overrides_do_not_grow"]
    road.connection.execute(
        "insert into ops.refills select gen_random_uuid(), patient_id, family, channel, 'closed', outcome, decided_by,"
        " reasons, since, until_at, requested_at - interval '40 days', queued_at, ended_at, decisions, decision_id,"
        " is_overridden, is_against_hold, event_id, contract_version from ops.refills limit 1"
    )
    road.connection.execute(
        "insert into ops.refill_overrides select %s, refill_id, patient_id, rules, flags, reason, role, actor,"
        " since - interval '40 days', expires_at - interval '40 days' from ops.refill_overrides limit 1",
        (uuid.uuid4(),),
    )
    assert counted(road)[1]["overrides_do_not_grow"], "they were a hundred of a hundred before"


def test_nothing_of_a_patient_is_in_what_dagster_is_told(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    road.send(overridden(25.1, "request-25", ["side_effect"]))
    numbers, _ = counted(road)
    ids = [
        str(value) for row in road.rows("select patient_id, refill_id, decision_id from ops.refills") for value in row
    ]
    told = str(numbers)
    assert not any(one in told for one in ids)
    assert "Canary" not in told
    assert "canary" not in told
    assert all(isinstance(value, int | float) for values in numbers.values() for value in values.values())
