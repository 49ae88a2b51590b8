"""Writes what was decided for a batch: values, charts, flags, gate, tasks, queue and outbox, all in one transaction.

Not here: the decision (`domain.charting`), and which events it was about (`claim`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from psycopg.errors import UntranslatableCharacter

from ...domain.charting import Claimed, Decided, Known, PatientOutcome, Write
from ...domain.contract import CRM, EHR, Contract
from ...domain.fhir import resource_id
from ..cipher import Cipher
from ..copying import copy_rows
from ..enqueue import enqueue
from ..ledger import MEND
from .conflicts import save_conflicts
from .identifiers import save_identifiers
from .insisting import save_insistence
from .medication import save_courses
from .refills import save_refills


@dataclass
class Charted:
    """What a run did, in counts."""

    events: int = 0
    rejected: int = 0
    dead: int = 0
    values: int = 0
    held_values: int = 0
    patients: int = 0
    passed: int = 0
    held: int = 0
    entered_queue: int = 0
    flags: dict[str, int] = field(default_factory=lambda: {"red": 0, "amber": 0, "info": 0})
    merged: int = 0
    """Patients that gained or lost a record, and records that are no patient of their own any more."""
    tasks_opened: int = 0
    tasks_closed: int = 0
    writes: int = 0
    """To the EHR."""
    resources: int = 0
    contacts: int = 0
    """To the CRM."""
    missing: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    """What is another than before, by path (`domain.difference`); where the scope asks for it."""
    queue_seconds: list[float] = field(default_factory=list)
    """Receipt to queue, for those who entered it now."""

    @property
    def all_writes(self) -> int:
        """To every system that must hear of it."""
        return self.writes + self.contacts

    def add(self, other: Charted) -> None:
        for name, more in vars(other).items():
            mine = getattr(self, name)
            if isinstance(more, dict):
                for key, value in more.items():
                    mine[key] = mine.get(key, 0) + value
            else:
                setattr(self, name, mine + more)


def save(connection, contract: Contract, cipher: Cipher, decided: Decided, known: Known, done: Charted):
    outcomes = sorted(decided.patients, key=lambda o: o.chart.patient_id)
    if not outcomes and not decided.retired:
        return
    now = connection.execute("select now()").fetchone()[0]
    version = contract.version
    held = {r.event_id: sorted([n for n, v in r.values.items() if "held" in v]) for o in outcomes for r in o.reports}
    _upsert(connection, "phi.patient_values", ("event_id",), VALUE_COLUMNS, (
        (r.event_id, r.record_id, r.submission_id, r.form_version, r.status, r.authored_at, r.received_at,
         r.time_zone, r.source, r.voice, _document(r.values), list(r.contradictions),
         held[r.event_id], version,
         None if r.medication is None else _json(r.medication), None if r.refill is None else _json(r.refill))
        for o in outcomes for r in o.reports
    ), known=known.events)  # fmt: skip
    save_identifiers(connection, outcomes, known)
    _upsert(connection, "phi.charts", ("patient_id",),
            ("patient_id", "stage", "doc", "verified", "events", "contract_version", "received_at"),
            (_chart_row(o, version) for o in outcomes), known=known.patients)  # fmt: skip
    _upsert(connection, "phi.risk_flags", ("patient_id", "flag_id"),
            ("patient_id", "flag_id", "severity", "status", "fields", "event_id", "contract_version"),
            ((o.chart.patient_id, f.flag_id, f.severity, "sticky" if f.sticky else "active", list(f.fields),
              f.event_id, version) for o in outcomes for f in o.flags.values()),
            known=known.patients | known.moved)  # fmt: skip
    before = known.patients | known.moved
    heard_before = [o for o in outcomes if o.chart.patient_id in before]
    if heard_before:
        _clear_flags(connection, heard_before)
    _upsert(connection, "ops.gate_results", ("patient_id", "gate_id"),
            ("patient_id", "gate_id", "gate_version", "outcome", "missing", "score", "contract_version", "since"),
            ((o.chart.patient_id, o.gate.gate_id, o.gate.version, o.gate.outcome,
              [f"{name}:{state}" for name, state in o.gate.missing], o.gate.score, version, now) for o in outcomes),
            known=known.patients,
            keep="since = case when t.outcome = excluded.outcome then t.since else excluded.since end")  # fmt: skip
    _save_queue(connection, outcomes, before, now, done)
    _save_tasks(connection, outcomes, known, now, done)
    retired = [r.patient_id for r in decided.retired]
    save_conflicts(connection, outcomes, now, known, retired)
    save_courses(connection, outcomes, known, version, retired)
    save_refills(connection, cipher, contract, outcomes, known, now, retired)
    if retired:
        _save_retired(connection, retired, done)
    _save_writes(connection, cipher, decided.writes, version, known, now, done)
    done.patients += len(outcomes)
    for outcome in outcomes:
        done.passed += outcome.gate.outcome == "passed"
        done.held += outcome.gate.outcome == "held"
        for name, state in outcome.gate.missing:
            done.missing[f"{name}:{state}"] = done.missing.get(f"{name}:{state}", 0) + 1
        for flag in outcome.flags.values():
            done.flags[flag.severity] += 1
        for report in outcome.reports:
            done.values += len(report.values)
            done.held_values += len(held[report.event_id])


SETTLED_BY = (
    "case e.status when 'charted' then e.settled_by_run else nullif(current_setting('glp1.run_id', true), '') end"
)
"""The run that charted it first, as `settled_at` is when."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
VALUE_COLUMNS = (
    "event_id", "record_id", "submission_id", "form_version", "status", "authored_at", "received_at", "time_zone",
    "source", "voice", "doc", "contradictions", "held", "contract_version", "medication", "refill",
)  # fmt: skip


