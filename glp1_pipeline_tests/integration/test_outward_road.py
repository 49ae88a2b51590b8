"""Check-ins and refills on the whole road with a real EHR of both kinds at its end: what leaves, what comes back, what
stays."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from glp1_pipeline.adapters import clock, ledger, rollback
from glp1_pipeline.adapters.ehr_compare import Compared, compare
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline.sandbox.drills.proxy import COMMIT_THEN_DROP, FaultProxy
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.refills import by_provider, checkin, intake, overridden, requested
from glp1_pipeline_tests.rollbacks import Told
from glp1_pipeline_tests.small_road import SmallRoad
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, message, ordered

from .conftest import KINDS, EhrProcess

NEW = ("MedicationRequest", "DetectedIssue", "CommunicationRequest", "AuditEvent", "QuestionnaireResponse")


@pytest.fixture
def who() -> str:
    """The account of somebody whom no other test knows, in an EHR that all share."""
    return f"canary-{uuid.uuid4().int % 10**7:07d}"


def start(who: str) -> list[dict[str, Any]]:
    return [intake(who), ordered(0, 0.25, account=who), dispensed(3, 0.25, account=who)]


@contextmanager
def circled(road: SmallRoad, ehr: EhrProcess, server_ids: bool = False) -> Iterator[Circle]:
    with FaultProxy(ehr.url, server_ids) as proxy:
        circle = Circle(road, ehr.url, proxy)
        try:
            yield circle
        finally:
            circle.world.close()


def ring(road: SmallRoad, day: float) -> None:
    """Let the clocks come to a day, each moment noticed a second after it was reached, and charted."""
    until = BEGAN + timedelta(days=day)
    while (at := road.one("select min(next_at) from ops.clocks where rung_at is null")) is not None and at <= until:
        clock.ring(road.connection, road.contract, road.cipher, now=at + timedelta(seconds=1))
        road.chart()


def compared(circle: Circle) -> Compared:
    return compare(circle.road.connection, circle.client, circle.road.cipher)


def there(circle: Circle, kind: str) -> list[dict[str, Any]]:
    """What the EHR holds of ours of a type, whoever's it is."""
    rows = circle.road.rows("select e.key, e.value ->> 0 from ops.copies c, jsonb_each(c.remote) e order by 1")
    return [circle.provider.read(f"{kind}/{remote}") for key, remote in rows if key.startswith(f"{kind}/")]


def only(circle: Circle, kind: str) -> dict[str, Any]:
    (found,) = there(circle, kind)
    return found


def live(circle: Circle, kind: str) -> list[dict[str, Any]]:
    return [one for one in there(circle, kind) if one["status"] in ("active", "preliminary", "requested")]


