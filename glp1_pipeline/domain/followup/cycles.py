"""The check-ins of a treatment: one for each supply that was handed over, or for each cycle of short supplies.

A supply's check-in is answered by what the patient says after the hand-over and before the next one; so is a late or a
backdated answer told from one of the supply before. The same events give the same check-ins in any order.
Here: which check-ins there are, and where each stands at a moment. Not here: days (`moments`), what the answers mean
for a refill (`refill`), and what people are told (`work`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal

from ..chart import Chart, Reported, Value, in_order
from ..contract import Contract
from ..flags.facts import zone as zone_named
from ..gates import evaluate
from ..medication import Course, Supply
from ..refill_model import FollowUpRules
from ..told import FOLLOWUP
from .moments import Moments, day_of, moments

Status = Literal["planned", "open", "due", "missed", "completed", "ended"]
"""planned: not open yet; ended: the treatment was held or stopped, or the next supply came before it was due."""
LIVE: Final = ("planned", "open", "due", "missed")
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:glp1-pipeline:followup")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One check-in."""

    followup_id: str
    """From the hand-over that it follows: the same for whoever's chart that is filed in."""
    record_id: str
    """To whose record the hand-over belongs."""
    family: str
    product: str
    began_at: datetime
    """When the supply was handed over, or is meant to be."""
    supply_at: datetime
    """When the newest supply of its cycle was; a supply of usual length is alone in its cycle."""
    supply_days: float
    moments: Moments
    status: Status
    answered_at: datetime | None = None
    """When it was answered whole."""
    answers: Mapping[str, Value] = field(default_factory=dict)
    """All that was said in it, also while it lacks something."""
    answer_ids: tuple[str, ...] = ()
    """Events of its answers, oldest first."""
    missing: tuple[tuple[str, str], ...] = ()
    """What an answer lacks: field and its state."""
    was_missed: bool = False
    """Whether the exception came before an answer did."""
    ended_at: datetime | None = None
    """When the next supply came, or the treatment was held or stopped."""

    @property
    def is_live(self) -> bool:
        return self.ended_at is None

    @property
    def is_answered(self) -> bool:
        return self.answered_at is not None


def zone_of(contract: Contract, chart: Chart) -> tzinfo:
    """The patient's zone as told, else the one of their state; UTC where nobody knows."""
    told = chart.get("demo.timezone")
    named = told if isinstance(told, str) else contract.followups.zones.get(str(chart.get("demo.state_residence")), "")
    return zone_named(named or "UTC")


Missing = Callable[[Chart, Reported, dict[str, Value], tuple[str, ...]], tuple[tuple[str, str], ...]]
"""What answers lack, as `missing` says: by the chart, the last of the reports that gave them, the answers, and the ids
of all those reports."""


def follow_ups(
    contract: Contract,
    chart: Chart,
    courses: Iterable[Course],
    reports: Iterable[Reported],
    as_of: datetime,
    lacks: Missing | None = None,
) -> list[FollowUp]:
    """All check-ins of a patient, oldest first, as they stand at `as_of`. `lacks`: of somebody who looks often, and
    remembers."""
    lacks = lacks or (lambda chart, report, told, _: missing(contract, chart, report, told))
    zone = zone_of(contract, chart)
    told = list(reports)
    records = {report.event_id: report.record_id for report in told}
    answers = [r for r in in_order(told) if r.source == FOLLOWUP and not r.is_draft]
    found: list[FollowUp] = []
    for course in courses:
        cycles = _cycles(contract.followups, course, zone, records)
        found += [_at(lacks, chart, one, answers, as_of) for one in cycles]
    return sorted(found, key=lambda one: (one.began_at, one.followup_id))


def _cycles(rules: FollowUpRules, course: Course, zone: tzinfo, records: Mapping[str, str]) -> list[FollowUp]:
    """Each ends when the next begins; the last one with the treatment. One that was shipped begins when it will be
    there: its clock is set from the day that we hear of it."""
    cycles: list[FollowUp] = []
    for supply in course.supplies:
        if not supply.days:
            continue
        if cycles and _goes_on(rules, cycles[-1], supply, zone):
            cycles[-1] = replace(cycles[-1], supply_at=supply.fact.at, supply_days=supply.days)
            continue
        if cycles:
            cycles[-1] = replace(cycles[-1], ended_at=max(supply.fact.at, cycles[-1].began_at))
        cycles.append(_begin(rules, course, supply, zone, records.get(supply.fact.event_id, "")))
    over_at = course.since if course.state in ("paused", "discontinued") else None
    if cycles and over_at is not None and over_at >= cycles[-1].supply_at:
        cycles[-1] = replace(cycles[-1], ended_at=over_at)
    return cycles


