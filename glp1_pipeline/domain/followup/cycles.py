"""The check-ins of a treatment: one for each supply that was handed over, or for each cycle of short supplies.

Where nothing was ever handed over, as far as anybody told, an order with its days' supply counts as one: from its own
date. As soon as a hand-over is told of, late or backdated, all is as if it had always been known.
The same events give the same check-ins in any order.
Here: which check-ins there are, and their days. Not here: the arithmetic of days (`moments`), where each stands
(`standing`), and what people are told (`work`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from ..chart import Chart, Reported, in_order
from ..contract import Contract
from ..medication import Course, Fact
from ..medication.supply import lasts
from ..refill_model import FollowUpRules
from ..told import FOLLOWUP
from ..zones import zone_of
from .moments import Moments, at_hour, day_of, moments
from .shapes import NAMESPACE, FollowUp
from .standing import Missing, Standing


@dataclass(frozen=True, slots=True)
class _Anchor:
    """What days are counted from: a hand-over, or an order where there is none."""

    fact: Fact
    days: float
    on: date
    """Of the patient's calendar, as is the next."""
    runs_out_on: date
    runs_out_at: datetime


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
    zone = zone_of(contract, chart)
    told = list(reports)
    records = {report.event_id: report.record_id for report in told}
    answers = [r for r in in_order(told) if r.source == FOLLOWUP and not r.is_draft]
    found: list[FollowUp] = []
    for course in courses:
        standing = Standing(contract, chart, zone, course, told, answers, as_of, lacks)
        found += [standing.of(one) for one in _cycles(contract, course, zone, records)]
    return sorted(found, key=lambda one: (one.began_at, one.followup_id))


def _cycles(contract: Contract, course: Course, zone: tzinfo, records: Mapping[str, str]) -> list[FollowUp]:
    """Each ends when the next begins; the last one with the treatment. One that was shipped begins when it will be
    there: its clock is set from the day that we hear of it."""
    rules = contract.followups
    orders, cycles = _orders(course), list[FollowUp]()
    for anchor in _anchors(contract, course, orders, zone):
        at = anchor.fact.at
        if cycles and _goes_on(rules, cycles[-1], anchor, zone):
            window_at = _refill_window(rules, anchor, cycles[-1].moments, zone)
            cycles[-1] = replace(cycles[-1], supply_at=at, supply_days=anchor.days, refill_window_at=window_at)
            continue
        if cycles:
            cycles[-1] = replace(cycles[-1], ended_at=max(at, cycles[-1].began_at))
        cycles.append(_begin(contract, course, anchor, zone, records.get(anchor.fact.event_id, "")))
    if _is_supplied(course):
        cycles = _that_stand_for(orders, cycles, records)
    over_at = course.since if course.state in ("paused", "discontinued") else None
    if cycles and over_at is not None and over_at >= cycles[-1].supply_at:
        cycles[-1] = replace(cycles[-1], ended_at=over_at)
    return cycles


def _is_supplied(course: Course) -> bool:
    """Whether a hand-over is known of which somebody tells how long it lasts."""
    return any(one.days for one in course.supplies)


def _orders(course: Course) -> list[Fact]:
    """Those that were not refused, oldest first: of versions of one the last, at the date of the first."""
    found: dict[tuple[str, str], Fact] = {}
    for fact in course.kept_orders:
        key = (fact.source, fact.ref or fact.event_id)
        first = found.get(key, fact)
        found[key] = replace(fact, at=first.at, event_id=first.event_id)
    return sorted(found.values(), key=lambda fact: fact.order)


def _anchors(contract: Contract, course: Course, orders: Iterable[Fact], zone: tzinfo) -> Iterable[_Anchor]:
    """What lasts until when, with what was left of the one before. Days are counted on the patient's calendar: a day on
    which the clocks change is one day, whatever its hours."""
    told = [(one.fact, one.days, one.runs_out_at) for one in course.supplies if one.days]
    if not _is_supplied(course):
        lasting = [(fact, lasts(contract.medication, fact, None)) for fact in orders]
        told = [(fact, days, fact.at + timedelta(days=days)) for fact, days in lasting if days]
    carried, left_on = timedelta(days=contract.medication.carry_over_days), date.min
    for fact, days, runs_out_at in told:
        on = day_of(fact.at, zone)
        left_on = max(on, min(left_on, on + carried)) + timedelta(days=days)
        yield _Anchor(fact, days, on, left_on, runs_out_at)


def _goes_on(rules: FollowUpRules, cycle: FollowUp, anchor: _Anchor, zone: tzinfo) -> bool:
    """Whether a short supply falls into the cycle of the short one before, or two packs were handed over on a day."""
    began_on = day_of(cycle.began_at, zone)
    if anchor.on == began_on:
        return True
    is_short = max(anchor.days, cycle.supply_days) < rules.short_supply_days
    return is_short and anchor.on < began_on + timedelta(days=rules.short_cycle_days)


def _begin(contract: Contract, course: Course, anchor: _Anchor, zone: tzinfo, record_id: str) -> FollowUp:
    rules, fact, days, runs_out_on = contract.followups, anchor.fact, anchor.days, anchor.runs_out_on
    is_short = days < rules.short_supply_days
    if is_short:
        days = rules.short_cycle_days
        runs_out_on = anchor.on + timedelta(days=rules.short_cycle_days)
    found = moments(rules, anchor.on, runs_out_on, days, zone)
    counts_from = fact.at
    if not is_short:
        recent_on = day_of(found.window_at, zone) - timedelta(days=contract.refills.weight_max_age_days)
        counts_from = max(fact.at, min(found.opens_at, at_hour(rules, recent_on, zone)))
    return FollowUp(
        _id(record_id, fact), record_id, course.family, fact.product, fact.at, fact.at, anchor.days, found, counts_from,
        _refill_window(rules, anchor, found, zone),
    )  # fmt: skip


def _id(record_id: str, fact: Fact) -> str:
    of = f"{record_id}|{fact.source}|{fact.ref or fact.event_id}"
    return str(uuid.uuid5(NAMESPACE, of if fact.kind == "dispensed" else f"{fact.kind}|{of}"))


def _refill_window(rules: FollowUpRules, anchor: _Anchor, cycle: Moments, zone: tzinfo) -> datetime:
    """The cycle of short supplies is one of check-ins. A refill waits no longer than for what is in hand: three
    quarters of it, and never beyond its end."""
    if anchor.runs_out_on >= day_of(cycle.runs_out_at, zone):
        return cycle.window_at
    own = moments(rules, anchor.on, anchor.runs_out_on, anchor.days, zone)
    return min(cycle.window_at, own.window_at, anchor.runs_out_at.astimezone(UTC))


def _that_stand_for(orders: Sequence[Fact], cycles: Sequence[FollowUp], records: Mapping[str, str]) -> list[FollowUp]:
    """Each with the check-in of its order, the last before the hand-over, else the first after it: whoever was reminded
    of that one needs not be reminded of this."""
    found, last_at = [], datetime.min.replace(tzinfo=UTC)
    for n, one in enumerate(cycles):
        next_at = cycles[n + 1].began_at if n + 1 < len(cycles) else datetime.max.replace(tzinfo=UTC)
        before = [fact for fact in orders if last_at < fact.at <= one.began_at]
        after = [fact for fact in orders if one.began_at < fact.at < next_at]
        order = (before[-1:] or after[:1] or [None])[0]
        stands_for = "" if order is None else _id(records.get(order.event_id, ""), order)
        found.append(replace(one, stands_for=stands_for))
        last_at = one.began_at
    return found
