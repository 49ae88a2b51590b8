"""Where systems disagree about a field: what is open, since when, and by which rule it was settled.

Here: keeping the difference between what was open and what is now, and reading it for people, in names, times and
counts. Not here: whose word counts (`domain.ownership`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Any

import psycopg

from ...domain.charting import Known, PatientOutcome

NAMES = ("field", "rule", "source", "owner", "outcome", "stage", "since")


def save_conflicts(
    connection: psycopg.Connection,
    outcomes: Iterable[PatientOutcome],
    now: datetime,
    known: Known,
    retired: Collection[str] = (),
) -> None:
    """Open, keep and close the conflicts of a batch.

    Nothing is asked of the database for patients who are new and agree with themselves: nearly all of a bulk load.
    `retired` are patients that are part of another's now. A conflict keeps the day that it was first seen on, at
    every replay, until it is settled and comes again.
    """
    rows, patients = [], [*retired]
    for outcome in outcomes:
        patient_id = outcome.chart.patient_id
        if patient_id in known.patients or patient_id in known.moved:
            patients.append(patient_id)
        rows += [
            (patient_id, c.field, c.source, c.rule, c.owner, c.outcome, c.stage, c.event_id, c.since)
            for c in outcome.chart.conflicts
        ]
    if patients:
        connection.execute(
            "update ops.field_conflicts c set closed_at = %s where patient_id = any(%s::uuid[]) and closed_at is null"
            " and not exists (select from unnest(%s::uuid[], %s::text[], %s::text[]) as u(p, f, s)"
            " where (p, f, s) = (c.patient_id, c.field, c.source))",
            (now, patients, *([row[n] for row in rows] for n in range(3))),
        )
    if rows:
        connection.execute(
            "insert into ops.field_conflicts as t (patient_id, field, source, rule, owner, outcome, stage, event_id,"
            " since, seen_on) select p, f, s, r, w, o, g, e, at, (%s at time zone 'UTC')::date from unnest(%s::uuid[],"
            " %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::timestamptz[])"
            " as u(p, f, s, r, w, o, g, e, at)"
            " on conflict (patient_id, field, source) do update set rule = excluded.rule, owner = excluded.owner,"
            " outcome = excluded.outcome, stage = excluded.stage, event_id = excluded.event_id, since = excluded.since,"
            " closed_at = null, seen_on ="
            " case when t.closed_at is null and t.event_id = excluded.event_id then t.seen_on"
            " else excluded.seen_on end",
            (now, *(list(column) for column in zip(*rows, strict=True))),
        )


def conflicts_of(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """The open conflicts of a patient, oldest first: which system against whose field, by which rule it was settled
    and how (refused, task or merged), since when. Never a value."""
    rows = connection.execute(
        "select field, rule, source, owner, outcome, stage, since from ops.field_conflicts where patient_id = %s"
        " and closed_at is null order by since, field, source",
        (patient_id,),
    ).fetchall()
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def open_conflicts(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """How many are open by field, rule and outcome, and how many days the oldest of each has been."""
    rows = connection.execute(
        "select field, rule, outcome, count(*), (extract(epoch from now() - min(since)) / 86400)::int"
        " from ops.field_conflicts where closed_at is null group by 1, 2, 3 order by 4 desc, 1, 2, 3"
    ).fetchall()
    return [dict(zip(("field", "rule", "outcome", "open", "oldest_days"), row, strict=True)) for row in rows]


def drift(connection: psycopg.Connection, day: date | None = None) -> list[dict[str, Any]]:
    """Which system wrote against the owner of which field, by day and rule: how often, and how many are still open.

    `day` is a day of receipt in UTC; without it all days, newest first.
    """
    rows = connection.execute(
        "select seen_on, source, field, rule, outcome, count(*), count(*) filter (where closed_at is null)"
        " from ops.field_conflicts where %s::date is null or seen_on = %s::date group by 1, 2, 3, 4, 5"
        " order by 1 desc, 6 desc, 2, 3, 4, 5",
        (day, day),
    ).fetchall()
    names = ("day", "system", "field", "rule", "outcome", "times", "open")
    return [dict(zip(names, row, strict=True)) for row in rows]
