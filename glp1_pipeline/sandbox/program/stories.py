"""The stories of the program: what befalls a patient, and what comes of it.

Each begins with a treatment, has its own month or two, and goes on as far as the year does. Not here: the steps they
are made of (`life`), and how many there are of each (`year`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from .days import A_DAY
from .life import TABLETS, VIALS, WEGOVY, ZEPBOUND, Life
from .messages import EHR, PHARMACY


class Story(NamedTuple):
    tell: Callable[[Life], None]
    share: int
    """Of how many patients, beside the others."""
    sex: str | None = None


STORIES: dict[str, Story] = {}
SEVERE = [{"symptom": "nausea", "severity": "severe", "persistent": "no"}]
LASTING = [{"symptom": "reflux", "severity": "moderate", "persistent": "yes"}]
MILD = [{"symptom": "constipation", "severity": "mild", "persistent": "yes"}]


def story(share: int, sex: str | None = None) -> Callable[[Callable[[Life], None]], Callable[[Life], None]]:
    def register(tell: Callable[[Life], None]) -> Callable[[Life], None]:
        STORIES[tell.__name__] = Story(tell, share, sex)
        return tell

    return register


# ---- nothing to look at


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
    while True:
        days, first_on = life.now, life.now.runs_out_on - 28 * A_DAY
        for week in (1, 2):
            life.hand_over(first_on + week * 7 * A_DAY)
        life.check_in(days.opens_on + 2 * A_DAY)
        refill_id = life.ask(days.at(days.opens_on + 3 * A_DAY, 10), "too_early", "complete")
        life.hand_over(first_on + 21 * A_DAY)
        life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
        life.order(days.at(days.window_on + A_DAY, 13), life.next_dose())
        life.hand_over(days.runs_out_on)
        if not life.has_room or days.runs_out_on + 40 * A_DAY > life.until.date():
            return


# ---- check-ins that are late, half, or away


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
    """In the provider's queue until the weight is too old."""
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


# ---- side effects, symptoms, weight


@story(12)
def reflux_that_lasts(life: Life) -> None:
    """Escalated, denied, a step down; later up again."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, side_effects=LASTING)
    refill_id = life.ask(days.at(days.window_on, 12), "side_effect")
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id, "step-down")
    life.renew(days.window_on + A_DAY, life.product.ladder[0])
    life.months()


@story(10)
def overridden(life: Life) -> None:
    """A provider has seen the patient and lets a severe nausea through; a care coordinator had tried to and may not."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, side_effects=SEVERE)
    refill_id = life.ask(days.at(days.window_on, 11), "side_effect", "complete")
    life.override(days.at(days.window_on, 12), refill_id, "side_effect", role="care_coordinator", actor="coordinator-2")
    life.refused += 1
    life.override(days.at(days.window_on, 15), refill_id, "side_effect")
    life.refill["is_overridden"] = True
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY, life.mg)
    life.months()


@story(6)
def override_that_ends(life: Life) -> None:
    """Let through for two days in which nobody approved it."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 3 * A_DAY, side_effects=SEVERE)
    refill_id = life.ask(days.at(days.window_on, 11), "side_effect", "complete", "side_effect")
    life.override(days.at(days.window_on, 15), refill_id, "side_effect", days=2)
    life.answer(days.at(days.window_on + 3 * A_DAY, 12), refill_id, "step-down")
    life.renew(days.window_on + 3 * A_DAY, life.product.ladder[0], after=2)
    life.months()


@story(10)
def red_symptom(life: Life) -> None:
    """Yellow skin, which a provider finds to be none the next day."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, jaundice="yes")
    refill_id = life.ask(days.at(days.window_on, 11), "red_symptom", "complete")
    life.resolve(days.at(days.window_on + A_DAY, 10), "BILIARY_SYMPTOMS", "refuted")
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


