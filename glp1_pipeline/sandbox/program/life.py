"""One patient's year as it is told: what everybody says, and beside each word what it must come to.

Here: the steps that stories are made of. Not here: the stories (`stories`), and days of a supply (`days`).
"""

from __future__ import annotations

from datetime import date, datetime
from random import Random
from typing import Any

from .days import A_DAY, Days, at_hour, days_of, runs_out
from .messages import EHR, PORTAL, Messages, well
from .people import Person, intake
from .products import WEGOVY, Product

OUTCOMES = {
    "suicidal": ("hold_urgent", "crisis-protocol"), "red_symptom": ("hold_urgent", "urgent-safety-review"),
    "pregnant": ("hold", "provider-review-refill"), "red_flag": ("hold", "provider-review-refill"),
    "administrative": ("hold", "licensure-recheck"), "no_treatment": ("not_eligible", "provider-review-refill"),
    "followup_missing": ("not_eligible", "checkin-overdue"), "followup_stale": ("not_eligible", "checkin-overdue"),
    "missed_doses": ("escalate", "provider-review-refill"), "side_effect": ("escalate", "provider-review-refill"),
    "weight_change": ("hold", "verify-weight"), "interaction": ("escalate", "provider-review-refill"),
    "too_early": ("wait_until", ""), "complete": ("provider_queue", "provider-review-refill"),
}  # fmt: skip
"""Rule -> what it leads to, and the task that it makes."""
RECENT = 14 * A_DAY
"""So old a weight may be when a refill is decided. A check-in that no refill follows by then is asked for again."""
CONTRAINDICATIONS = {"PREGNANT", "MTC_FAMILY"}
"""Of the flags raised here those that a treatment under way is to be ended for, if a provider says so."""

SUICIDAL = "SUICIDAL_ACTIVE"
CALLS = {SUICIDAL: "crisis-protocol", "BILIARY_SYMPTOMS": "urgent-safety-review"}
"""Flag of a story -> its task: somebody is called for the flag, whether or not there is a request."""


