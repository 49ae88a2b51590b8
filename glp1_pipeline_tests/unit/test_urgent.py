"""Whom a check-in calls at once: for every symptom and for thoughts of suicide, wherever the treatment stands, once for one
cause, until a provider says that it is none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from glp1_pipeline.domain.chart import Reported
from glp1_pipeline_tests.one_patient import CONTRACT, PATIENT, Patient, charted
from glp1_pipeline_tests.refills import by_provider, checkin, intake, requested
from glp1_pipeline_tests.treatments import at, dispensed, ordered, said

START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
CRISIS = "crisis-protocol/SUICIDAL_ACTIVE"
NECK = "urgent-safety-review/NECK_MASS"
REVIEW = "provider-review-refill/refill.complete:wegovy_inj"
SEVERE = [{"symptom": "vomiting", "severity": "severe"}]
SYMPTOMS: dict[str, dict[str, Any]] = {
    "GI_SEVERE": {"side_effects": SEVERE},
    "ABD_PAIN_SEVERE": {"severe_abdominal_pain": "yes"},
    "BILIARY_SYMPTOMS": {"jaundice": "yes"},
    "ALLERGIC_REACTION": {"allergic_reaction": "yes"},
    "NECK_MASS": {"neck_mass": "yes"},
    "VISION_CHANGE": {"vision_change": "yes"},
    "HYPOGLYCEMIA_SEVERE": {"hypoglycemia": "yes"},
}
LEFT_OUT: dict[str, Any] = {"hx.men2": None}
REFUSED_A_QUESTION = intake(**LEFT_OUT)


def draft(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "data": event["data"] | {"status": "in-progress"}}


def refuted(on: float, flag: str, resolution: str = "refuted") -> dict[str, Any]:
    told = {"flag_id": flag, "resolution": resolution, "reason_code": "SEEN", "actor": "provider-7"}
    return by_provider("flag.resolved", on, **told)


def heard(*events: dict[str, Any]) -> Patient:
    return charted([[*START, *events]])


def called(patient: Patient) -> set[str]:
    """The work of the on-call queue."""
    assert patient.outcome is not None
    return {f"{task.code}/{task.cause}" for task in patient.outcome.tasks if task.queue == "on-call"}


def rule(patient: Patient) -> str:
    return max(patient.refills.values(), key=lambda one: one.requested_at).decision.rule


def do_by_hand(patient: Patient, on: float, task: str) -> None:
    """Somebody finished a task in the EHR."""
    when = datetime.fromisoformat(at(on))
    word = Reported(f"done-{on}", f"task/{task}//done", "", "completed", when, when, "", {}, source="ehr")
    patient.known.reports[PATIENT].append(word)


# ---- somebody is called


@pytest.mark.parametrize(
    "words", ["yes, for two days", "throat swelling", ["yes", "no"], {"code": "no", "display": "Yes"}]
)
def test_words_about_a_symptom_that_cannot_be_read_call_somebody_as_a_yes_does(words: Any):
    assert called(heard(checkin(24, allergic_reaction=words))) == {"urgent-safety-review/ALLERGIC_REACTION"}
    assert called(heard(draft(checkin(24, allergic_reaction=words)))) == set()


@pytest.mark.parametrize("words", ["no, only gas", "Not really", ["no", "none today"], "2", "?", "unsure", None])
def test_words_that_begin_with_a_no_and_what_is_no_word_call_nobody(words: Any):
    assert called(heard(checkin(24, severe_abdominal_pain=words))) == set()


@pytest.mark.parametrize(
    "listed",
    [
        [{"symptom": "vomiting", "severity": "severe"}, {"symptom": "tired of it all", "severity": "mild"}],
        "severe vomiting", "nausea - mild; vomiting - severe", {"vomiting": "severe", "nausea": "mild"},
    ],
    ids=str,
)  # fmt: skip
def test_a_severe_symptom_calls_somebody_though_the_list_around_it_cannot_be_read(listed: Any):
    assert called(heard(checkin(24, side_effects=listed))) == {"urgent-safety-review/GI_SEVERE"}
    assert called(heard(checkin(24, side_effects="severe boredom, some vomiting"))) == set()
    assert called(heard(checkin(24, side_effects="no severe vomiting"))) == set()
    assert called(heard(checkin(24, side_effects={"vomiting": "mild", "nausea": "severe"}))) == set()


@pytest.mark.parametrize(
    "before",
    [
        START,
        [*START, said("paused", 20)],
        [*START, said("stopped", 20)],
        START[:2],
        START[:1],
        [REFUSED_A_QUESTION],
        [],
        [*START, checkin(22), requested(22.5), by_provider("refill.approved", 23, refill_id="request-22.5")],
        [*START, checkin(22), requested(22.5), by_provider("refill.denied", 23, refill_id="request-22.5",
                                                           reason_code="OTHER")],
    ],
    ids=["treated", "paused", "stopped", "before the first supply", "before an order", "before the gate is passed",
         "before any intake", "after an approval", "after a denial"],
)  # fmt: skip
@pytest.mark.parametrize("make", [lambda event: event, draft], ids=["whole", "draft"])
def test_a_check_in_without_a_request_calls_somebody_wherever_the_treatment_stands(before: list, make):
    worst = make(checkin(24, suicidal="yes", neck_mass="yes"))
    for batches in ([[*before, worst]], [[worst], before], [before, [worst]]):
        patient = charted(batches)
        assert called(patient) == {CRISIS, NECK}
        due = {task.code: task.due_minutes for task in patient.outcome.tasks if task.queue == "on-call"}  # type: ignore[union-attr]
        assert due == {"crisis-protocol": 15, "urgent-safety-review": 60}


def test_every_symptom_that_the_table_names_calls_somebody_without_a_request():
    assert SYMPTOMS.keys() == {*CONTRACT.refills.symptom_flags}
    for flag, answers in SYMPTOMS.items():
        assert called(heard(checkin(24, **answers))) == {f"urgent-safety-review/{flag}"}


@pytest.mark.parametrize("answer", ["yes", "unsure", "prefer not to say", "every night", "maybe", ["sometimes"]])
def test_any_answer_on_suicide_that_is_not_a_plain_no_calls_somebody(answer: Any):
    assert called(heard(checkin(24, suicidal=answer))) == {CRISIS}


@pytest.mark.parametrize("answer", ["no", "never", "n/a", None, ""])
def test_a_no_calls_nobody_and_a_blank_is_asked_for_again(answer: Any):
    assert called(heard(checkin(24, suicidal=answer))) == set()


# ---- once for one cause


def test_a_request_with_the_same_cause_is_no_second_work_and_changes_nothing_of_the_first():
    worst = checkin(24, suicidal="yes", neck_mass="yes")
    before = heard(worst)
    tasks = before.outcome.tasks  # type: ignore[union-attr]
    before.hear(requested(25))
    assert rule(before) == "suicidal"
    assert before.outcome.tasks == tasks  # type: ignore[union-attr]
    pain = heard(checkin(24, severe_abdominal_pain="yes", jaundice="yes"), requested(25))
    assert rule(pain) == "red_symptom"
    assert pain.tasks == {"urgent-safety-review/ABD_PAIN_SEVERE", "urgent-safety-review/BILIARY_SYMPTOMS"}


def test_a_state_that_is_not_served_is_one_piece_of_work_too():
    moved = checkin(24)
    moved["data"]["answers"]["demo.state_residence"] = "PR"
    patient = heard(moved, requested(25))
    assert rule(patient) == "administrative"
    assert "licensure-recheck/STATE_NOT_SERVED" in patient.tasks
    of_the_refill = "licensure-recheck/refill.administrative:wegovy_inj"
    assert of_the_refill not in patient.tasks
    moved["data"]["answers"]["checkin.address_unchanged"] = "no"
    assert of_the_refill in heard(moved, requested(25)).tasks  # the address too: nobody else looks at that


def test_what_was_done_by_hand_is_done_for_the_request_of_then_and_a_later_one_is_work_anew():
    patient = heard(checkin(24, neck_mass="yes"), requested(25))
    do_by_hand(patient, 25.1, "urgent-safety-review/NECK_MASS")
    patient.hear(said("resumed", 25.2))  # any word
    assert (rule(patient), called(patient)) == ("red_symptom", set())
    patient.hear(requested(26))
    assert called(patient) == {"urgent-safety-review/refill.red_symptom:wegovy_inj"}
    patient.hear(checkin(26.5, neck_mass="yes"))
    assert called(patient) == {NECK}


# ---- until a provider says that it is none


LATER = {
    "a no": [checkin(25.5)],
    "not sure": [checkin(25.5, suicidal="unsure", neck_mass="unsure")],
    "a blank": [checkin(25.5, suicidal=None, neck_mass=None)],
    "the next supply": [dispensed(27, 0.25, "next"), checkin(48)],
    "a pause": [said("paused", 26), said("resumed", 27)],
    "a corrected intake": [{**intake(), "id": "again", "time": at(26)}],
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_neither_a_later_answer_nor_a_supply_clears_what_calls_somebody(later: list):
    worst = [checkin(24, suicidal="yes", neck_mass="yes")]
    patient = heard(*worst, *later, requested(52))
    assert called(patient) == {CRISIS, NECK}
    assert rule(patient) == "suicidal"
    patient.hear(refuted(52.1, "SUICIDAL_ACTIVE"))
    assert called(patient) == {NECK}
    assert rule(patient) == "red_symptom"


def test_a_refutation_lets_the_refill_go_on_and_a_confirmation_does_not():
    told = [checkin(24, suicidal="yes", neck_mass="yes"), requested(25)]
    both = [refuted(26, "SUICIDAL_ACTIVE"), refuted(26.1, "NECK_MASS")]
    patient = heard(*told, *both)
    assert (rule(patient), patient.tasks) == ("complete", {REVIEW})
    confirmed = heard(*told, refuted(26, "SUICIDAL_ACTIVE", "confirmed"), both[1])
    assert (rule(confirmed), called(confirmed)) == ("suicidal", {CRISIS})


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_only_what_is_said_after_a_refutation_raises_it_anew(batches: int):
    told = [checkin(24, suicidal="yes", neck_mass="yes"), requested(25)]
    both = [refuted(26, "SUICIDAL_ACTIVE"), refuted(26.1, "NECK_MASS")]
    quiet = [*told, *both, checkin(27, suicidal=None, neck_mass=None), checkin(27.5)]
    loud = [*quiet, checkin(27.8, suicidal="yes", neck_mass="yes")]
    for events, wanted in ((quiet, set()), (loud, {CRISIS, NECK})):
        patient = charted([[*START, *events[::-1]][n::batches] for n in range(batches)])
        assert called(patient) == wanted
        assert rule(patient) == ("suicidal" if wanted else "complete")
        assert charted([[*START, *events]]).state == patient.state


@pytest.mark.parametrize(
    ("symptom", "flag"),
    [("abdominal_pain", "ABD_PAIN_SEVERE"), ("vision", "VISION_CHANGE"), ("hypoglycemia", "HYPOGLYCEMIA_SEVERE")],
)
def test_a_severe_symptom_in_the_list_counts_as_the_question_about_it_and_a_moderate_one_does_not(
    symptom: str, flag: str
):
    for severity, tasks in (("severe", {f"urgent-safety-review/{flag}"}), ("moderate", set())):
        listed = [{"symptom": symptom, "severity": severity}]
        assert called(heard(checkin(24, side_effects=listed))) == tasks


def test_the_same_sign_told_in_other_words_after_a_refutation_is_anew():
    """The check-in of before said that no fluids stayed, and nobody asked that again."""
    told = [checkin(24, vomiting_24h="yes"), refuted(25, "GI_SEVERE")]
    assert called(heard(*told)) == set()
    again = heard(*told, checkin(26, vomiting_24h=None, side_effects=SEVERE))
    assert called(again) == {"urgent-safety-review/GI_SEVERE"}
    patient = charted([[intake(**{"hx.suicide": "current ideation"}), *START[1:], refuted(5, "SUICIDAL_ACTIVE")]])
    assert called(patient) == set()
    patient.hear(checkin(24, suicidal="yes"))
    assert called(patient) == {CRISIS}


def test_not_sure_and_refuted_is_asked_for_once_more_and_then_goes_on():
    told = [checkin(24, suicidal="unsure"), requested(25), refuted(26, "SUICIDAL_ACTIVE")]
    asked = heard(*told)
    assert (rule(asked), called(asked)) == ("followup_missing", set())
    assert rule(heard(*told, checkin(27))) == "complete"
