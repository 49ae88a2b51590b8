"""Once the EHR says that a patient died nobody reminds or calls them, and a mistake there is undone by mending it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline_tests.one_patient import NOW, Patient, charted
from glp1_pipeline_tests.refill_patients import START
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, dispensed, ordered, resource

DEAD = [{"deceasedBoolean": True}, {"deceasedDateTime": "2026-06-01"}, {"deceasedDateTime": "2026"}]


def person(day: float, version: str, place: str = "p1", **said: Any) -> dict[str, Any]:
    """The Patient as it stands in the EHR."""
    return resource({"resourceType": "Patient", "id": place, **said}, day, version)


def contact(patient: Patient) -> dict[str, str]:
    assert patient.outcome is not None
    assert patient.outcome.contact is not None
    return orjson.loads(patient.outcome.contact.body)["contact"]["properties"]


@pytest.mark.parametrize("said", DEAD)
def test_treatments_and_check_ins_of_who_died_are_over_and_one_task_is_left(said: dict[str, Any]) -> None:
    patient = charted([[*START], [person(20, "2", **said)]])
    assert patient.outcome is not None
    assert [course.state for course in patient.outcome.courses] == ["discontinued"]
    assert [one.status for one in patient.outcome.follow_ups] == ["ended"]
    assert patient.tasks == {"provider-review-refill/deceased"}, "what is on its way is stopped"
    assert patient.ring(NOW) == [], "no moment of their clock comes any more"
    assert contact(patient) | {"glp1_pipeline_status": "closed", "glp1_followup_status": "ended"} == contact(patient)


def test_a_missed_check_in_of_who_died_calls_nobody() -> None:
    patient = charted([START])
    patient.ring(BEGAN + timedelta(days=60))
    assert any(task.startswith("checkin-overdue/") for task in patient.tasks)
    patient.hear(person(61, "2", deceasedBoolean=True))
    assert patient.tasks == {"provider-review-refill/deceased"}


def test_a_refill_that_waited_for_a_provider_goes_no_further() -> None:
    patient = charted([[*START, checkin(24), requested(25)]])
    (request,) = patient.refills.values()
    assert request.decision.outcome == "provider_queue"
    patient.hear(person(26, "2", deceasedBoolean=True))
    (request,) = patient.refills.values()
    assert request.status == "closed"
    patient.hear(requested(27, "another"))
    (another,) = [one for one in patient.refills.values() if one is not request and one.is_open]
    assert (another.decision.outcome, another.decision.rule) == ("not_eligible", "no_treatment")
    assert patient.tasks == {"provider-review-refill/deceased"}


def test_what_a_pharmacy_tells_late_begins_nothing_anew() -> None:
    patient = charted([START, [person(20, "2", deceasedBoolean=True)], [ordered(21, 0.5), dispensed(22, 0.25)]])
    assert patient.outcome is not None
    assert [course.state for course in patient.outcome.courses] == ["discontinued"]
    assert patient.outcome.stage == "paused_or_discontinued"
    assert patient.ring(NOW) == []


def test_no_provider_waits_for_an_intake_of_who_died() -> None:
    patient = charted([[intake()]])
    assert patient.outcome is not None
    assert patient.outcome.waits_for_review
    before = contact(patient)
    patient.hear(person(1, "2", deceasedBoolean=True))
    assert not patient.outcome.waits_for_review
    assert patient.tasks == set()
    assert contact(patient) == before | {"glp1_pipeline_status": "closed"}


@pytest.mark.parametrize("mended", [{}, {"deceasedBoolean": False}], ids=["taken out", "false"])
@pytest.mark.parametrize("events", [[intake()], [*START, checkin(24), requested(25)]], ids=["intake", "treatment"])
def test_a_mistake_is_undone_by_mending_it_in_the_ehr(events: list[dict[str, Any]], mended: dict[str, Any]) -> None:
    lives = charted([events, [person(26, "2")], [person(27, "3")]])
    patient = charted([events, [person(26, "2", deceasedBoolean=True)]])
    assert patient.state != lives.state
    patient.hear(person(27, "3", **mended))
    assert patient.outcome is not None
    assert lives.outcome is not None
    assert patient.state["follow_ups"] == lives.state["follow_ups"]
    assert (patient.tasks, patient.outcome.stage) == (lives.tasks, lives.outcome.stage)
    assert patient.outcome.waits_for_review == lives.outcome.waits_for_review
    assert {one.decision.outcome for one in patient.refills.values()} == {
        one.decision.outcome for one in lives.refills.values()
    }


def test_a_patient_there_that_is_deleted_takes_no_death_back() -> None:
    gone = person(27, "3")
    gone["data"] |= {"deleted": True, "resource": None}
    patient = charted([START, [person(26, "2", deceasedBoolean=True)], [gone]])
    assert patient.tasks == {"provider-review-refill/deceased"}


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_same_words_in_any_order_leave_one_state(chance: random.Random, is_mended: bool) -> None:
    events = [*START, person(20, "2", deceasedBoolean=True), dispensed(31, 0.25)]
    events += [person(33, "3")] if is_mended else []
    expected = charted([events]).state
    chance.shuffle(events)
    assert charted([[event] for event in events]).state == expected