class Life:
    """`events`: all that is said, each with the moment that it reaches us. The rest is what it must come to."""

    def __init__(self, who: Person, chance: Random, begins_on: date, until: datetime) -> None:
        self.who, self.chance, self.begins_on, self.until = who, chance, begins_on, until
        self.say = Messages(who.account)
        self.events: list[tuple[datetime, dict[str, Any]]] = []
        self.states: dict[str, str] = {}
        self.follow_ups: dict[str, list[dict[str, Any]]] = {}
        self.refills: list[dict[str, Any]] = []
        self.flags: set[str] = set()
        self.refused = 0
        """Overrides of people who may not."""
        self.copies = 0
        """Messages that come a second time."""
        self.product = WEGOVY
        self.mg = 0.0
        self.dose_since: datetime | None = None
        self.is_anchored = False
        self.run_out_at: datetime | None = None
        self.days: Days | None = None
        self.is_answered = self.is_over = False
        self.recent_until: date | None = None
        """Of an answered check-in that no refill followed: the last day on which its weight may be decided on."""

    # ---- time

    @property
    def now(self) -> Days:
        """The days of the supply in hand."""
        assert self.days is not None
        return self.days

    @property
    def has_room(self) -> bool:
        """Whether another month fits in before the year ends."""
        return self.run_out_at is not None and self.run_out_at + 10 * A_DAY < self.until

    def hear(self, at: datetime, event: dict[str, Any]) -> dict[str, Any]:
        assert at < self.until, f"{event['type']} of {self.who.account} is beyond the end"
        self.events.append((at, event))
        return event

    # ---- treatment

    def begin(self, product: Product = WEGOVY) -> None:
        """Intake, a provider's first order nine days later, and the first supply three days after that."""
        self.product = product
        at = at_hour(self.who.zone, self.begins_on, 12, self.chance.randrange(60))
        self.hear(at, intake(self.who, at))
        self.order(at_hour(self.who.zone, self.begins_on + 9 * A_DAY, 11), product.ladder[0], "new_start")
        self.hand_over(self.begins_on + 12 * A_DAY)

    def begin_by_order(self) -> None:
        """Intake, and nine days later the first order; no word of any hand-over."""
        at = at_hour(self.who.zone, self.begins_on, 12, self.chance.randrange(60))
        self.hear(at, intake(self.who, at))
        ordered_at = at_hour(self.who.zone, self.begins_on + 9 * A_DAY, 11)
        self.order_alone(ordered_at, self.product.ladder[0], "new_start")

    def order(self, at: datetime, mg: float, state: str = "", **more: Any) -> None:
        family = self.product.family
        self.hear(at, self.say.ordered(at, self.product.key, mg, **more))
        before = self.mg if self.states.get(family, "discontinued") != "discontinued" else mg
        state = state or ("titration" if mg > before else "de_escalation" if mg < before else self.states[family])
        if mg != self.mg or family not in self.states:
            self.dose_since, self.is_anchored = at, False
        self.mg, self.states[family] = mg, state
        self._use(at)
        self._reach_maintenance(at)

    def hand_over(self, on: date, **more: Any) -> None:
        """A supply, and with it a check-in that nobody answered yet."""
        at = at_hour(self.who.zone, on, 14)
        product, (count, unit) = self.product, self.product.pack
        told = {"quantity": {"value": count, "unit": unit}, "when_handed_over": at.isoformat(), **more}
        self.hear(at, self.say.handed_over(at, product.key, self.mg, product.supply, **told))
        self.run_out_at = runs_out(self.run_out_at, at, product.supply)
        if not self.is_anchored:
            self.dose_since, self.is_anchored = at, True
        self._reach_maintenance(at)
        is_same_month = product.supply < 14 and self.days is not None and not self.is_over and on < self.now.runs_out_on
        if not is_same_month:
            self._begin_check_in(at)

    def order_alone(self, at: datetime, mg: float, state: str = "") -> None:
        """An order that says how long it lasts, of which the pharmacy tells nothing: its check-in begins with it."""
        self.order(at, mg, state, days_supply=self.product.supply)
        self.run_out_at = runs_out(self.run_out_at, at, self.product.supply)
        self._begin_check_in(at)

    def _begin_check_in(self, at: datetime) -> None:
        assert self.run_out_at is not None
        self._close(at)
        self.days = days_of(self.who.zone, at, self.run_out_at, self.product.supply)
        self.is_answered = self.is_over = False
        self.recent_until = None
        self.follow_ups.setdefault(self.product.family, []).append({"status": "missed", "was_missed": True})

    def _reach_maintenance(self, at: datetime) -> None:
        family = self.product.family
        is_long = self.dose_since is not None and at - self.dose_since >= 28 * A_DAY
        if is_long and self.mg == self.product.ladder[0] and self.states[family] == "new_start":
            self.states[family] = "titration"
        if (
            is_long
            and self.mg in self.product.kept
            and self.states[family] in ("titration", "de_escalation", "switch", "restart")
        ):
            self.states[family] = "maintenance"

    def _close(self, at: datetime) -> None:
        """The check-in before ends, answered or not."""
        self._use(at)
        if self.days is not None and not self.is_answered and not self.is_over and at < self.now.missed_at:
            self.follow_ups[self.product.family][-1] = {"status": "ended", "was_missed": False}
        self.is_over = True

    def _use(self, at: datetime) -> None:
        """A refill follows the check-in, or the treatment ends. Where its weight was too old by then, it had been asked
        for again."""
        if self.is_asked_again(at):
            self.follow_ups[self.product.family][-1]["status"] = "missed"
        self.recent_until = None

    def is_asked_again(self, at: datetime) -> bool:
        is_old = self.recent_until is not None and at.astimezone(self.who.zone).date() > self.recent_until
        return is_old and self.is_answered and not self.is_over

    def end(self, at: datetime, kind: str, reason: str) -> None:
        """A provider holds or stops the treatment: nothing more is asked, and who stops needs no refill."""
        self.hear(at, self.say.of(EHR, f"medication.{kind}", at, product_key=self.product.key, reason_code=reason))
        self._close(at)
        self.states[self.product.family] = {"paused": "paused", "stopped": "discontinued"}[kind]
        if kind == "stopped":
            self.run_out_at = None
            for one in self.refills:
                one["status"] = "closed" if one["status"] == "open" else one["status"]

    # ---- check-ins

    def check_in(
        self, on: date, hour: int = 0, received: datetime | None = None, is_early: bool = False, **answers: Any
    ) -> datetime:
        """Whole and well, but for the answers given; one given as None is left out, and then it is no answer yet. Nor
        is one that is so early that its weight is too old when the refill window opens."""
        hour = hour or self.chance.randint(10, 20)
        at = self.now.at(on, hour, self.chance.randrange(60))
        weeks = (on - self.begins_on).days / 7
        weighed_on = on - self.chance.randint(0, 1) * A_DAY
        kg = round(self.who.weight_kg * max(0.82, 1 - 0.0045 * weeks), 1)
        last_dose_on = on - (self.chance.randint(1, 5) if self.product.doses < 10 else 1) * A_DAY
        told = well(weighed_on, kg, last_dose_on, self.product.doses, self.who.sex)
        for name, answer in answers.items():
            told[{"weight": "anthro.weight", "pregnant": "preg.status"}.get(name, f"checkin.{name}")] = answer
        told = {name: answer for name, answer in told.items() if answer is not None}
        received = received or at
        self.hear(received, self.say.checked_in(at, received, str(self.who.zone), told))
        if is_early:
            return at
        if None not in answers.values():
            self.recent_until = weighed_on + RECENT
        if None not in answers.values() and not self.is_answered:
            self.is_answered = True
            was_missed = at >= self.now.missed_at
            self.follow_ups[self.product.family][-1] = {"status": "completed", "was_missed": was_missed}
        return at

    # ---- refills

    def ask(self, at: datetime, *trail: str) -> str:
        """A request, with the rules by which it will be decided, one after another; the id of it."""
        refill_id = f"{self.who.account}-refill-{len(self.refills) + 1}"
        event = self.say.of(PORTAL, "refill.requested", at, refill_id=refill_id, product_key=self.product.key)
        self.hear(at, event)
        self.refills.append({"status": "open", "trail": [*trail], "is_overridden": False, "is_against_hold": False})
        return refill_id

    @property
    def refill(self) -> dict[str, Any]:
        return self.refills[-1]

    def answer(self, at: datetime, refill_id: str, reason: str = "") -> None:
        """A provider approves it, or denies it for a reason."""
        kind = "denied" if reason else "approved"
        told = {"reason_code": reason} if reason else {}
        self.hear(at, self.say.of(EHR, f"refill.{kind}", at, refill_id=refill_id, **told))
        self.refill["status"] = kind
        if kind == "approved":
            self._use(at)

    def override(self, at: datetime, refill_id: str, rule: str, days: int = 30, **more: Any) -> None:
        told = {
            "refill_id": refill_id, "rules": [rule], "reason_code": "ASSESSED_PATIENT", "role": "provider",
            "actor": "provider-7", "text": "Seen by video today, eats and drinks.",
            "expires_at": (at + days * A_DAY).isoformat(), **more,
        }  # fmt: skip
        self.hear(at, self.say.of(EHR, "refill.overridden", at, **told))

    def resolve(self, at: datetime, flag: str, resolution: str) -> None:
        told = {"flag_id": flag, "resolution": resolution, "reason_code": "EXAMINED", "actor": "provider-7"}
        self.hear(at, self.say.of(EHR, "flag.resolved", at, **told))
        if resolution == "refuted":
            self.flags.discard(flag)

    @property
    def unanswered(self) -> str:
        """The rule for a check-in that was not done, by whether one was ever done before."""
        told = [one["status"] == "completed" for one in self.follow_ups[self.product.family][:-1]]
        return "followup_stale" if any(told) else "followup_missing"

    # ---- months

    def next_dose(self) -> float:
        """The next step of the ladder, or the last."""
        ladder = self.product.ladder
        return ladder[min(ladder.index(self.mg) + 1, len(ladder) - 1)]

    def renew(self, on: date, mg: float | None = None, state: str = "", after: int = 0) -> None:
        """An order of that day, for the next step where no dose is named, and its supply some days after."""
        self.order(self.now.at(on, 13), self.next_dose() if mg is None else mg, state)
        self.hand_over(on + (after or self.chance.randint(2, 4)) * A_DAY)

    def month(self, mg: float | None = None) -> None:
        """A month without anything: checked in on time, asked for, approved, renewed."""
        days, checked_on = self.now, self.now.opens_on + self.chance.randint(1, 3) * A_DAY
        self.check_in(checked_on, wants="same_dose" if self.next_dose() == self.mg else "step_up")
        if self.chance.random() < 0.5:
            refill_id = self.ask(days.at(checked_on + A_DAY, self.chance.randint(8, 21)), "too_early", "complete")
        else:
            refill_id = self.ask(days.at(days.window_on, self.chance.randint(10, 21)), "complete")
        self.answer(days.at(days.window_on + A_DAY, 12), refill_id)
        self.renew(days.window_on + A_DAY, mg)

    def months(self, count: int = 99) -> None:
        """So many, or as many as the year has."""
        while count and self.has_room:
            self.month()
            count -= 1

    # ---- the end

    def outcome(self) -> dict[str, Any]:
        """What must stand once the patient's clock has rung for all that is due: weights are too old by then."""
        tasks: set[str] = set()
        family = self.product.family
        overdue = not self.is_over and not self.is_answered and self.days is not None
        if self.is_asked_again(self.until + RECENT):
            overdue = True
            self.follow_ups[family][-1]["status"] = "missed"
        if overdue:
            tasks.add(f"checkin-overdue/followup.missed:{family}")
        under_way = [name for name, state in self.states.items() if state != "discontinued"]
        ends = self.flags & CONTRAINDICATIONS
        tasks |= {f"provider-review-refill/discontinue:{flag}:{name}" for flag in ends for name in under_way}
        told = []
        for one in self.refills:
            rule = one["trail"][-1]
            outcome, task = OUTCOMES[rule]
            told.append({**one, "outcome": outcome, "rule": rule, "decisions": len(one["trail"])})
            is_called = task in CALLS.values() or (overdue and task == "checkin-overdue")
            if one["status"] == "open" and task and not is_called:
                tasks.add(f"{task}/refill.{rule}:{family}")
        tasks |= {f"{CALLS[flag]}/{flag}" for flag in self.flags & CALLS.keys()}
        active = any(state not in ("paused", "discontinued") for state in self.states.values())
        return {
            "stage": "active_treatment" if active else "paused_or_discontinued",
            "medication": {family: {"state": state, "findings": []} for family, state in sorted(self.states.items())},
            "follow_ups": self.follow_ups, "refills": told, "flags": sorted(self.flags), "tasks": sorted(tasks),
        }  # fmt: skip
