"""What was done by hand comes back: each filled-in row of a worklist is an event of the ledger, charted like all else.

A row that cannot be used is answered, and the rest goes on. Here: reading the file, events, and answers by row without
a value. Not here: what a row means (`domain.downtime`), and what a done task changes (`domain.tasks`).
"""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import orjson
from psycopg import Connection

from ...domain.contract import Contract
from ...domain.downtime import NEEDED, BadRow, Entry, elsewhere, event_of, read_row
from ..charts import Scope, chart_events
from ..cipher import Cipher
from ..ledger import append, event_id_of, read_event

LONGEST = 50_000_000
Status = Literal["done", "still_open", "closed_meanwhile", "declined", "noted", "loaded_before", "blank", "bad"]
SAYS: dict[Status, str] = {
    "done": "the task is closed",
    "still_open": "kept, and the task stays open: something newer was said about it since the worklist was made",
    "closed_meanwhile": "kept; the task was closed already by something else",
    "declined": "kept, and the task stays open for whoever decides what follows",
    "noted": "kept, and the task stays open",
    "loaded_before": "this row was loaded before; nothing changes",
    "blank": "nothing was written into it",
}
HELD = "; the gate still holds the patient and nobody has work for it: enter what was learned as an amended intake"


class Answer(NamedTuple):
    row: str
    """As the worklist numbers it, else its place in the file."""
    status: Status
    says: str
    event_id: str | None = None


class Row(NamedTuple):
    name: str
    cells: dict[str, str]


class _Task(NamedTuple):
    patient_id: str
    code: str
    cause: str
    is_open: bool


def read_rows(path: Path) -> list[Row]:
    """The rows of a file as a spreadsheet saves it, with commas or semicolons. ValueError: none of it can be used."""
    if path.stat().st_size > LONGEST:
        raise ValueError("the file is too long to be a worklist")
    try:
        # Some spreadsheets end a line with a carriage return alone, which `csv` takes for part of a cell.
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=None).getvalue()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8: save it as `CSV UTF-8`") from None
    head = text.partition("\n")[0]
    found = csv.DictReader(io.StringIO(text), delimiter=";" if head.count(";") > head.count(",") else ",", restkey="")
    rows = []
    try:
        if lacking := [name for name in NEEDED if name not in (found.fieldnames or ())]:
            raise ValueError(f"the file lacks the columns {', '.join(lacking)}: fill in the worklist's own CSV")
        for place, cells in enumerate(found, 1):
            number = (cells.get("row") or "").strip()
            rows.append(Row(number if number.isdecimal() and len(number) < 9 else f"{place}", cells))
    except csv.Error:
        raise ValueError(f"the file is no CSV after row {len(rows)}: save it anew") from None
    return rows


def bring_back(
    connection: Connection[Any],
    contract: Contract,
    cipher: Cipher,
    gate_id: str,
    rows: Iterable[Row],
    zone: ZoneInfo,
    *,
    is_dry_run: bool = False,
) -> list[Answer]:
    """Load rows; an answer for each, in order. `connection` is in autocommit.

    Killed between the ledger and the chart, the events wait and are charted by the next run or the next load. A dry run
    does it all and takes it back.
    """
    with connection.transaction(force_rollback=True) if is_dry_run else nullcontext():
        return _bring_back(connection, contract, cipher, gate_id, list(rows), zone)


def _bring_back(connection, contract: Contract, cipher: Cipher, gate_id: str, rows: list[Row], zone) -> list[Answer]:
    (now,) = connection.execute("select clock_timestamp()").fetchone()
    entries, answers = _read(rows, zone, now)
    tasks = _tasks(connection, {entry.task_id for entry in entries.values()})
    documents: dict[str, bytes] = {}
    ids: dict[int, str] = {}
    for place, entry in list(entries.items()):
        task = tasks.get(entry.task_id)
        command = elsewhere(task.code, task.cause) if task else None
        if task is None or command:
            why = f"decide this by {command}; here it changes nothing" if command else "no task has this id"
            answers[place] = Answer(rows[place].name, "bad", why)
            del entries[place]
            continue
        document = orjson.dumps(event_of(entry, task.patient_id, task.code, task.cause))
        ids[place] = str(event_id_of(read_event(contract, document)))
        documents[ids[place]] = document
    known = {
        str(event_id): status
        for event_id, status in connection.execute(
            "select event_id, status from phi.events where event_id = any(%s::uuid[])", (list(documents),)
        )
    }
    append(connection, contract, cipher, [d for event_id, d in documents.items() if event_id not in known])
    pending = [uuid.UUID(event_id) for event_id in documents if known.get(event_id) != "charted"]
    if pending:  # as a replay, since that waits for a run which has them at this moment
        chart_events(connection, contract, cipher, Scope(event_ids=tuple(pending), is_replay=True))
    after = _tasks(connection, tasks)
    held = _held(connection, gate_id, {task.patient_id for task in after.values()})
    told: set[str] = set()
    for place, entry in entries.items():
        event_id, before, then = ids[place], tasks[entry.task_id], after[entry.task_id]
        status = _status(entry, event_id in known or event_id in told, before.is_open, then.is_open)
        says = SAYS[status] + (HELD if status == "done" and then.patient_id in held else "")
        answers[place] = Answer(rows[place].name, status, says, event_id)
        told.add(event_id)
    return [answers[place] for place in sorted(answers)]


def _read(rows: list[Row], zone: ZoneInfo, now: datetime) -> tuple[dict[int, Entry], dict[int, Answer]]:
    entries, answers = {}, {}
    for place, row in enumerate(rows):
        try:
            entry = read_row(row.cells, zone, now)
        except BadRow as fault:
            answers[place] = Answer(row.name, "bad", str(fault))
            continue
        if entry is None:
            answers[place] = Answer(row.name, "blank", SAYS["blank"])
        else:
            entries[place] = entry
    return entries, answers


def _status(entry: Entry, was_known: bool, was_open: bool, is_open: bool) -> Status:
    if was_known:
        return "loaded_before"
    if entry.outcome == "declined":
        return "declined"
    if entry.outcome == "noted":
        return "noted"
    if is_open:
        return "still_open"
    return "done" if was_open else "closed_meanwhile"


def _tasks(connection, task_ids: Iterable[str]) -> dict[str, _Task]:
    """Each task as it stands now with whoever's patient its record is part of."""
    return {
        str(task_id): _Task(str(patient_id), code, cause, is_open)
        for task_id, patient_id, code, cause, is_open in connection.execute(
            "select t.task_id, coalesce(l.patient_id, t.patient_id), t.code, t.cause, exists (select from ops.tasks n"
            " where n.patient_id = coalesce(l.patient_id, t.patient_id) and n.code = t.code and n.cause = t.cause"
            " and n.status = 'open') from ops.tasks t left join ops.patient_links l on l.record_id = t.patient_id"
            " where t.task_id = any(%s::uuid[])",
            (list(task_ids),),
        )
    }


def _held(connection, gate_id: str, patients: Iterable[str]) -> set[str]:
    """Those whom the gate holds and for whom nobody has work."""
    return {
        str(patient_id)
        for (patient_id,) in connection.execute(
            "select g.patient_id from ops.gate_results g where g.gate_id = %s and g.outcome = 'held'"
            " and g.patient_id = any(%s::uuid[]) and not exists (select from ops.tasks t"
            " where t.patient_id = g.patient_id and t.status = 'open')",
            (gate_id, list(patients)),
        )
    }
