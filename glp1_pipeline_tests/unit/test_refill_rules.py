"""Every row of the decision table: a patient just inside it, and one just outside, limits exact.

Inputs are gathered from events, as they are in life. Not here: requests over time, overrides, records (`test_refills`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from glp1_pipeline.domain.events import Refused, parse_event
from glp1_pipeline.domain.refill import Decision
from glp1_pipeline.domain.refill_model import ADDRESS_CHANGED, Lab
from glp1_pipeline_tests.one_patient import CONTRACT, charted
from glp1_pipeline_tests.refills import by_provider, checkin, day, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, message, ordered, resource, said

Events = Sequence[dict[str, Any]]
START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
WINDOW = (datetime(2026, 5, 29, 16, tzinfo=UTC) - BEGAN) / timedelta(days=1)
"""Nine in the morning of day 24 in California: three quarters of 28 days are used, and a week of them is left."""
SIGNED = {"status": "given", "version": "2026-09", "at": at(-10)}


def amended(on: float, **answers: Any) -> dict[str, Any]:
    """The patient corrects the intake; questions may be named without their prefix."""
    first = intake()
    told = {"supersedes": first["data"]["submission_id"], "submission_id": f"amended-{on:g}", "answers": answers}
    told |= {"authored_at": at(on), "received_at": at(on)}
    return {**first, "type": "intake.amended", "id": f"amended-{on:g}", "time": at(on), "data": first["data"] | told}


def resolved(on: float, flag: str, resolution: str = "refuted") -> dict[str, Any]:
    told = {"flag_id": flag, "resolution": resolution, "reason_code": "SEEN", "actor": "provider-7"}
    return by_provider("flag.resolved", on, **told)


def nausea(severity: str, persistent: str) -> list[dict[str, str]]:
    return [{"symptom": "nausea", "severity": severity, "persistent": persistent}]


def told(**answers: Any) -> Events:
    """Treatment began, a check-in with these answers, then the request."""
    return [*START, checkin(24, **answers), requested(25)]


def weighed(kg: float, before: float = 100.0) -> Events:
    body: dict[str, Any] = {"anthro.weight": {"value": before, "unit": "kg"}}
    return [intake(**body), *START[1:], checkin(24, weight={"value": kg, "unit": "kg"}), requested(25)]


def moved(state: str) -> Events:
    first = checkin(24)
    first["data"]["answers"]["demo.state_residence"] = state
    return [*START, first, requested(25)]


def on_insulin() -> Events:
    """Treatment of somebody whose HbA1c the program asks for began, and a check-in."""
    takes: dict[str, Any] = {"med.current_list": [{"name": "insulin glargine"}]}
    return [intake(**takes), *START[1:], checkin(24)]


def result(on: float, version: str = "1", code: str = "4548-4", status: str = "final", **said: Any) -> dict[str, Any]:
    """A laboratory result as it stands in the EHR; all of them one resource."""
    content = {
        "resourceType": "Observation",
        "id": "result",
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": at(on),
        "valueQuantity": {"value": 6.9, "unit": "%"},
        **said,
    }
    return resource(content, 24 + int(version) / 10, version)


def authorized(on: float, until: float, pa_id: str = "first", product: str = "wegovy_inj") -> dict[str, Any]:
    """A payer's approval until the end of a day of the treatment."""
    told = {"pa_id": pa_id, "product_key": product, "outcome": "approved", "valid_to": day(until)}
    event = message("dispensed", on, f"{pa_id}-{on:g}", **told)
    return {**event, "type": "pa.decided", "source": "/pa/payer", "subject": "patient-1"}


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


def decision(events: Events) -> Decision:
    """The last decision on the newest request."""
    patient = charted([events])
    return max(patient.refills.values(), key=lambda one: one.requested_at).decision


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


# Missed doses: one product for each way of counting them


