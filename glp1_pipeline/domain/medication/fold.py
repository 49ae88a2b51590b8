"""All that was said of a patient's treatments, folded into one course per product family.

The state comes from the events alone: no clock, no order of arrival, no number of copies changes it.
Here: what each moment does to the courses. Not here: whether an order is legal (`moves`), and what does not fit
(`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from ..chart import Reported
from ..medication_model import PREVIOUS, Family, MedicationRules, State
from .drift import Seen, findings
from .facts import Fact
from .moves import Exposure, Verdict, is_after_a_gap, is_first_step, is_restart, judge
from .overrides import let_through
from .shapes import UNKNOWN, Course, Outcome, Supply, Transition
from .supply import lasts, missed_as_told, missed_doses, run_out
from .versions import LATER, Ends, moments

OF_A_CHECKIN = ("taken", "counted")
"""Kinds that may name no product: a check-in speaks of what is under way."""


def fold(rules: MedicationRules, facts: Iterable[Fact], death: Reported | None = None) -> list[Course]:
    """Courses by family, each with its history and findings. With a `death` all are over, whatever else is told."""
    ordered, ends = moments(rules, facts)
    return _Fold(rules, ends).run(ordered, death) if ordered else []


class _Fold:
    def __init__(self, rules: MedicationRules, ends: Ends) -> None:
        self.rules, self.ends = rules, ends
        self.courses: dict[str, Course] = {}
        self.exposures: list[Exposure] = []
        self.seen = Seen()
        self.lost: set[str] = set()
        self.let_through: Mapping[str, Mapping[str, Fact]] = {}

    def run(self, facts: list[Fact], death: Reported | None) -> list[Course]:
        self.lost = {fact.ref for fact in facts if fact.kind == "lost"}
        self.let_through = let_through(self.rules, facts)
        does = {
            "ordered": self._ordered, "dispensed": self._dispensed, "taken": self._taken, "counted": self._counted,
            "paused": self._paused, "resumed": self._resumed, "stopped": self._stopped, "listed": self._listed,
            "planned": self._planned,
        }  # fmt: skip
        for fact in facts:
            if fact.kind not in does:  # a word on another fact, which is asked for there
                continue
            course = (
                self._course(fact) if fact.product or fact.held or fact.kind not in OF_A_CHECKIN else self._under_way()
            )
            if course is not None:
                does[fact.kind](course, fact)
        for course in self.courses.values():
            if death is not None and course.state in self.rules.moves["stop"].leaves:
                self._move(course, max(death.said_at, facts[-1].at), death.event_id, "stop")
        for course in self.courses.values():
            course.findings = findings(self.rules, course, self.courses, self.seen, facts[-1].at)
        return [self.courses[family] for family in sorted(self.courses)]

    def _course(self, fact: Fact) -> Course:
        family = self.rules.family_of(fact.product)
        name = UNKNOWN if family is None else family.family
        return self.courses.setdefault(name, Course(name))

    def _under_way(self) -> Course | None:
        """What a check-in speaks of, which names no product: the only treatment that there is."""
        under_way = [course for course in self.courses.values() if course.is_under_way]
        return under_way[0] if len(under_way) == 1 else None

    def _ordered(self, course: Course, fact: Fact) -> None:
        course.told["ordered"] = fact
        family = self.rules.families.get(course.family)
        if fact.held or family is None:
            return self._refuse(course, fact, "held", fact.held or "product_unknown")
        course.orders.append(fact)
        others = [other for other in self.courses.values() if other is not course and other.is_under_way]
        replaced = self.rules.family_of(fact.replaces)
        if any(replaced is None or other.family != replaced.family for other in others):
            return self._refuse(course, fact, "rejected", "overlap_two_glp1")
        verdict, broken = self._judge(family, course, fact, takes_over=bool(others))
        if verdict.refused:
            return self._refuse(course, fact, "rejected", verdict.refused)
        self._let_through(course, fact, broken)
        answers = is_after_a_gap(family, course, fact.at)
        for other in others:
            self._move(other, fact.at, fact.event_id, "another_product_took_its_place")
            if other.last_dose_at is None and other.state == "discontinued":
                self.seen.switched_blind[course.family] = fact
        if "order_of_another_product" in verdict.triggers and not is_first_step(family, fact.mg):
            self.seen.switched_high[course.family] = fact
        for trigger in verdict.triggers:
            if not self._move(course, fact.at, fact.event_id, trigger):
                return None
        if course.mg != fact.mg:
            self._begin_dose(course, fact.at)
        course.product, course.mg, course.accepted, course.gap = fact.product, fact.mg, fact, None
        course.answered_at = fact.at if answers else course.answered_at
        self._go_by_days(course, fact)
        self.exposures.append(Exposure(fact.at, course.family, fact.mg))
        return None

    def _judge(self, family: Family, course: Course, fact: Fact, takes_over: bool) -> tuple[Verdict, dict[str, Fact]]:
        """The verdict, and the rules that were broken and let through, each with the override: no other is."""
        let, broken = self.let_through.get(fact.event_id, {}), list[str]()
        while True:
            verdict = judge(self.rules, family, course, fact, self.exposures, takes_over, broken)
            if verdict.refused not in let or verdict.refused in broken:
                return verdict, {rule: let[rule] for rule in broken}
            broken.append(verdict.refused)

    def _let_through(self, course: Course, fact: Fact, broken: Mapping[str, Fact]) -> None:
        if broken:
            course.let_through[fact.event_id] = broken
        for rule, word in broken.items():
            how = f"{rule}:{word.reason_code}"
            course.history.append(Transition(fact.at, course.state, course.state, "overridden", how, word.event_id))

    def _dispensed(self, course: Course, fact: Fact) -> None:
        if self._cannot_use(course, fact):
            return
        if fact.ref in self.lost:  # nobody got it
            return
        course.dispensed.append(fact)
        self._notice_gap(course, fact)
        self._notice_overlap(course, fact)
        days = lasts(self.rules, fact, course.accepted)
        if days:
            course.runs_out_at = run_out(self.rules, course, fact.at, days)
        course.supplies.append(Supply(fact, days, course.runs_out_at or fact.at))
        self.exposures.append(
            Exposure(fact.at, course.family, fact.mg, course.runs_out_at if days else None, fact.order_ref)
        )
        if course.is_under_way and fact.mg is not None and fact.mg == course.mg:
            if not course.is_anchored:
                course.dose_since, course.is_anchored = max(course.dose_since or fact.at, fact.at), True
            self._go_by_days(course, fact)

    def _taken(self, course: Course, fact: Fact) -> None:
        if self._cannot_use(course, fact):
            return
        course.taken.append(fact)
        if fact.missed is None:
            self._notice_gap(course, fact)
        self._notice_overlap(course, fact)
        course.last_dose_at = max(course.last_dose_at or fact.at, fact.at)
        self.exposures.append(Exposure(fact.at, course.family, fact.mg))

    def _counted(self, course: Course, fact: Fact) -> None:
        """What was said of missed doses, when it was said: who ordered before did not know it."""
        family = self.rules.families.get(course.family)
        if family is not None and not fact.held:
            missed = missed_as_told(family, course, fact, is_checkin=not fact.product)
            self._see_gap(course, family, replace(fact, kind="taken"), missed)

    def _listed(self, course: Course, fact: Fact) -> None:
        if not self._cannot_use(course, fact) and fact.status == "active":
            self.exposures.append(Exposure(fact.at, course.family, fact.mg))
            self._notice_overlap(course, fact)

    def _planned(self, course: Course, fact: Fact) -> None:
        self._cannot_use(course, fact)

    def _paused(self, course: Course, fact: Fact) -> None:
        if _is_of_refused(course, fact) or self._cannot_use(course, fact):
            return
        before = course.state
        if self._move(course, fact.at, fact.event_id, "hold"):
            course.paused_from, course.paused_at = before, fact.at

    def _resumed(self, course: Course, fact: Fact) -> None:
        if _is_of_refused(course, fact) or self._cannot_use(course, fact):
            return
        family = self.rules.families.get(course.family)
        missed = missed_doses(family, course, fact.at) if family is not None else 0
        is_gap = family is not None and is_restart(family, missed)
        if self._move(course, fact.at, fact.event_id, "resume_after_a_gap" if is_gap else "resume") and is_gap:
            course.gap, course.answered_at = (fact, missed), fact.at

    def _cannot_use(self, course: Course, fact: Fact) -> bool:
        course.told[fact.kind] = fact
        if fact.held:
            self._refuse(course, fact, "held", fact.held)
        return bool(fact.held)

    def _stopped(self, course: Course, fact: Fact) -> None:
        if self._calls_off_refused(course, fact) or self._cannot_use(course, fact):
            return
        if fact.status == "stopped" and course.state == "discontinued":
            return  # of an older order of a treatment that is over
        self._move(course, fact.at, fact.event_id, "stop")

    def _calls_off_refused(self, course: Course, fact: Fact) -> bool:
        """Whether an order that was refused is called off: then all is as if it had not been written. Where the order
        before it ended too, since this one took its place in the EHR, the treatment is over."""
        if fact.status != "stopped" or not _is_of_refused(course, fact):
            return False
        course.orders = [order for order in course.orders if order.ref != fact.ref]
        if course.told["ordered"].ref == fact.ref:
            del course.told["ordered"]
            course.told |= {"ordered": course.orders[-1]} if course.orders else {}
        kept = course.kept_orders
        return not kept or self.ends.get(kept[-1].ref, LATER) > fact.at

    def _notice_gap(self, course: Course, fact: Fact) -> None:
        """A gap that is seen in the supply."""
        family = self.rules.families.get(course.family)
        if family is not None:
            self._see_gap(course, family, fact, missed_doses(family, course, fact.at))

    def _see_gap(self, course: Course, family: Family, fact: Fact, missed: int) -> None:
        """So many missed doses that a provider must say how to go on."""
        if course.is_under_way and course.state != "paused" and is_restart(family, missed):
            course.gap = (fact, missed)

    def _notice_overlap(self, course: Course, fact: Fact) -> None:
        for other in self.courses.values():
            if other is not course and other.is_under_way and other.state != "paused":
                self.seen.overlaps.append((course.family, other.family, fact))

    def _go_by_days(self, course: Course, fact: Fact) -> None:
        """What the days at the dose make of the state: noticed with an order or a hand-over, never by a clock."""
        rung = self.rules.families[course.family].rung(course.mg)
        if rung is None or course.dose_since is None:
            return
        days = (fact.at - course.dose_since).days
        if rung.is_start and rung.min_days is not None and days >= rung.min_days:
            self._move_from(course, fact, "start_is_over")
        if rung.is_kept and days >= self.rules.maintenance_after_days:
            self._move_from(course, fact, "label_maintenance_reached")

    def _move_from(self, course: Course, fact: Fact, trigger: str) -> None:
        if course.state in self.rules.moves[trigger].leaves:
            self._move(course, fact.at, fact.event_id, trigger)

    def _move(self, course: Course, at: datetime, event_id: str, trigger: str) -> bool:
        move = self.rules.moves[trigger]
        to: State = course.paused_from if move.to == PREVIOUS else move.to
        if course.state not in move.leaves:
            course.history.append(Transition(at, course.state, to, "rejected", "move_not_allowed", event_id))
            return False
        course.history.append(Transition(at, course.state, to, "made", trigger, event_id))
        if to == "discontinued":
            self.exposures = [e.cut(at) if e.family == course.family else e for e in self.exposures]
        if to == "restart":
            self._begin_dose(course, at)
        elif course.state == "paused" and course.paused_at is not None and course.dose_since is not None:
            course.dose_since += at - max(course.paused_at, min(course.dose_since, at))
        if course.state != to:
            course.state, course.since = to, at
        return True

    def _begin_dose(self, course: Course, at: datetime) -> None:
        """The days at the dose are counted from here, until the next hand-over of it says better."""
        course.dose_since, course.is_anchored = at, False

    def _refuse(self, course: Course, fact: Fact, outcome: Outcome, rule: str) -> None:
        course.history.append(Transition(fact.at, course.state, course.state, outcome, rule, fact.event_id))


def _is_of_refused(course: Course, fact: Fact) -> bool:
    """Whether it is said of an order that was refused: held or let go on, that changes nothing."""
    if fact.ref not in {order.ref for order in course.orders if order.ref}:
        return False
    return fact.ref not in {order.ref for order in course.kept_orders}
