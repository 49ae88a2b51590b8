"""Working on paper while the system is down: what a line of the worklist says, and what a filled-in row means.

A row that is wrong is answered by itself; no answer holds a value. Here: functions of what is known and of what was
written by hand. Not here: files and the database (`adapters.downtime`), and what a done task changes (`tasks`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from . import gates
from .chart import Chart, Reported
from .contract import Contract
from .events.changes import TASK, TASK_OUTCOMES
from .events.shapes import TOKEN
from .followup import MISSED
from .medication.work import OF_FLAGS
from .past import judge
from .refill.work import OF_REFILL
from .tasks import EDITED, rests_on

NAMESPACE = uuid.UUID("2f6a1f0e-7a43-5c7e-9b3e-51c0c1a6d0b4")
SOURCE = "/downtime/glp1"
FILLED_IN = ("outcome", "done_by", "done_at", "note_code")
"""Columns that people write into."""
NEEDED = ("task_id", "rests_on", *FILLED_IN)
COLUMNS = (
    "row", "queue", "owner", "due_at", "in_queue_since", "task", "about", "name", "birth_date", "phone", "patient_id",
    "red_flags", "waits_for", *FILLED_IN, "opened_at", "task_id", "rests_on",
)  # fmt: skip
_NOTE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_STATES = {
    "absent": "not answered", "unknown": "unsure", "declined": "declined", "held": "could not be read",
    "stale": "too old", "not_accepted": "not accepted", "unmapped_medicine": "medicine not in our table",
    "unmapped_allergen": "allergen not in our table", "not_asked": "not asked",
}  # fmt: skip
ELSEWHERE = {
    "match": "`glp1 match`", "resolve-field-conflict": "`glp1 settle`",
    EDITED: "`glp1 conflicts`, of a contact in the CRM by `glp1 crm conflicts`",
}  # fmt: skip
"""What a done task alone cannot decide -> where its decision is entered."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    task_id: str
    code: str
    cause: str
    queue: str
    owner: str
    opened_at: datetime
    due_at: datetime
    rests_on: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One task of the worklist. It names a patient: for paper and the folder that the caller chose alone."""

    task: OpenTask
    rests_on: str
    patient_id: str
    name: str
    birth_date: str
    phone: str
    purpose: str
    about: str
    red_flags: tuple[str, ...]
    waits_for: tuple[str, ...]
    """What the gate still misses, in words."""
    in_queue_since: datetime | None = None
    """Since when the patient is in the provider's queue."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody wrote of one task."""

    task_id: str
    rests_on: str
    outcome: str
    by: str
    at: datetime
    note: str


class BadRow(ValueError):
    """A row that cannot be used; says how to mend it, and never what stands in it."""


def lines_of(
    contract: Contract,
    gate_id: str,
    patient_id: str,
    reports: Iterable[Reported],
    tasks: Iterable[OpenTask],
    missing: Iterable[str],
    in_queue_since: datetime | None,
) -> list[Line]:
    """A patient's lines. `missing`: field:state of their gate."""
    passes = gates.passes(contract, contract.gates[gate_id])
    (chart, raised, _), _ = judge(contract, patient_id, list(reports), passes)
    reds = tuple(contract.flags[f.flag_id].label for f in raised.values() if f.severity == "red")
    waits = tuple(in_words(contract, one) for one in missing)
    phone = chart.get("demo.mobile")
    return [
        Line(
            task, task.rests_on or rests_on(contract, chart, raised, task.cause), patient_id, _name(chart),
            str(chart.get("demo.dob") or ""), str(phone or ""), contract.tasks[task.code].purpose,
            in_words(contract, task.cause), reds, waits, in_queue_since,
        )
        for task in tasks
    ]  # fmt: skip


def in_words(contract: Contract, cause: str) -> str:
    """A cause (a field, flag, gate or contradiction, perhaps with its state) for people."""
    name, _, state = cause.partition(":")
    if name == "match":
        return "may be the same person as another record"
    if name == MISSED:
        return f"check-in of {state}: missed, and may still be done"
    if (rule := contract.refills.by_name.get(name.removeprefix(OF_REFILL))) and name.startswith(OF_REFILL):
        return f"refill of {state}: {rule.description}"
    if name in OF_FLAGS:
        flag_id, _, family = state.partition(":")
        return f"{OF_FLAGS[name]} ({contract.flags[flag_id].label}, {family})"
    if name in contract.fields:
        words = contract.fields[name].label
    elif name in contract.flags:
        words = contract.flags[name].label
    else:
        words = name.replace("_", " ").replace("-", " ")
    return f"{words} ({_STATES.get(state, state.replace('_', ' '))})" if state else words


