"""Check-ins and refills on the whole road: decisions that stay, the clock that rings once, and where a merge leads."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import pytest

from glp1_pipeline.adapters import clock, ledger
from glp1_pipeline.adapters.charts import save
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.resealing import reseal
from glp1_pipeline_tests.refills import by_provider, checkin, intake, overridden, requested
from glp1_pipeline_tests.small_road import RING, SmallRoad, connect, empty_tables
from glp1_pipeline_tests.treatments import at, dispensed, message, ordered

START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
SEVERE = checkin(24, side_effects=[{"symptom": "nausea", "severity": "severe"}])
TABLES = ("follow_ups", "refills", "refill_overrides", "clocks", "tasks", "medication_courses", "risk_flags")
OTHER = "canary-0000002"


def when(day: float) -> datetime:
    return datetime.fromisoformat(at(day))


def walk(road: SmallRoad, until: float) -> int:
    """Let the clock ring until a day; how often it did."""
    rung = 0
    while now := clock.ring(road.connection, road.contract, road.cipher, when(until)):
        road.chart()
        rung += now
    return rung


def refills(road: SmallRoad) -> list[tuple]:
    return road.rows("select status, outcome, decided_by from ops.refills order by requested_at, refill_id")


def meaning(road: SmallRoad) -> dict[str, str]:
    return {name: road.fingerprint()[name] for name in TABLES}


def bring(road: SmallRoad, event: dict[str, Any]) -> None:
    ledger.append(road.connection, road.contract, road.cipher, [orjson.dumps(event)])
    road.chart()


def test_a_request_without_context_is_not_eligible_and_goes_on_when_the_check_in_comes(road: SmallRoad):
    road.send(*START, requested(24))
    assert refills(road) == [("open", "not_eligible", "followup_missing")]
    road.send(checkin(25))
    assert refills(road) == [("open", "provider_queue", "complete")]
    assert road.one("select count(*) from phi.refill_decisions") == 2
    assert road.balance().faults == []


def test_a_decision_is_sealed_and_can_be_neither_changed_nor_deleted(road: SmallRoad):
    road.send(*START, checkin(24), requested(25))
    decision_id, kid, body = road.rows("select decision_id::text, kid, body from phi.refill_decisions")[0]
    doc = orjson.loads(road.cipher.open(kid, bytes(body), f"refill_decisions|{decision_id}"))
    assert doc["decision"]["outcome"] == "provider_queue"
    assert doc["inputs"]["anthro.weight"]["value"] == 104.0
    assert b"104" not in bytes(body)
    for statement in (
        "update phi.refill_decisions set outcome = 'hold'",
        "update phi.refill_decisions set sha256 = ''",
        "delete from phi.refill_decisions",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="never changed and never deleted"):
            road.connection.execute(statement)
    road.connection.execute("update phi.refill_decisions set kid = kid, body = body")  # another key may seal it


def test_the_rules_that_decided_are_kept_beside_the_decisions(road: SmallRoad):
    road.send(*START, checkin(24), requested(25))
    version, document = road.rows("select rules_version, document from ops.refill_rules")[0]
    assert version == road.contract.refills.version
    assert document.encode() == road.contract.refills.document


def test_three_replays_leave_one_state_and_no_new_decision(road: SmallRoad):
    road.send(*START, SEVERE, requested(25), overridden(26, "request-25", ["side_effect"], days=2))
    walk(road, 60)
    before, decisions = road.fingerprint(), road.one("select count(*) from phi.refill_decisions")
    for _ in range(3):
        done = road.replay()
        assert (done.writes, done.tasks_opened, done.tasks_closed) == (0, 0, 0)
        assert road.fingerprint() == before
    assert road.one("select count(*) from phi.refill_decisions") == decisions
    assert road.balance().faults == []


def test_another_table_of_rules_decides_the_past_anew_and_what_was_decided_stays(road: SmallRoad):
    road.send(*START, SEVERE, requested(25))
    rules = road.contract.refills
    lenient = rules.model_copy(update={"rules": tuple(rule for rule in rules.rules if rule.rule != "side_effect")})
    road.under(road.contract.model_copy(update={"refills": lenient, "version": "another"})).replay()
    assert refills(road) == [("open", "provider_queue", "complete")]
    assert road.rows("select decided_by, rules_version from phi.refill_decisions order by 1") == [
        ("complete", lenient.version),
        ("side_effect", rules.version),
    ]


def test_the_clock_rings_each_moment_once_and_the_exception_comes_before_the_window(road: SmallRoad):
    road.send(*START)
    assert walk(road, 10) == 0
    assert walk(road, 60) == 4
    assert walk(road, 400) == 0
    assert road.rows(
        "select type, count(*) from phi.events where source = '/pipeline/clock' group by 1 order by 1"
    ) == [
        ("followup.due", 2),
        ("followup.missed", 1),
        ("followup.requested", 1),
    ]
    assert road.one("select missed_at < window_at from ops.follow_ups")
    assert road.rows("select code, due_at = (select window_at from ops.follow_ups) from ops.tasks where status = 'open'"
                     ) == [("checkin-overdue", True)]  # fmt: skip
    assert road.balance().faults == []


def test_two_clocks_at_once_ring_a_moment_once(road: SmallRoad, url: str):
    road.send(*START, *[intake(OTHER), ordered(0, 0.25, account=OTHER), dispensed(3, 0.25, account=OTHER)])
    rung: list[int] = []

    def ring() -> None:
        with connect(url) as own:
            rung.append(clock.ring(own, road.contract, road.cipher, when(18)))

    threads = [threading.Thread(target=ring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    road.chart()
    assert sum(rung) == 2
    assert road.one("select count(*) from phi.events where source = '/pipeline/clock'") == 2
    assert road.balance().faults == []


def test_a_clock_that_dies_between_the_event_and_its_note_rings_again_and_once(road: SmallRoad, monkeypatch):
    road.send(*START)

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "append", die)
    with pytest.raises(KeyboardInterrupt):
        clock.ring(road.connection, road.contract, road.cipher, when(18))
    monkeypatch.undo()
    assert road.one("select rung_at is null from ops.clocks")
    assert walk(road, 18) == 1
    assert road.one("select count(*) from phi.events where source = '/pipeline/clock'") == 1


def test_a_moment_that_was_reached_and_not_charted_yet_does_not_ring_again(road: SmallRoad):
    road.send(*START)
    assert clock.ring(road.connection, road.contract, road.cipher, when(60)) == 1
    assert clock.ring(road.connection, road.contract, road.cipher, when(60)) == 0
    road.chart()
    assert clock.ring(road.connection, road.contract, road.cipher, when(60)) == 1


def test_nobody_sends_a_moment_of_the_clock_by_a_drop(road: SmallRoad):
    road.send(*START)
    told = {"record_id": str(uuid.uuid4()), "of": str(uuid.uuid4()), "name": "due", "at": at(20)}
    road.send({**message("ordered", 20, "clock"), "source": "/pipeline/clock", "type": "followup.due", "data": told})
    assert road.events()["rejected:not_by_this_door"] == 1


def test_an_override_that_nobody_may_make_is_rejected_with_its_reason_and_without_its_words(road: SmallRoad):
    road.send(*START, checkin(24, allergic_reaction="yes"), requested(25))
    road.send(overridden(26, "request-25", ["red_symptom"], flags=["ALLERGIC_REACTION"]))
    assert road.events()["rejected:not_allowed"] == 1
    (hint,) = road.rows("select hint from phi.events where status = 'rejected'")[0]
    assert "ALLERGIC_REACTION" in hint
    assert "belly" not in hint
    assert refills(road) == [("open", "hold_urgent", "red_symptom")]


def test_a_supply_of_another_record_is_the_patients_own_after_a_merge_and_the_others_again_after_it_is_undone(
    road: SmallRoad,
):
    road.send(
        intake(), intake(OTHER), ordered(0, 0.25), dispensed(3, 0.25, account=OTHER), checkin(24, account=OTHER),
        requested(25), requested(25.5, "theirs", account=OTHER),
    )  # fmt: skip
    walk(road, 26)
    ids = dict(road.rows("select value, record_id::text from phi.identifiers where system like 'intake-account:%%'"))
    first, second = ids["canary-0000001"], ids[OTHER]
    apart = meaning(road)

    def decided(kind: str, on: int, **data: str) -> dict[str, Any]:
        told = {"reason": "said at the desk", "actor": "steward-1", **data}
        steward = {"source": "/steward/desk", "subject": first, "type": f"patient.{kind}"}
        return {**message("ordered", on, kind), **steward, "data": told}

    bring(road, decided("merged", 90, survivor_id=first, retired_id=second))
    assert road.rows("select distinct patient_id::text from ops.refills") == [(first,)]
    assert refills(road) == [("replaced", "provider_queue", "complete"), ("open", "provider_queue", "complete")]
    assert road.balance().faults == []
    bring(road, decided("unmerged", 91, survivor_id=first, restored_id=second))
    assert meaning(road) == apart
    assert road.balance().faults == []


def test_two_people_whose_senders_use_one_id_have_a_request_each(road: SmallRoad):
    road.send(*START, requested(24, "the-first"))
    road.send(intake(OTHER), ordered(0, 0.25, account=OTHER), requested(24, "the-first", account=OTHER))
    assert len(refills(road)) == 2
    assert road.balance().faults == []


def test_a_batch_that_fails_between_chart_and_refills_leaves_neither(road: SmallRoad, monkeypatch):
    road.drop("a.ndjson", *START, requested(24))
    road.take()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(save, "save_refills", die)
    with pytest.raises(KeyboardInterrupt):
        road.chart()
    assert road.one("select count(*) from phi.charts") == 0
    monkeypatch.undo()
    road.chart()
    assert refills(road) == [("open", "not_eligible", "followup_missing")]
    assert road.balance().faults == []


def test_the_same_events_one_by_one_in_any_order_end_as_all_at_once(road: SmallRoad):
    refuted = by_provider("flag.resolved", 51, flag_id="ABD_PAIN_SEVERE", resolution="refuted", reason_code="SEEN",
                          actor="provider-7")  # fmt: skip
    events = [
        *START, checkin(20), requested(24), dispensed(29, 0.25, "second"), requested(50), refuted,
        checkin(47, severe_abdominal_pain="yes"), by_provider("refill.approved", 55, refill_id="request-50"),
    ]  # fmt: skip
    road.send(*events)
    before = meaning(road)
    for seed in range(2):
        empty_tables(road.connection)
        shuffled = list(events)
        random.Random(seed).shuffle(shuffled)
        for event in shuffled:
            road.send(event)
        assert meaning(road) == before


def test_decisions_are_sealed_anew_under_a_new_key(road: SmallRoad):
    road.send(*START, checkin(24), requested(25))
    newer = Cipher(KeyRing("k2", {**RING.keys, "k2": bytes(range(32))}, RING.patient_key))
    before = road.fingerprint()
    assert reseal(road.connection, newer, road.folder / "archive").left == 0
    decision_id, kid, body, sha256 = road.rows("select decision_id, kid, body, sha256 from phi.refill_decisions")[0]
    assert kid == "k2"
    assert hashlib.sha256(newer.open(kid, bytes(body), f"refill_decisions|{decision_id}")).digest() == bytes(sha256)
    assert road.fingerprint() == before


def test_the_clock_says_of_a_moment_that_it_notices_it_late(road: SmallRoad):
    road.send(*START)
    clock.ring(road.connection, road.contract, road.cipher, datetime(2027, 1, 1, tzinfo=UTC))
    road.chart()
    (doc,) = road.rows("select refill from phi.patient_values where refill ->> 'kind' = 'reached'")[0]
    assert doc["is_late"] is True
