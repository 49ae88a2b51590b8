"""The road's middle in Postgres: claims events, reads what is known of their patients, writes what was decided.

Here: one transaction per batch, so that values, chart, flags, gate, tasks, queue and outbox move together or not at
all. Not here: the decision (`domain.charting`), bytes into events (`ledger`), delivery (`outbox`).
"""

from __future__ import annotations

import gc
import hashlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import orjson
import psycopg

from ..domain.chart import Reported
from ..domain.charting import ACCOUNT, Claimed, Decided, Known, PatientOutcome, decide
from ..domain.contract import Contract
from ..domain.events import Refused, parse_event
from ..domain.failures import where
from ..domain.fhir import resource_id
from ..domain.gates import GateFault
from .cipher import Cipher, KeyMissing
from .ledger import event_id_of, read_document

BATCH = 500
TARGET = "ehr"
FINAL = ("conflict", "line_too_long", "compressed", "came_again")
"""Reasons that no change of the contract can cure: the twin came first, or not all bytes are here."""
MEND = "our code failed on it: mend the code, then replay"


class ChartFault(RuntimeError):
    """Our code fails on every event of a batch; says where, never on what."""


@dataclass(frozen=True)
class Scope:
    """Which events a run takes: those pending, or all of some days, or some by id."""

    days: tuple[date, ...] = ()
    event_ids: tuple[uuid.UUID, ...] = ()
    is_replay: bool = False
    """Recompute what is settled already, too."""


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
    tasks_opened: int = 0
    tasks_closed: int = 0
    writes: int = 0
    resources: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    queue_seconds: list[float] = field(default_factory=list)
    """Receipt to queue, for those who entered it now."""

    def add(self, other: Charted) -> None:
        for name, more in vars(other).items():
            mine = getattr(self, name)
            if isinstance(more, dict):
                for key, value in more.items():
                    mine[key] = mine.get(key, 0) + value
            else:
                setattr(self, name, mine + more)


def chart_events(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    scope: Scope,
    progress: Callable[[Charted], None] = lambda _: None,
) -> Charted:
    """Chart every event in scope, a batch a transaction. Killed anywhere, a batch is done or not begun.

    The connection must be in autocommit mode. `progress` hears the counts after each batch.
    """
    done, after = Charted(), 0
    while rows := _chart_next(connection, contract, cipher, scope, after, done):
        after = max(row[1] for row in rows) if scope.is_replay else 0
        progress(done)
    return done


def _chart_next(connection, contract: Contract, cipher: Cipher, scope: Scope, after: int, done: Charted) -> list[tuple]:
    """Chart the next batch, and return what it was. An event that our code or the database fails on is dead and holds
    nobody; when all of a batch fail, the fault is not theirs: none is marked, and the run ends."""
    failed: dict[uuid.UUID, str] = {}
    rows = _chart_apart(connection, contract, cipher, scope, after, done, failed)
    if 1 < len(rows) == len(failed):
        raise ChartFault(f"all {len(rows)} events of a batch fail, first by {next(iter(failed.values()))}: they wait")
    if failed:
        with connection.transaction():
            _mark(connection, "dead", [(event_id, reason, MEND) for event_id, reason in failed.items()])
        done.dead += len(failed)
    return rows


def _chart_apart(connection, contract, cipher, scope: Scope, after: int, done: Charted, failed: dict) -> list[tuple]:
    """A batch in one transaction; where it fails its halves, and theirs, until what fails is alone."""
    rows, now = [], Charted()
    try:
        with connection.transaction(), _uncollected():
            rows = _claim(connection, scope, after)
            if rows:
                _chart_batch(connection, contract, cipher, rows, now)
    except Exception as error:
        if not rows or not _may_be_an_events(error):
            raise
        ids = [row[0] for row in rows]
        if len(ids) == 1:
            failed[ids[0]] = where(error)
            return rows
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            part = Scope(event_ids=tuple(half), is_replay=scope.is_replay)
            _chart_apart(connection, contract, cipher, part, 0, done, failed)
    else:
        done.add(now)
    return rows


