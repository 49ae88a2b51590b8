"""What changed in the CRM, noticed by asking: a cursor that loses nothing, and our own writes known as ours.

The cursor is the instant of the last change read, by the CRM's own clock; each look begins a while before it, since a
CRM's search may show a change late, and what was seen in that while is remembered. Events and cursor are one
transaction: killed anywhere, a look is repeated and the ledger drops what it has. Not here: HTTP (`contacts`), what a
contact means (`domain.changes.crm`), when to look (`defs`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import orjson
from psycopg import Connection
from psycopg.types.json import Jsonb

from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.crm import CHANGE, COPY, KEY, Contact, event_of, heard_properties, is_known, is_our_write

from .contacts import Crm

SYSTEM, CHANGED, ARCHIVED = "crm", "contact", "archived"
HINT, DELETION_HINT = "hint", "deletion_hint"
OVERLAP = timedelta(minutes=2)
"""Read again at each look: longer than a CRM's search is behind its contacts."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
LOOK_EVERY_SECONDS = 15.0
SWEEP_EVERY_SECONDS = 600.0
"""Deleted contacts are listed whole, so less often; a webhook makes it at once."""
STEP_SECONDS = 0.2
_DUE: LiteralString = (
    "select coalesce((select coalesce(c.polled_at < now() - make_interval(secs => %(every)s), true)"
    " or c.polled_at <= coalesce((select max(h.polled_at) from ops.poll_cursors h where h.system = c.system"
    " and h.kind = any(%(hints)s)), '-infinity')"
    " from ops.poll_cursors c where c.system = %(system)s and c.kind = %(kind)s), true)"
)
Append = Callable[[list[bytes]], Any]


@dataclass
class Noticed:
    """What one look brought, in counts."""

    contacts: int = 0
    changes: int = 0
    """Events appended: contacts that somebody in the CRM changed or deleted."""
    deleted: int = 0
    ours: int = 0
    """Changes that were our own writes come back."""
    is_left_to_another: bool = False


@dataclass
class _Cursor:
    kind: str
    since: datetime | None
    seen: dict[str, list[Any]]
    """Contact -> its state and when it was changed (milliseconds), within the stretch that is read again."""
    began_at: datetime
    news: list[bytes] = field(default_factory=list)

    def has(self, there: Contact) -> bool:
        return self.seen.get(there.contact_id, [None])[0] == there.stamp

    def note(self, there: Contact, now: Contact | None = None) -> None:
        """It was read; `now` if it changed again since the search showed it. The cursor goes by what the search
        showed, which is in order: by anything later it would pass over what is still to come."""
        state = now or there
        self.seen[there.contact_id] = [state.stamp, round(state.changed_at.timestamp() * 1000)]
        self.since = max(self.since or BEGINNING, there.changed_at)

    def start(self) -> datetime:
        return BEGINNING if self.since is None else self.since - OVERLAP


def notice(connection: Connection[Any], crm: Crm, contract: Contract, append: Append, target: str = SYSTEM) -> Noticed:
    """Bring into the ledger what people changed in the CRM since the last look.

    `append` puts events into the ledger in the connection's transaction. One process looks at a time.
    """
    noticed = Noticed()
    (is_ours,) = _row(connection, "select pg_try_advisory_lock(hashtextextended('crm changes', 0))")
    if not is_ours:
        noticed.is_left_to_another = True
        return noticed
    try:
        _notice_changed(connection, crm, contract, append, target, noticed)
        if _is_sweep_due(connection):
            _notice_archived(connection, crm, contract, append, noticed)
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended('crm changes', 0))")
    return noticed


def has_news(connection: Connection[Any], crm: Crm, contract: Contract, target: str = SYSTEM) -> bool:
    """Whether a look would bring anything. Where it would not, the cursor moves on: our own writes are passed over."""
    found = Noticed()

    def stop(_: list[bytes]) -> None:
        raise _News

    (is_ours,) = _row(connection, "select pg_try_advisory_lock(hashtextextended('crm changes', 0))")
    if not is_ours:
        return False
    try:
        _notice_changed(connection, crm, contract, stop, target, found)
        if _is_sweep_due(connection):
            _notice_archived(connection, crm, contract, stop, found)
    except _News:
        return True
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended('crm changes', 0))")
    return False


class _News(Exception):
    """There is an event to append."""


def wait_for_due(connection: Connection[Any], timeout: float, every: float = LOOK_EVERY_SECONDS) -> bool:
    """Wait until it is time to look again or a webhook says so, at most `timeout` seconds."""
    ends = time.monotonic() + timeout
    while True:
        with connection.transaction():  # one each time: `now()` stands still within a transaction
            (is_due,) = _row(
                connection,
                _DUE,
                {"every": every, "system": SYSTEM, "kind": CHANGED, "hints": [HINT, DELETION_HINT]},
            )
        if is_due:
            return True
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(STEP_SECONDS, left))


