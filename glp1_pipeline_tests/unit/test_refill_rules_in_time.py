"""Rules of the decision table as time goes by: doses that are missed, what a row says beside its outcome, and turns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from glp1_pipeline_tests.one_patient import CONTRACT, charted
from glp1_pipeline_tests.refill_patients import (
    START,
    TREATED,
    WINDOW,
    Events,
    authorized,
    decision,
    nausea,
    on_insulin,
    result,
    told,
    treated,
)
from glp1_pipeline_tests.refills import checkin, day, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, ordered, said

# Missed doses: one product for each way of counting them


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