@story(4)
def suicidal(life: Life) -> None:
    """Held at once, nobody may override it, and the treatment is paused."""
    life.begin()
    life.months(2)
    days = life.now
    on = days.opens_on + 2 * A_DAY
    life.check_in(on, hour=10, suicidal="yes")
    refill_id = life.ask(days.at(on, 12), "suicidal")
    life.override(days.at(on, 13), refill_id, "suicidal")
    life.refused += 1
    life.end(days.at(on, 14), "paused", "crisis")


@story(6)
def weight_slip(life: Life) -> None:
    """A weight mistyped by a fifth; the one taken the next day is compared with the month before."""
    life.begin()
    life.months(1)
    days = life.now
    slip = {"value": round(life.who.weight_kg * 0.75, 1), "unit": "kg"}
    life.check_in(days.opens_on + A_DAY, weight=slip)
    refill_id = life.ask(days.at(days.opens_on + 2 * A_DAY, 9), "weight_change", "too_early", "complete")
    life.check_in(days.opens_on + 3 * A_DAY)
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


@story(6)
def new_medicine(life: Life) -> None:
    """A medicine that interacts; the pharmacist asks its prescriber, and lets the refill through."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, new_medicines=[{"name": "warfarin", "dose": "5 mg"}])
    refill_id = life.ask(days.at(days.window_on, 11), "interaction", "complete")
    told: dict[str, Any] = {"role": "pharmacist", "actor": "pharmacist-3", "reason_code": "CONSULTED_PRESCRIBER"}
    life.override(days.at(days.window_on, 16), refill_id, "interaction", **told)
    life.refill["is_overridden"] = True
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


# ---- pregnancy, red flags, paper


@story(6, "female")
def pregnant(life: Life) -> None:
    life.begin()
    life.months(2)
    days = life.now
    on = days.opens_on + 2 * A_DAY
    life.check_in(on, pregnant="yes")
    life.flags.add("PREGNANT")
    life.ask(days.at(on + A_DAY, 9), "pregnant")
    life.end(days.at(on + A_DAY, 12), "stopped", "pregnancy")


@story(3, "female")
def may_be_pregnant(life: Life) -> None:
    """Held until somebody knows; nobody does."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, pregnant="possible")
    life.flags.add("PREGNANT")
    life.ask(days.at(days.opens_on + 3 * A_DAY, 9), "pregnant")


@story(4)
def family_history_told_late(life: Life) -> None:
    """A red flag that nobody may override; a provider confirms it and ends the treatment."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + A_DAY)
    first = life.events[0][1]
    at = days.at(days.opens_on + 2 * A_DAY, 10)
    said = {
        "supersedes": first["data"]["submission_id"], "submission_id": f"{life.who.account}-amended",
        "authored_at": at.isoformat(), "received_at": at.isoformat(), "answers": {"hx.mtc_family": "yes"},
    }  # fmt: skip
    kept = {name: part for name, part in first["data"].items() if name not in ("status", "client_submission_id")}
    event = {**first, "id": f"{life.who.account}/amended", "type": "intake.amended", "time": at.isoformat()}
    life.hear(at, {**event, "data": {**kept, **said}})
    life.flags.add("MTC_FAMILY")
    refill_id = life.ask(days.at(days.window_on, 11), "red_flag")
    life.override(days.at(days.window_on, 12), refill_id, "red_flag", flags=["MTC_FAMILY"])
    life.refused += 1
    life.resolve(days.at(days.window_on + A_DAY, 10), "MTC_FAMILY", "confirmed")
    life.end(days.at(days.window_on + A_DAY, 12), "stopped", "contraindicated")


@story(8)
def moved(life: Life) -> None:
    """Another address, until somebody has written it down."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + A_DAY, address_unchanged="no")
    refill_id = life.ask(days.at(days.window_on, 10), "administrative", "complete")
    life.check_in(days.window_on + A_DAY, hour=9)
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.renew(days.window_on + A_DAY)
    life.months()


# ---- supply


