"""A provider does in the EHR what we asked for there: a task that is finished, a flag that is settled; nobody is asked
twice, and nobody is in conflict with us for having worked."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, dispensed, ordered

PEOPLE = count(401)
TODAY = (datetime.now(UTC) - BEGAN).total_seconds() / 86400
FIRST = TODAY - 29
"""Day of the order: what a provider does in the EHR, they do now."""


def begin(circle: Circle, *answers: dict) -> str:
    account = f"canary-{next(PEOPLE):07d}"
    start = [ordered(FIRST, 0.25, account=account), dispensed(FIRST + 3, 0.25, account=account)]
    told = answers[0] if answers else {}
    circle.road.send(intake(account), *start)
    circle.road.send(checkin(FIRST + 24, account=account, **told), requested(FIRST + 25, account=account))
    circle.deliver()
    assert circle.poll().changes == 0
    return account


def open_tasks(circle: Circle) -> set[str]:
    return {f"{c}/{x}" for c, x in circle.road.rows("select code, cause from ops.tasks where status = 'open'")}


def assert_at_rest(circle: Circle) -> None:
    assert conflicts(circle.road.connection, "ehr") == []
    assert (circle.round(), circle.round()) == (0, 0)
    assert compare(circle.road.connection, circle.client, circle.road.cipher).holds
    assert circle.road.balance().faults == []
    before = circle.road.fingerprint()
    circle.road.replay()
    circle.deliver()
    assert circle.road.fingerprint() == before


def test_a_task_that_a_provider_finishes_in_the_ehr_is_done_here_until_something_newer_is_said(circle: Circle):
    account = begin(circle)
    task = "provider-review-refill/refill.complete:wegovy_inj"
    assert task in open_tasks(circle)
    place = circle.place("Task", "provider-review-refill")
    circle.provider.edit(place, status="completed", note=[{"text": "looked at it"}])
    assert circle.round() == 1
    assert task not in open_tasks(circle)
    shown = circle.provider.read(place)
    assert (shown["status"], shown["note"]) == ("completed", [{"text": "looked at it"}])
    assert_at_rest(circle)
    circle.road.send(requested(TODAY + 0.5, "another", account=account))
    circle.deliver()
    assert task in open_tasks(circle)
    assert circle.provider.read(place)["status"] == "requested"
    assert_at_rest(circle)


def test_a_flag_that_a_provider_ends_in_the_ehr_is_refuted_here_and_holds_no_refill(circle: Circle):
    account = begin(circle, {"severe_abdominal_pain": "yes"})
    assert circle.road.one("select decided_by from ops.refills") == "red_symptom"
    place = circle.place("Flag", "ABD_PAIN_SEVERE")
    circle.provider.edit(place, status="inactive")
    assert circle.round() == 1
    assert circle.road.one("select status from phi.risk_flags where flag_id = 'ABD_PAIN_SEVERE'") == "cleared"
    assert circle.road.one("select status from ops.refills") == "open"
    assert circle.road.one("select decided_by from ops.refills") != "red_symptom"
    assert circle.provider.read(place)["status"] == "inactive"
    assert_at_rest(circle)
    circle.road.send(
        checkin(TODAY + 0.1, "again", account, weighed_on=None, severe_abdominal_pain="yes", last_dose_on=None)
    )
    circle.deliver()
    assert circle.road.one("select decided_by from ops.refills") == "red_symptom"
    assert circle.provider.read(place)["status"] == "active"
    assert_at_rest(circle)
