"""How long a hand-over lasts, and how many doses were missed at a moment.

Here: days and counts. Not here: when a check-in or a refill is due (they begin from `runs_out_at`), and what missed
doses mean (`fold`, `drift`).
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from ..medication_model import Family, MedicationRules
from .facts import Fact
from .shapes import Course

MOST_DAYS = 730
"""Nobody is handed more: a larger number is a slip, shown as supply that does not fit, and must not hide a gap."""


def days_from_pack(rules: MedicationRules, fact: Fact) -> tuple[float, float] | None:
    """From how many to how many days the quantity lasts at its dose; None where the pack does not tell."""
    family = rules.family_of(fact.product)
    if family is None or fact.quantity is None or fact.mg is None:
        return None
    if family.is_compounded:
        if fact.unit != "ml" or fact.mg_per_ml is None:
            return None
        doses = int(fact.quantity * fact.mg_per_ml / fact.mg + 1e-9)
        days = float(doses * family.interval_days)
        return days, days
    for pack in rules.packs:
        if pack.product_key != fact.product or pack.unit != fact.unit:
            continue
        if pack.for_mg and not any(abs(mg - fact.mg) < 1e-6 for mg in pack.for_mg):
            continue
        if pack.days is not None:
            return fact.quantity * pack.days[0], fact.quantity * pack.days[1]
        doses_per_unit = pack.doses_per_unit or (pack.mg_per_unit or 0) / fact.mg
        days = fact.quantity * doses_per_unit * family.interval_days
        return days, days
    return None


def lasts(rules: MedicationRules, fact: Fact, order: Fact | None) -> float:
    """Days' supply: as the pharmacy says, else as ordered, else by the pack; 0 where nobody tells."""
    days = fact.days
    if days is None and order is not None:
        days = order.days
    if days is None and (by_pack := days_from_pack(rules, fact)) is not None:
        days = by_pack[0]
    return min(days or 0, MOST_DAYS)


def run_out(rules: MedicationRules, course: Course, at: datetime, days: float) -> datetime:
    """When a supply handed over at `at` runs out, with what was left of those of days before, up to a limit. Packs of
    one day add up: the limit is for what nobody took, and of them nothing was to be taken yet."""
    before = course.runs_out_at or at
    if not (course.supplies and course.supplies[-1].fact.at.date() == at.date()):
        before = min(before, at + timedelta(days=rules.carry_over_days))
    return max(at, before) + timedelta(days=days)


def missed_doses(family: Family, course: Course, at: datetime) -> int:
    """Doses missed one after another at a moment. 0 where no supply is known: a silence is no gap."""
    covered = _covered_until(family, course)
    if covered is None:
        return 0
    gap = (at.date() - covered.date()).days
    return gap // family.interval_days + 1 if gap > 0 else 0


def missed_as_told(family: Family, course: Course, fact: Fact, is_checkin: bool) -> int:
    """The doses missed when somebody spoke of them: the number told, or what the last dose makes, whichever is larger.

    A check-in asks for a total, which is read as doses in a row: the cautious reading. Not so of a daily product that
    was taken a day ago or less: its gap, if it was one, is over, and its limits count days since the last dose.
    Of who took none of ours the doses count from the first hand-over. A report of a single dose tells no last one.
    """
    told = fact.missed or 0
    if not is_checkin:
        return told
    interval = family.interval_days
    last = course.last_dose_at
    due = last + timedelta(days=interval) if last is not None else None
    if due is None and course.supplies:
        due = course.supplies[0].fact.at
    if due is None:
        return told
    if course.answered_at is not None:
        due = max(due, course.answered_at)
    gap = ((fact.told_on or fact.at.date()) - due.date()).days
    if family.interval_days == 1 and last is not None and gap <= 0:
        return 0
    return max(told, gap // interval + 1 if gap > 0 else 0)


def missed_from(family: Family, course: Course, doses: int) -> datetime | None:
    """The moment from which so many are missed, if nothing is handed over or taken until then."""
    covered = _covered_until(family, course)
    if covered is None:
        return None
    gap = max(1, (doses - 1) * family.interval_days)
    return datetime.combine(covered.date() + timedelta(days=gap), time(), UTC)


def not_taken_since(course: Course) -> datetime | None:
    """When a treatment that is held or over was: what is left of its supply covers nothing from then on."""
    return {"paused": course.paused_at, "discontinued": course.since}.get(course.state)


def _covered_until(family: Family, course: Course) -> datetime | None:
    covered = course.runs_out_at
    interval = timedelta(days=family.interval_days)
    if covered is not None and course.last_dose_at is not None:
        covered = max(covered, course.last_dose_at + interval)
    held = not_taken_since(course)
    if held is not None:
        ended = max(held, course.last_dose_at or held) + interval
        covered = min(covered, ended) if covered is not None else ended
    if covered is not None and course.answered_at is not None:
        covered = max(covered, course.answered_at)
    return covered
