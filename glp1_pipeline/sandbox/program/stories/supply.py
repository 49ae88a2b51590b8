"""Stories of pregnancy, red flags and paper, and of supplies that are early, lost, held, late or of another product."""

from __future__ import annotations

from typing import Any

from ..days import A_DAY
from ..life import Life
from ..messages import EHR, PHARMACY
from ..products import WEGOVY, ZEPBOUND
from .telling import story


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
    """Held for six days, which are none at the dose: a month more at it, and on."""
    life.begin()
    life.months(1)
    days = life.now
    held_on = days.opens_on - 6 * A_DAY
    state = life.states[life.product.family]
    life.end(days.at(held_on, 10), "paused", "surgery")
    at = days.at(held_on + 6 * A_DAY, 10)
    life.hear(at, life.say.of(EHR, "medication.resumed", at, product_key=life.product.key))
    life.states[life.product.family], life.is_over = state, False
    life.dose_since = life.dose_since and life.dose_since + 6 * A_DAY
    life.follow_ups[life.product.family][-1] = {"status": "missed", "was_missed": True}
    life.month(life.mg)
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
