"""Where a check-in stands at a moment: what answers it, what the answers lack, and whether they are too old by now.

It is answered by what the patient says between the moment from which its weight is recent for the refill and the next
hand-over; so is a late or a backdated answer told from one of the supply before. What is said earlier raises flags, and
is no check-in. When the weight grows too old and no refill followed, it is asked for again.
Here: one check-in at a moment. Not here: which there are (`cycles`), and what answers mean for a refill (`refill`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from typing import Any

from ..chart import Chart, Reported, Value
from ..contract import Contract
from ..gates import evaluate
from ..medication import Course
from .moments import A_DAY, at_hour, day_of
from .reading import WEIGHED_ON, value_of
from .renewals import Renewals, renewals_of
from .shapes import FollowUp, Status

STALE, TOO_EARLY = "stale", "before_hand_over"
"""States of a weight's day: too old by now; measured before the supply that it is asked for."""
Missing = Callable[[Chart, Reported, dict[str, Value], tuple[str, ...]], tuple[tuple[str, str], ...]]
"""What answers lack, as `missing` says: by the chart, the last of the reports that gave them, the answers, and the ids
of all those reports."""


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


@dataclass(slots=True)
class _Heard:
    """What was said in a check-in, while it is gone through."""

    told: dict[str, Value] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    lacking: tuple[tuple[str, str], ...] = ()
    first_at: datetime | None = None
    """When it was whole first."""
    whole_at: datetime | None = None
    """When the weight came that made it whole last."""
    until: date | None = None
    """The last day of that weight."""
    lapsed_at: datetime | None = None
    """Since when it was asked for again, before what came next."""


class Standing:
    """The check-ins of one treatment at `as_of`."""

    def __init__(
        self,
        contract: Contract,
        chart: Chart,
        zone: tzinfo,
        course: Course,
        reports: Sequence[Reported],
        answers: Sequence[Reported],
        as_of: datetime,
        lacks: Missing | None,
    ) -> None:
        self.contract, self.chart, self.zone, self.as_of = contract, chart, zone, as_of
        self.course, self.reports = course, reports
        self.answers = [report for report in answers if report.received_at <= as_of]
        self.lacks = lacks or (lambda chart, report, told, _: missing(contract, chart, report, told))

    def of(self, one: FollowUp) -> FollowUp:
        heard = _Heard()
        for report in self.answers:
            if _answers(one, report):
                self._hear(one, heard, report)
        at = min(self.as_of, one.ended_at) if one.ended_at is not None else self.as_of
        lapsed_at = heard.lapsed_at or self._lapsed_at(heard, at)
        answered_at = heard.first_at if not heard.lacking or lapsed_at is not None else None
        first_at, missed_at = heard.first_at, one.moments.missed_at
        return replace(
            one,
            status="missed" if lapsed_at is not None else _status(one, answered_at, at),
            answered_at=answered_at,
            whole_at=None if answered_at is None else heard.whole_at,
            answers=heard.told,
            answer_ids=tuple(heard.ids),
            missing=heard.lacking if lapsed_at is None else heard.lacking or ((WEIGHED_ON, STALE),),
            was_missed=at >= missed_at and (first_at is None or first_at >= missed_at),
            weight_until=heard.until,
            again_at=self._again_at(heard, lapsed_at, at) if at == self.as_of else None,
            lapsed_at=lapsed_at,
            ended_at=one.ended_at if one.ended_at is not None and one.ended_at <= self.as_of else None,
        )

    def _hear(self, one: FollowUp, heard: _Heard, report: Reported) -> None:
        heard.lapsed_at = heard.lapsed_at or self._lapsed_at(heard, report.said_at)
        values, told = report.values, heard.told
        told |= {name: value for name, value in values.items() if value.get("null") != "absent" or name not in told}
        heard.ids.append(report.event_id)
        heard.lacking = self._lacking(one, report, told, tuple(heard.ids))
        if heard.lacking:
            heard.until = heard.until if heard.lapsed_at is not None else None
            return
        heard.lapsed_at, heard.first_at = None, heard.first_at or report.said_at
        heard.until = self._until(told)
        if heard.whole_at is None or _day(values) is not None:
            heard.whole_at = report.said_at

    # ---- what it lacks

    def _lacking(
        self, one: FollowUp, report: Reported, told: dict[str, Value], ids: tuple[str, ...]
    ) -> tuple[tuple[str, str], ...]:
        """Everything is to be dated after the hand-over; but for the day of the last dose, since nobody may have taken
        one from the new supply."""
        lacking = self.lacks(self.chart, report, told, ids)
        weighed_on = _day(told)
        is_early = weighed_on is not None and weighed_on < day_of(one.began_at, self.zone)
        if is_early and WEIGHED_ON not in dict(lacking):
            lacking = (*lacking, (WEIGHED_ON, TOO_EARLY))
        return lacking

    # ---- how long its weight is recent

    def _until(self, told: Mapping[str, Value]) -> date | None:
        weighed_on = _day(told)
        return weighed_on and weighed_on + timedelta(days=self.contract.refills.weight_max_age_days)

    def _lapsed_at(self, heard: _Heard, at: datetime) -> datetime | None:
        """Since when it is too old, at a moment; None while it is not, and where a refill followed the answer. That
        lasts until somebody asks for the next."""
        if heard.whole_at is None or heard.until is None or day_of(at, self.zone) <= heard.until:
            return None
        begins = datetime.combine(heard.until + A_DAY, time(), self.zone).astimezone(UTC)
        followed = self._renewals.last(heard.whole_at, at)
        if followed is None:
            return begins
        asked_at = self._renewals.asked(followed, at)
        return asked_at and max(begins, asked_at)

    def _again_at(self, heard: _Heard, lapsed_at: datetime | None, at: datetime) -> datetime | None:
        if heard.whole_at is None or heard.until is None:
            return None
        hour = at_hour(self.contract.followups, heard.until + A_DAY, self.zone)
        if lapsed_at is not None:
            return max(hour, lapsed_at)
        followed = self._renewals.last(heard.whole_at, at)
        return hour if followed is None or self._renewals.asked(followed, at) is not None else None

    @cached_property
    def _renewals(self) -> Renewals:
        return renewals_of(self.contract, self.course, self.reports, self.as_of)


def _answers(one: FollowUp, report: Reported) -> bool:
    """Recent enough for the refill, after the hand-over, and before the next one."""
    is_after = one.began_at < report.said_at and one.counts_from <= report.said_at
    return is_after and (one.ended_at is None or report.said_at <= one.ended_at)


def _day(told: Mapping[str, Value]) -> date | None:
    """When the weight was measured."""
    weighed_on = value_of(told, WEIGHED_ON)
    return date.fromisoformat(weighed_on[:10]) if isinstance(weighed_on, str) else None


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
