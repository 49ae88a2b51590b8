"""One look at everything that is watched: measure, judge, save, and write the messages, all once whoever looks.

Looks come one after another, so that two evaluators see each other's incidents. Not here: sending (`messages`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import Connection

from glp1_pipeline.domain.alerts import Alert, Book, ago, judge

from .incidents import open_incidents, save
from .measure import SENSOR, World, measure
from .messages import write

PATIENCE_MS = 10_000
"""A question that takes longer counts as not answered."""
LOOK_SECONDS = 25.0
"""After so long nothing more is asked: the sensor that looks has a minute."""
TURN_MS = 30_000
"""So long another's look is waited for: it asks for no longer than LOOK_SECONDS."""


@dataclass
class Looked:
    """Counts of one look."""

    opened: int = 0
    escalated: int = 0
    resolved: int = 0
    open: int = 0
    messages: int = 0
    unmeasured: list[str] = field(default_factory=list)
    """Alerts whose question failed or took too long."""
    seconds: float = 0.0

    def __add__(self, other: Looked) -> Looked:
        return Looked(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


def look(
    connection: Connection[Any], book: Book, world: World, *, is_sensor: bool = False, is_dear: bool = False
) -> Looked:
    """Measure what is due and bring the incidents up to date. `connection` is in autocommit. `is_sensor`: Dagster's
    daemon looks, which is how we know that it lives. `is_dear`: look at what is measured now and then alone
    (`every_minutes`); else at all the rest, which must never wait for it."""
    began = time.monotonic()
    key = "glp1 dear alerts" if is_dear else "glp1 alerts"
    connection.execute(_PATIENCE, (str(TURN_MS),))
    try:
        connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        try:
            connection.execute(_PATIENCE, (str(PATIENCE_MS),))
            found = _look(connection, book, world, is_sensor, is_dear)
        finally:
            if not connection.closed:
                connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (key,))
    finally:
        if not connection.closed:
            connection.execute("reset statement_timeout")
    found.seconds = round(time.monotonic() - began, 3)
    return found


def _look(connection: Connection[Any], book: Book, world: World, is_sensor: bool, is_dear: bool) -> Looked:
    connection.execute(
        "delete from ops.alert_looks where not alert = any(%s)",
        ([SENSOR, *book.alerts],),  # of an older contract
    )
    looks = dict(connection.execute("select alert, looked_at from ops.alert_looks").fetchall())
    found, measured, took = Looked(), [], {}
    if is_sensor and not is_dear:
        connection.execute(_NOTE, ([SENSOR], [0.0]))
    now, ends = _now(connection), time.monotonic() + LOOK_SECONDS
    for alert in book.alerts.values():
        if bool(alert.every_minutes) != is_dear or not _is_due(alert, looks.get(alert.name), now):
            continue
        began = time.monotonic()
        try:
            if began > ends:
                raise TimeoutError
            measured += measure(connection, alert, world)
        except (psycopg.Error, OSError):
            if connection.closed:
                raise
            found.unmeasured.append(alert.name)
        else:
            took[alert.name] = (time.monotonic() - began) * 1000
    with connection.transaction():
        now = _now(connection)
        mine = [
            one
            for one in open_incidents(connection)
            if is_dear == bool(one.alert in book.alerts and book.alerts[one.alert].every_minutes)
        ]
        judged = judge(book, measured, {name: looks.get(name) for name in took}, mine, now)
        changes = save(connection, book, judged, world.ui)
        for change in changes:
            found.messages += write(connection, book, change, world.ui, now)
        connection.execute(_NOTE, (list(took), list(took.values())))
        connection.execute(_NOTE_BLIND, (found.unmeasured,))
    kinds = [change.kind for change in changes]
    found.opened, found.escalated, found.resolved = map(kinds.count, ("opened", "escalated", "resolved"))
    found.open = len(kinds) - found.resolved
    return found


def _is_due(alert: Alert, looked_at: datetime | None, now: datetime) -> bool:
    return looked_at is None or ago(looked_at, now) >= timedelta(minutes=alert.every_minutes)


_PATIENCE: LiteralString = "select set_config('statement_timeout', %s, false)"
_NOTE: LiteralString = (
    "insert into ops.alert_looks (alert, looked_at, ms) select a, clock_timestamp(), ms"
    " from unnest(%s::text[], %s::float8[]) as u(a, ms) on conflict (alert) do update"
    " set looked_at = excluded.looked_at, ms = excluded.ms, blind_since = null"
)
_NOTE_BLIND: LiteralString = (
    "insert into ops.alert_looks as l (alert, blind_since, ms) select a, now(), 0 from unnest(%s::text[]) as a"
    " on conflict (alert) do update set blind_since = coalesce(l.blind_since, excluded.blind_since)"
)


def _now(connection: Connection[Any]) -> datetime:
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0]