def _may_be_an_events(error: Exception) -> bool:
    """Whether one event alone may be why: not so a missing key, a gate that fits nobody, or a database out of shape."""
    if isinstance(error, psycopg.Error):
        return isinstance(error, (psycopg.DataError, psycopg.IntegrityError))
    return not isinstance(error, (KeyMissing, GateFault, MemoryError))


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for circles of garbage while a batch is in memory: it makes none, and looking through its millions of
    pieces again and again costs a fifth of the whole."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def pending_days(connection: psycopg.Connection) -> list[date]:
    """Days of receipt that hold waiting events, oldest first."""
    # A loose index scan: one index probe per day, however many events wait.
    rows = connection.execute(
        "with recursive days as ("
        " (select received_on from phi.events where status = 'waiting' order by received_on limit 1)"
        " union all select (select e.received_on from phi.events e where e.status = 'waiting'"
        " and e.received_on > days.received_on order by e.received_on limit 1) from days"
        " where days.received_on is not null) select received_on from days where received_on is not null"
    ).fetchall()
    return [row[0] for row in rows]


def is_backlog(connection: psycopg.Connection, size: int) -> bool:
    """Whether at least so many events wait; counts no further."""
    row = connection.execute(
        "select count(*) from (select from phi.events where status = 'waiting' limit %s) as waiting", (size,)
    ).fetchone()
    return row is not None and row[0] >= size


def count(connection: psycopg.Connection, scope: Scope) -> int:
    """How many events a scope holds now."""
    condition, values = _condition(scope)
    row = connection.execute(f"select count(*) from phi.events where {condition}".encode(), values).fetchone()
    return row[0] if row else 0


def _condition(scope: Scope) -> tuple[str, list]:
    condition, values = "true" if scope.is_replay else "status = 'waiting'", []
    if scope.event_ids:
        condition += " and event_id = any(%s)"
        values.append(list(scope.event_ids))
    if scope.days:
        condition += " and received_on = any(%s)"
        values.append(list(scope.days))
    return condition, values


def _claim(connection, scope: Scope, after: int) -> list[tuple]:
    condition, values = _condition(scope)
    # A replay waits for a row that another run holds; a run of what is pending leaves it to that run.
    locked = "" if scope.is_replay else "skip locked"
    # By day first, as the index of what waits is: else each batch would sort the whole backlog.
    order = "seq" if scope.is_replay else "received_on, seq"
    return connection.execute(
        f"select event_id, seq, kid, body, received_at, status, reason from phi.events where {condition} and seq > %s"
        f" order by {order} limit {BATCH} for update {locked}",
        [*values, after if scope.is_replay else -1],
    ).fetchall()


def _chart_batch(connection, contract: Contract, cipher: Cipher, rows: list[tuple], done: Charted) -> None:
    claimed, refused = [], []
    for event_id, _, kid, body, received_at, status, reason in rows:
        if reason in FINAL:
            continue
        try:
            content = cipher.open(kid, bytes(body), f"events|{event_id}")
            document = read_document(content, was_accepted=status in ("waiting", "charted"))
            event, submission = parse_event(document, contract)
            # A line that was no event when it was read, and is one now, gets the id of that event.
            wanted = event_id_of(event) if status in ("rejected", "dead") else event_id
            if wanted != event_id and not _rename(connection, cipher, event_id, content, wanted):
                refused.append((event_id, "came_again", "the same event came again since and was accepted then"))
                continue
            event_id = wanted
            claimed.append(Claimed(str(event_id), received_at, event, submission))
        except Refused as refusal:
            refused.append((event_id, refusal.reason, refusal.hint))
    known = _known(connection, cipher, claimed)
    decided = decide(contract, claimed, known)
    # What was charted before and fails now keeps what it said then, in the chart too.
    charted = {str(row[0]) for row in rows if row[5] == "charted"}
    kept: dict[str, str] = {}
    while failed := decided.dead.keys() & charted - kept.keys():
        kept |= {event_id: decided.dead[event_id] for event_id in failed}
        claimed = [c for c in claimed if c.event_id not in kept]
        known = _known(connection, cipher, claimed)
        decided = decide(contract, claimed, known)
    decided.dead |= kept
    _save(connection, contract, cipher, claimed, decided, known, done)
    _settle(connection, claimed, decided, refused)
    done.events += sum(c.event_id not in decided.dead for c in claimed)
    done.rejected += len(refused)
    done.dead += len(decided.dead)
    for name, count in decided.problems.items():
        done.problems[name] = done.problems.get(name, 0) + count


