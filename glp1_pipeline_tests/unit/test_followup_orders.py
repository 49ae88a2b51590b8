"""Check-ins where nobody ever told of a hand-over: they begin with the order, until one is told of.

Not here: check-ins of hand-overs (`test_followups`).
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline_tests.one_patient import charted, reached
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.shown import Shown
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, message, ordered, said

ORDER = ordered(0, 0.25, days_supply=28)
"""Opens on day 14, is due on day 18 and missed on day 20; a hand-over on day 3 has its days three later."""
FOREVER = BEGAN + timedelta(days=400)


def shown(*events: dict[str, Any]) -> Shown:
    patient = Shown()
    patient.hear(intake(), ORDER, *events)
    return patient


def check_ins(patient) -> list[tuple[float, str]]:
    assert patient.outcome is not None
    return [(round((one.began_at - BEGAN) / timedelta(days=1), 1), one.status) for one in patient.outcome.follow_ups]


def reminders(patient: Shown) -> list[tuple[str, str]]:
    return [(one["reasonCode"][0]["coding"][0]["code"], one["status"]) for one in patient.all("CommunicationRequest")]


def told_on(on: float, event: dict[str, Any]) -> dict[str, Any]:
    """Of a day before, and told of later."""
    return {**event, "time": at(on)}


def test_an_order_that_nobody_told_a_hand_over_of_has_its_check_in_from_its_own_date_on():
    patient = shown()
    assert check_ins(patient) == [(0.0, "planned")]
    assert [tick.name for tick in patient.ring(FOREVER)] == ["opened", "due", "overdue", "missed"]
    assert patient.tasks == {"checkin-overdue/followup.missed:wegovy_inj"}


def test_a_whole_check_in_brings_a_refill_to_the_provider_where_only_the_order_is_known():
    patient = shown(checkin(18), requested(22))
    (one,) = patient.refills.values()
    assert (one.decision.outcome, one.decision.rule) == ("provider_queue", "complete")


@pytest.mark.parametrize(
    "order",
    [
        ordered(0, 0.25),  # nobody says how long it lasts
        ordered(0, 1.7, days_supply=28),  # refused: no first dose
        ordered(0, 0.25, days_supply=28, intent="plan"),
    ],
)
def test_an_order_without_days_or_that_is_refused_or_planned_has_none(order: dict[str, Any]):
    assert check_ins(charted([[intake(), order]])) == []


def test_each_next_order_ends_the_check_in_of_the_one_before():
    patient = charted([[intake(), ORDER, checkin(18), ordered(26, 0.25, "again", days_supply=28)]])
    assert check_ins(patient) == [(0.0, "completed"), (26.0, "planned")]


def test_an_order_that_is_told_anew_is_one_order_at_its_first_date():
    anew = ordered(0, 0.5, "order-0-0.25", days_supply=56)
    patient = charted([[intake(), ORDER, {**anew, "time": at(5), "id": "anew"}]])
    assert check_ins(patient) == [(0.0, "planned")]


def test_a_short_order_has_one_check_in_each_cycle():
    orders = [ordered(7 * n, 0.25, f"order-{n}", days_supply=7) for n in range(6)]
    assert check_ins(charted([[intake(), *orders]])) == [(0.0, "missed"), (28.0, "planned")]


def test_what_ends_a_treatment_ends_the_check_in_of_its_order():
    assert check_ins(shown(said("stopped", 10))) == [(0.0, "ended")]


def test_a_hand_over_of_which_nobody_knows_how_long_it_lasts_leaves_the_order_to_ask():
    bare = dispensed(-1, 0.25, days_supply=None, quantity=None)  # before the order, which is told of later
    patient = charted([[intake(), bare, ORDER]])
    assert check_ins(patient) == [(0.0, "planned")]


# ---- when the hand-over is told of


def test_a_hand_over_that_is_told_of_late_makes_all_as_if_it_had_always_been_known():
    late = told_on(16, dispensed(3, 0.25))
    known = charted([[intake(), ORDER, late, checkin(19), requested(25)]])
    patient = charted([[intake(), ORDER], [checkin(19)], [requested(25)], [late]])
    assert patient.state == known.state
    assert check_ins(patient) == [(3.0, "completed")]


def test_what_was_missed_for_the_order_is_closed_where_the_supply_came_later():
    patient = shown()
    patient.ring(datetime.fromisoformat(at(20.5)))
    assert patient.tasks == {"checkin-overdue/followup.missed:wegovy_inj"}
    patient.hear(told_on(20.6, dispensed(3, 0.25)))
    assert (check_ins(patient), patient.tasks) == ([(3.0, "open")], set())
    assert [tick.name for tick in patient.ring(FOREVER)] == ["opened", "due", "overdue", "missed"]


def test_who_was_reminded_for_the_order_is_not_reminded_of_the_same_for_its_supply():
    patient = shown()
    patient.ring(datetime.fromisoformat(at(15)))
    assert reminders(patient) == [("opened", "active")]
    first = dict(patient.only("CommunicationRequest"))
    patient.hear(told_on(15, dispensed(3, 0.25)))
    patient.ring(datetime.fromisoformat(at(18)))
    assert reminders(patient) == [("opened", "active")]
    assert patient.only("CommunicationRequest")["identifier"] == first["identifier"]
    patient.ring(datetime.fromisoformat(at(21.5)))
    assert reminders(patient) == [("opened", "active"), ("due", "active")]
    patient.hear(checkin(22))
    assert reminders(patient) == [("opened", "completed"), ("due", "completed")]


def test_a_supply_that_came_after_the_reminder_for_its_order_reminds_anew_and_the_old_one_is_taken_back():
    patient = shown()
    patient.ring(datetime.fromisoformat(at(15)))
    patient.hear(dispensed(16, 0.25))
    patient.ring(datetime.fromisoformat(at(31)))
    assert reminders(patient) == [("opened", "entered-in-error"), ("opened", "active")]


def test_a_hand_over_that_is_taken_back_leaves_the_order_and_its_own_check_in():
    lost = message("shipment_exception", 6, "lost", dispense_ref="dispense-3-0.25", reason="lost")
    assert check_ins(shown(dispensed(3, 0.25), lost)) == [(0.0, "planned")]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    handed=st.floats(-2, 25),
    told=st.floats(0, 40),
    answered=st.floats(1, 60),
    days=st.sampled_from([7, 14, 28, 84]),
)
def test_the_same_words_in_any_order_leave_one_state_with_the_hand_over_early_late_or_backdated(
    seed: int, handed: float, told: float, answered: float, days: int
):
    order = ordered(0, 0.25, days_supply=days)
    supply = told_on(max(handed, told), dispensed(handed, 0.25, days_supply=days))
    lived, slowly = list[dict[str, Any]](), charted([[intake()]])

    def hear(event: dict[str, Any]) -> None:
        lived.append(event)
        slowly.hear(event)

    for event in sorted([order, supply, checkin(answered), requested(answered + 3)], key=lambda one: one["time"]):
        while slowly.outcome is not None and (tick := slowly.outcome.tick) and tick.at.isoformat() <= event["time"]:
            hear(reached(tick))
        hear(event)
    while slowly.outcome is not None and (tick := slowly.outcome.tick) and tick.at <= FOREVER:
        hear(reached(tick))
    chance = random.Random(seed)
    shuffled = [intake(), *lived, *chance.choices(lived, k=3)]
    chance.shuffle(shuffled)
    batches: list[list[dict[str, Any]]] = [[] for _ in range(4)]
    for event in shuffled:
        batches[chance.randrange(4)].append(event)
    other = charted(batches)
    assert other.state == slowly.state
    assert other.outcome is not None
    ids = [one.followup_id for one in other.outcome.follow_ups]
    assert len(ids) == len({*ids})
