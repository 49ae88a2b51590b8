"""Incidents in the store: read, saved as judged, acknowledged.

Not here: what becomes of one (`domain.alerts`), and messages (`messages`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, LiteralString

from psycopg import Connection

from glp1_pipeline.domain.alerts import Book, Change, Incident

_SELECT: LiteralString = (
    "select alert, scope, severity, owner, called, opened_at, detected_at, affected, most_affected, calm_since,"
    " acknowledged_at, acknowledged_by, escalated_at, resolved_at, incident_id from ops.incidents "
)
"""The fields of an Incident, in its order."""


def open_incidents(connection: Connection[Any]) -> list[Incident]:
    """Worst first, then oldest."""
    rows = connection.execute(
        _SELECT + "where resolved_at is null order by severity, opened_at, incident_id"
    ).fetchall()
    return [Incident(*row) for row in rows]


def history(connection: Connection[Any], length: timedelta) -> list[Incident]:
    """All that were detected in the last `length` or are open still, newest first."""
    rows = connection.execute(
        _SELECT + "where detected_at > now() - %s or resolved_at is null order by detected_at desc, incident_id desc",
        (length,),
    ).fetchall()
    return [Incident(*row) for row in rows]


def unheard(connection: Connection[Any]) -> int:
    """How many critical incidents are open and acknowledged by nobody."""
    row = connection.execute(
        "select count(*) from ops.incidents where resolved_at is null and severity = 'critical'"
        " and acknowledged_at is null"
    ).fetchone()
    return row[0] if row else 0


def acknowledge(connection: Connection[Any], incident_id: int, by: str) -> Incident | None:
    """Note who is at it; who was first stays. None: there is no open incident of this number."""
    connection.execute(
        "update ops.incidents set acknowledged_at = now(), acknowledged_by = %s"
        " where incident_id = %s and resolved_at is null and acknowledged_at is null",
        (by, incident_id),
    )
    row = connection.execute(_SELECT + "where incident_id = %s and resolved_at is null", (incident_id,)).fetchone()
    return Incident(*row) if row else None


def save(connection: Connection[Any], book: Book, changes: Iterable[Change], ui: str) -> list[Change]:
    """Write what was judged, in the caller's transaction; the same changes with the numbers of those that opened."""
    done = []
    for change in changes:
        one = change.incident
        if one.incident_id is None:
            row = connection.execute(
                "insert into ops.incidents (alert, scope, severity, owner, called, link, affected, most_affected,"
                " opened_at, detected_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning incident_id",
                (one.alert, one.scope, one.severity, one.owner, one.called, link(book, one, ui), one.affected,
                 one.most_affected, one.opened_at, one.detected_at),
            ).fetchone()  # fmt: skip
            assert row is not None
            change = replace(change, incident=replace(one, incident_id=row[0]))
        else:
            # Who acknowledged is not ours to write: somebody may be doing so now.
            connection.execute(
                "update ops.incidents set affected = %s, most_affected = %s, calm_since = %s, escalated_at = %s,"
                " resolved_at = %s where incident_id = %s",
                (one.affected, one.most_affected, one.calm_since, one.escalated_at, one.resolved_at, one.incident_id),
            )
        done.append(change)
    return done


def link(book: Book, incident: Incident, ui: str) -> str:
    alert = book.alerts.get(incident.alert)
    return f"{ui}/assets/{alert.asset}" if alert else ui
