"""What changed in the CRM, noticed by asking: a cursor that loses nothing, and our own writes known as ours.

The cursor is the instant of the last change read, by the CRM's own clock; each look begins a while before it, since a
CRM's search may show a change late, and what was seen in that while is remembered. Events and cursor are one
transaction: killed anywhere, a look is repeated and the ledger drops what it has. Not here: HTTP (`contacts`), what a
contact means (`domain.changes.crm`), the cursor's row and when to look (`cursor`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import Connection

from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.crm import (
    CHANGE,
    COPY,
    DELETED,
    KEY,
    Contact,
    event_of,
    heard_properties,
    is_known,
    is_our_write,
)
from glp1_pipeline.domain.events import as_record

from .contacts import Crm
from .cursor import ARCHIVED, CHANGED, SYSTEM, Append, is_sweep_due, move_cursor, read_cursor, row_of


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


def notice(connection: Connection[Any], crm: Crm, contract: Contract, append: Append, target: str = SYSTEM) -> Noticed:
    """Bring into the ledger what people changed in the CRM since the last look.

    `append` puts events into the ledger in the connection's transaction. One process looks at a time.
    """
    noticed = Noticed()
    (is_ours,) = row_of(connection, "select pg_try_advisory_lock(hashtextextended('crm changes', 0))")
    if not is_ours:
        noticed.is_left_to_another = True
        return noticed
    try:
        _notice_changed(connection, crm, contract, append, target, noticed)
        if is_sweep_due(connection):
            _notice_archived(connection, crm, contract, append, target, noticed)
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended('crm changes', 0))")
    return noticed


def has_news(connection: Connection[Any], crm: Crm, contract: Contract, target: str = SYSTEM) -> bool:
    """Whether a look would bring anything. Where it would not, the cursor moves on: our own writes are passed over."""
    found = Noticed()

    def stop(_: list[bytes]) -> None:
        raise _News

    (is_ours,) = row_of(connection, "select pg_try_advisory_lock(hashtextextended('crm changes', 0))")
    if not is_ours:
        return False
    try:
        _notice_changed(connection, crm, contract, stop, target, found)
        if is_sweep_due(connection):
            _notice_archived(connection, crm, contract, stop, target, found)
    except _News:
        return True
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended('crm changes', 0))")
    return False


class _News(Exception):
    """There is an event to append."""


def _notice_changed(
    connection: Connection[Any], crm: Crm, contract: Contract, append: Append, target: str, noticed: Noticed
) -> None:
    cursor = read_cursor(connection, CHANGED)
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
        move_cursor(connection, cursor, news, append)
    move_cursor(connection, cursor, [], append, is_over=True)


def _notice_archived(
    connection: Connection[Any], crm: Crm, contract: Contract, append: Append, target: str, noticed: Noticed
) -> None:
    """Contacts that were deleted. Those deleted before we ever looked are news only where they carry our key."""
    gone: list[Contact] = []

    def append_and_ask(news: list[bytes]) -> None:
        append(news)
        _ask_about(connection, target, gone)

    cursor = read_cursor(connection, ARCHIVED)
    is_first, start = cursor.since is None, cursor.start()
    for page in crm.archived({KEY}):
        gone = [there for there in page if there.changed_at >= start and not cursor.has(there)]
        news = []
        for there in gone:
            cursor.note(there)
            if not is_first or KEY in there.properties:
                key = as_record(there.properties.get(KEY))
                news.append(orjson.dumps(event_of(contract, there, crm.settings.portal, key)))
        noticed.contacts += len(gone)
        noticed.changes += len(news)
        noticed.deleted += len(news)
        move_cursor(connection, cursor, news, append_and_ask)
    move_cursor(connection, cursor, [], append, is_over=True)


def _ask_about(connection: Connection[Any], target: str, gone: Iterable[Contact]) -> None:
    """A contact that we told and somebody deleted is in conflict from now on, and not from our next change: until then
    `glp1 reconcile` would miss it, and nobody be asked."""
    places = [(key, there.contact_id) for there in gone if (key := as_record(there.properties.get(KEY)))]
    keys, ids = [key for key, _ in places], [contact_id for _, contact_id in places]
    connection.execute(  # whoever holds the lane's row may change its copy
        "select 1 from ops.lanes where target = %s and patient_id = any(%s::uuid[]) order by patient_id for update",
        (target, keys),
    )
    connection.execute(
        "update ops.copies c set conflicts = c.conflicts"
        "  || jsonb_build_object(%(copy)s::text, jsonb_build_object('reason', %(reason)s::text, 'since', now()))"
        " from unnest(%(keys)s::uuid[], %(ids)s::text[]) as u(p, id) where c.target = %(target)s and c.patient_id = u.p"
        " and c.remote -> %(copy)s ->> 0 = u.id and c.conflicts -> %(copy)s ->> 'reason' is distinct from %(reason)s",
        {"copy": COPY, "reason": DELETED, "keys": keys, "ids": ids, "target": target},
    )


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
    keys = sorted({key for there in contacts if (key := as_record(there.properties.get(KEY)))})
    if not keys:
        return {}
    rows = connection.execute(
        "select c.patient_id::text, c.remote -> %s ->> 0, c.remote -> %s ->> 1, (select min(w.n) from ops.writes w"
        " where w.target = c.target and w.patient_id = c.patient_id and w.status = 'in_doubt')"
        " from ops.copies c where c.target = %s and c.patient_id = any(%s::uuid[])",
        (COPY, COPY, target, keys),
    ).fetchall()
    return {row[0]: _Place(*row) for row in rows}
