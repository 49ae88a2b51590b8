"""The days of a supply, worked out from the rules as a clinical lead reads them, and not by our code.

Check-in opens 14 days before the supply runs out, is due 10 and missed 8 before; the refill window opens when three
quarters are used and a week is left, whichever is later; all at nine in the morning where the patient lives. A supply
of less than two weeks is asked after once in 28 days, and its refill waits no longer than for what is in hand.
Not here: what happens on them (`life`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

A_DAY = timedelta(days=1)
CARRY = timedelta(days=14)
"""Of what was left, that much at most counts on top of a new supply."""


def at_hour(zone: ZoneInfo, day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), zone).astimezone(UTC)


@dataclass(frozen=True)
class Days:
    zone: ZoneInfo
    opens_on: date
    missed_on: date
    window_on: date
    runs_out_on: date

    def at(self, day: date, hour: int = 9, minute: int = 0) -> datetime:
        return at_hour(self.zone, day, hour, minute)

    @property
    def missed_at(self) -> datetime:
        return self.at(self.missed_on)


def days_of(zone: ZoneInfo, handed_at: datetime, runs_out_at: datetime, supply: int) -> Days:
    began_on, runs_out_on = handed_at.astimezone(zone).date(), runs_out_at.astimezone(zone).date()
    if supply < 14:
        supply, runs_out_on = 28, began_on + 28 * A_DAY
    assert supply >= 28, "no patient here has a supply of two or three weeks"
    window_on = max(began_on + ceil(supply * 3 / 4) * A_DAY, runs_out_on - 7 * A_DAY)
    return Days(zone, runs_out_on - 14 * A_DAY, runs_out_on - 8 * A_DAY, window_on, runs_out_on)


def runs_out(before: datetime | None, handed_at: datetime, supply: int) -> datetime:
    left = handed_at if before is None else max(handed_at, min(before, handed_at + CARRY))
    return left + supply * A_DAY