def _rename(connection, cipher: Cipher, event_id: uuid.UUID, content: bytes, wanted: uuid.UUID) -> bool:
    """Give a line the id of the event that it is; False if another row has it."""
    kid, body = cipher.seal(content, f"events|{wanted}")
    return bool(
        connection.execute(
            "update phi.events set event_id = %s, kid = %s, body = %s where event_id = %s"
            " and not exists (select from phi.events where event_id = %s)",
            (wanted, kid, body, event_id, wanted),
        ).rowcount
    )


def _known(connection, cipher: Cipher, claimed: Sequence[Claimed]) -> Known:
    """Find each event's patient, lock the patients, and read what is known of them."""
    if not claimed:
        return Known()
    subjects = sorted({(ACCOUNT + ":" + c.event.source, c.event.subject) for c in claimed})
    first = {}
    for c in claimed:
        first.setdefault((ACCOUNT + ":" + c.event.source, c.event.subject), c.event_id)
    made = [cipher.ring.patient_id(*subject) for subject in subjects]
    systems, values = [s for s, _ in subjects], [v for _, v in subjects]
    connection.execute(
        "insert into phi.identifiers (system, value, patient_id, learned_by, learned_at)"
        " select s, v, p, e, now() from unnest(%s::text[], %s::text[], %s::uuid[], %s::uuid[]) as t(s, v, p, e)"
        " on conflict do nothing",
        (systems, values, made, [first[s] for s in subjects]),
    )
    found = {
        (system, value): str(patient_id)
        for system, value, patient_id in connection.execute(
            "select i.system, i.value, i.patient_id from phi.identifiers i"
            " join unnest(%s::text[], %s::text[]) as t(s, v) on i.system = t.s and i.value = t.v",
            (systems, values),
        )
    }
    for c in claimed:
        c.patient_id = found[(ACCOUNT + ":" + c.event.source, c.event.subject)]
    patients = sorted(set(found.values()))
    # The lock of a patient, always taken in one order: whoever charts a patient does it alone.
    connection.execute(
        "select pg_advisory_xact_lock(k) from (select distinct hashtextextended(p, 0) as k"
        " from unnest(%s::text[]) p order by 1) as keys",
        (patients,),
    )
    known = Known()
    known.patients = {
        str(patient_id)
        for (patient_id,) in connection.execute(
            "select patient_id from phi.charts where patient_id = any(%s::uuid[])", (patients,)
        )
    }
    for (system, value), patient_id in found.items():
        known.accounts.setdefault(patient_id, []).append((system, value))
    taken = {c.event_id for c in claimed}
    for row in connection.execute(
        "select patient_id, event_id, submission_id, form_version, status, authored_at, received_at, time_zone,"
        " doc, contradictions from phi.patient_values where patient_id = any(%s::uuid[])",
        (sorted(known.patients),),
    ):
        if str(row[1]) in taken:
            known.events.add(str(row[1]))
        else:
            known.reports.setdefault(str(row[0]), []).append(_reported(row))
    for patient_id, n, planned in connection.execute(
        "select patient_id, n, planned from ops.copies where target = %s and patient_id = any(%s::uuid[])",
        (TARGET, patients),
    ):
        known.changes[str(patient_id)], known.planned[str(patient_id)] = n, planned
    for patient_id, code, cause in connection.execute(
        "select patient_id, code, cause from ops.tasks where patient_id = any(%s::uuid[])", (patients,)
    ):
        known.tasks.setdefault(str(patient_id), []).append((code, cause))
    return known


