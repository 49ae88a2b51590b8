"""Stories without anything, and check-ins that are late, half, or away."""

from __future__ import annotations

from datetime import timedelta

from ..days import A_DAY
from ..life import Life
from ..products import TABLETS, VIALS
from .telling import story

MILD = [{"symptom": "constipation", "severity": "mild", "persistent": "yes"}]


@story(40)
def steady(life: Life) -> None:
    life.begin()
    life.months()


@story(14)
def tablets(life: Life) -> None:
    life.begin(TABLETS)
    life.months()


@story(8)
def vials(life: Life) -> None:
    """A vial a week, asked after once in four weeks; the request of the fourth is approved before the next four."""
    life.begin(VIALS)
    _by_vials(life)


def _by_vials(life: Life, weeks: tuple[int, ...] = (1, 2)) -> None:
    """Months of vials; `weeks` in which the first has still one to come."""
    while True:
        days, first_on = life.now, life.now.runs_out_on - 28 * A_DAY
        for week in weeks:
            life.hand_over(first_on + week * 7 * A_DAY)
        life.check_in(days.opens_on + 2 * A_DAY)
        refill_id = life.ask(days.at(days.opens_on + 3 * A_DAY, 10), "too_early", "complete")
        life.hand_over(first_on + 21 * A_DAY)
        life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
        life.order(days.at(days.window_on + A_DAY, 13), life.next_dose())
        life.hand_over(days.runs_out_on)
        if not life.has_room or days.runs_out_on + 40 * A_DAY > life.until.date():
            return
        weeks = (1, 2)


@story(22)
def forgetful(life: Life) -> None:
    """Answers only when the refill is refused for it, every second month."""
    life.begin()
    while life.has_room:
        days = life.now
        refill_id = life.ask(days.at(days.window_on, 11), life.unanswered, "complete")
        life.check_in(days.window_on + A_DAY)
        life.answer(days.at(days.window_on + 2 * A_DAY, 12), refill_id)
        life.renew(days.window_on + 2 * A_DAY)
        life.months(1)


@story(10)
def half_answered(life: Life) -> None:
    """Leaves out side effects and doses at first."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + A_DAY, side_effects=None, doses_taken=None, doses_missed=None)
    refill_id = life.ask(days.at(days.opens_on + 2 * A_DAY, 9), "followup_missing", "too_early", "complete")
    life.check_in(days.opens_on + 3 * A_DAY, side_effects=MILD)
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


@story(8)
def offline(life: Life) -> None:
    """Answered in time on a phone without a network, which told it a fortnight later, and told it twice."""
    life.begin()
    life.months(1)
    days = life.now
    received = days.at(days.window_on + A_DAY, 10)
    life.check_in(days.opens_on + A_DAY, received=received)
    life.events.append((received + timedelta(minutes=1), life.events[-1][1]))
    life.copies += 1
    refill_id = life.ask(days.at(days.window_on + A_DAY, 14), "complete")
    life.answer(days.at(days.window_on + 2 * A_DAY, 12), refill_id)
    life.renew(days.window_on + 2 * A_DAY)
    life.months()


@story(8)
def silent(life: Life) -> None:
    """Takes the second supply and is never heard of again."""
    life.begin()
    life.months(1)


@story(6)
def against_a_hold(life: Life) -> None:
    """The pharmacy hands over although nobody answered."""
    life.begin()
    life.months(1)
    days = life.now
    life.ask(days.at(days.window_on, 11), life.unanswered)
    life.hand_over(days.window_on + 3 * A_DAY)
    life.refill["status"], life.refill["is_against_hold"] = "dispensed", True
    life.months()


@story(6)
def nobody_answers(life: Life) -> None:
    """In the provider's queue until the weight is too old: then the check-in is asked for again."""
    life.begin()
    life.months(2)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY)
    life.ask(days.at(days.opens_on + 3 * A_DAY, 15), "too_early", "complete", "followup_missing")


@story(5)
def asked_twice(life: Life) -> None:
    """The pharmacy asks, then the patient does: the newer request takes the place of the older."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + A_DAY)
    life.ask(days.at(days.opens_on + 2 * A_DAY, 10), "too_early")
    life.refill["status"] = "replaced"
    refill_id = life.ask(days.at(days.opens_on + 3 * A_DAY, 10), "too_early", "complete")
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


@story(6)
def last_vial(life: Life) -> None:
    """Asks for the second vial before the first is used up, long before the month's check-in opens."""
    life.begin(VIALS)
    days, first_on = life.now, life.now.runs_out_on - 28 * A_DAY
    life.check_in(first_on + 4 * A_DAY)
    refill_id = life.ask(days.at(first_on + 5 * A_DAY, 10), "too_early", "complete")
    life.answer(days.at(first_on + 6 * A_DAY, 12), refill_id)
    life.hand_over(first_on + 7 * A_DAY)
    _by_vials(life, weeks=(2,))


@story(6)
def early_bird(life: Life) -> None:
    """Answers in the first days of a supply, which is no answer for its refill, and again when somebody calls."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.window_on - 17 * A_DAY, is_early=True)
    refill_id = life.ask(days.at(days.window_on - 16 * A_DAY, 10), life.unanswered, "complete")
    life.check_in(days.window_on + A_DAY)
    life.answer(days.at(days.window_on + 2 * A_DAY, 12), refill_id)
    life.renew(days.window_on + 2 * A_DAY)
    life.months()


@story(6)
def by_order_alone(life: Life) -> None:
    """Of a pharmacy that tells nothing: each month from order to order."""
    life.begin_by_order()
    while life.has_room:
        days = life.now
        life.check_in(days.opens_on + 2 * A_DAY)
        refill_id = life.ask(days.at(days.window_on, 11), "complete")
        life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
        life.order_alone(days.at(days.window_on + A_DAY, 13), life.next_dose())
