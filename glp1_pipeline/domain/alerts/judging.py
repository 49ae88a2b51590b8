"""What fires, opens, stays, escalates and ends, from what was measured, the open incidents and the time.

One open incident per alert and scope, whoever looks and how often. Not here: measuring, and telling anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from .shapes import Alert, Book, Incident, Measured, Team

UNNAMED = "unnamed"
_SCOPE = re.compile(r"[a-z][a-z0-9_.:-]{0,59}")


@dataclass(frozen=True, slots=True)
class Change:
    """An incident as it is now, and what happened to it."""

    kind: Literal["opened", "kept", "escalated", "resolved"]
    incident: Incident


def judge(
    book: Book,
    measured: Iterable[Measured],
    looked: Mapping[str, datetime | None],
    incidents: Iterable[Incident],
    now: datetime,
) -> list[Change]:
    """What becomes of the open `incidents`, and what opens.

    `looked` names the alerts that were measured this time and when each was measured before: what was not measured
    neither opens nor ends. An alert that is in the book no more ends.
    """
    firing = _firing(book, measured, looked, now)
    changes = []
    for incident in incidents:
        found = firing.pop((incident.alert, incident.scope), None)
        changes.append(_go_on(book, incident, found, looked, now))
    for (name, scope), found in sorted(firing.items()):
        alert = book.alerts[name]
        owner = book.owner_of(alert, scope)
        # What has no age of its own began after the look before, which found it well: the earliest it can have been.
        began = found.since or looked[name] or now
        opened = Incident(
            name, scope, alert.severity, owner, on_call(book.teams[owner], now), min(began, now), now, found.count,
            found.count,
        )  # fmt: skip
        changes.append(Change("opened", opened))
    return changes


def _firing(
    book: Book, measured: Iterable[Measured], looked: Mapping[str, datetime | None], now: datetime
) -> dict[tuple[str, str], Measured]:
    merged: dict[tuple[str, str], Measured] = {}
    for one in measured:
        if one.alert not in book.alerts or one.alert not in looked:
            continue
        key = (one.alert, plain_scope(one.scope))
        if before := merged.get(key):  # two names that may not be told are one scope
            since = min((s for s in (before.since, one.since) if s), default=None)
            one = replace(one, count=before.count + one.count, since=since)
        merged[key] = one
    return {key: one for key, one in merged.items() if _fires(book.alerts[key[0]], one, now)}


def _fires(alert: Alert, found: Measured, now: datetime) -> bool:
    if found.count < alert.at_least:
        return False
    if not alert.after_minutes:
        return True
    return found.since is not None and ago(found.since, now) >= timedelta(minutes=alert.after_minutes)


def ago(at: datetime, now: datetime) -> timedelta:
    """How long ago it was. What lies ahead was noted by a clock that was set back since: then as long as it was set
    back, for a last look of which nobody knows the age must not pass for a look of just now."""
    return abs(now - at)


def _go_on(
    book: Book, incident: Incident, found: Measured | None, looked: Mapping[str, datetime | None], now: datetime
) -> Change:
    alert = book.alerts.get(incident.alert)
    if found is not None:
        most = max(incident.most_affected, found.count)
        incident = replace(incident, affected=found.count, most_affected=most, calm_since=None)
    elif alert is None:
        return Change("resolved", replace(incident, affected=0, calm_since=now, resolved_at=now))
    elif incident.alert in looked:
        calm_since = incident.calm_since or now
        incident = replace(incident, affected=0, calm_since=calm_since)
        if ago(calm_since, now) >= timedelta(minutes=alert.calm_minutes):
            return Change("resolved", replace(incident, resolved_at=max(calm_since, incident.detected_at)))
    if _is_ignored(book, incident, now):
        return Change("escalated", replace(incident, escalated_at=now))
    return Change("kept", incident)


def _is_ignored(book: Book, incident: Incident, now: datetime) -> bool:
    """Nobody acknowledged it in time, nobody was told of that yet, and it still is so."""
    if incident.acknowledged_at or incident.escalated_at or incident.calm_since:
        return False
    team = book.teams.get(incident.owner)
    minutes = team.escalate_after_minutes.get(incident.severity) if team else None  # type: ignore[call-overload]
    return minutes is not None and ago(incident.detected_at, now) >= timedelta(minutes=minutes)


def called(book: Book, incident: Incident, is_escalation: bool = False) -> Team | None:
    """The team that hears of it: its owner, or whom the owner escalates to. None: the book knows it no more."""
    team = book.teams.get(incident.owner)
    return book.teams.get(team.escalates_to) if team and is_escalation else team


def on_call(team: Team, now: datetime) -> str:
    """Whose turn it is, by the team's own clock: turns change at the same hour of the day all year."""
    local = now.astimezone(ZoneInfo(team.time_zone))
    day = local.date() - timedelta(days=local.time() < team.hands_over_at)
    return team.members[(day - team.starts_on).days // team.days_each % len(team.members)]


def plain_scope(scope: str) -> str:
    """The scope if it is a plain name of ours, else `unnamed`: what came from outside is never told."""
    return scope if not scope or _SCOPE.fullmatch(scope) else UNNAMED
