"""The road's middle, batch by batch: claim, read, decide, write; a poison event is found and stands alone.

Not here: each step by itself (`claim`, `domain.charting`, `save`).
"""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from psycopg.errors import CardinalityViolation, DeadlockDetected

from ...domain.charting import Claimed, Read, decide, read
from ...domain.contract import Contract
from ...domain.difference import difference
from ...domain.events import Event, Refused, parse_event
from ...domain.failures import where
from ...domain.gates import GateFault
from ...domain.told import INTAKE
from ..balance_parts import Moved, part_key
from ..cipher import Cipher, KeyMissing
from ..documents import read_document
from ..ledger import MEND, event_id_of
from .before import read_before
from .claim import Scope, claim, claim_all_of, claim_unshown
from .known import read_known
from .meet import Met, meet
from .records import find_records
from .save import Charted, mark, save, settle

FINAL = ("conflict", "line_too_long", "compressed", "came_again", "not_by_this_door")
"""Reasons that no change of the contract can cure: the twin came first, not all bytes are here, or it came from
somebody who may not say it."""


class _Torn(Exception):
    """An event that changes who is who fails halfway: nothing of it may stay. Its argument says where it failed."""


class ChartFault(RuntimeError):
    """Our code fails on every event of a batch; says where, never on what."""


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
            mark(connection, "dead", [(event_id, reason, MEND) for event_id, reason in failed.items()])
        done.dead += len(failed)
    return rows


def _chart_apart(connection, contract, cipher, scope: Scope, after: int, done: Charted, failed: dict) -> list[tuple]:
    """A batch in one transaction; where it fails its halves, and theirs, until what fails is alone."""
    rows, now = [], Charted()
    try:
        with connection.transaction(), _uncollected():
            rows = claim(connection, scope, after)
            if rows:
                _chart_batch(connection, contract, cipher, rows, now, scope)
    except DeadlockDetected:
        # Two runs met the same people in another order; one of them was let through and this one looks again.
        return _chart_apart(connection, contract, cipher, scope, after, done, failed)
    except Exception as error:
        if not rows or not _may_be_an_events(error):
            raise
        ids = [row[0] for row in rows]
        if len(ids) == 1:
            failed[ids[0]] = str(error) if isinstance(error, _Torn) else where(error)
            return rows
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            part = replace(scope, days=(), event_ids=tuple(half))
            _chart_apart(connection, contract, cipher, part, 0, done, failed)
    else:
        done.add(now)
    return rows


def _may_be_an_events(error: Exception) -> bool:
    """Whether one event alone may be why: not so a missing key, a gate that fits nobody, or a database out of shape."""
    if isinstance(error, psycopg.Error):
        # The third: what was worked out of one event names the same row twice.
        return isinstance(error, (psycopg.DataError, psycopg.IntegrityError, CardinalityViolation))
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


def _chart_batch(
    connection, contract: Contract, cipher: Cipher, rows: list[tuple], done: Charted, scope: Scope
) -> None:
    claimed, refused = _open(connection, contract, cipher, rows)
    unknown, new = find_records(connection, cipher, claimed)
    claimed = _without(claimed, {event_id for event_id, _, _ in unknown})
    said = read(contract, claimed)
    met = meet(connection, contract, _without(claimed, said.dead), said, new, may_leave=scope.is_of_pending)
    if met.left:  # they wait on, and the next batch takes them
        later = {c.event_id for c in claimed if c.record_id in met.left}
        claimed = _without(claimed, later)
        said.forget(later)
    again: list[Claimed] = []
    if met.moved:
        # Whoever is another patient than before is looked at whole: each value and write goes where its event belongs.
        records = {record for record, patient in met.patient_of.items() if {record, patient} & met.moved}
        more = claim_all_of(connection, records, [row[0] for row in rows])
        again, _ = _open(connection, contract, cipher, more)
        find_records(connection, cipher, again)
        said.add(read(contract, again))
        rows = rows + more
    if more := claim_unshown(connection, _who_submitted(said, met), [row[0] for row in rows]):
        # Check-ins that came before the intake: with the first that the EHR hears of the patient it hears those too.
        before, _ = _open(connection, contract, cipher, more)
        find_records(connection, cipher, before)
        said.add(read(contract, before))
        again, rows = again + before, rows + more
    # What was charted before and fails now keeps what it said then, in the chart too.
    charted = {str(row[0]) for row in rows if row[5] == "charted"}
    dead = dict(said.dead)
    while True:
        alive = _without(claimed + again, dead)
        known = read_known(connection, contract, cipher, alive, met)
        decided = decide(contract, alive, said, known)
        if not (failed := decided.dead.keys() & charted - dead.keys()):
            break
        dead |= {event_id: decided.dead[event_id] for event_id in failed}
    for c in alive:
        if c.event_id in decided.dead and met.patient_of[c.record_id] in met.moved | met.again:
            raise _Torn(decided.dead[c.event_id])
    decided.dead |= {event_id: why for event_id, why in dead.items() if event_id not in {c.event_id for c in again}}
    if scope.tells_changes:
        _tell_changes(connection, decided, {str(row[0]): row[5] for row in rows}, alive, refused + unknown, met, done)
    save(connection, contract, cipher, decided, known, done)
    settle(connection, alive, decided, refused + unknown)
    done.events += len(_without(claimed, decided.dead))
    done.rejected += len(refused) + len(unknown)
    done.dead += len(decided.dead)
    done.merged += len(met.moved)
    for name in (name for c in claimed for name in said.problems.get(c.event_id, ())):
        done.problems[name] = done.problems.get(name, 0) + 1


