"""Whether an order is a legal move, and which: the rules of contracts/medication.yaml by their names.

Here: judging one order against a course. Not here: doing it (`fold`), and where sources disagree (`drift`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..medication_model import Family, MedicationRules
from .facts import Fact
from .shapes import Course
from .supply import missed_doses, not_taken_since


@dataclass(frozen=True, slots=True)
class Exposure:
    """A dose that was ordered, handed over or taken."""

    at: datetime
    family: str
    mg: float | None
    until: datetime | None = None
    """When what was handed over runs out: it may be taken until then, unless the treatment is over before."""
    order_ref: str = ""
    """The order that it was handed over for."""

    @property
    def ended_at(self) -> datetime:
        return max(self.at, self.until or self.at)

    def cut(self, at: datetime) -> Exposure:
        return replace(self, until=min(self.ended_at, at))


@dataclass(frozen=True, slots=True)
class Verdict:
    triggers: tuple[str, ...] = ()
    """Of the moves that it makes, in order; none where the order goes on with what is."""
    refused: str = ""
    """Name of the rule that it breaks."""


def judge(
    rules: MedicationRules,
    family: Family,
    course: Course,
    order: Fact,
    exposures: list[Exposure],
    takes_over: bool,
    let: Collection[str] = (),
) -> Verdict:
    """`takes_over`: it says that it replaces the treatment that is under way with another product. `let`: rules that it
    may break, by an override."""
    rung = family.rung(order.mg)
    if family.rungs and rung is None:
        return Verdict(refused="dose_not_on_ladder")
    if order.keeps_dose and rung is not None and rung.is_start and "maintenance_at_starting_dose" not in let:
        return Verdict(refused="maintenance_at_starting_dose")
    if course.is_under_way:
        return _go_on(rules, family, course, order, let)
    is_known = course.state == "discontinued"
    look_back = timedelta(days=rules.look_back_days)
    # What was handed over for this very order, a day before it was signed, is no earlier treatment.
    before = [e for e in exposures if e.at <= order.at and not (order.ref and e.order_ref == order.ref)]
    recent = [e for e in before if order.at - e.ended_at <= look_back]
    own = [e for e in recent if e.family == family.family]
    if takes_over or any(e.family != family.family for e in recent):
        return _kept(order, "order_of_another_product")
    if not own:
        if is_beginning(family, order.mg):
            return _kept(order, "order_of_the_starting_dose")
        if "start_above_first_step" not in let:
            return Verdict(refused="start_above_first_step")
        return _kept(order, "order_after_a_gap" if is_known else "order_beside_doses_taken_elsewhere")
    with_dose = [e for e in own if e.mg is not None]
    if not (with_dose or is_beginning(family, order.mg) or "start_above_first_step" in let):
        return Verdict(refused="start_above_first_step")  # how much was taken nobody tells
    last = max(with_dose or own, key=lambda e: e.at)
    if (refused := _too_high(rules, family, last.mg, order.mg)) and refused not in let:
        return Verdict(refused=refused)
    if is_known and _way(course.mg, order.mg) > 0 and _is_early(rules, family, course, order.at, let):
        return Verdict(refused="step_up_before_min_days")
    return _kept(order, "order_after_a_gap" if is_known else "order_beside_doses_taken_elsewhere")


def _kept(order: Fact, trigger: str) -> Verdict:
    return Verdict((trigger, "provider_keeps_the_dose") if order.keeps_dose else (trigger,))


def _go_on(rules: MedicationRules, family: Family, course: Course, order: Fact, let: Collection[str]) -> Verdict:
    if (refused := _too_high(rules, family, course.mg, order.mg)) and refused not in let:
        return Verdict(refused=refused)
    is_gap = is_after_a_gap(family, course, order.at)
    way = _way(course.mg, order.mg)
    if course.state == "paused":
        first = "resume_after_a_gap" if is_gap else "resume"
        left = "restart" if is_gap else course.paused_from
    elif is_gap and way <= 0:
        return _kept(order, "order_after_a_gap")
    else:
        first, left = "", course.state
    triggers = (first,) if first else ()
    if way > 0:
        if _is_early(rules, family, course, order.at, let):
            return Verdict(refused="step_up_before_min_days")
        is_early = left in rules.moves["step_up_order"].leaves
        triggers += ("step_up_order" if is_early else "step_up_order_later",)
        left = "titration"
    elif way < 0 and not (is_gap and first):
        triggers += ("dose_down_order",)
        left = "de_escalation"
    if order.keeps_dose and left != "maintenance":
        triggers += ("provider_keeps_the_dose",)
    return Verdict(triggers)


def is_after_a_gap(family: Family, course: Course, at: datetime) -> bool:
    """Whether going on at a moment is a restart: seen in the supply, or told and answered by nobody since. A provider
    who let it go on after a pause has begun it again: that gap is shown, and no second restart."""
    is_open = course.gap is not None and course.gap[0].kind != "resumed"
    return is_open or is_restart(family, missed_doses(family, course, at))


def _is_early(rules: MedicationRules, family: Family, course: Course, at: datetime, let: Collection[str]) -> bool:
    """Whether a step up comes before the days at the dose. They begin anew with a restart; a pause adds none. Nobody
    lets one through over a gap that is open: that is begun again, or told to be none."""
    now = family.rung(course.mg)
    if now is None or now.min_days is None:
        return False
    if is_after_a_gap(family, course, at):
        return True
    if "step_up_before_min_days" in let:
        return False
    ended = not_taken_since(course)
    until = at if ended is None else ended
    at_dose = until + timedelta(days=rules.order_ahead_days) - (course.dose_since or until)
    return at_dose < timedelta(days=now.min_days)


def _too_high(rules: MedicationRules, family: Family, now: float | None, mg: float | None) -> str:
    """The rule that an order breaks which rises by more than a step of its own ladder."""
    if now is None or mg is None:
        return ""
    if family.is_compounded:
        return "compounded_jump" if mg > now * rules.compound_step_ratio else ""
    before, after = family.rung(now), family.rung(mg)
    return "skip_a_step_up" if before and after and after.step > before.step + 1 else ""


def _way(now: float | None, mg: float | None) -> int:
    """1 up, -1 down, 0 neither: both doses are of one family."""
    if now is None or mg is None or abs(now - mg) < 1e-6:
        return 0
    return 1 if mg > now else -1


def is_beginning(family: Family, mg: float | None) -> bool:
    """Whether a first order may be of this dose. Of a compounded product there is no ladder, and an order that is
    tenfold in mass and volume agrees with itself: it begins with no more than its family says."""
    if family.is_compounded:
        return mg is None or family.mg_start is None or mg <= family.mg_start * (1 + 1e-6)
    rung = family.rung(mg)
    return rung is None or rung.is_start


def is_first_step(family: Family, mg: float | None) -> bool:
    """Whether a dose is one that its ladder begins with; never where nobody signed a ladder."""
    rung = family.rung(mg)
    return rung is not None and rung.is_start


def is_restart(family: Family, missed: int) -> bool:
    proposal = family.proposal(missed)
    return proposal is not None and proposal.is_restart