def _goes_on(rules: FollowUpRules, cycle: FollowUp, supply: Supply, zone: tzinfo) -> bool:
    """Whether a short supply falls into the cycle of the short one before, or two packs were handed over on a day."""
    began_on, on = day_of(cycle.began_at, zone), day_of(supply.fact.at, zone)
    if on == began_on:
        return True
    is_short = max(supply.days, cycle.supply_days) < rules.short_supply_days
    return is_short and on < began_on + timedelta(days=rules.short_cycle_days)


def _begin(rules: FollowUpRules, course: Course, supply: Supply, zone: tzinfo, record_id: str) -> FollowUp:
    fact = supply.fact
    began_on, days, runs_out_on = day_of(fact.at, zone), supply.days, day_of(supply.runs_out_at, zone)
    if days < rules.short_supply_days:
        days = rules.short_cycle_days
        runs_out_on = began_on + timedelta(days=rules.short_cycle_days)
    followup_id = str(uuid.uuid5(_NAMESPACE, f"{record_id}|{fact.source}|{fact.ref or fact.event_id}"))
    return FollowUp(
        followup_id, record_id, course.family, fact.product, fact.at, fact.at, supply.days,
        moments(rules, began_on, runs_out_on, days, zone), "planned",
    )  # fmt: skip


def _at(lacks: Missing, chart: Chart, one: FollowUp, answers: Sequence[Reported], as_of: datetime) -> FollowUp:
    """Where a check-in stands, by what was answered until `as_of`."""
    told: dict[str, Value] = {}
    ids: list[str] = []
    answered_at, lacking = None, ()
    for report in answers:
        if report.received_at > as_of or not _answers(one, report):
            continue
        told |= {
            name: value for name, value in report.values.items() if value.get("null") != "absent" or name not in told
        }
        ids.append(report.event_id)
        lacking = lacks(chart, report, told, tuple(ids))
        if not lacking and answered_at is None:
            answered_at = report.said_at
    at = min(as_of, one.ended_at) if one.ended_at is not None else as_of
    was_missed = at >= one.moments.missed_at and (answered_at is None or answered_at >= one.moments.missed_at)
    if lacking:
        answered_at = None
    return replace(
        one,
        status=_status(one, answered_at, at),
        answered_at=answered_at,
        answers=told,
        answer_ids=tuple(ids),
        missing=lacking,
        was_missed=was_missed,
        ended_at=one.ended_at if one.ended_at is not None and one.ended_at <= as_of else None,
    )


def _answers(one: FollowUp, report: Reported) -> bool:
    """After the hand-over, and before the next one: nothing older than the last hand-over counts."""
    return one.began_at < report.said_at and (one.ended_at is None or report.said_at <= one.ended_at)


def missing(contract: Contract, chart: Chart, report: Reported, told: dict[str, Value]) -> tuple[tuple[str, str], ...]:
    """What the refill gate misses in the answers. Conditions are asked of the whole chart; what a check-in asks is
    taken from its answers alone."""
    asked = contract.asked_in_checkin
    values: dict[str, Any] = {name: value for name, value in chart.values.items() if name not in asked} | told
    decisive = {name: value for name, value in chart.decisive.items() if name not in asked}
    answered = replace(
        chart, values=values, decisive=decisive, counted=(report,), submissions=(report,), asked=chart.asked | {*asked},
        sources=dict.fromkeys(values, report.event_id),
    )  # fmt: skip
    (verdict,) = evaluate(contract, contract.gates[contract.followups.gate], [answered])
    return verdict.missing


def _status(one: FollowUp, answered_at: datetime | None, at: datetime) -> Status:
    if answered_at is not None:
        return "completed"
    if at >= one.moments.missed_at:
        return "missed"
    if one.ended_at is not None and one.ended_at <= at:
        return "ended"
    if at >= one.moments.due_at:
        return "due"
    return "open" if at >= one.moments.opens_at else "planned"
