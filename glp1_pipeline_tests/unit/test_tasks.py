"""Work that charts make: one need per cause, gone when its cause is gone."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings

from glp1_pipeline.domain import flags, gates, tasks
from glp1_pipeline.domain.chart import Chart, Reported, Value, resolve

from .test_flags import CLEAN, CONTRACT, GIVEN, chart_of, known, null, report, without
from .test_gates import CHARTS, GATE

REVIEW = ("provider-review-initial", "clinical-minimum")


def needs(chart: Chart) -> list[tasks.TaskNeed]:
    raised = flags.evaluate(CONTRACT, chart)
    return tasks.derive(CONTRACT, chart, raised, gates.evaluate(CONTRACT, GATE, [chart], [raised])[0])


def keys(chart: Chart) -> set[tuple[str, str]]:
    return {(need.code, need.cause) for need in needs(chart)}


def held(name: str, cause: str) -> Chart:
    return chart_of({**CLEAN, name: {"held": cause, "raw": "?"}})


def test_a_clean_chart_makes_the_provider_review_alone():
    (need,) = needs(chart_of())
    assert (need.code, need.queue, need.owner, need.due_minutes) == (REVIEW[0], "provider", "provider", 1440)


@pytest.mark.parametrize("why", ["unknown", "declined", "absent", "not_applicable"])
def test_each_red_question_without_an_answer_is_one_task_and_no_review(why):
    chart = chart_of({**null("hx.men2", why), "hx.liver": {"null": why}})
    assert keys(chart) == {("missing-high-risk-input", "hx.men2"), ("missing-high-risk-input", "hx.liver")}


def test_a_held_red_question_is_a_missing_high_risk_input_and_not_reconciled_twice():
    assert keys(held("hx.kidney", "unmapped_code")) == {("missing-high-risk-input", "hx.kidney")}


def test_a_red_question_that_an_old_form_never_asked_makes_a_task_beside_the_review():
    old = {n: v for n, v in CLEAN.items() if n not in ("hx.eating_disorder", "preg.planning")}
    chart = resolve(CONTRACT, "p1", [report(values=old, form_version="1.0.0")])
    assert keys(chart) == {REVIEW, ("missing-high-risk-input", "hx.eating_disorder")}


def test_family_mtc_unknown_goes_to_the_provider_and_declined_to_the_patient():
    eased = {n.code: n for n in needs(chart_of(null("hx.mtc_family", "unknown")))}
    assert eased.keys() == {"missing-high-risk-input", REVIEW[0]}
    assert (eased["missing-high-risk-input"].owner, eased["missing-high-risk-input"].queue) == ("provider", "provider")
    (declined,) = needs(chart_of(null("hx.mtc_family", "declined")))
    assert (declined.code, declined.owner) == ("missing-high-risk-input", "patient")


@pytest.mark.parametrize(
    ("name", "cause", "code"),
    [
        ("med.current_list", "unmapped_code", "reconcile-medications"),
        ("allergy.list", "unreadable", "reconcile-medications"),
        ("hx.comorbidities", "unmapped_code", "clarify-answer"),
        ("consent.sms", "unmapped_code", "clarify-answer"),
        ("demo.state_at_visit", "unmapped_code", "clarify-answer"),
        ("anthro.weight", "implausible_weight", "verify-weight"),
        ("anthro.height", "ambiguous_height", "verify-weight"),
        ("demo.dob", "ambiguous_date", "resolve-identity"),
        ("rx.pharmacy", "bad_ncpdp", "reconcile-medications"),
        ("vitals.bp", "implausible_blood_pressure", "clarify-answer"),
    ],
)
def test_a_held_answer_goes_to_who_can_settle_it(name, cause, code):
    assert (code, f"{name}:{cause}") in keys(held(name, cause))


def test_a_stale_weight_or_an_impossible_bmi_is_weighed_again():
    assert keys(chart_of(anthro__weight_measured_at="2026-01-01")) == {
        ("verify-weight", "anthro.weight_measured_at:stale"),
    }
    assert keys(chart_of(anthro__weight=300.0)) == {("verify-weight", "bmi:not_accepted")}


def test_a_weight_that_is_only_stated_makes_no_task_of_its_own():
    assert keys(chart_of(anthro__weight_method="home_scale")) == {REVIEW}


@pytest.mark.parametrize(
    ("answers", "code", "cause"),
    [
        ({"hx__suicide": "current"}, "crisis-protocol", "SUICIDAL_ACTIVE"),
        ({"vitals__bp": {"systolic": 190, "diastolic": 100}}, "urgent-safety-review", "BP_CRISIS"),
        ({"demo__state_at_visit": "GU"}, "licensure-recheck", "STATE_NOT_SERVED"),
        ({"id__verification_status": "failed"}, "resolve-identity", "IDENTITY_UNVERIFIED"),
    ],
)
def test_some_flags_are_work_by_themselves(answers, code, cause):
    assert (code, cause) in keys(chart_of(**answers))


INSULIN = known(med__current_list=[{"name": "Lantus", "class": "insulin"}])
DENIED = ("clarify-contradiction", "diabetes_denied_insulin_listed")


def test_each_contradiction_is_clarified_once():
    found = ("diabetes_denied_insulin_listed",)
    one = dataclasses.replace(report(1, {**CLEAN, **INSULIN}), contradictions=found)
    assert keys(resolve(CONTRACT, "p1", [one, dataclasses.replace(one, event_id="e2")])) == {REVIEW, DENIED}
    assert keys(resolve(CONTRACT, "p1", [one, report(2, {}, status="amended")])) == {REVIEW, DENIED}
    blank: dict[str, Value] = {"hx.t2dm": {"null": "absent"}}
    assert keys(resolve(CONTRACT, "p1", [one, report(2, blank, status="amended")])) == {REVIEW, DENIED}


def test_an_amendment_ends_a_contradiction_and_makes_one():
    one = dataclasses.replace(report(1, {**CLEAN, **INSULIN}), contradictions=("diabetes_denied_insulin_listed",))
    mended = report(2, known(med__current_list=[]), status="amended")
    assert DENIED not in keys(resolve(CONTRACT, "p1", [one, mended]))
    assert DENIED in keys(resolve(CONTRACT, "p1", [report(1), report(2, INSULIN, status="amended")]))


def test_a_new_full_submission_ends_the_contradictions_of_the_one_before():
    one = dataclasses.replace(report(), contradictions=("insulin_without_diabetes",))
    assert keys(resolve(CONTRACT, "p1", [one, report(2)])) == {REVIEW}


def test_a_medicine_without_a_class_is_reconciled_once_beside_the_review():
    rows = [{"name": "Olympic"}, {"name": "Met forming"}, {"name": "lisinopril", "class": "ace_arb"}]
    wanted = {REVIEW, ("reconcile-medications", "med.current_list:unmapped_medicine")}
    assert keys(chart_of(med__current_list=rows)) == wanted
    assert keys(chart_of(med__current_list=[])) == {REVIEW}


def test_blood_pressure_not_known_passes_and_somebody_has_to_take_it():
    assert keys(chart_of(null("vitals.bp", "unknown"))) == {REVIEW, ("clarify-answer", "vitals.bp:unknown")}


def test_a_draft_makes_no_work_but_what_cannot_wait():
    assert keys(chart_of({}, status="in-progress")) == set()
    assert keys(chart_of(known(hx__suicide="current", demo__state_at_visit="GU"), status="in-progress")) == {
        ("crisis-protocol", "SUICIDAL_ACTIVE"),
    }


def test_an_answer_that_comes_later_ends_the_need():
    first = report(1, null("hx.men2", "unknown"))
    then: Reported = report(2, known(hx__men2="no"), status="amended")
    assert keys(resolve(CONTRACT, "p1", [first])) == {("missing-high-risk-input", "hx.men2")}
    assert keys(resolve(CONTRACT, "p1", [first, then])) == {REVIEW}


def test_a_held_patient_gets_no_review_and_each_missing_field_is_asked_for_once():
    assert keys(without("rx.pharmacy")) == {("clarify-answer", "rx.pharmacy:absent")}
    assert keys(without("demo.email", "demo.mobile")) == {("clarify-answer", "demo.mobile:absent")}
    assert keys(without("anthro.height")) == {("verify-weight", "anthro.height:absent")}
    assert keys(without("preg.status", "preg.planning")) == {
        ("missing-high-risk-input", "preg.status"), ("clarify-answer", "preg.planning:absent"),
    }  # fmt: skip
    refused = GIVEN | {"status": "refused"}
    assert keys(chart_of(consent__treatment=refused)) == {("clarify-answer", "consent.treatment:not_accepted")}
    ask = {n.code: n.owner for n in needs(without("rx.pharmacy", "preg.status"))}
    assert ask == {"clarify-answer": "care-coordinator", "missing-high-risk-input": "patient"}


def test_what_is_held_or_flagged_already_is_not_asked_for_twice():
    phone = {**CLEAN, "demo.mobile": {"held": "unreadable_phone", "raw": "?"}, "demo.email": {"null": "absent"}}
    assert keys(chart_of(phone)) == {("clarify-answer", "demo.mobile:unreadable_phone")}
    assert keys(held("demo.dob", "ambiguous_date")) == {("resolve-identity", "demo.dob:ambiguous_date")}
    failed = chart_of(id__verification_status="failed")
    assert keys(failed) == {("resolve-identity", "IDENTITY_UNVERIFIED")}


@settings(max_examples=200, deadline=None)
@given(CHARTS)
def test_whatever_the_gate_misses_of_a_submitted_chart_is_somebodys_work(chart):
    result = gates.evaluate(CONTRACT, GATE, [chart], [flags.evaluate(CONTRACT, chart)])[0]
    if chart.is_complete and result.outcome == "held":
        assert {n.code for n in needs(chart)} - {"provider-review-initial"}


def test_an_allergy_without_its_list_is_asked_for_and_an_allergen_nobody_knows_is_reconciled():
    yes = {**CLEAN, **known(allergy__any="yes")}
    assert keys(chart_of(yes)) == {("clarify-answer", "allergy.list:absent")}
    assert keys(chart_of({**yes, "allergy.list": {"value": []}})) == {("clarify-answer", "allergy.list:not_accepted")}
    rows = {"allergy.list": {"value": [{"substance": "the red pills"}]}}
    unmapped = ("reconcile-medications", "allergy.list:unmapped_allergen")
    assert keys(chart_of(yes | rows)) == {REVIEW, unmapped}
    coded = {"allergy.list": {"value": [{"substance": "amoxicillin", "code": "penicillin"}]}}
    assert keys(chart_of(yes | coded)) == {REVIEW}
    assert keys(chart_of(yes | {"allergy.list": {"held": "unreadable", "raw": "?"}})) == {
        ("reconcile-medications", "allergy.list:unreadable"),
    }


@pytest.mark.parametrize("status", ["completed", "in-progress"])
@pytest.mark.parametrize("told", [{"held": "unmapped_code", "raw": "every night"}, {"value": "yes"}])
def test_an_answer_on_suicide_that_is_not_known_to_be_harmless_starts_the_crisis_protocol(told, status):
    chart = chart_of({**CLEAN, "hx.suicide": told}, status=status)
    assert ("crisis-protocol", "SUICIDAL_ACTIVE") in keys(chart)


@pytest.mark.parametrize("status", ["completed", "in-progress"])
def test_a_held_blood_pressure_that_may_be_a_crisis_is_urgent(status):
    chart = chart_of({**CLEAN, "vitals.bp": {"held": "half_blood_pressure", "raw": {"systolic": 196}}}, status=status)
    assert ("urgent-safety-review", "BP_CRISIS") in keys(chart)


@settings(max_examples=200, deadline=None)
@given(CHARTS)
def test_needs_are_the_same_each_time_one_per_cause_and_never_quote_an_answer(chart):
    found = needs(chart)
    assert found == needs(chart)
    assert len({(n.code, n.cause) for n in found}) == len(found)
    words = set(CONTRACT.fields) | set(CONTRACT.flags) | set(CONTRACT.gates) | {"bmi"}
    assert all(need.cause.split(":")[0] in words for need in found)


@settings(max_examples=200, deadline=None)
@given(CHARTS)
def test_whatever_passes_by_task_has_its_task_at_the_provider(chart):
    result = gates.evaluate(CONTRACT, GATE, [chart], [flags.evaluate(CONTRACT, chart)])[0]
    if chart.is_complete:
        mine = {n.cause for n in needs(chart) if n.code == "missing-high-risk-input" and n.owner == "provider"}
        assert set(result.by_task) <= mine
