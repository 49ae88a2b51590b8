"""When a check-in opens, is due and is missed, and when the refill window opens: days before a supply runs out.

The order opens < due < missed < window opens <= runs out holds for every supply of at least `short_supply_days` days,
in every zone: days are counted on the patient's calendar, at one hour of the day.
Here: arithmetic of days. Not here: which supply counts (`cycles`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ..refill_model import FollowUpRules

A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Moments:
    """UTC."""

    opens_at: datetime
    due_at: datetime
    missed_at: datetime
    window_at: datetime
    runs_out_at: datetime


def moments(rules: FollowUpRules, began_on: date, runs_out_on: date, days: float, zone: tzinfo) -> Moments:
    """`days`: what was handed over; `runs_out_on` is later than that where something was left of the supply before."""
    scale = min(1.0, days / rules.scale_days)

    def before(days_before: int) -> date:
        return runs_out_on - timedelta(days=math.ceil(days_before * scale))

    missed_on = before(rules.missed_days)
    used_on = began_on + timedelta(days=math.ceil(rules.window_share * days))
    window_on = min(max(used_on, before(rules.window_days), missed_on + A_DAY), runs_out_on)
    on = [before(rules.opens_days), before(rules.due_days), missed_on, window_on, runs_out_on]
    return Moments(*(at_hour(rules, day, zone) for day in on))


def at_hour(rules: FollowUpRules, day: date, zone: tzinfo) -> datetime:
    """The hour of the day at which things happen there; an hour that the day skips is the one after."""
    return datetime.combine(day, time(rules.at_hour), zone).astimezone(UTC)


def days_later(rules: FollowUpRules, at: datetime, days: int, zone: tzinfo) -> datetime:
    """So many days after one of these moments: at the same hour, also where the clocks change meanwhile."""
    return at_hour(rules, day_of(at, zone) + timedelta(days=days), zone) if days else at


def day_of(at: datetime, zone: tzinfo) -> date:
    return at.astimezone(zone).date()