def _reported(row: tuple) -> Reported:
    _, event_id, submission_id, version, status, authored_at, received_at, time_zone, values, contradictions = row
    return Reported(
        str(event_id),
        submission_id,
        version,
        status,
        authored_at,
        received_at,
        time_zone,
        values,
        tuple(contradictions),
    )


def _save(connection, contract: Contract, cipher: Cipher, claimed, decided: Decided, known: Known, done: Charted):
    outcomes = sorted(decided.patients, key=lambda o: o.chart.patient_id)
    if not outcomes:
        return
    now = connection.execute("select now()").fetchone()[0]
    version = contract.version
    _upsert(connection, "phi.patient_values", ("event_id",), _value_columns, (
        (r.event_id, o.chart.patient_id, r.submission_id, r.form_version, r.status, r.authored_at, r.received_at,
         r.time_zone, "reported", _json(r.values), list(r.contradictions),
         sorted(n for n, v in r.values.items() if "held" in v), version)
        for o in outcomes for r in o.reports
    ), known=known.events)  # fmt: skip
    _upsert(connection, "phi.charts", ("patient_id",),
            ("patient_id", "stage", "doc", "events", "contract_version", "received_at"),
            (_chart_row(o, version) for o in outcomes), known=known.patients)  # fmt: skip
    _upsert(connection, "phi.risk_flags", ("patient_id", "flag_id"),
            ("patient_id", "flag_id", "severity", "status", "fields", "event_id", "contract_version"),
            ((o.chart.patient_id, f.flag_id, f.severity, "sticky" if f.sticky else "active", list(f.fields),
              f.event_id, version) for o in outcomes for f in o.flags.values()), known=known.patients)  # fmt: skip
    patients = [o.chart.patient_id for o in outcomes]
    connection.execute(
        "update phi.risk_flags set status = 'cleared' where patient_id = any(%s::uuid[]) and status <> 'cleared' and"
        " not exists (select from unnest(%s::uuid[], %s::text[]) as t(p, f) where p = patient_id and f = flag_id)",
        (
            patients,
            [o.chart.patient_id for o in outcomes for _ in o.flags],
            [f for o in outcomes for f in o.flags],
        ),
    )
    _upsert(connection, "ops.gate_results", ("patient_id", "gate_id"),
            ("patient_id", "gate_id", "gate_version", "outcome", "missing", "score", "contract_version", "since"),
            ((o.chart.patient_id, o.gate.gate_id, o.gate.version, o.gate.outcome,
              [f"{name}:{state}" for name, state in o.gate.missing], o.gate.score, version, now) for o in outcomes),
            known=known.patients,
            keep="since = case when t.outcome = excluded.outcome then t.since else excluded.since end")  # fmt: skip
    _save_queue(connection, outcomes, now, done)
    _save_tasks(connection, outcomes, now, done)
    _save_writes(connection, cipher, outcomes, known, now, done)
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
            done.held_values += sum("held" in value for value in report.values.values())


_value_columns = (
    "event_id", "patient_id", "submission_id", "form_version", "status", "authored_at", "received_at", "time_zone",
    "voice", "doc", "contradictions", "held", "contract_version",
)  # fmt: skip


def _chart_row(outcome: PatientOutcome, version: str) -> tuple:
    chart = outcome.chart
    events = [s.event_id for s in chart.submissions]
    place = {event_id: index for index, event_id in enumerate(events)}
    doc = {name: {**value, "event": place[chart.sources[name]]} for name, value in chart.values.items()}
    stage = "clinical_review" if outcome.gate.outcome == "passed" else "intake"
    return chart.patient_id, stage, _json(doc), events, version, max(s.received_at for s in chart.submissions)


