"""Requests of refills over time: what was decided of each whenever something changed, and how it ended.

A decision is made with what was known at its moment: what came in later changes no earlier one. So the same events
give the same decisions in any order, and a replay of a year makes those of the year.
Here: at which moments a request is looked at, and when it is over. Not here: one decision (`decide`), its inputs
(`inputs`), the record that is kept (`record`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from ..chart import Reported
from ..contract import Contract
from ..followup import FollowUp, at_hour
from ..medication import Course, missed_from
from ..zones import zone_of
from . import conditions
from .decide import Decision, Override, decide
from .facts import Said, id_of_request, instant, said
from .inputs import Inputs, Snapshot, gather, gather_later

Status = Literal["open", "approved", "denied", "dispensed", "replaced", "closed"]
"""replaced: a newer request of the same treatment; closed: the treatment was stopped."""
Look = Callable[[datetime], Snapshot]
"""All that was known of the patient at a moment."""


@dataclass(frozen=True, slots=True)
class Made:
    """A decision as it was made, with all that it rests on."""

    as_of: datetime
    inputs: Inputs
    overrides: tuple[Override, ...]
    decision: Decision


@dataclass(slots=True)
class Refill:
    """One request."""

    refill_id: str
    record_id: str
    """Whose record asked."""
    product: str
    family: str
    channel: str
    event_id: str
    requested_at: datetime
    status: Status = "open"
    ended_at: datetime | None = None
    made: list[Made] = field(default_factory=list)
    """Decisions, oldest first, each other than the one before."""
    queued_at: datetime | None = None
    """When it reached the provider's queue first."""
    is_against_hold: bool = False
    """Whether it went on although its decision held it."""
    overrides: list[Override] = field(default_factory=list)
    words: list[Said] = field(default_factory=list)
    """All that was said of it."""

    @property
    def decision(self) -> Decision:
        return self.made[-1].decision

    @property
    def is_open(self) -> bool:
        return self.status == "open"


def refills(
    contract: Contract,
    reports: Sequence[Reported],
    courses: Iterable[Course],
    follow_ups: Sequence[FollowUp],
    look: Look,
    ended: Mapping[str, tuple[str, datetime]],
    since: datetime | None,
) -> list[Refill]:
    """The requests of a patient, oldest first. `ended`: how and when requests ended, as it was worked out before; those
    that still do, before anything new was said (`since`), are left out: their decisions are as they were."""
    words = list(said(reports))
    found = _requests(contract, words)
    for one in found:
        _end(one, courses, follow_ups)
    moments = sorted({report.received_at.astimezone(UTC) for report in reports})
    wanted = [one for one in found if not _is_as_it_was(one, ended, since)]
    for one in wanted:
        _decide_over_time(contract, one, moments, look)
    return wanted


def _is_as_it_was(one: Refill, ended: Mapping[str, tuple[str, datetime]], since: datetime | None) -> bool:
    at = one.ended_at
    return at is not None and since is not None and at < since and ended.get(one.refill_id) == (one.status, at)


def _requests(contract: Contract, words: Sequence[Said]) -> list[Refill]:
    """One a request, asked for once; a newer one of the same treatment takes its place."""
    found: dict[str, Refill] = {}
    """By the id that its sender gave it, and by ours."""
    for word in words:
        if word.kind == "requested" and word.refill_id not in found:
            family = contract.medication.family_of(word.doc["product"])
            name = family.family if family is not None else ""
            for other in found.values():
                if other.family == name and other.is_open:
                    other.status, other.ended_at = "replaced", word.at
            own = id_of_request(word)
            found[word.refill_id] = found[own] = Refill(
                own, word.record_id, word.doc["product"], name, word.doc["channel"], word.event_id, word.at
            )
    for word in words:
        one = found.get(word.refill_id)
        if one is None:
            continue
        one.words.append(word)
        if word.kind == "overridden":
            doc = word.doc
            one.overrides.append(
                Override(
                    word.event_id, tuple(doc["rules"]), tuple(doc["flags"]), doc["reason_code"], doc["role"],
                    doc["actor"], word.at, instant(doc["expires_at"]),
                )
            )  # fmt: skip
    return list({one.refill_id: one for one in found.values()}.values())