TREATED = {
    "wegovy_inj": (0.25, {"codes": {"rxcui": "2553506"}}),
    "zepbound_pen": (2.5, {"codes": None}),
    "saxenda": (0.6, {"codes": None}),
    "wegovy_tab": (1.5, {"codes": None}),
    "foundayo": (0.8, {"codes": None}),
    "comp_sema": (0.25, {"codes": None, "dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1}}),
}


def treated(product: str, missed: int) -> Events:
    mg, more = TREATED[product]
    start = [ordered(0, mg, product=product, **more), dispensed(3, mg, product=product, quantity=None, **more)]
    asks = {**requested(25), "data": requested(25)["data"] | {"product_key": product}}
    return [intake(), *start, checkin(24, doses_missed=missed), asks]


@pytest.mark.parametrize("product", TREATED)
def test_the_last_missed_dose_before_a_restart_goes_on_and_the_next_is_for_the_provider(product: str):
    family = CONTRACT.medication.family_of(product)
    assert family is not None
    (limit,) = [one for one in family.missed_doses if one.is_restart]
    assert decision(treated(product, limit.doses - 1)).rule == "complete"
    found = decision(treated(product, limit.doses))
    assert (found.rule, found.outcome, found.reasons) == ("missed_doses", "escalate", ("restart_after_gap",))
    assert found.proposal == limit.propose


def test_every_way_of_counting_missed_doses_has_a_product_here():
    families = CONTRACT.medication.families
    here = {family.missed_doses for product in TREATED if (family := CONTRACT.medication.family_of(product))}
    assert here == {family.missed_doses for family in families.values()}


# What a row says beside its outcome


@pytest.mark.parametrize(
    ("events", "reasons", "proposal"),
    [
        (told(side_effects=nausea("moderate", "yes")), ("nausea:moderate",), "hold_step_or_step_down"),
        (told(new_medicines=["warfarin", "a powder"]), ("narrow_index", "unknown_medicine"), ""),
        (told(side_effects=None, wants=None), ("checkin.side_effects:absent", "checkin.wants:absent"), ""),
        ([*START, requested(25)], ("followup:absent",), ""),
        ([*told(), said("paused", 26)], ("course_paused",), ""),
    ],
)
def test_a_reason_is_a_name_and_never_a_value(events: Events, reasons: tuple[str, ...], proposal: str):
    found = decision(events)
    assert (found.reasons, found.proposal) == (reasons, proposal)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({}, "complete"),
        ({"side_effects": None}, "followup_missing"),
        ({"suicidal": "yes"}, "suicidal"),
        ({"address_unchanged": "no"}, "administrative"),
    ],
)
def test_who_wants_to_stop_is_read_by_a_provider_whatever_holds_the_request(more: dict[str, Any], rule: str):
    patient = charted([told(wants="stop", **more)])
    (one,) = patient.refills.values()
    assert (one.decision.rule, one.decision.also[0]) == (rule, ("stop_wanted", ("stop_wanted",)))
    assert one.decision.proposal == "discontinue"
    of_the_refill = {task for task in patient.tasks if task.startswith("provider-review-refill/")}
    name = "complete" if rule == "complete" else "stop_wanted"
    assert of_the_refill == {f"provider-review-refill/refill.{name}:wegovy_inj"}  # read once, and not twice


def test_rows_that_only_add_leave_the_refill_to_the_rows_after_them():
    found = decision(told(wants="step_up", surgery_planned="yes", new_conditions=["gout"]))
    assert (found.rule, found.proposal) == ("complete", "same_dose")
    assert [name for name, _ in found.also] == ["early_step_up", "new_condition", "surgery"]


# What turns with time alone


def on_the_clock(events: Events) -> list[tuple[float, str, tuple[str, ...]]]:
    """Each decision as the clock alone goes on: on which day, by which rule, with what beside it."""
    patient = charted([events])
    patient.ring(BEGAN + timedelta(days=400))
    (one,) = patient.refills.values()
    days = [round((made.as_of - BEGAN) / timedelta(days=1), 1) for made in one.made]
    return [(on, m.decision.rule, tuple(n for n, _ in m.decision.also)) for on, m in zip(days, one.made, strict=True)]


def test_a_request_that_waits_until_a_gap_is_a_restart_is_for_the_provider_then():
    *start, asks = treated("saxenda", 0)
    waiting = [*start[:-1], checkin(30), {**asks, "time": at(30.5)}]
    assert [(on, rule) for on, rule, _ in on_the_clock(waiting)][:2] == [(30.5, "complete"), (33.4, "missed_doses")]


def test_a_step_up_that_was_asked_for_too_early_is_early_no_more_once_its_days_are_full():
    early = [*START, checkin(27, wants="step_up"), requested(30)]
    assert on_the_clock(early)[:2] == [(30.0, "complete", ("early_step_up",)), (31.0, "complete", ())]


def test_a_result_and_an_authorization_turn_on_the_day_after_they_were_good_for_the_last_time():
    aging = [*on_insulin(), result(27 - 180), requested(25)]
    assert on_the_clock(aging)[:2] == [(25.0, "complete", ()), (28.0, "complete", ("labs_due",))]
    ending = [*told(), authorized(25.5, 31)]  # the supply runs out that day, and nobody fills it
    assert on_the_clock(ending)[:2] == [(25.0, "complete", ()), (32.0, "complete", ("authorization_ends",))]


