"""Courses of treatments: kept with the chart in one transaction, and read for people.

A patient's rows are replaced as a whole, since the fold makes the whole: so a replay, a merge and an un-merge carry
them.
Here: writing and asking. Not here: what a course is (`domain.medication`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import psycopg

from ...domain.charting import Known, PatientOutcome
from ...domain.medication import Course
from ..copying import copy_rows

COURSE = (
    "patient_id", "family", "state", "since", "product", "dose_mg", "dose_since", "last_dose_at", "runs_out_at", "told",
    "findings", "contract_version",
)  # fmt: skip
TRANSITION = (
    "patient_id", "family", "move", "from_state", "to_state", "outcome", "reason", "event_id", "moved_at",
    "contract_version",
)  # fmt: skip


def save_courses(
    connection: psycopg.Connection,
    outcomes: Sequence[PatientOutcome],
    known: Known,
    version: str,
    retired: Collection[str],
) -> None:
    """Replace the courses of these patients. Nothing is asked for patients who are new and have none: a bulk load.

    `retired` are patients that are part of another's now.
    """
    before = known.patients | known.moved
    old = [o.chart.patient_id for o in outcomes if o.chart.patient_id in before] + [*retired]
    if old:
        for table in (b"phi.medication_courses", b"ops.medication_transitions"):
            connection.execute(b"delete from " + table + b" where patient_id = any(%s::uuid[])", (old,))
    told = [(o.chart.patient_id, course) for o in outcomes for course in o.courses]
    if not told:
        return
    copy_rows(connection, "phi.medication_courses", COURSE, [_course_row(p, course, version) for p, course in told])
    copy_rows(
        connection,
        "ops.medication_transitions",
        TRANSITION,
        [
            (patient_id, course.family, n, t.leaves, t.to, t.outcome, t.rule, t.event_id, t.at, version)
            for patient_id, course in told
            for n, t in enumerate(course.history, 1)
        ],
    )


def _course_row(patient_id: str, course: Course, version: str) -> tuple:
    told = {
        kind: {"at": f.at.isoformat(), "event_id": f.event_id, "source": f.source, "product": f.product, "mg": f.mg}
        for kind, f in sorted(course.told.items())
    }
    return (
        patient_id,
        course.family,
        course.state,
        course.since,
        course.product or None,
        course.mg,
        course.dose_since,
        course.last_dose_at,
        course.runs_out_at,
        orjson.dumps(told).decode(),
        orjson.dumps([finding.to_doc() for finding in course.findings]).decode(),
        version,
    )


def show(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """The courses of a patient with their moves and findings: names and times, never a dose."""
    found = []
    for family, state, since, runs_out, findings in connection.execute(
        "select family, state, since, runs_out_at, findings from phi.medication_courses where patient_id = %s"
        " order by family",
        (patient_id,),
    ).fetchall():
        moves = connection.execute(
            "select move, from_state, to_state, outcome, reason, event_id::text, moved_at from"
            " ops.medication_transitions where patient_id = %s and family = %s order by move",
            (patient_id, family),
        ).fetchall()
        names = ("move", "from", "to", "outcome", "reason", "event_id", "at")
        found.append(
            {
                "family": family,
                "state": state,
                "since": since,
                "supply_runs_out_at": runs_out,
                "findings": findings,
                "transitions": [dict(zip(names, move, strict=True)) for move in moves],
            }
        )
    return found


def count_states(connection: psycopg.Connection) -> dict[tuple[str, str], int]:
    """(family, state) -> how many courses are in it now."""
    rows = connection.execute("select family, state, count(*) from phi.medication_courses group by 1, 2 order by 1, 2")
    return {(family, state): count for family, state, count in rows.fetchall()}


def count_products(connection: psycopg.Connection) -> dict[tuple[str, str], int]:
    """(product, state) -> how many courses are in it now: of those that were ever begun."""
    rows = connection.execute(
        "select product, state, count(*) from phi.medication_courses where product is not null group by 1, 2"
    )
    return {(product, state): count for product, state, count in rows.fetchall()}


def count_findings(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Open findings by name and family: how many, and how many days the oldest is old."""
    rows = connection.execute(
        "select f ->> 'finding', family, count(*), (extract(epoch from now() - min((f ->> 'at')::timestamptz)) / 86400)"
        "::int from phi.medication_courses, jsonb_array_elements(findings) f group by 1, 2 order by 3 desc, 1, 2"
    )
    return [dict(zip(("finding", "family", "open", "oldest_days"), row, strict=True)) for row in rows.fetchall()]


def count_transitions(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Moves by outcome and reason, of all time and of the last seven days."""
    rows = connection.execute(
        "select outcome, reason, count(*), count(*) filter (where moved_at > now() - interval '7 days')"
        " from ops.medication_transitions group by 1, 2 order by 3 desc, 1, 2"
    )
    return [dict(zip(("outcome", "reason", "times", "in_7_days"), row, strict=True)) for row in rows.fetchall()]
