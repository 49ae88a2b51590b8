"""Open tasks asked about: which, of whom, since when, until when and whose.

Here: ids, names and times, never an answer. Not here: which tasks there are (`domain.tasks`), and those of one patient
(`status`).
"""

from __future__ import annotations

from typing import Any

import psycopg

NAMES = ("patient_id", "task", "cause", "queue", "owner", "since", "due", "is_overdue")


def listed(
    connection: psycopg.Connection, queue: str | None, is_overdue: bool, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Open tasks, the one first that is due first, at most `limit`; and how many there are in all. `queue`: of this one
    alone; `is_overdue`: only those whose time is past."""
    those = (
        " from ops.tasks where status = 'open' and (%(queue)s::text is null or queue = %(queue)s)"
        " and (due_at < now() or not %(late)s)"
    )
    values = {"queue": queue, "late": is_overdue, "limit": limit}
    rows = connection.execute(
        f"select patient_id::text, code, cause, queue, owner, opened_at, due_at, due_at < now(){those}"
        " order by due_at, patient_id, code, cause limit %(limit)s",
        values,
    ).fetchall()
    in_all = connection.execute(f"select count(*){those}", values).fetchone()
    return [dict(zip(NAMES, row, strict=True)) for row in rows], in_all[0] if in_all else 0
