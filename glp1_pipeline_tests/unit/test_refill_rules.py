"""Every row of the decision table: a patient just inside it, and one just outside, limits exact.

Inputs are gathered from events, as they are in life. Not here: requests over time, overrides, records (`test_refills`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from glp1_pipeline.domain.events import Refused, parse_event
from glp1_pipeline.domain.refill import Decision
from glp1_pipeline.domain.refill_model import ADDRESS_CHANGED, Lab
from glp1_pipeline_tests.one_patient import CONTRACT, charted
from glp1_pipeline_tests.refill_patients import (
    START,
    WINDOW,
    Events,
    amended,
    authorized,
    decision,
    nausea,
    on_insulin,
    result,
    told,
)
from glp1_pipeline_tests.refills import by_provider, checkin, day, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, said

SIGNED = {"status": "given", "version": "2026-09", "at": at(-10)}


def resolved(on: float, flag: str, resolution: str = "refuted") -> dict[str, Any]:
    told = {"flag_id": flag, "resolution": resolution, "reason_code": "SEEN", "actor": "provider-7"}
    return by_provider("flag.resolved", on, **told)


def weighed(kg: float, before: float = 100.0) -> Events:
    body: dict[str, Any] = {"anthro.weight": {"value": before, "unit": "kg"}}
    return [intake(**body), *START[1:], checkin(24, weight={"value": kg, "unit": "kg"}), requested(25)]


def moved(state: str) -> Events:
    first = checkin(24)
    first["data"]["answers"]["demo.state_residence"] = state
    return [*START, first, requested(25)]


class Row(NamedTuple):
    rule: str
    inside: Events
    outside: Events


ROWS = [
    Row("suicidal", told(suicidal="yes"), told(suicidal="no", side_effects=[{"symptom": "mood", "severity": "mild"}])),
    Row("suicidal", [*told(), amended(26, **{"hx.suicide": "current ideation"})], told()),
    *(
        Row("red_symptom", told(**{name: "yes"}), told(**{name: "no"}))
        for name in (
            "severe_abdominal_pain", "vomiting_24h", "jaundice", "allergic_reaction", "neck_mass", "vision_change",
            "hypoglycemia",
        )
    ),
    Row(
        "red_symptom",
        told(side_effects=[{"symptom": "diarrhea", "severity": "severe"}]),
        told(side_effects=[{"symptom": "diarrhea", "severity": "moderate"}]),
    ),
    Row(
        "red_symptom",
        [*told(jaundice="yes"), resolved(26, "BILIARY_SYMPTOMS", "confirmed")],
        [*told(jaundice="yes"), resolved(26, "BILIARY_SYMPTOMS")],
    ),
    Row("pregnant", told(pregnant="yes"), told(pregnant="no")),
    Row("pregnant", told(pregnant="possible"), told(pregnant="no")),
    # What a provider saw before ordering is not new, but for what nobody may override.
    Row(
        "red_flag",
        [*told(), amended(26, **{"hx.t1dm": "yes"})],
        [intake(**{"hx.t1dm": "yes"}), *told()[1:]],
    ),
    Row(
        "red_flag",
        [intake(**{"hx.men2": "yes"}), *told()[1:]],
        [intake(**{"hx.men2": "yes"}), *told()[1:], resolved(26, "MEN2")],
    ),
    Row("administrative", told(address_unchanged="no"), told(address_unchanged="yes")),
    *(
        Row(
            "administrative",
            [*told(), amended(26, **{consent: SIGNED | {"status": status, "at": at(26)}})],
            [*told(), amended(26, **{consent: SIGNED})],
        )
        for consent in ("consent.treatment", "consent.telehealth", "consent.privacy_npp")
        for status in ("revoked", "refused")
    ),
    Row("administrative", moved("PR"), moved("TX")),
    Row(
        "administrative",
        [*told(), amended(26, **{"id.verification_status": "failed"})],
        [*told(), amended(26, **{"id.verification_status": "verified"})],
    ),
    Row(
        "administrative",
        [*told(), amended(26, **{"demo.state_at_visit": "GU"})],
        [*told(), amended(26, **{"demo.state_at_visit": "TX"})],
    ),
    Row("no_treatment", [intake(), checkin(24), requested(25)], told()),
    Row("no_treatment", [*told(), said("paused", 26)], [*told(), said("paused", 26), said("resumed", 27)]),
    Row("followup_missing", [*START, requested(25)], told()),
    Row("followup_missing", told(side_effects=None), told(side_effects="none")),
    Row("followup_missing", told(doses_missed=None), told(doses_missed=0)),
    Row("followup_missing", [*told(weighed_on=day(24)), requested(39)], [*told(weighed_on=day(24)), requested(38)]),
    Row(
        "followup_missing",
        [*START, checkin(24, weighed_on=day(9)), requested(24.1)],
        [*START, checkin(24, weighed_on=day(10)), requested(24.1)],
    ),
    Row(
        "followup_stale",
        [*START, checkin(20), checkin(28, "before"), dispensed(28.1, 0.25, "next"), requested(53)],
        [*START, checkin(20), dispensed(28.1, 0.25, "next"), checkin(48), requested(53)],
    ),
    *(
        Row("side_effect", told(side_effects=inside), told(side_effects=outside))
        for inside, outside in (
            (nausea("severe", "no"), nausea("moderate", "no")),
            (nausea("moderate", "yes"), nausea("moderate", "no")),
            (nausea("moderate", "yes"), nausea("mild", "yes")),
        )
    ),
    Row(
        "early_step_up",
        [*START, checkin(27, wants="step_up"), requested(31 - 1 / 86400)],
        [*START, checkin(27, wants="step_up"), requested(31)],
    ),
    Row("early_step_up", told(wants="step_up"), told(wants="same_dose")),
    *(Row("stop_wanted", told(wants="stop"), told(wants=other)) for other in ("same_dose", "step_down", "unsure")),
    *(
        Row("weight_change", weighed(inside, before), weighed(outside, before))
        # 98.2 to 88.38 is a tenth, whatever a computer's fractions make of it.
        for before, inside, outside in ((100.0, 89.9, 90.0), (100.0, 110.1, 110.0), (98.2, 88.37, 88.38))
    ),
    Row("interaction", told(new_medicines=["warfarin"]), told(new_medicines=["levothyroxine"])),
    Row("interaction", told(new_medicines=["insulin glargine"]), told(new_medicines="none")),
    Row("interaction", told(new_medicines=["glipizide"]), told(new_medicines=["metformin"])),
    Row("interaction", told(new_medicines=["ketoconazole"]), told(new_medicines=["levothyroxine"])),
    Row("interaction", told(new_medicines=["Ozempic"]), told(new_medicines=["metformin"])),
    Row("interaction", told(new_medicines=["a powder from abroad"]), told(new_medicines=["birth control pill"])),
    Row("new_condition", told(new_conditions=["gout"]), told(new_conditions="none")),
    Row("surgery", told(surgery_planned="yes"), told(surgery_planned="no")),
    *(
        Row("labs_due", [*on_insulin(), *inside, requested(25)], [*on_insulin(), *outside, requested(25)])
        for inside, outside in (
            ((), (result(26 - 180),)),
            ((result(24 - 180),), (result(25 - 180),)),
            ((result(20, status="preliminary"),), (result(20, status="corrected"),)),
            ((result(20), result(20, "2", status="entered-in-error")), (result(20), result(20, "2", status="amended"))),
            ((result(20, code="4544-3"),), (result(20, code="59261-8"),)),
        )
    ),
    Row("labs_due", [*on_insulin(), requested(25)], told()),
    *(
        Row("authorization_ends", [*told(), *inside], [*told(), *outside])
        for inside, outside in (
            ((authorized(26, 30),), (authorized(26, 31),)),
            ((authorized(26, 400), authorized(27, 30)), (authorized(26, 30), authorized(27, 31))),
            ((authorized(26, 30),), (authorized(26, 30), authorized(27, 200, "renewed"))),
            ((authorized(26, 30),), ()),
            ((authorized(26, 30),), (authorized(26, 30, product="saxenda"),)),
        )
    ),
    Row("too_early", [*START, checkin(20), requested(WINDOW - 1 / 86400)], [*START, checkin(20), requested(WINDOW)]),
    Row("complete", told(), [*START, requested(25)]),
]  # fmt: skip


def holding(found: Decision) -> set[str]:
    return {found.rule, *(name for name, _ in found.also)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_a_row_holds_just_inside_and_not_just_outside(row: Row):
    inside, outside = decision(row.inside), decision(row.outside)
    declared = CONTRACT.refills.by_name[row.rule]
    assert row.rule in holding(inside)
    assert row.rule not in holding(outside)
    if declared.adds:
        assert dict(inside.also)[row.rule]
    else:
        assert (inside.rule, inside.outcome, inside.task) == (row.rule, declared.outcome, declared.task)
    if row.rule != "complete":
        assert (outside.rule, outside.outcome) == ("complete", "provider_queue")


def test_every_row_that_is_asked_has_somebody_inside_and_somebody_outside():
    asked = [rule.rule for rule in CONTRACT.refills.rules if not rule.waits_for]
    assert {row.rule for row in ROWS} | {"missed_doses"} == {*asked}


def test_every_symptom_that_the_table_names_is_told_by_somebody():
    told_of = {reason for row in ROWS if row.rule == "red_symptom" for reason in decision(row.inside).reasons}
    assert told_of == {*CONTRACT.refills.symptom_flags}


def test_every_administrative_flag_that_the_table_names_is_told_by_somebody():
    told_of = {reason for row in ROWS if row.rule == "administrative" for reason in decision(row.inside).reasons}
    assert told_of == {*CONTRACT.refills.administrative_flags, ADDRESS_CHANGED}


def test_every_group_of_medicines_that_the_table_names_is_told_by_somebody():
    told_of = {reason for row in ROWS if row.rule == "interaction" for reason in decision(row.inside).reasons}
    assert told_of == {*CONTRACT.refills.interacting, "unknown_medicine"}


@pytest.mark.parametrize(
    ("told", "reason", "key"),
    [
        ({"outcome": "denied"}, "wrong_shape", "data.outcome"),
        ({"valid_to": "2026-13-01"}, "bad_time", "data.valid_to"),
        ({"valid_to": "20260601"}, "bad_time", "data.valid_to"),
        ({"valid_to": "2026-W23-1"}, "bad_time", "data.valid_to"),
        ({"valid_to": "0001-01-01"}, "bad_time", "data.valid_to"),
        ({"valid_to": 7}, "wrong_shape", "data.valid_to"),
        ({"valid_to": None}, "wrong_shape", "data.valid_to"),
        ({"pa_id": "x y"}, "wrong_shape", "data.pa_id"),
        ({"product_key": "ozempik"}, "wrong_shape", "data.product_key"),
    ],
)
def test_an_authorization_that_cannot_be_understood_is_refused_with_its_key(
    told: dict[str, Any], reason: str, key: str
):
    event = authorized(26, 30)
    with pytest.raises(Refused) as refused:
        parse_event({**event, "data": event["data"] | told}, CONTRACT)
    assert (refused.value.reason, key in refused.value.hint) == (reason, True)


FLAGGED: dict[str, dict[str, Any]] = {
    "INSULIN_USE": {"med.current_list": [{"name": "insulin glargine"}]},
    "RENAL_CKD4_5": {"hx.kidney": "ckd"},
}
"""What a patient says of whom the program asks for a laboratory value."""


@pytest.mark.parametrize(
    ("lab", "flag", "code"),
    [(lab, flag, code) for lab in CONTRACT.refills.labs for flag in lab.flags for code in lab.loinc],
)
def test_every_laboratory_value_that_the_table_names_is_known_by_each_of_its_codes(lab: Lab, flag: str, code: str):
    def reasons(*results: dict[str, Any]) -> Any:
        found = decision([intake(**FLAGGED[flag]), *START[1:], checkin(24), *results, requested(25)])
        return dict(found.also).get("labs_due")

    assert reasons() == (f"{lab.lab}:missing",)
    assert reasons(result(25 - lab.max_age_days, code=code)) is None
    assert reasons(result(24 - lab.max_age_days, code=code)) == (f"{lab.lab}:old",)


@pytest.mark.parametrize(
    ("said", "is_result"),
    [
        ({"effectiveDateTime": day(26)}, False),
        ({"effectiveDateTime": "9999-12-31"}, False),
        ({"effectiveDateTime": "0001-01-01"}, False),
        ({"effectiveDateTime": "2026"}, False),
        ({"effectiveDateTime": None, "effectivePeriod": {"start": day(1), "end": day(2)}}, True),
        ({"effectiveDateTime": None, "issued": at(2)}, False),
        ({"valueQuantity": None}, False),
        ({"valueQuantity": {"value": True}}, False),
        ({"valueQuantity": None, "valueString": "hemolyzed"}, False),
        ({"valueQuantity": None, "valueString": "< 5.0 %"}, True),
        ({"valueQuantity": None, "dataAbsentReason": {"text": "lost"}}, False),
    ],
)
def test_only_a_result_that_says_something_of_a_day_that_was_counts(said: dict[str, Any], is_result: bool):
    found = decision([*on_insulin(), result(1, **said), requested(25)])
    assert ("labs_due" in holding(found)) is not is_result


def test_a_laboratory_value_that_is_missing_is_asked_for_before_the_window_and_read_with_the_request_in_it():
    early = [*on_insulin()[:-1], checkin(20), requested(WINDOW - 1)]
    patient = charted([early])
    assert "provider-review-refill/refill.labs_due:wegovy_inj" in patient.tasks
    patient.ring(BEGAN + timedelta(days=WINDOW + 0.1))
    assert {t for t in patient.tasks if t.startswith("provider-review-refill/")} == {
        "provider-review-refill/refill.complete:wegovy_inj"
    }


def test_an_authorization_that_was_corrected_to_another_product_says_nothing_of_the_first():
    corrected = authorized(27, 400, product="saxenda")
    assert "authorization_ends" in holding(
        decision([*told(), authorized(26, 30, "other"), authorized(26, 400), corrected])
    )


def test_a_renewal_is_asked_for_anew_where_the_one_before_was_done():
    patient = charted([[*told(), authorized(26, 30), authorized(27, 33)]])
    patient.ring(BEGAN + timedelta(days=35))
    (one,) = patient.refills.values()
    assert patient.outcome is not None
    (asked,) = [task for task in patient.outcome.tasks if task.cause.startswith("refill.authorization_ends")]
    assert asked.since == one.made[-1].as_of > BEGAN + timedelta(days=33)