def _chart_row(outcome: PatientOutcome, version: str) -> tuple:
    chart = outcome.chart
    events = [s.event_id for s in chart.submissions]
    place = {event_id: index for index, event_id in enumerate(events)}
    if len(chart.submissions) == 1:
        doc: dict[str, Any] = dict.fromkeys(chart.sources, 0)
    else:
        doc = {name: place[event_id] for name, event_id in chart.sources.items()}
        for name, index in doc.items():
            value = chart.values[name]
            if chart.submissions[index].values.get(name) != value:  # of several events together
                doc[name] = {"last": index, "together": value}
    found = {name: place[event_id] for name, event_id in chart.verified_by.items()}
    return (
        chart.patient_id,
        outcome.stage,
        _json(doc),
        _json(found),
        events,
        version,
        max(s.received_at for s in chart.submissions),
    )


def _clear_flags(connection, outcomes: list[PatientOutcome]) -> None:
    """Flags that were raised once and are no more."""
    connection.execute(
        "update phi.risk_flags set status = 'cleared' where patient_id = any(%s::uuid[]) and status <> 'cleared' and"
        " not exists (select from unnest(%s::uuid[], %s::text[]) as t(p, f) where p = patient_id and f = flag_id)",
        (
            [o.chart.patient_id for o in outcomes],
            [o.chart.patient_id for o in outcomes for _ in o.flags],
            [f for o in outcomes for f in o.flags],
        ),
    )


def _save_queue(
    connection, outcomes: list[PatientOutcome], before: Collection[str], now: datetime, done: Charted
) -> None:
    """`before`: patients who may be there already."""
    entered_at = connection.execute("select clock_timestamp()").fetchone()[0]
    fresh, again = list[tuple](), list[tuple]()
    for outcome in outcomes:
        if outcome.waits_for_review:
            severities = [flag.severity for flag in outcome.flags.values()]
            rows = again if outcome.chart.patient_id in before else fresh
            rows.append((outcome.chart.patient_id, severities.count("red"), severities.count("amber"),
                         outcome.received_at, entered_at))  # fmt: skip
    copy_rows(connection, "ops.provider_queue", ("patient_id", "reds", "ambers", "submitted_at", "entered_at"), fresh)
    seconds = [(entered_at - submitted_at).total_seconds() for *_, submitted_at, entered_at in fresh]
    if again:
        entered = connection.execute(
            "insert into ops.provider_queue as t (patient_id, reds, ambers, submitted_at, entered_at) select *"
            " from unnest(%s::uuid[], %s::int[], %s::int[], %s::timestamptz[], %s::timestamptz[])"
            " on conflict (patient_id) do update set reds = excluded.reds, ambers = excluded.ambers,"
            " entered_at = case when t.left_at is null then t.entered_at else excluded.entered_at end,"
            " submitted_at = case when t.left_at is null then t.submitted_at else excluded.submitted_at end,"
            " left_at = null returning entered_at - submitted_at, entered_at >= %s",
            (*(list(column) for column in zip(*again, strict=True)), now),
        ).fetchall()
        seconds += [waited.total_seconds() for waited, is_new in entered if is_new]
    done.entered_queue += len(seconds)
    done.queue_seconds += seconds
    held = [o.chart.patient_id for o in outcomes if not o.waits_for_review]
    if held:
        connection.execute(
            "update ops.provider_queue set left_at = now() where patient_id = any(%s::uuid[]) and left_at is null",
            (held,),
        )