@story(6)
def traveller(life: Life) -> None:
    """Before the window, by an operations lead."""
    life.begin()
    life.months(1)
    days = life.now
    on = days.opens_on + A_DAY
    life.check_in(on, hour=10)
    refill_id = life.ask(days.at(on, 12), "too_early", "complete")
    told: dict[str, Any] = {"role": "ops_lead", "actor": "operations-1", "reason_code": "VACATION_SUPPLY"}
    life.override(days.at(on, 15), refill_id, "too_early", days=20, **told)
    life.refill["is_overridden"] = True
    life.answer(days.at(on + A_DAY, 12), refill_id)
    life.renew(on + A_DAY, life.mg)
    life.months()


@story(8)
def lost_parcel(life: Life) -> None:
    """Shipped and lost: it is no supply; the next one is."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY)
    refill_id = life.ask(days.at(days.window_on, 11), "complete")
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id)
    life.order(days.at(days.window_on + A_DAY, 13), life.next_dose())
    shipped_at = days.at(days.window_on + 2 * A_DAY, 15)
    parcel = f"{life.who.account}-parcel"
    told = {"dispense_ref": parcel, "shipped_at": shipped_at.isoformat(), "quantity": {"value": 4, "unit": "pen"}}
    life.hear(shipped_at, life.say.handed_over(shipped_at, life.product.key, life.mg, 28, **told))
    lost_at = days.at(days.window_on + 6 * A_DAY, 15)
    life.hear(
        lost_at, life.say.of(PHARMACY, "medication.shipment_exception", lost_at, dispense_ref=parcel, reason="lost")
    )
    life.hand_over(days.window_on + 9 * A_DAY)
    life.months()


@story(8)
def surgery(life: Life) -> None:
    """Held for six days, and on."""
    life.begin()
    life.months(1)
    days = life.now
    held_on = days.opens_on - 6 * A_DAY
    state = life.states[life.product.family]
    life.end(days.at(held_on, 10), "paused", "surgery")
    at = days.at(held_on + 6 * A_DAY, 10)
    life.hear(at, life.say.of(EHR, "medication.resumed", at, product_key=life.product.key))
    life.states[life.product.family], life.is_over = state, False
    life.follow_ups[life.product.family][-1] = {"status": "missed", "was_missed": True}
    life.months()


@story(8)
def gap(life: Life) -> None:
    """Back three weeks after the supply ran out: a restart at the first dose, which the provider orders."""
    life.begin()
    life.months(1)
    days = life.now
    on = days.runs_out_on + 21 * A_DAY
    life.check_in(on, hour=10, doses_missed=4, doses_taken=3, last_dose_on=(on - 27 * A_DAY).isoformat())
    refill_id = life.ask(days.at(on, 12), "missed_doses")
    life.answer(days.at(on + A_DAY, 12), refill_id, "restart")
    life.renew(on + A_DAY, life.product.ladder[0], "restart")
    life.months()


@story(10)
def switch(life: Life) -> None:
    """Another product in place of the first; its own check-ins begin."""
    life.begin()
    life.months(1)
    days = life.now
    life.check_in(days.opens_on + 2 * A_DAY, wants="unsure")
    refill_id = life.ask(days.at(days.window_on, 11), "complete")
    life.answer(days.at(days.window_on + A_DAY, 12), refill_id, "another-product")
    life.states[WEGOVY.family] = "discontinued"
    life.is_over, life.run_out_at, life.product = True, None, ZEPBOUND
    life.order(days.at(days.window_on + A_DAY, 13), ZEPBOUND.ladder[0], "switch", replaces=WEGOVY.key)
    life.hand_over(days.window_on + 3 * A_DAY)
    life.months()


@story(8)
def leaver(life: Life) -> None:
    """Stops before the check-in opens, and is asked nothing more."""
    life.begin()
    life.months(life.chance.randint(1, 3))
    life.end(life.now.at(life.now.opens_on - 3 * A_DAY, 10), "stopped", "patient-choice")