def _save_queue(connection, outcomes: list[PatientOutcome], now: datetime, done: Charted) -> None:
    passed = [o for o in outcomes if o.gate.outcome == "passed"]
    if passed:
        entered = connection.execute(
            "insert into ops.provider_queue as t (patient_id, reds, ambers, submitted_at, entered_at)"
            " select p, r, a, s, clock_timestamp()"
            " from unnest(%s::uuid[], %s::int[], %s::int[], %s::timestamptz[]) as u(p, r, a, s)"
            " on conflict (patient_id) do update set reds = excluded.reds, ambers = excluded.ambers,"
            " entered_at = case when t.left_at is null then t.entered_at else excluded.entered_at end,"
            " submitted_at = case when t.left_at is null then t.submitted_at else excluded.submitted_at end,"
            " left_at = null returning entered_at - submitted_at, entered_at >= %s",
            (
                [o.chart.patient_id for o in passed],
                [sum(f.severity == "red" for f in o.flags.values()) for o in passed],
                [sum(f.severity == "amber" for f in o.flags.values()) for o in passed],
                [o.received_at for o in passed],
                now,
            ),
        ).fetchall()
        seconds = [waited.total_seconds() for waited, is_new in entered if is_new]
        done.entered_queue += len(seconds)
        done.queue_seconds += seconds
    held = [o.chart.patient_id for o in outcomes if o.gate.outcome != "passed"]
    if held:
        connection.execute(
            "update ops.provider_queue set left_at = now() where patient_id = any(%s::uuid[]) and left_at is null",
            (held,),
        )


def _save_tasks(connection, outcomes: list[PatientOutcome], now: datetime, done: Charted) -> None:
    rows = []
    for outcome in outcomes:
        patient_id = outcome.chart.patient_id
        for task in outcome.tasks:
            task_id = resource_id(patient_id, f"Task/{task.code}/{task.cause}")
            rows.append((task_id, patient_id, task.code, task.cause, task.queue, task.owner, task.due_minutes))
    if rows:
        opened = connection.execute(
            "insert into ops.tasks as t (task_id, patient_id, code, cause, queue, owner, status, opened_at, due_at)"
            " select i, p, c, x, q, o, 'open', %s, %s + make_interval(mins => d) from unnest(%s::uuid[], %s::uuid[],"
            " %s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) as u(i, p, c, x, q, o, d)"
            " on conflict (task_id) do update set status = 'open', queue = excluded.queue, owner = excluded.owner,"
            " closed_at = null, opened_at = case when t.status = 'open' then t.opened_at else excluded.opened_at end,"
            " due_at = case when t.status = 'open' then t.due_at else excluded.due_at end"
            " returning opened_at = %s",
            (now, now, *(list(column) for column in zip(*rows, strict=True)), now),
        ).fetchall()
        done.tasks_opened += sum(is_new for (is_new,) in opened)
    closed = [resource_id(o.chart.patient_id, f"Task/{code}/{cause}") for o in outcomes for code, cause in o.closed]
    if closed:
        done.tasks_closed += connection.execute(
            "update ops.tasks set status = 'done', closed_at = now() where task_id = any(%s::uuid[])"
            " and status = 'open'",
            (closed,),
        ).rowcount


def _save_writes(
    connection, cipher: Cipher, outcomes: list[PatientOutcome], known: Known, now: datetime, done: Charted
) -> None:
    writes = [o.write for o in outcomes if o.write is not None]
    if not writes:
        return
    # The lane first: its lock makes the order of writes the order of commits, and wakes the deliverer.
    connection.execute(
        "insert into ops.lanes (target, patient_id, has_work, next_at) select %s, p, true, now()"
        " from unnest(%s::uuid[]) p on conflict (target, patient_id) do update set has_work = true",
        (TARGET, [w.patient_id for w in writes]),
    )
    ids = connection.execute(
        "insert into ops.writes (target, patient_id, n, kind, resources, sha256, status, events, created_at)"
        " select %s, p, n, 'ehr_chart', r, s, 'ready', string_to_array(e, ',')::uuid[], %s"
        " from unnest(%s::uuid[], %s::int[], %s::int[], %s::bytea[], %s::text[]) as u(p, n, r, s, e)"
        " returning patient_id, write_id",
        (
            TARGET,
            now,
            [w.patient_id for w in writes],
            [w.n for w in writes],
            [len(w.hashes) + 1 for w in writes],
            [hashlib.sha256(w.body).digest() for w in writes],
            [",".join(w.event_ids) for w in writes],
        ),
    ).fetchall()
    write_ids = {str(patient_id): write_id for patient_id, write_id in ids}
    # Binary, since as text a body would be twice as long.
    into = "copy phi.write_bodies (write_id, kid, body) from stdin (format binary)"
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.set_types(("int8", "text", "bytea"))
        for write in writes:
            write_id = write_ids[write.patient_id]
            copy.write_row((write_id, *cipher.seal(write.body, f"writes|{write_id}")))
    _upsert(connection, "ops.copies", ("target", "patient_id"), ("patient_id", "target", "n", "planned"),
            ((w.patient_id, TARGET, w.n, _json(w.hashes)) for w in writes), known=known.changes,
            keep="planned = t.planned || excluded.planned")  # fmt: skip
    done.writes += len(writes)
    done.resources += sum(len(w.hashes) for w in writes)