def _save_tasks(connection, outcomes: list[PatientOutcome], known: Known, now: datetime, done: Charted) -> None:
    columns = ("task_id", "patient_id", "code", "cause", "queue", "owner", "status", "opened_at", "due_at", "rests_on")
    fresh, again = list[tuple](), list[tuple]()
    for outcome in outcomes:
        patient_id = outcome.chart.patient_id
        rows = again if patient_id in known.tasks else fresh
        for task in outcome.tasks:
            task_id = resource_id(patient_id, f"Task/{task.code}/{task.cause}")
            due_at = task.due_at or now + timedelta(minutes=task.due_minutes)
            rows.append((task_id, patient_id, task.code, task.cause, task.queue, task.owner, "open", now, due_at,
                         task.rests_on or None))  # fmt: skip
    copy_rows(connection, "ops.tasks", columns, fresh)
    done.tasks_opened += len(fresh)
    if again:
        opened = connection.execute(
            f"insert into ops.tasks as t ({', '.join(columns)}) select *"
            " from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],"
            " %s::timestamptz[], %s::timestamptz[], %s::uuid[])"
            " on conflict (patient_id, task_id) do update set status = 'open', queue = excluded.queue,"
            " owner = excluded.owner, rests_on = excluded.rests_on, closed_at = null,"
            # Of another check-in or request it is new work.
            " opened_at = case when t.status = 'open' and t.rests_on is not distinct from excluded.rests_on"
            " then t.opened_at else excluded.opened_at end,"
            " due_at = case when t.status = 'open' and t.rests_on is not distinct from excluded.rests_on"
            " then t.due_at else excluded.due_at end"
            " returning opened_at = %s",
            (*(list(column) for column in zip(*again, strict=True)), now),
        ).fetchall()
        done.tasks_opened += sum(is_new for (is_new,) in opened)
    closed = [resource_id(o.chart.patient_id, f"Task/{code}/{cause}") for o in outcomes for code, cause in o.closed]
    if closed:
        done.tasks_closed += connection.execute(
            "update ops.tasks set status = 'done', closed_at = now() where patient_id = any(%s::uuid[])"
            " and task_id = any(%s::uuid[]) and status = 'open'",
            ([o.chart.patient_id for o in outcomes if o.closed], closed),
        ).rowcount


def _save_writes(
    connection, cipher: Cipher, writes: list[Write], version: str, known: Known, now: datetime, done: Charted
) -> None:
    if not writes:
        return
    enqueue(connection, cipher, writes, version, now)
    there = {(EHR, patient_id) for patient_id in known.copies} | {(CRM, patient_id) for patient_id in known.contacts}
    _upsert(connection, "ops.copies", ("target", "patient_id"), ("target", "patient_id", "n", "planned"),
            ((w.target, w.patient_id, w.n, _json(w.hashes)) for w in writes),
            known=there, keep="planned = t.planned || excluded.planned", width=2)  # fmt: skip
    for write in writes:
        if write.insists is not None:
            save_insistence(connection, write.target, write.patient_id, write.insists, now)
    done.writes += sum(w.target == EHR for w in writes)
    done.contacts += sum(w.target == CRM for w in writes)
    done.resources += sum(len(w.hashes) for w in writes if w.target == EHR)