def _who_submitted(said: Read, met: Met) -> dict[str, str]:
    """The records of patients who submitted an intake in this batch, each with its patient, but the new ones."""
    fresh = {met.patient_of[r.record_id] for r in said.reports.values() if r.is_submitted and r.source == INTAKE}
    return {record: patient for record, patient in met.patient_of.items() if patient in fresh and record not in met.new}


def _tell_changes(connection, decided, statuses: dict[str, str], alive, refused: list[tuple], met, done: Charted):
    """Count what is another than before, while it still stands."""
    reports = [report.event_id for outcome in decided.patients for report in outcome.reports]
    patients = [o.chart.patient_id for o in decided.patients] + [r.patient_id for r in decided.retired]
    found = difference(read_before(connection, reports, patients), decided, len(met.moved))
    become = {c.event_id: "charted" for c in alive} | dict.fromkeys(decided.dead, "dead")
    become |= {str(event_id): "rejected" for event_id, _, _ in refused}
    for event_id, status in become.items():
        # What was no event before, but a line, has another id now; and what was charted stays so.
        was = statuses.get(event_id, "line")
        if was not in (status, "charted"):
            found[f"events/{was} to {status}"] += 1
    for name, count in found.items():
        done.changes[name] = done.changes.get(name, 0) + count


def _without(claimed: Iterable[Claimed], event_ids: Collection[str]) -> list[Claimed]:
    return [c for c in claimed if c.event_id not in event_ids]


def _open(connection, contract: Contract, cipher: Cipher, rows: list[tuple]) -> tuple[list[Claimed], list[tuple]]:
    """The events of these rows as they are understood now, and those that are refused: id, reason, hint."""
    claimed, refused, moved = [], [], Moved()
    for event_id, _, kid, body, received_at, status, reason in rows:
        if reason in FINAL:
            continue
        try:
            content = cipher.open(kid, bytes(body), f"events|{event_id}")
            document = read_document(content, was_accepted=status in ("waiting", "charted"))
            event, told = parse_event(document, contract)
            # A line that was no event when it was read, and is one now, gets the id of that event.
            wanted = event_id_of(event) if status in ("rejected", "dead") else event_id
            if wanted != event_id and not _rename(connection, cipher, event_id, content, wanted, event, moved):
                refused.append((event_id, "came_again", "the same event came again since and was accepted then"))
                continue
            claimed.append(Claimed(str(wanted), received_at, event, told))
        except Refused as refusal:
            refused.append((event_id, refusal.reason, refusal.hint))
    moved.save(connection)
    return claimed, refused


def _rename(
    connection, cipher: Cipher, event_id: uuid.UUID, content: bytes, wanted: uuid.UUID, event: Event, moved: Moved
) -> bool:
    """Give a line the id, source and type of the event that it is; False if another row has it."""
    kid, body = cipher.seal(content, f"events|{wanted}")
    done = connection.execute(
        "update phi.events e set event_id = %s, kid = %s, body = %s, source = %s, type = %s from phi.events was"
        " where e.event_id = %s and was.event_id = e.event_id"
        " and not exists (select from phi.events where event_id = %s)"
        " returning e.drop_id, e.received_on, was.source, was.type",
        (wanted, kid, body, event.source, event.type, event_id, wanted),
    ).fetchone()
    if done:  # the plans that chose the line chose the event: its journey tells of them
        connection.execute("update ops.replay_plan_events set event_id = %s where event_id = %s", (wanted, event_id))
        drop_id, day, source, kind = done
        moved.note(drop_id, part_key(day, source, kind), part_key(day, event.source, event.type))
    return bool(done)