def _settle(connection, claimed: list[Claimed], decided: Decided, refused: list[tuple]) -> None:
    alive = [c for c in claimed if c.event_id not in decided.dead]
    if alive:
        connection.execute(
            "update phi.events e set status = 'charted', reason = null, hint = null, patient_id = u.p,"
            " settled_at = clock_timestamp(), source = u.s, source_id = u.i, type = u.t, version = u.v, subject = u.j,"
            " occurred_at = u.o from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],"
            " %s::text[], %s::timestamptz[]) as u(e, p, s, i, t, v, j, o) where e.event_id = u.e",
            tuple(
                list(column)
                for column in zip(
                    *(
                        (c.event_id, c.patient_id, c.event.source, c.event.source_id, c.event.type, c.event.version,
                         c.event.subject, c.event.occurred_at)
                        for c in alive
                    ), strict=True,
                )
            ),
        )  # fmt: skip
    _mark(connection, "dead", [(i, reason, MEND) for i, reason in decided.dead.items()])
    _mark(connection, "rejected", refused)


def _mark(connection, status: str, rows: list[tuple]) -> None:
    """Say why these events cannot be charted now. One that was charted before stays so, with what it said then."""
    if rows:
        connection.execute(
            "update phi.events e set status = case e.status when 'charted' then e.status else %s end, reason = u.r,"
            " hint = u.h, settled_at = clock_timestamp()"
            " from unnest(%s::uuid[], %s::text[], %s::text[]) as u(e, r, h) where e.event_id = u.e",
            (status, *(list(column) for column in zip(*rows, strict=True))),
        )


def _upsert(
    connection,
    table: str,
    key: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    known: Collection[str],
    keep: str = "",
) -> None:
    """Write rows by COPY: those whose first column is not among the `known` at once, the others by insert or update.

    The patients' lock makes sure that what was not known is still not there. `keep` is a clause that decides for one
    column. Once a transaction for each table: its staging is emptied at the commit.
    """
    names, again = ", ".join(columns), []
    with connection.cursor() as cursor:
        with cursor.copy(f"copy {table} ({names}) from stdin") as copy:
            for row in rows:
                if row[0] in known:
                    again.append(row)
                else:
                    copy.write_row(row)
        if not again:
            return
        staging = "incoming_" + table.split(".")[1]
        cursor.execute(
            f"create temp table if not exists {staging} on commit delete rows as select {names} from {table}"
            " with no data"
        )
        with cursor.copy(f"copy {staging} ({names}) from stdin") as copy:
            for row in again:
                copy.write_row(row)
        kept = keep.split(" = ")[0] if keep else None
        sets = [f"{c} = excluded.{c}" for c in columns if c not in key and c != kept] + ([keep] if keep else [])
        cursor.execute(
            f"insert into {table} as t ({names}) select {names} from {staging} order by {', '.join(key)}"
            f" on conflict ({', '.join(key)}) do update set {', '.join(sets)}"
        )


def _json(content: Any) -> str:
    return orjson.dumps(content).decode()
