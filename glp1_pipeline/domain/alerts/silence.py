"""How many events a silent feed should have sent, by what it sent in the same hours of earlier days.

Not here: counting events (`adapters.alerts.feeds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import fmean
from typing import NamedTuple

DAY, HISTORY_DAYS, WEEK = timedelta(days=1), 14, 7


class Window(NamedTuple):
    """The silent stretch (its last day, if it is longer), and how many days back it is compared with."""

    length: timedelta
    days_back: range


def window(first_at: datetime, last_at: datetime, now: datetime) -> Window | None:
    """None where it cannot be judged: less than a day is known of the feed, or it has been silent for so long that all
    that is known of it is past."""
    silent = now - last_at
    length = min(silent, DAY)
    nearest = max(1, -(-silent // DAY))
    known = (now - length - first_at) // DAY
    days = range(nearest, min(nearest + HISTORY_DAYS - 1, known) + 1)
    return Window(length, days) if silent > timedelta(0) and nearest <= HISTORY_DAYS and days else None


def expected(counts: Mapping[int, int]) -> float:
    """From days back -> events in the same hours. A weekday is compared with all days and with its like, and the lesser
    counts: so a feed that rests on Sundays is not missed on a Sunday."""
    alike = [count for days, count in counts.items() if days % WEEK == 0]
    return min(fmean(counts.values()), *([fmean(alike)] if alike else []), float("inf"))
