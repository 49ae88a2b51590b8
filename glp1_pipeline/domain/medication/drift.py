"""Where the sources of a treatment disagree: plan, medication list, order, hand-over and what the patient takes.

Doses are compared within one family alone. Each finding names who said what it rests on; it is gone as soon as a later
word settles it.
Here: which findings stand at the end. Not here: the courses themselves (`fold`), and what tasks they make (`work`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from ..medication_model import Family, MedicationRules
from .facts import Fact
from .shapes import UNKNOWN, Course, Finding
from .supply import days_from_pack

DAY = timedelta(days=1)
SKIPS = "skip_a_step_up"
SAME = 0.02
"""Share by which two doses told as decimals may differ and be one."""


@dataclass(slots=True)
class Seen:
    """What was noticed on the way, beside the courses."""

    overlaps: list[tuple[str, str, Fact]] = field(default_factory=list)
    """A hand-over, a dose or a line of a medication list of the first family while the second was under way."""
    switched_blind: dict[str, Fact] = field(default_factory=dict)
    """Family -> the order that switched to it, where nobody told the last dose of the former."""
    switched_high: dict[str, Fact] = field(default_factory=dict)
    """Family -> the order that switched to it at another dose than a first one."""


def findings(
    rules: MedicationRules, course: Course, courses: Mapping[str, Course], seen: Seen, until: datetime
) -> list[Finding]:
    """What stands of a course, by name. `until`: when the newest word was said of any treatment of the patient."""
    found = [*_refused(course, courses)]
    family = rules.families.get(course.family)
    if family is not None:
        found += _doses(course, rules)
        found += _planned_otherwise(course, courses)
        found += _sequences(family, course)
        found += _supply(rules, course)
        found += _gap(family, course)
        found += _two_at_once(rules, course, courses, seen, until)
    if course.family in seen.switched_blind and course.state == "switch":
        found.append(_finding("switch_without_last_dose", seen.switched_blind[course.family]))
    high = seen.switched_high.get(course.family)
    if high is not None and course.is_under_way and course.accepted is high:  # the next order of it confirms it
        found.append(_finding("switch_above_first_step", high))
    return sorted({one.name: one for one in found}.values(), key=lambda one: one.name)


def _finding(name: str, *facts: Fact, proposal: str = "") -> Finding:
    told = tuple((fact.kind, fact.event_id, fact.at) for fact in facts)
    return Finding(name, facts[0].at, told, proposal)


def _refused(course: Course, courses: Mapping[str, Course]) -> Iterator[Finding]:
    """The refused order, while it is the last; and what could not be used, while nothing better was said."""
    last = course.told.get("ordered")
    for transition in course.history:
        if transition.outcome == "rejected" and last is not None and transition.event_id == last.event_id:
            yield _finding(transition.rule, last)
    for kind, fact in course.told.items():
        if fact.held and not (course.family == UNKNOWN and _said_since(courses, kind, fact)):
            yield _finding(fact.held, fact)


def _said_since(courses: Mapping[str, Course], kind: str, fact: Fact) -> bool:
    others = (other.told.get(kind) for name, other in courses.items() if name != UNKNOWN)
    return any(other is not None and not other.held and other.at > fact.at for other in others)


def _in_force(course: Course, at: datetime) -> Fact | None:
    """The order as it was written that stood at a moment; of none, the one that was signed within a day after."""
    standing = next((order for order in reversed(course.orders) if order.at <= at), None)
    return standing or next((order for order in course.orders if order.at <= at + DAY), None)


def _differ(one: Fact | None, other: Fact | None) -> bool:
    """Whether two facts of one family name another dose; of a compounded one also another concentration or volume."""
    if one is None or other is None:
        return False
    parts = ((one.mg, other.mg), (one.mg_per_ml, other.mg_per_ml), (one.ml, other.ml))
    return any(a is not None and b is not None and abs(a - b) > SAME * b for a, b in parts)


def _doses(course: Course, rules: MedicationRules) -> Iterator[Finding]:
    plan, order = course.told.get("planned"), course.orders[-1] if course.orders else None
    if plan is not None and order is not None and _is_of_last_order(plan, course) and _differ(plan, order):
        yield _finding("planned_dose_disagrees", plan, order)
    listed = course.told.get("listed")
    if listed is not None and listed.source != "intake" and listed.status == "active":
        standing = _in_force(course, listed.at)
        if standing is not None and listed.at >= standing.at and _differ(listed, standing):
            yield _finding("listed_dose_disagrees", listed, standing)
    if course.dispensed:
        last = course.dispensed[-1]
        named = next((o for o in course.orders if last.order_ref and o.ref == last.order_ref), None)
        standing = named or _in_force(course, last.at)
        if standing is None:
            yield _finding("dispensed_without_order", last)
        elif _differ(last, standing):
            yield _finding("dispensed_dose_disagrees", last, standing)
    if course.taken:
        dose = course.taken[-1]
        before = [fact for fact in course.dispensed if fact.at <= dose.at + DAY]
        grace = timedelta(days=rules.carry_over_days)
        usual = before[-1:] + (before[-2:-1] if before and dose.at - before[-1].at <= grace else [])
        expected = usual or [order for order in (_in_force(course, dose.at),) if order is not None]
        if expected and all(_differ(dose, one) for one in expected):
            yield _finding("reported_dose_disagrees", dose, expected[0])


def _is_of_last_order(plan: Fact, course: Course) -> bool:
    """Whether it was made for the newest order: before that one, and after the one before."""
    since = [order.at for order in course.orders[-2:]]
    return not plan.held and bool(since) and plan.at <= since[-1] and (len(since) < 2 or since[0] < plan.at)


def _planned_otherwise(course: Course, courses: Mapping[str, Course]) -> Iterator[Finding]:
    """Another product was planned, and of that one nothing was ordered. Products alone are compared, no strength."""
    for other in courses.values():
        plan = other.told.get("planned")
        if other is course or plan is None or not _is_of_last_order(plan, course):
            continue
        if not any(order.at >= plan.at for order in other.orders):
            yield _finding("planned_product_disagrees", plan, course.orders[-1])


def _sequences(family: Family, course: Course) -> Iterator[Finding]:
    """The last change of step in what was handed over, and in what was taken."""
    had = {fact.mg for fact in course.dispensed}
    for facts in (course.dispensed, course.taken):
        steps = [(rung.step, fact) for fact in facts if (rung := family.rung(fact.mg)) is not None]
        changes = [(a, b) for a, b in pairwise(steps) if a[0] != b[0]]
        if not changes:
            continue
        (before, former), (after, fact) = changes[-1]
        if after > before + 1:
            between = {rung.mg for rung in family.rungs if before < rung.step < after}
            if (facts is course.dispensed or not between <= had) and not _is_let_through(course, fact):
                yield _finding("skipped_rung", fact, former)
        elif after < before:
            standing = _in_force(course, fact.at)
            ordered = family.rung(standing.mg) if standing is not None else None
            if ordered is None or ordered.step > after:
                yield _finding("reversed_rung", fact, former)


def _is_let_through(course: Course, fact: Fact) -> bool:
    """Whether the order of this dose left the step out, and a provider let it."""
    order = _in_force(course, fact.at)
    return order is not None and not _differ(fact, order) and SKIPS in course.let_through.get(order.event_id, ())


def _supply(rules: MedicationRules, course: Course) -> Iterator[Finding]:
    last = course.dispensed[-1] if course.dispensed else None
    fits = days_from_pack(rules, last) if last is not None else None
    if last is None or last.days is None or fits is None:
        return
    low, high = fits[0] * (1 - rules.supply_tolerance), fits[1] * (1 + rules.supply_tolerance)
    if not low <= last.days <= high:
        yield _finding("supply_does_not_fit_dose", last)


def _gap(family: Family, course: Course) -> Iterator[Finding]:
    if course.gap is None or not course.is_under_way:
        return
    fact, missed = course.gap
    proposal = family.proposal(missed)
    if proposal is not None:
        yield _finding("restart_after_gap", fact, proposal=proposal.propose)


def _two_at_once(
    rules: MedicationRules, course: Course, courses: Mapping[str, Course], seen: Seen, until: datetime
) -> Iterator[Finding]:
    recent = timedelta(days=rules.look_back_days)
    for mine, other, fact in reversed(seen.overlaps):
        if mine == course.family and courses[other].is_under_way and until - fact.at <= recent:
            accepted = courses[other].accepted
            yield _finding("two_glp1_at_once", fact, *([accepted] if accepted is not None else []))
            return
