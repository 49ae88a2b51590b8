"""The shapes of alerting: what people declare (alerts, teams), what is measured, and what an incident is.

Not here: what follows from them (`judging`), and files (`contracts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from ..declared import Declared

Severity = Literal["critical", "warning"]
Watch = Literal[
    "waiting_events", "undelivered_writes", "dead_writes", "dead_events", "rejected_events", "growing_conflicts",
    "silent_feeds", "balance_faults", "polls", "open_reviews", "open_breakers", "overdue_tasks", "landing_space",
    "landing_access", "evaluator", "blind_alerts", "urgent_tasks", "missed_checkins", "late_clocks",
    "refills_against_hold", "store_access", "untaken_messages", "contract_faults",
]  # fmt: skip
WATCHES: tuple[Watch, ...] = get_args(Watch)
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Minutes = Annotated[float, Field(ge=0)]


class Alert(Declared):
    """One thing that somebody is called for. It fires for a scope (a target, a feed, a queue) when at least so many
    are affected and the oldest has been so for so long."""

    name: Name
    title: str
    description: str
    watches: Watch
    severity: Severity
    owner: str
    """A team of oncall.yaml, or `queue`: the team that attends the queue which is the scope."""
    counts: str
    """What the count is of, in words."""
    at_least: Annotated[int, Field(ge=1)] = 1
    after_minutes: Minutes = 0
    within_minutes: Minutes = 60
    """How far back is counted, where things are counted that are over (rejected events, conflicts)."""
    calm_minutes: Minutes = 2
    """How long it must have been well before the incident ends: a condition that flaps is one incident."""
    every_minutes: Minutes = 0
    """Measured no more often than this; 0: at every look."""
    asset: str
    """Where to look in the UI."""
    runbook: str
    """Anchor in docs/runbook.md."""
    verify: str = ""


class Team(Declared):
    """Who is called, in turns. Members are names of roles or pagers, never a person's number or address."""

    team: Name
    description: str
    queues: tuple[str, ...] = ()
    """Queues of tasks.csv that it attends."""
    members: Annotated[tuple[Name, ...], Field(min_length=1)]
    starts_on: date
    """Day on which the first member's first turn began, in the team's time zone."""
    days_each: Annotated[int, Field(ge=1)]
    hands_over_at: time
    time_zone: str
    channels: Annotated[tuple[Name, ...], Field(min_length=1)]
    escalates_to: str
    escalate_after_minutes: dict[Severity, Annotated[int, Field(ge=1)]]
    """A severity that is not named is not escalated."""
    verify: str = ""


class Book(Declared):
    """All alerts and teams, checked together."""

    alerts: dict[str, Alert]
    teams: dict[str, Team]

    def owner_of(self, alert: Alert, scope: str) -> str:
        """The team whose it is."""
        return self.attending(scope) if alert.owner == "queue" else alert.owner

    def attending(self, queue: str) -> str:
        """The team that attends a queue; the first team where none does."""
        return next((t.team for t in self.teams.values() if queue in t.queues), next(iter(self.teams)))


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for an alert and scope: how many are affected, and since when the oldest is (None: unknown)."""

    alert: str
    scope: str
    count: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """An alert that fired for a scope, from beginning to end."""

    alert: str
    scope: str
    severity: str
    owner: str
    called: str
    """Who was on call when it was detected."""
    opened_at: datetime
    """When the condition began, by the data's own age."""
    detected_at: datetime
    affected: int
    most_affected: int
    calm_since: datetime | None = None
    """First of the looks in a row that found it well."""
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    escalated_at: datetime | None = None
    resolved_at: datetime | None = None
    """First look that found it well, once it stayed so."""
    incident_id: int | None = None
    """Given by the store."""