def _notice_changed(
    connection: Connection[Any], crm: Crm, contract: Contract, append: Append, target: str, noticed: Noticed
) -> None:
    cursor = _read(connection, CHANGED)
    names = {*heard_properties(contract), KEY, CHANGE}
    for page in crm.changed_since(cursor.start(), names):
        fresh = [there for there in page if not cursor.has(there)]
        known = _known(connection, target, fresh)
        news: list[bytes] = []
        for there in fresh:
            place = known.get(there.properties.get(KEY, ""))
            if place is not None and place.is_ours(there):
                noticed.ours += 1
                cursor.note(there)
                continue
            now = crm.get(there.contact_id, names, with_history=True)
            if now is None:
                continue  # deleted since: the sweep says so
            record_id = place.patient_id if place is not None and place.is_of(now) else None
            if event := event_of(contract, now, crm.settings.portal, record_id):
                news.append(orjson.dumps(event))
            cursor.note(there, now)
        noticed.contacts += len(fresh)
        noticed.changes += len(news)
        _move(connection, cursor, news, append)
    _move(connection, cursor, [], append, is_over=True)


def _notice_archived(
    connection: Connection[Any], crm: Crm, contract: Contract, append: Append, noticed: Noticed
) -> None:
    """Contacts that were deleted. Those deleted before we ever looked are news only where they carry our key."""
    cursor = _read(connection, ARCHIVED)
    is_first, start = cursor.since is None, cursor.start()
    for page in crm.archived({KEY}):
        gone = [there for there in page if there.changed_at >= start and not cursor.has(there)]
        news = []
        for there in gone:
            cursor.note(there)
            if not is_first or KEY in there.properties:
                key = _uuid(there.properties.get(KEY, ""))
                news.append(orjson.dumps(event_of(contract, there, crm.settings.portal, key)))
        noticed.contacts += len(gone)
        noticed.changes += len(news)
        noticed.deleted += len(news)
        _move(connection, cursor, news, append)
    _move(connection, cursor, [], append, is_over=True)


# ---- our own writes


@dataclass(frozen=True)
class _Place:
    """Where a patient's contact is, as far as we know, and the write of theirs that is on its way."""

    patient_id: str
    contact_id: str | None
    stamp: str | None
    n_in_doubt: int | None

    def is_of(self, there: Contact) -> bool:
        return self.contact_id in (None, there.contact_id)

    def is_ours(self, there: Contact) -> bool:
        """Whether this state is one that we made, or saw and told the ledger before we wrote."""
        if not self.is_of(there):
            return False
        if self.stamp is not None and is_known(there.stamp, self.stamp):
            return True
        return self.n_in_doubt is not None and is_our_write(there, self.stamp, self.n_in_doubt)


def _known(connection: Connection[Any], target: str, contacts: Iterable[Contact]) -> dict[str, _Place]:
    keys = sorted({key for there in contacts if (key := _uuid(there.properties.get(KEY, "")))})
    if not keys:
        return {}
    rows = connection.execute(
        "select c.patient_id::text, c.remote -> %s ->> 0, c.remote -> %s ->> 1, (select min(w.n) from ops.writes w"
        " where w.target = c.target and w.patient_id = c.patient_id and w.status = 'in_doubt')"
        " from ops.copies c where c.target = %s and c.patient_id = any(%s::uuid[])",
        (COPY, COPY, target, keys),
    ).fetchall()
    return {row[0]: _Place(*row) for row in rows}


def _uuid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


# ---- the cursor


def _read(connection: Connection[Any], kind: str) -> _Cursor:
    row = connection.execute(
        "select since, seen from ops.poll_cursors where system = %s and kind = %s", (SYSTEM, kind)
    ).fetchone()
    (now,) = _row(connection, "select clock_timestamp()")
    return _Cursor(kind, row[0] if row else None, dict(row[1]) if row else {}, now)


def _move(
    connection: Connection[Any], cursor: _Cursor, news: list[bytes], append: Append, is_over: bool = False
) -> None:
    """The events and the cursor behind them, in one transaction. `is_over`: all was read that there was."""
    if cursor.since is not None:
        start = round(cursor.start().timestamp() * 1000)
        cursor.seen = {contact_id: state for contact_id, state in cursor.seen.items() if state[1] >= start}
    with connection.transaction():
        if news:
            append(news)
        connection.execute(
            "insert into ops.poll_cursors as c (system, kind, since, seen, polled_at, changes)"
            " values (%(system)s, %(kind)s, %(since)s, %(seen)s, %(at)s, %(changes)s)"
            " on conflict (system, kind) do update set since = excluded.since, seen = excluded.seen,"
            " polled_at = coalesce(excluded.polled_at, c.polled_at), changes = c.changes + excluded.changes",
            {
                "system": SYSTEM,
                "kind": cursor.kind,
                "since": cursor.since,
                "seen": Jsonb(cursor.seen),
                # When the look began: a webhook that came while we read asks for another.
                "at": cursor.began_at if is_over else None,
                "changes": len(news),
            },
        )


def _is_sweep_due(connection: Connection[Any]) -> bool:
    (is_due,) = _row(
        connection,
        _DUE,
        {"every": SWEEP_EVERY_SECONDS, "system": SYSTEM, "kind": ARCHIVED, "hints": [DELETION_HINT]},
    )
    return is_due


def _row(
    connection: Connection[Any], statement: LiteralString, values: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row
