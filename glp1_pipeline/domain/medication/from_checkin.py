"""What a check-in says of doses: the day of the last one, and how many were missed.

It names no product: it speaks of the treatment that is under way (`fold`).
Not here: the other answers of a check-in (`followup`, `refill`).
"""

from __future__ import annotations

from datetime import UTC

from ..chart import Reported
from ..zones import zone_named
from .facts import Fact
from .reading import instant

LAST_DOSE, MISSED = "checkin.last_dose_on", "checkin.doses_missed"


def fact_of(report: Reported) -> Fact | None:
    """A dose taken, as told, and the doses missed; of a day not known, or not come yet, the number alone."""
    at = instant(report.values.get(LAST_DOSE, {}).get("value"))
    said = report.said_at.astimezone(UTC)
    missed = report.values.get(MISSED, {}).get("value")
    told = missed if isinstance(missed, int) else None
    if report.is_draft:
        return None
    zone = zone_named(report.time_zone)
    told_on = said.date() if zone is None else said.astimezone(zone).date()
    on = None if told_on == said.date() else told_on
    if at is None or at.date() > max(said.date(), told_on):
        return None if told is None else Fact("counted", said, said, report.event_id, "portal", missed=told, told_on=on)
    return Fact("taken", min(at, said), said, report.event_id, "portal", missed=told, told_on=on)