def _end(one: Refill, courses: Iterable[Course], follow_ups: Iterable[FollowUp]) -> None:
    """The first that ended it: a provider's word, an order that was accepted or a hand-over after it, a newer request,
    the end of the treatment."""
    ends: list[tuple[datetime, Status]] = []
    if one.ended_at is not None:
        ends.append((one.ended_at, one.status))
    for word in one.words:
        if word.kind in ("approved", "denied") and word.at >= one.requested_at:
            ends.append((word.at, "approved" if word.kind == "approved" else "denied"))
    course = next((c for c in courses if c.family == one.family and one.family), None)
    if course is not None:
        stand = (course.stands_since(fact.event_id, fact.at) for fact in course.kept_orders)
        ordered = min((at for at in stand if at > one.requested_at), default=None)
        # Short supplies of the month that is under way are no refill: what is one begins a check-in of its own.
        begun = {followup.began_at for followup in follow_ups if followup.family == course.family}
        later = (supply for supply in course.supplies if supply.fact.at > one.requested_at)
        handed = next((supply.fact.at for supply in later if not supply.days or supply.fact.at in begun), None)
        if ordered is not None:
            ends.append((ordered, "approved"))
        if handed is not None:
            ends.append((handed, "dispensed"))
        if course.state == "discontinued" and course.since is not None and course.since > one.requested_at:
            ends.append((course.since, "closed"))
    if ends:
        one.ended_at, one.status = min(ends, key=lambda end: end[0])


def _decide_over_time(contract: Contract, one: Refill, moments: Sequence[datetime], look: Look) -> None:
    """Look at it when it came, whenever something came in, and when time alone changes it; until it ended."""
    one.overrides = [_seeing(contract, one, override, look) for override in one.overrides]
    last = moments[-1]
    due = [at for at in moments if at >= one.requested_at and (one.ended_at is None or at < one.ended_at)]
    due = sorted({one.requested_at, *due})
    while due:
        at = due.pop(0)
        known = look(at)
        inputs = gather(contract, known, one.product)
        given = tuple(override for override in one.overrides if override.since <= at)
        decision = decide(contract.refills, inputs, given, at)
        if not one.made or decision != one.made[-1].decision:
            one.made.append(Made(at, inputs, given, decision))
        if decision.outcome == "provider_queue" and one.queued_at is None:
            one.queued_at = at
        following = next_change(contract, known, one.product, inputs, decision, given, at)
        if following is not None and following <= last and (one.ended_at is None or following < one.ended_at):
            due = sorted({*due, following})
    held = one.made[-1].decision.outcome != "provider_queue"
    one.is_against_hold = held and one.status in ("approved", "dispensed")


def _seeing(contract: Contract, one: Refill, override: Override, look: Look) -> Override:
    """With what was known when it was given: it lets that through, and nothing worse that is told later."""
    return override.seeing(contract.refills, gather(contract, look(override.since), one.product))


def next_change(
    contract: Contract,
    known: Snapshot,
    product: str,
    inputs: Inputs,
    decision: Decision,
    given: Sequence[Override],
    at: datetime,
) -> datetime | None:
    """The first moment at which time alone makes another decision of what is known; None where it never does."""
    for moment in sorted({moment for moment in _turns(contract, known, product, inputs, given) if moment > at}):
        then = gather_later(contract, known, product, inputs, moment)
        if decide(contract.refills, then, given, moment) != decision:
            return moment
    return None


def _turns(
    contract: Contract, known: Snapshot, product: str, inputs: Inputs, given: Iterable[Override]
) -> Iterator[datetime]:
    """When something that a decision rests on turns by itself: an override ends, the window opens, the days at the dose
    are full, a weight or a laboratory value grows too old, an authorization ends, so many doses are missed."""
    given = list(given)
    yield from (override.expires_at for override in given)
    if (opens := conditions.at(inputs, "window_opens_at")) is not None:
        yield opens
    least, since = conditions.value(inputs, "min_days_at_dose"), conditions.at(inputs, "dose_since")
    if least is not None and since is not None:
        yield since + timedelta(days=least)
    for last_day in conditions.last_days(contract.refills, inputs):
        yield at_hour(contract.followups, last_day + timedelta(days=1), zone_of(contract, known.chart))
    course = known.course_of(contract, product)
    family = contract.medication.family_of(product)
    if course is not None and family is not None:
        doses = [proposal.doses for proposal in family.missed_doses]
        # More than an override saw: so many times as many as make a restart.
        seen = [much for override in given for much in (override.saw or {}).get("missed_doses", {}).values() if much]
        doses += [int(times + 1) * one.doses for times in seen for one in family.missed_doses if one.is_restart]
        found = (missed_from(family, course, count) for count in doses)
        yield from (moment for moment in found if moment is not None)
