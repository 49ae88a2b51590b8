"""Check-ins asked about: those of a patient, those that were missed, and how all of them stand in numbers.

Here: ids, names and times, never an answer. Not here: saving (`charts.refills`), and when one is missed
(`domain.followup`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from ..domain.refill.clock import MISSED, SOURCE

LATELY_DAYS = 28
NAMES = (
    "followup_id", "patient_id", "family", "status", "began_at", "opens_at", "due_at", "missed_at", "window_at",
    "runs_out_at", "answered_at", "was_missed", "missing", "ended_at",
)  # fmt: skip
SELECT = (
    "select followup_id::text, patient_id::text, family, status, began_at, opens_at, due_at, missed_at, window_at,"
    " runs_out_at, answered_at, was_missed, missing, ended_at from ops.follow_ups"
)
LIVE = ("open", "due", "missed")


def listed(connection: psycopg.Connection, statuses: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Check-ins that are not over, of these statuses, the one first whose refill window opens first."""
    rows = connection.execute(
        f"{SELECT} where ended_at is null and status = any(%s) order by window_at, followup_id limit %s",
        (list(statuses), limit),
    ).fetchall()
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def show(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """All check-ins of a patient, oldest first."""
    rows = connection.execute(f"{SELECT} where patient_id = %s order by began_at, followup_id", (patient_id,))
    return [dict(zip(NAMES, row, strict=True)) for row in rows.fetchall()]


def waiting(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """The check-ins that the patient may answer now, with whose work a missed one is."""
    found = [one for one in show(connection, patient_id) if one["ended_at"] is None and one["status"] in LIVE]
    for one in found:
        one["tasks"] = [
            dict(zip(("task", "queue", "owner", "since", "due"), row, strict=True))
            for row in connection.execute(
                "select code, queue, owner, opened_at, due_at from ops.tasks where patient_id = %s and status = 'open'"
                " and cause = %s order by due_at",
                (patient_id, f"{MISSED}:{one['family']}"),
            ).fetchall()
        ]
    return found


def count(connection: psycopg.Connection) -> dict[str, Any]:
    """Check-ins that are not over by status; open exceptions, with the hours that some have left to the refill window;
    and of those that ran out lately, how many were answered in time, answered late, and never."""
    row = connection.execute(
        "select count(*), percentile_cont(0.5) within group (order by h) filter (where h > 0),"
        " min(h) filter (where h > 0), count(*) filter (where h <= 0) from"
        " (select extract(epoch from window_at - now()) / 3600 as h from ops.follow_ups"
        " where ended_at is null and status = 'missed') as t"
    ).fetchone()
    assert row is not None
    behind = connection.execute("select count(*) from ops.clocks where rung_at is null and next_at <= now()").fetchone()
    hours = [None if value is None else round(float(value), 2) for value in row[1:3]]
    return {
        "live": dict(
            connection.execute(
                "select status, count(*) from ops.follow_ups where ended_at is null group by 1 order by 1"
            ).fetchall()
        ),
        "exceptions": {"open": row[0], "hours_to_window": hours[0], "least_hours": hours[1], "window_open": row[3]},
        "lately": dict(
            connection.execute(
                "select case when answered_at is null then 'never answered' when was_missed then 'answered late'"
                " else 'answered in time' end, count(*) from ops.follow_ups where missed_at <= now()"
                " and missed_at > now() - make_interval(days => %s) and (ended_at is null or ended_at > missed_at)"
                " group by 1 order by 1",
                (LATELY_DAYS,),
            ).fetchall()
        ),
        "behind": behind[0] if behind else 0,
    }


def late_exceptions(connection: psycopg.Connection) -> dict[str, int]:
    """Of the last days: exceptions, and those that our clock reached only after the refill window had opened, though we
    had heard of the hand-over in time. And check-ins whose moments are not in their order: there can be none."""
    row = connection.execute(
        "select count(*), count(*) filter (where e.received_at >= f.window_at and k.heard_at < f.missed_at)"
        " from phi.events e join phi.patient_values v using (event_id)"
        " join ops.follow_ups f on f.followup_id = (v.refill ->> 'of')::uuid"
        # When a word of the hand-over came in; where nobody knows any more, it counts as heard.
        " left join lateral (select coalesce(min(h.received_at), '-infinity') as heard_at from phi.patient_values d"
        " join phi.events h using (event_id) where d.record_id in (select f.patient_id union all select l.record_id"
        " from ops.patient_links l where l.patient_id = f.patient_id) and d.medication ->> 'kind' in"
        " ('dispensed', 'ordered')"
        " and (d.medication ->> 'at')::timestamptz = f.began_at) k on true"
        # Not those that ask again for a check-in whose weight grew too old: they have no window to come before.
        " where e.source = %s and e.type = %s and v.refill ->> 'name' = 'missed' and e.status = 'charted'"
        " and e.received_at > now() - make_interval(days => %s)",
        (SOURCE, MISSED, LATELY_DAYS),
    ).fetchone()
    disorder = connection.execute(
        "select count(*) from ops.follow_ups where not (opens_at < due_at and due_at < missed_at"
        " and missed_at < window_at and window_at <= runs_out_at)"
    ).fetchone()
    assert row is not None
    assert disorder is not None
    return {"exceptions": row[0], "late": row[1], "out_of_order": disorder[0]}