@KINDS
def test_what_leaves_for_check_ins_and_refills_is_taken_by_the_ehr_once_and_comes_back_as_nothing_new(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    with circled(road, ehr, server_ids) as circle:
        road.send(*start(who))
        circle.deliver()
        ring(road, 17.5)
        circle.deliver()
        assert [one["status"] for one in there(circle, "CommunicationRequest")] == ["active"]
        road.send(requested(17.8, account=who), checkin(18, account=who))
        circle.deliver()
        assert [one["status"] for one in there(circle, "CommunicationRequest")] == ["completed"]
        assert [one["code"]["coding"][0]["code"] for one in live(circle, "DetectedIssue")] == ["TOOSOON"]
        assert there(circle, "MedicationRequest") == []
        ring(road, 24.5)
        road.send(checkin(25, account=who, jaundice="yes"))
        override = overridden(26, "request-17.8", ["red_symptom"], account=who, flags=["BILIARY_SYMPTOMS"])
        road.send(override)
        circle.deliver()
        first, second = there(circle, "MedicationRequest")
        assert sorted((first["status"], second["status"])) == ["active", "cancelled"]
        (issue,) = live(circle, "DetectedIssue")
        assert [one["author"]["identifier"]["value"] for one in issue["mitigation"]] == ["provider-7"]
        assert only(circle, "AuditEvent")["outcome"] == "0"
        assert circle.round() == 0
        assert road.one("select state from phi.medication_courses") == "new_start"
        found = compared(circle)
        assert (found.holds, found.not_sent_yet, found.edited_there) == (True, 0, 0)
        before, writes = road.fingerprint(), road.one("select count(*) from ops.writes")
        for _ in range(3):
            road.replay()
        assert road.fingerprint() == before
        assert road.one("select count(*) from ops.writes") == writes
        assert circle.round() == 0
    kinds = {key for (key,) in road.rows("select split_part(jsonb_object_keys(remote), '/', 1) from ops.copies")}
    assert {*NEW} <= kinds
    assert road.balance().faults == []


@KINDS
@pytest.mark.parametrize("kind", ["MedicationRequest", "DetectedIssue", "AuditEvent", "CommunicationRequest"])
def test_a_write_whose_answer_is_lost_is_read_back_and_each_new_type_is_there_once(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool, kind: str
):
    with circled(road, ehr, server_ids) as circle:
        road.send(*start(who), checkin(25, account=who, jaundice="yes"), requested(25.5, account=who))
        circle.deliver()
        if kind == "CommunicationRequest":
            road.send(dispensed(30, 0.25, "next", account=who))
            ring(road, 47)
        else:
            flags = ["BILIARY_SYMPTOMS"]
            road.send(overridden(26, "request-25.5", ["red_symptom"], account=who, flags=flags, days=20))
            if kind == "MedicationRequest":
                assert road.one("select outcome from ops.refills") == "provider_queue"

        def cut(content: dict[str, Any]) -> Any:
            holds = any(e["resource"]["resourceType"] == kind for e in content["entry"] if "resource" in e)
            return COMMIT_THEN_DROP if holds and not seen and not seen.append(True) else None

        seen: list[bool] = []
        circle.proxy.rule = cut
        circle.deliver()
        assert seen
        assert "in_doubt" in circle.world.outcomes()
        assert len(there(circle, kind)) == 1
        assert compared(circle).holds
    assert road.balance().faults == []


@KINDS
def test_a_provider_who_makes_an_order_of_our_proposal_has_ordered_and_the_order_stays_theirs(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    with circled(road, ehr, server_ids) as circle:
        road.send(*start(who), checkin(24, account=who), requested(25, account=who))
        circle.deliver()
        assert circle.round() == 0
        proposal = circle.place("MedicationRequest")
        circle.provider.edit(proposal, intent="order", authoredOn=at(26))
        assert circle.round() == 1
        assert road.one("select status from ops.refills") == "approved"
        stands = circle.provider.read(proposal)
        assert (stands["intent"], stands["status"]) == ("order", "active")
        assert circle.round() == 0
    assert road.balance().faults == []


def test_an_order_that_a_provider_copies_from_our_proposal_is_an_order_and_ends_the_proposal(
    road: SmallRoad, ehr: EhrProcess, who: str
):
    with circled(road, ehr) as circle:
        road.send(*start(who), checkin(24, account=who), requested(25, account=who))
        circle.deliver()
        assert circle.round() == 0
        place = circle.place("MedicationRequest")
        its_own = ("id", "meta", "resourceType", "intent", "authoredOn")
        copied = {name: told for name, told in circle.provider.read(place).items() if name not in its_own}
        circle.provider.create("MedicationRequest", **copied, intent="order", authoredOn=at(26))
        assert circle.round() == 1
        assert road.one("select status from ops.refills") == "approved"
        assert circle.provider.read(place)["status"] == "completed"
        assert conflicts(road.connection, "ehr") == []
        assert circle.round() == 0
    assert road.balance().faults == []


@KINDS
def test_a_messenger_that_says_that_it_sent_a_reminder_is_in_conflict_with_nobody(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    with circled(road, ehr, server_ids) as circle:
        road.send(*start(who))
        ring(road, 17.5)
        circle.deliver()
        sent = circle.provider.edit(circle.place("CommunicationRequest"), status="completed", note=[{"text": "sent"}])
        road.send(checkin(18, account=who))
        circle.deliver()
        stands = only(circle, "CommunicationRequest")
        assert (stands["status"], stands["note"]) == ("completed", sent["note"])
        assert conflicts(road.connection, "ehr") == []
        assert circle.round() == 0
        assert compared(circle).holds
    assert road.balance().faults == []


def test_a_proposal_that_somebody_deletes_or_completes_there_orders_nothing_and_takes_nothing_back(
    road: SmallRoad, ehr: EhrProcess, who: str
):
    with circled(road, ehr) as circle:
        road.send(*start(who), checkin(24, account=who), requested(25, account=who))
        circle.deliver()
        circle.poll()
        place = circle.place("MedicationRequest")
        before = road.fingerprint()
        circle.provider.edit(place, status="completed")
        circle.round()
        circle.provider.delete(place)
        circle.round()
        after = road.fingerprint()
        for name in ("medication_courses", "medication_transitions"):
            assert after[name] == before[name]
        assert road.one("select status from ops.refills") == "open"
    assert road.balance().faults == []


@KINDS
def test_a_flag_of_a_check_in_is_raised_there_and_ends_when_a_provider_refutes_it(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    def flags() -> dict[str, str]:
        found = [one for one in there(circle, "Flag") if "BILIARY" in str(one["code"])]
        return {one["code"]["coding"][0]["code"]: one["status"] for one in found}

    with circled(road, ehr, server_ids) as circle:
        road.send(*start(who), checkin(24, account=who, jaundice="yes"), requested(25, account=who))
        circle.deliver()
        assert flags() == {"BILIARY_SYMPTOMS": "active"}
        tasks = {one["code"]["coding"][0]["code"]: one for one in live(circle, "Task")}
        assert datetime.fromisoformat(tasks["urgent-safety-review"]["authoredOn"]) == BEGAN + timedelta(days=24)
        ends = datetime.fromisoformat(tasks["urgent-safety-review"]["restriction"]["period"]["end"])
        assert ends == BEGAN + timedelta(days=24, minutes=60)
        refuted = {"flag_id": "BILIARY_SYMPTOMS", "resolution": "refuted", "reason_code": "seen", "actor": "provider-7"}
        road.send(by_provider("flag.resolved", 26, account=who, **refuted))
        circle.deliver()
        assert flags() == {"BILIARY_SYMPTOMS": "inactive"}
        assert road.one("select outcome from ops.refills") == "provider_queue"
        assert [one["status"] for one in there(circle, "DetectedIssue")] == ["final"]
        assert "urgent-safety-review" not in {one["code"]["coding"][0]["code"] for one in live(circle, "Task")}
        assert circle.round() == 0
    assert road.balance().faults == []


def test_the_task_of_a_missed_check_in_began_with_the_exception_and_is_due_when_the_window_opens(
    road: SmallRoad, ehr: EhrProcess, who: str
):
    with circled(road, ehr) as circle:
        road.send(*start(who))
        ring(road, 24)
        circle.deliver()
        ((missed_at, window_at),) = road.rows("select missed_at, window_at from ops.follow_ups")
        (task,) = [one for one in live(circle, "Task") if "checkin-overdue" in str(one["code"])]
        assert datetime.fromisoformat(task["authoredOn"]) == missed_at
        assert datetime.fromisoformat(task["restriction"]["period"]["end"]) == window_at
        road.send(checkin(23.5, "late", account=who))
        circle.deliver()
        assert [one["status"] for one in there(circle, "Task") if "checkin-overdue" in str(one["code"])] == [
            "completed"
        ]


@KINDS
def test_a_check_in_that_comes_before_the_intake_is_in_the_ehr_with_it(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    with circled(road, ehr, server_ids) as circle:
        road.send(checkin(18, account=who))
        assert road.one("select count(*) from ops.writes") == 0
        road.send(*start(who))
        circle.deliver()
        forms = sorted(one["questionnaire"].rpartition(":")[2] for one in there(circle, "QuestionnaireResponse"))
        assert forms == ["glp1-checkin|1.0.0", "glp1-intake|3.0.0"]
        assert compared(circle).holds
        before = road.fingerprint()
        road.replay()
        assert road.fingerprint() == before
    assert road.balance().faults == []


def decided(road: SmallRoad, kind: str, day: float, first: str, **data: str) -> None:
    """A steward's decision, which does not come by the landing zone."""
    told = {"reason": "said at the desk", "actor": "steward-1", **data}
    steward = {"source": "/steward/desk", "subject": first, "type": f"patient.{kind}", "data": told}
    event = {**message("ordered", day, f"{kind}-{first}"), **steward}
    ledger.append(road.connection, road.contract, road.cipher, [json.dumps(event).encode()])
    road.chart()


@KINDS
def test_a_merge_takes_it_back_from_the_record_that_is_gone_and_nobody_is_reminded_twice(
    road: SmallRoad, ehr: EhrProcess, who: str, server_ids: bool
):
    other = f"canary-{(int(who[-7:]) + 1) % 10**7:07d}"
    with circled(road, ehr, server_ids) as circle:
        road.send(intake(who), *start(other))
        ring(road, 17.5)
        road.send(requested(17.8, account=other), checkin(18, account=other, jaundice="yes"))
        road.send(overridden(18.5, "request-17.8", ["red_symptom"], account=other, flags=["BILIARY_SYMPTOMS"]))
        road.send(dispensed(19, 0.25, "next", account=other))
        ring(road, 50)
        circle.deliver()
        ids = dict(
            road.rows("select value, record_id::text from phi.identifiers where system like 'intake-account:%%'")
        )
        survivor, retired = ids[who], ids[other]

        def told(patient: str, kind: str) -> list[str]:
            rows = road.rows(
                "select e.key, e.value ->> 0 from ops.copies c, jsonb_each(c.remote) e where patient_id = %s", patient
            )
            found = [circle.provider.read(f"{kind}/{remote}") for key, remote in rows if key.startswith(f"{kind}/")]
            return sorted(one.get("status", "") for one in found)

        reminders = told(retired, "CommunicationRequest")
        assert {*reminders} == {"active", "completed"}
        decided(road, "merged", 50.5, survivor, survivor_id=survivor, retired_id=retired)
        circle.deliver()
        assert told(retired, "CommunicationRequest") == ["entered-in-error"] * len(reminders)
        assert told(survivor, "CommunicationRequest") == []
        assert {*told(retired, "DetectedIssue")} == {"entered-in-error"}
        assert {*told(survivor, "DetectedIssue")} == {"final"}
        assert (told(retired, "AuditEvent"), told(survivor, "AuditEvent")) == ([""], [])
        decided(road, "unmerged", 51, survivor, survivor_id=survivor, restored_id=retired)
        circle.deliver()
        assert "active" not in told(retired, "CommunicationRequest")
        assert {*told(survivor, "DetectedIssue")} == {"entered-in-error"}
        assert "final" in told(retired, "DetectedIssue")
        assert (told(retired, "AuditEvent"), told(survivor, "AuditEvent")) == ([""], [])
        road.send(ordered(52, 0.5, account=other))
        circle.deliver()
        assert "active" not in told(retired, "CommunicationRequest")
        assert compared(circle).holds
        before = road.fingerprint()
        for _ in range(3):
            road.replay()
        assert road.fingerprint() == before
    assert road.balance().faults == []


def test_a_rollback_marks_what_is_new_and_asks_for_no_reminder_again(road: SmallRoad, ehr: EhrProcess, who: str):
    told = Told(road, ehr.url)
    road.send(*start(who))
    ring(road, 17.5)
    told.deliver()
    asked = road.one("select max(write_id) from ops.writes")
    road.send(checkin(18, account=who))
    told.deliver()
    over = road.one("select max(write_id) from ops.writes")

    def status() -> str:
        (found,) = [one for key, one in told.says().items() if key.startswith("CommunicationRequest/")]
        return found["status"]

    assert status() == "completed"
    plan_id = told.choose(write_ids=(over,))
    told.look(plan_id)
    told.do(plan_id)
    told.deliver()
    assert status() == "completed"
    left = {one["resource"].partition("/")[0]: one["why"] for one in rollback.left(road.connection, plan_id)}
    assert left["CommunicationRequest"] == "over_already"
    told.undo(write_ids=(asked, over))
    assert status() == "entered-in-error"
    assert road.balance().faults == []