def test_labs_and_authorizations_ask_for_work_and_hold_nothing():
    patient = charted([[*on_insulin(), requested(25), authorized(26, 30)]])
    (one,) = patient.refills.values()
    assert (one.decision.rule, one.decision.also) == (
        "complete", (("labs_due", ("hba1c:missing",)), ("authorization_ends", ("authorization_ends",))),
    )  # fmt: skip
    assert "pa-additional-info/refill.authorization_ends:wegovy_inj" in patient.tasks
    (asked,) = one.made[-1].inputs["labs"]["value"]
    assert asked == {"lab": "hba1c", "at": None}
    until = one.made[-1].inputs["authorized_until"]
    assert (until["value"], until["source"], until["voice"]) == (day(30), "pa", "verified")


def test_a_request_that_is_held_anyway_makes_the_clock_ring_for_nothing_but_the_check_in():
    patient = charted([told(pregnant="yes")])
    assert [tick.moment for tick in patient.ring(BEGAN + timedelta(days=400))] == ["followup.missed"]
    (one,) = patient.refills.values()
    assert [made.decision.rule for made in one.made] == ["pregnant"]


# What a year of stories found


def test_who_weighs_anew_after_a_slip_is_compared_with_the_supply_before_and_not_with_the_slip():
    body: dict[str, Any] = {"anthro.weight": {"value": 100.0, "unit": "kg"}}
    slip = [intake(**body), *START[1:], checkin(20, weight={"value": 75.0, "unit": "kg"}), requested(25)]
    assert decision(slip).rule == "weight_change"
    assert decision([*slip, checkin(26, weight={"value": 98.0, "unit": "kg"})]).rule == "complete"
    assert decision([*slip, checkin(26, weight={"value": 75.0, "unit": "kg"})]).rule == "weight_change"


def vial(on: float, days: float = 7) -> dict[str, Any]:
    more = {"days_supply": days, "quantity": {"value": 1, "unit": "vial"}, "codes": None}
    return dispensed(on, 2.5, product="zepbound_vial", **more)


def by_vials(*events: dict[str, Any]) -> Events:
    """The last of them is a request, for vials."""
    *others, asks = events
    asks = {**asks, "data": asks["data"] | {"product_key": "zepbound_vial"}}
    return [intake(), ordered(0, 2.5, product="zepbound_vial"), *others, asks]


MONTH = by_vials(vial(3), vial(10), vial(17), checkin(18), requested(19))


def test_the_next_vial_of_a_month_is_no_refill_and_the_first_of_the_next_month_is():
    """A vial that is handed over meanwhile lasts: a request that was not approved yet waits anew, but no longer than to
    the window of the month."""
    (still,) = charted([[*MONTH, vial(24)]]).refills.values()
    assert (still.status, still.decision.rule) == ("open", "too_early")
    assert still.decision.until == BEGAN + timedelta(days=WINDOW)
    (over,) = charted([[*MONTH, vial(24), vial(31)]]).refills.values()
    assert (over.status, over.ended_at) == ("dispensed", datetime.fromisoformat(at(31)))


def test_who_has_no_vial_left_waits_no_longer_than_for_the_last_one():
    """The cycle of 28 days is one of check-ins: three vials of a week run out on day 24, a day after this."""
    assert on_the_clock(MONTH)[:2] == [(19.0, "too_early", ()), (23.0, "complete", ())]
    assert [(on, rule) for on, rule, _ in on_the_clock([*MONTH, vial(24)])][:4] == [
        (19.0, "too_early"), (23.0, "complete"), (24.0, "too_early"), (24.0, "complete"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("supply", "asked_on", "window_on"),
    [(7, 8.5, 9.0), (7, 9.1, 9.1), (10, 9.5, 11.0), (13, 12.1, 13.0)],
)
def test_a_request_for_short_supplies_goes_on_before_the_one_in_hand_runs_out(
    supply: float, asked_on: float, window_on: float
):
    found = on_the_clock(by_vials(vial(3, supply), checkin(8), requested(asked_on)))
    assert next(on for on, rule, _ in found if rule == "complete") == window_on < 3 + supply


def test_the_supply_of_a_restart_that_a_provider_ordered_is_no_gap_of_its_own():
    back = [*START, checkin(55, doses_missed=4, last_dose_on=day(28)), ordered(56, 0.25, "restart")]
    after = charted([[*back, dispensed(59, 0.25, "restarted"), checkin(76), requested(81)]])
    assert after.outcome is not None
    (course,) = after.outcome.courses
    assert (course.state, [finding.name for finding in course.findings]) == ("restart", [])
    (one,) = after.refills.values()
    assert one.decision.rule == "complete"


def test_an_order_answers_a_gap_once_and_not_the_next_one():
    back = [*START, ordered(56, 0.25, "restart"), dispensed(59, 0.25, "restarted")]
    (course,) = charted([[*back, dispensed(59 + 28 + 20, 0.25, "late")]]).outcome.courses  # type: ignore[union-attr]
    assert [finding.name for finding in course.findings] == ["restart_after_gap"]