def _save_retired(connection, patients: list[str], done: Charted) -> None:
    """A record that is part of another's patient has no chart, gate, flag, task or place in the queue of its own."""
    connection.execute("delete from phi.charts where patient_id = any(%s::uuid[])", (patients,))
    connection.execute("delete from ops.gate_results where patient_id = any(%s::uuid[])", (patients,))
    connection.execute(
        "update phi.risk_flags set status = 'cleared' where patient_id = any(%s::uuid[]) and status <> 'cleared'",
        (patients,),
    )
    connection.execute(
        "update ops.provider_queue set left_at = now() where patient_id = any(%s::uuid[]) and left_at is null",
        (patients,),
    )
    done.tasks_closed += connection.execute(
        "update ops.tasks set status = 'done', closed_at = now() where patient_id = any(%s::uuid[])"
        " and status = 'open'",
        (patients,),
    ).rowcount


def settle(connection, claimed: list[Claimed], decided: Decided, refused: list[tuple]) -> None:
    alive = [c for c in claimed if c.event_id not in decided.dead]
    if alive:
        connection.execute(
            "update phi.events e set status = 'charted', reason = null, hint = null, record_id = u.p,"
            # When it was charted first: a replay is no part of its journey.
            " settled_at = case e.status when 'charted' then e.settled_at else clock_timestamp() end,"
            f" settled_by_run = {SETTLED_BY},"
            " source = u.s, source_id = u.i, type = u.t, version = u.v, subject = u.j,"
            " occurred_at = u.o from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],"
            " %s::text[], %s::timestamptz[]) as u(e, p, s, i, t, v, j, o) where e.event_id = u.e",
            tuple(
                list(column)
                for column in zip(
                    *(
                        (c.event_id, c.record_id, c.event.source, c.event.source_id, c.event.type, c.event.version,
                         c.event.subject, c.event.occurred_at)
                        for c in alive
                    ), strict=True,
                )
            ),
        )  # fmt: skip
    mark(connection, "dead", [(i, reason, MEND) for i, reason in decided.dead.items()])
    mark(connection, "rejected", refused)


def mark(connection, status: str, rows: list[tuple]) -> None:
    """Say why these events cannot be charted now. One that was charted before stays so, with what it said then."""
    if rows:
        connection.execute(
            "update phi.events e set status = case e.status when 'charted' then e.status else %s end, reason = u.r,"
            " hint = u.h, settled_at = case e.status when 'charted' then e.settled_at else clock_timestamp() end,"
            f" settled_by_run = {SETTLED_BY}"
            " from unnest(%s::uuid[], %s::text[], %s::text[]) as u(e, r, h) where e.event_id = u.e",
            (status, *(list(column) for column in zip(*rows, strict=True))),
        )


def _upsert(
    connection,
    table: str,
    key: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    known: Collection[Any],
    keep: str = "",
    width: int = 1,
) -> None:
    """Write rows by COPY: those whose first column (or first `width`) is not among the `known` at once, the others by
    insert or update.

    The patients' lock makes sure that what was not known is still not there. `keep` is a clause that decides for one
    column.
    """
    names, again = ", ".join(columns), list[tuple]()

    def fresh() -> Iterator[tuple]:
        for row in rows:
            if (row[0] if width == 1 else row[:width]) in known:
                again.append(row)
            else:
                yield row

    copy_rows(connection, table, columns, fresh())
    if not again:
        return
    staging = "incoming_" + table.split(".")[1]
    connection.execute(
        f"create temp table if not exists {staging} on commit delete rows as select {names} from {table} with no data"
    )
    copy_rows(connection, staging, columns, again)
    kept = keep.split(" = ")[0] if keep else None
    sets = [f"{c} = excluded.{c}" for c in columns if c not in key and c != kept] + ([keep] if keep else [])
    connection.execute(
        f"insert into {table} as t ({names}) select {names} from {staging} order by {', '.join(key)}"
        f" on conflict ({', '.join(key)}) do update set {', '.join(sets)}"
    )
    connection.execute(f"truncate {staging}")  # a replay by plan charts several batches in one transaction


def _json(content: Any) -> str:
    return orjson.dumps(content).decode()


def _document(values: Any) -> str:
    """Values as JSON that Postgres can read whenever it is asked to; it keeps the text, and finds a NUL only then."""
    written = orjson.dumps(values).decode()
    if "\\u0000" in written and _NUL.search(written):
        raise UntranslatableCharacter("a value holds a NUL, which no text of Postgres can")
    return written