def _name(chart: Chart) -> str:
    return " ".join(str(chart.get(n)) for n in ("demo.legal_first", "demo.legal_last") if chart.get(n))


def cells(line: Line, row: int) -> dict[str, str]:
    """A line as a row of the CSV, with room to write; nothing in it is a formula to a spreadsheet."""
    task = line.task
    found = {
        "row": str(row), "queue": task.queue, "owner": task.owner, "due_at": _instant(task.due_at),
        "in_queue_since": _instant(line.in_queue_since) if line.in_queue_since else "",
        "task": line.purpose, "about": line.about, "name": line.name, "birth_date": line.birth_date,
        "phone": line.phone, "patient_id": line.patient_id, "red_flags": "; ".join(line.red_flags),
        "waits_for": "; ".join(line.waits_for), **dict.fromkeys(FILLED_IN, ""), "opened_at": _instant(task.opened_at),
        "task_id": task.task_id, "rests_on": line.rests_on,
    }  # fmt: skip
    return {column: "'" + text if text[:1] in "=+-@\t\r" and text else text for column, text in found.items()}


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def read_row(row: Mapping[str, str], zone: ZoneInfo, now: datetime) -> Entry | None:
    """What a row says; None where nobody wrote into it. Times without an offset are of `zone`. Raises BadRow."""
    told = {name: (row.get(name) or "").strip() for name in NEEDED}
    if not any(told[name] for name in FILLED_IN):
        return None
    for name in ("task_id", "rests_on"):
        try:
            uuid.UUID(told[name])
        except ValueError:
            raise BadRow(f"`{name}` is not as the worklist had it: copy it from there") from None
    if (outcome := told["outcome"].lower()) not in TASK_OUTCOMES:
        raise BadRow(f"`outcome` must be one of {', '.join(TASK_OUTCOMES)}")
    if not TOKEN.fullmatch(told["done_by"]):
        raise BadRow("`done_by` must say who did it: an opaque id of staff, without spaces")
    if told["note_code"] and not _NOTE.fullmatch(told["note_code"]):
        raise BadRow("`note_code` must be a code of small letters, digits and dashes; words belong into the chart")
    if outcome == "noted" and not told["note_code"]:
        raise BadRow("`note_code` must say what was noted")
    return Entry(
        str(uuid.UUID(told["task_id"])), str(uuid.UUID(told["rests_on"])), outcome, told["done_by"],
        _time(told["done_at"], zone, now), told["note_code"],
    )  # fmt: skip


def _time(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text.removesuffix(" UTC") + ("+00:00" if text.endswith(" UTC") else ""))
    except ValueError:
        raise BadRow("`done_at` must be a time like 2026-11-23 14:05") from None
    if len(text) < len("2026-11-23 14:05"):
        raise BadRow("`done_at` must have the time of day too, like 2026-11-23 14:05")
    if not 2000 <= at.year < 9999:  # a year at either end of the calendar is none at all in another time zone
        raise BadRow("`done_at` is not of this century")
    if at.tzinfo is None:
        at, again = at.replace(tzinfo=zone), at.replace(tzinfo=zone, fold=1)
        if at.utcoffset() != again.utcoffset():
            raise BadRow("`done_at` is of an hour that the clocks skipped or showed twice: add the offset, like -05:00")
    at = at.astimezone(UTC)
    if at > now:
        raise BadRow("`done_at` lies in the future: is the time zone right?")
    return at


def event_of(entry: Entry, record_id: str, code: str, cause: str) -> dict[str, Any]:
    """The event of an entry: the same words give the same event, however often they are loaded and by whom."""
    at = entry.at.isoformat()
    told = "\x1f".join((entry.task_id, entry.rests_on, entry.outcome, entry.by, at, entry.note))
    return {
        "specversion": "1.0",
        "type": TASK,
        "source": SOURCE,
        "id": str(uuid.uuid5(NAMESPACE, told)),
        "subject": record_id,
        "time": at,
        "data": {
            "record_id": record_id,
            "task": code,
            "cause": cause,
            "rests_on": entry.rests_on,
            "outcome": entry.outcome,
            "actor": entry.by,
            **({"note_code": entry.note} if entry.note else {}),
        },
    }


def elsewhere(code: str, cause: str) -> str | None:
    """The command that decides what this task asks, where to have done it is no decision yet."""
    return ELSEWHERE.get(cause.partition(":")[0]) or ELSEWHERE.get(code)
