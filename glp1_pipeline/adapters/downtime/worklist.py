"""The open tasks of all patients, as they stand in one moment, with what somebody must know to work on them by hand.

Here: reading. It holds values of patients. Not here: how they are written (`pack`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from psycopg import Connection

from ...domain.contract import Contract
from ...domain.downtime import Line, OpenTask, lines_of
from ..charts.reports import reports_of

PATIENTS = 500
"""Whose charts are worked out at a time."""


def read_worklist(connection: Connection[Any], contract: Contract, gate_id: str) -> list[Line]:
    """All lines: by queue, the first due first. `connection` is in autocommit."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        lines = list(_lines(connection, contract, gate_id))
    return sorted(lines, key=lambda line: (line.task.queue, line.task.due_at, line.patient_id, line.task.task_id))


def _lines(connection, contract: Contract, gate_id: str) -> Iterator[Line]:
    rows = connection.execute(
        "select patient_id::text, task_id::text, code, cause, queue, owner, opened_at, due_at,"
        " coalesce(rests_on::text, '') from ops.tasks"
        " where status = 'open' order by patient_id, task_id"
    ).fetchall()
    tasks = {
        patient_id: [OpenTask(*row[1:]) for row in group] for patient_id, group in groupby(rows, key=lambda row: row[0])
    }
    patients = list(tasks)
    for chunk in (patients[n : n + PATIENTS] for n in range(0, len(patients), PATIENTS)):
        missing = dict(
            connection.execute(
                "select patient_id::text, missing from ops.gate_results where gate_id = %s and outcome = 'held'"
                " and patient_id = any(%s::uuid[])",
                (gate_id, chunk),
            ).fetchall()
        )
        queued = dict(
            connection.execute(
                "select patient_id::text, entered_at from ops.provider_queue where left_at is null"
                " and patient_id = any(%s::uuid[])",
                (chunk,),
            ).fetchall()
        )
        patient_of = {patient_id: patient_id for patient_id in chunk}
        patient_of |= dict(
            connection.execute(
                "select record_id::text, patient_id::text from ops.patient_links where patient_id = any(%s::uuid[])",
                (chunk,),
            ).fetchall()
        )
        reports: dict[str, list] = {}
        for report in reports_of(connection, list(patient_of)):
            reports.setdefault(patient_of[report.record_id], []).append(report)
        for patient_id in chunk:
            told = reports.get(patient_id, [])
            waits, since = missing.get(patient_id, ()), queued.get(patient_id)
            yield from lines_of(contract, gate_id, patient_id, told, tasks[patient_id], waits, since)
