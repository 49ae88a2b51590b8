"""Stories of side effects, symptoms, weights and medicines."""

from __future__ import annotations

from typing import Any

from ..days import A_DAY
from ..life import SUICIDAL, Life
from .telling import story

SEVERE = [{"symptom": "nausea", "severity": "severe", "persistent": "no"}]
LASTING = [{"symptom": "reflux", "severity": "moderate", "persistent": "yes"}]


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
    life.flags.add(SUICIDAL)
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
