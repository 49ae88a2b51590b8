"""The event ledger: drops become rows of phi.events, each exactly once, with their bytes, a verdict and a place.

Here: reading a drop in chunks that commit with the place reached, duplicates, conflicts, quarantine. Not here: what
a drop holds (`documents`), what an event means (`domain`), and what becomes of it afterwards (`charts`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, BinaryIO

import psycopg
from psycopg.types.json import Jsonb

from ..domain.contract import Contract
from ..domain.events import Event, Refused, parse_event
from ..domain.events.door import check_drop
from ..domain.failures import where
from .balance_parts import ADDED, part_key
from .cipher import Cipher, KeyMissing, Seal, Tampered
from .copying import copy_rows
from .documents import chunks, lines_of, read_document, say_the_same
from .landing import DROPS as NAMESPACE
from .landing import FileState, Folder, LandingFault, Line, Unreadable, digest

MEND = "our code failed on it: mend the code, then replay"
MAX_DROPS = 10_000
"""Drops that one run looks at: so many that some which cannot be read never hide those behind them."""
COLUMNS = (
    "event_id", "drop_id", "line", "source", "source_id", "type", "version", "subject", "occurred_at", "received_at",
    "received_on", "sha256", "kid", "body", "status", "reason", "hint",
)  # fmt: skip


@dataclass
class Received:
    """What one reading of the landing zone brought."""

    drops: int = 0
    refused_drops: int = 0
    lines: int = 0
    events: int = 0
    rejected: int = 0
    duplicates: int = 0
    left_behind: int = 0
    """Drops whose producer was killed while it wrote them, a day ago or longer: removed."""
    reasons: dict[str, int] = field(default_factory=dict)
    progress: Callable[[Received], None] = field(default=lambda _: None, repr=False)
    named: Collection[str] | None = field(default=(), repr=False)
    """Sources that a drop may speak for; None: it is no drop, but of our own making."""


def take(
    connection: psycopg.Connection,
    landing: Folder,
    contract: Contract,
    cipher: Cipher,
    progress: Callable[[Received], None] = lambda _: None,
    named: Collection[str] = (),
) -> Received:
    """Bring every ready drop into the ledger. Safe to kill and to run twice at any point.

    The connection must be in autocommit mode: each chunk is a transaction of its own. `progress` hears the counts
    after each. `named`: whose word drops may bring, see `domain.events.door`.
    """
    received, failed = Received(left_behind=landing.clear(), progress=progress, named=named), []
    for name in landing.ready(limit=MAX_DROPS):
        try:
            stream = landing.open(name)
        except FileNotFoundError:
            continue  # another run settled it between our look and our open
        except Unreadable as refusal:
            try:
                _refuse(connection, landing, name, refusal, received)
            except OSError as error:
                failed.append(error.errno or 0)
            continue
        except OSError as error:
            failed.append(error.errno or 0)
            continue
        with stream:
            try:
                state = landing.state(stream)
                sha256, size = digest(stream)
                drop_id = uuid.uuid5(NAMESPACE, sha256.hex())
                with _alone(connection, drop_id) as is_ours:
                    if is_ours and landing.still_has(name, state):
                        _take_drop(connection, contract, cipher, stream, drop_id, sha256, size, state, received)
                        landing.put_away(name, drop_id, stream, state)
                        # A later file may have all that this one was known by.
                        connection.execute("update ops.drops set counted_file = null where drop_id = %s", (drop_id,))
            except OSError as error:
                failed.append(error.errno or 0)  # this drop waits where it is, the others go on
    if failed:
        raise LandingFault(
            f"{len(failed)} drops could not be read or put away (system error {failed[0]}): they are still in the"
            " landing zone; check its disk and its rights. All others are in the ledger"
        )
    return received


def append(connection: psycopg.Connection, contract: Contract, cipher: Cipher, documents: Iterable[bytes]) -> int:
    """Bring events of our own making (changes noticed elsewhere, people's decisions) into the ledger; how many are new.

    All in one transaction, the caller's where there is one. They count as one drop, so that the balance holds.
    """
    chunk = [Line(number, content, False, number) for number, content in enumerate(documents, 1)]
    if not chunk:
        return 0
    received = Received(named=None)
    sha256 = hashlib.sha256(b"\n".join(line.content for line in chunk)).digest()
    with connection.transaction():
        # An id of its own each time: what came before is counted as duplicates, line by line.
        drop_id = uuid.uuid4()
        connection.execute(
            "insert into ops.drops (drop_id, sha256, size_bytes, received_on, received_at, settled_at, state,"
            " times_delivered) values (%s, %s, %s, (now() at time zone 'utc')::date, now(), now(), 'settled', 1)",
            (drop_id, sha256, sum(len(line.content) for line in chunk)),
        )
        _write_chunk(connection, contract, cipher, drop_id, chunk, received)
    return received.events


def _refuse(connection, landing: Folder, name: str, refusal: Unreadable, received: Received) -> None:
    # Nothing was read, so there is no content to know it by; what cannot be hidden either is counted once.
    drop_id = uuid.uuid5(NAMESPACE, f"refused {refusal.reason} {landing.identity(name)}")
    with connection.transaction():
        connection.execute(
            "insert into ops.drops (drop_id, sha256, size_bytes, received_on, received_at, settled_at, state, reason,"
            " hint, times_delivered) values (%s, '', 0, (now() at time zone 'utc')::date, now(), now(), 'refused', %s,"
            " %s, 1) on conflict (drop_id) do nothing",
            (drop_id, refusal.reason, refusal.hint),
        )
    landing.put_away(name, drop_id, None)
    received.refused_drops += 1
    received.reasons[refusal.reason] = received.reasons.get(refusal.reason, 0) + 1


@contextmanager
def _alone(connection, drop_id: uuid.UUID) -> Iterator[bool]:
    """Whether this session is the only reader of this content now; another reader is left to it, not waited for."""
    lock = int.from_bytes(drop_id.bytes[:8], "big", signed=True)
    (is_ours,) = connection.execute("select pg_try_advisory_lock(%s)", (lock,)).fetchone()
    try:
        yield is_ours
    finally:
        if is_ours:
            connection.execute("select pg_advisory_unlock(%s)", (lock,))


def _take_drop(
    connection,
    contract: Contract,
    cipher: Cipher,
    stream: BinaryIO,
    drop_id: uuid.UUID,
    sha256: bytes,
    size: int,
    file_state: FileState,
    received: Received,
) -> None:
    this_file = " ".join(map(str, file_state))
    state, offset, lines_read, counted_file = connection.execute(
        "insert into ops.drops (drop_id, sha256, size_bytes, received_on, received_at, state) values"
        " (%s, %s, %s, (now() at time zone 'utc')::date, now(), 'reading')"
        " on conflict (drop_id) do update set size_bytes = excluded.size_bytes returning state, read_bytes, lines,"
        " counted_file",
        (drop_id, sha256, size),
    ).fetchone()
    received.drops += 1
    if state == "reading":
        is_read = lines_read and offset >= size  # to its end, by a run that died before it said so
        for chunk in () if is_read else chunks(lines_of(stream, size, offset)):
            _write_apart(connection, contract, cipher, drop_id, chunk, received)
        connection.execute(
            "update ops.drops set state = 'settled', settled_at = now(), times_delivered = 1, counted_file = %s"
            " where drop_id = %s",
            (this_file, drop_id),
        )
    elif counted_file != this_file:  # else a run died before it put this very file away: it came once
        again = connection.execute(
            "update ops.drops set lines = lines + lines / times_delivered, times_delivered = times_delivered + 1,"
            " duplicates = duplicates + lines / times_delivered, counted_file = %s where drop_id = %s"
            " returning lines / times_delivered",
            (this_file, drop_id),
        ).fetchone()
        received.lines += again[0]
        received.duplicates += again[0]


def _write_apart(connection, contract, cipher, drop_id, chunk: list[Line], received: Received) -> None:
    """A chunk in one transaction; where Postgres refuses a value its halves, until the poison line is dead alone."""
    try:
        _write_chunk(connection, contract, cipher, drop_id, chunk, received)
    except psycopg.DataError as error:
        if len(chunk) == 1:
            _write_chunk(connection, contract, cipher, drop_id, chunk, received, poison=where(error))
        else:
            middle = len(chunk) // 2
            for half in (chunk[:middle], chunk[middle:]):
                _write_apart(connection, contract, cipher, drop_id, half, received)


def _write_chunk(
    connection,
    contract,
    cipher,
    drop_id,
    chunk: list[Line],
    received: Received,
    poison: str | None = None,
) -> None:
    """One transaction: the events of these lines, and how far the drop is read. `poison`: why its line is dead."""
    with connection.transaction():
        now, seal = connection.execute("select now()").fetchone()[0], cipher.seal_in_transaction()
        known: dict[uuid.UUID, tuple] = {}
        rows: dict[uuid.UUID, tuple] = {}
        again: list[tuple] = []
        for line in chunk:
            row = _row(contract, seal, drop_id, line, now, poison, received.named)
            event_id = row[0]
            if event_id in rows:
                again.append(row)
            else:
                rows[event_id], known[event_id] = row, row[11:14]
        fresh = _insert(connection, rows.values())
        stale = [event_id for event_id in rows if event_id not in fresh]
        if stale:
            # Most are the same bytes once more: then the first says what this row says, and is not fetched.
            found = connection.execute(
                "select e.event_id, e.sha256, e.kid, e.body from unnest(%s::uuid[], %s::bytea[]) as u(id, sha256)"
                " join phi.events e on e.event_id = u.id and e.sha256 <> u.sha256",
                (stale, [rows[event_id][11] for event_id in stale]),
            )
            known |= {event_id: first for event_id, *first in found}
        again += [rows[event_id] for event_id in stale]
        conflicts = {}
        duplicates = 0
        for row in again:
            if _is_said_again(cipher, row, *known[row[0]]):
                duplicates += 1
            else:
                conflict = _conflict(cipher, row)
                duplicates += conflict[0] in conflicts
                conflicts[conflict[0]] = conflict
        added = _insert(connection, conflicts.values())
        duplicates += len(conflicts) - len(added)
        reasons: dict[str, int] = {}
        for event_id in fresh:
            if (reason := rows[event_id][15]) is not None:
                reasons[reason] = reasons.get(reason, 0) + 1
        if added:
            reasons["conflict"] = len(added)
        rejected = sum(reasons.values())
        parts = _parts([rows[i] for i in fresh] + [row for i, row in conflicts.items() if i in added])
        events = len(fresh) + len(added) - rejected
        connection.execute(
            "update ops.drops set read_bytes = %s, lines = lines + %s, events = events + %s, rejected = rejected + %s,"
            f" duplicates = duplicates + %s, parts = {ADDED} where drop_id = %s",
            (chunk[-1].end, len(chunk), events, rejected, duplicates, Jsonb(parts), drop_id),
        )
    received.lines += len(chunk)
    received.events += events
    received.rejected += rejected
    received.duplicates += duplicates
    for reason, count in reasons.items():
        received.reasons[reason] = received.reasons.get(reason, 0) + count
    received.progress(received)


def _row(
    contract: Contract,
    seal: Seal,
    drop_id,
    line: Line,
    now: datetime,
    poison: str | None,
    named: Collection[str] | None,
) -> tuple:
    content, sha256 = line.content, hashlib.sha256(line.content).digest()
    told: tuple[Any, ...]
    try:
        if poison is not None:
            raise _Poison
        event = read_event(contract, content, line.is_too_long)
        if named is not None:
            check_drop(contract, event, named)
        event_id = event_id_of(event)
        told = (
            event.source, event.source_id, event.type, event.version, event.subject, event.occurred_at,
        )  # fmt: skip
        status, reason, hint = "waiting", None, None
    except Refused as refusal:
        event_id = uuid.uuid5(NAMESPACE, "line " + sha256.hex())
        told, status, reason, hint = (None,) * 6, "rejected", refusal.reason, refusal.hint
    except Exception as error:  # noqa: BLE001 - one poison line must not hold a drop; it is named dead, not hidden
        event_id = uuid.uuid5(NAMESPACE, "line " + sha256.hex())
        told, status, reason, hint = (None,) * 6, "dead", poison or where(error), MEND
    kid, body = seal(content, f"events|{event_id}")
    return (event_id, drop_id, line.number, *told, now, now.date(), sha256, kid, body, status, reason, hint)


def event_id_of(event: Event) -> uuid.UUID:
    """An event is known by who sent it and what they call it, so that it is the same however often it comes."""
    return uuid.uuid5(NAMESPACE, f"{event.source}\x1f{event.source_id}".encode(errors="replace").decode())


def read_event(contract: Contract, content: bytes, is_too_long: bool = False):
    """The envelope of a line's event, or Refused with the reason of its quarantine."""
    return parse_event(read_document(content, is_too_long), contract)[0]


class _Poison(Exception):
    """Postgres refused a value of this line."""


def _is_said_again(cipher: Cipher, row: tuple, sha256: bytes, kid: str, body: bytes) -> bool:
    """Whether an event says what the first of its source and id said, in the same bytes or written otherwise."""
    if bytes(sha256) == row[11]:
        return True
    place = f"events|{row[0]}"
    try:
        first = cipher.open(kid, bytes(body), place)
    except (KeyMissing, Tampered):
        return False  # kept as a conflict: what cannot be read cannot be found the same
    return say_the_same(first, cipher.open(row[12], row[13], place))


def _parts(rows: Iterable[tuple]) -> dict[str, int]:
    """How many of these rows of events are of each part of what was received."""
    found: dict[str, int] = Counter()
    for part, number in Counter(map(itemgetter(*map(COLUMNS.index, ("received_on", "source", "type"))), rows)).items():
        found[part_key(*part)] += number
    return found


def _conflict(cipher: Cipher, row: tuple) -> tuple:
    """The same source and id with other content: kept beside the first, rejected, never overwriting it."""
    values = dict(zip(COLUMNS, row, strict=True))
    event_id = uuid.uuid5(NAMESPACE, f"conflict {values['event_id']} {values['sha256'].hex()}")
    content = cipher.open(values["kid"], values["body"], f"events|{values['event_id']}")
    kid, body = cipher.seal(content, f"events|{event_id}")
    values |= {
        "event_id": event_id, "kid": kid, "body": body, "status": "rejected", "reason": "conflict",
        "hint": "an event of this source and id came before with other content: send a correction under a new id",
    }  # fmt: skip
    return tuple(values[column] for column in COLUMNS)


def _insert(connection, rows: Iterable[tuple]) -> set[uuid.UUID]:
    """Insert what is not there yet; the ids that were new."""
    rows = list(rows)
    if not rows:
        return set()
    columns = ", ".join(COLUMNS)
    connection.execute(
        "create temp table if not exists incoming_events on commit delete rows as"
        f" select {columns} from phi.events with no data"
    )
    copy_rows(connection, "incoming_events", COLUMNS, rows)
    # In order of id, so that two transactions never wait for each other in a circle.
    added = connection.execute(
        f"insert into phi.events ({columns}) select {columns} from incoming_events order by event_id"
        " on conflict (event_id) do nothing returning event_id"
    )
    fresh = {event_id for (event_id,) in added}
    connection.execute("truncate incoming_events")
    return fresh
