"""The crosswalk: which record an event belongs to, by the identifiers that systems gave.

Here: exact identifiers alone. Not here: who may be the same person by what they say of themselves (`likely`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.charting import Claimed
from ...domain.crosswalk import ACCOUNT
from ...domain.events import Change, Decision
from ..cipher import Cipher

UNKNOWN_RECORD = (
    "unknown_record",
    "no record of ours has this id (yet): `glp1 match list` shows those that may be joined",
)


def find_records(connection, cipher: Cipher, claimed: Sequence[Claimed]) -> tuple[list[tuple[str, str, str]], set[str]]:
    """Give each event the record it belongs to, learning identifiers. The refused, each with id, reason and hint; and
    the new records: nobody told of them before, so there is nothing of them to be looked up.

    An identifier that is known is never given to another record: where a change names two, they are one person.
    """
    refused = _find_named(connection, cipher, claimed)
    gone = {event_id for event_id, _, _ in refused}
    heard = {c.record_id for c in claimed} | {
        r for c in claimed if isinstance(c.content, Decision) for r in c.content.records
    }
    learned: dict[tuple[str, str], tuple[str, str]] = {}
    own: dict[str, tuple[str, str]] = {}
    for c in claimed:
        if c.event_id in gone or isinstance(c.content, Decision):
            continue
        own[c.event_id] = _identifier(c)
        account = _account(c)
        record_id = c.record_id or str(cipher.ring.patient_id(*(account or own[c.event_id])))
        learned.setdefault(own[c.event_id], (record_id, c.event_id))
        if account is not None:  # a record of its own for ever: joined to the one that is named, it can be taken apart
            learned.setdefault(account, (str(cipher.ring.patient_id(*account)), c.event_id))
    if not learned:
        return refused, set()
    identifiers = sorted(learned)
    new = connection.execute(
        "insert into phi.identifiers (system, value, record_id, learned_by, learned_at)"
        " select s, v, p, e, now() from unnest(%s::text[], %s::text[], %s::uuid[], %s::uuid[]) as t(s, v, p, e)"
        " on conflict do nothing returning system, value",
        tuple(list(column) for column in zip(*((*i, *learned[i]) for i in identifiers), strict=True)),
    )
    found = {identifier: learned[identifier][0] for identifier in new}
    if known := [identifier for identifier in identifiers if identifier not in found]:
        for system, value, record_id in connection.execute(
            "select i.system, i.value, i.record_id from phi.identifiers i"
            " join unnest(%s::text[], %s::text[]) as t(s, v) on i.system = t.s and i.value = t.v",
            tuple(list(column) for column in zip(*known, strict=True)),
        ):
            found[system, value] = str(record_id)
            heard.add(str(record_id))
    for c in claimed:
        if c.event_id in own:
            named, c.record_id = c.record_id, found[own[c.event_id]]
            account = _account(c)
            for other in (named, found[account] if account else ""):
                if other and other != c.record_id:
                    _join(connection, c.record_id, other)
                    heard |= {c.record_id, other}
    return refused, set(found.values()) - heard


def _account(c: Claimed) -> tuple[str, str] | None:
    """The intake account that another system knows the person by: so it is the same record, whichever comes first."""
    if not isinstance(c.content, Change):
        return None
    return next(((s, v) for s, v in c.content.identifiers if s.startswith(ACCOUNT + ":")), None)


def _join(connection, record_id: str, other: str) -> None:
    """Two records of which a system says, by identifiers, that they are one person."""
    connection.execute(
        "insert into ops.patient_matches (record_a, record_b, outcome, basis, weight, agreements, guards, since)"
        " values (%s, %s, 'same', 'exact', 0, '{identifier}', '{}', now()) on conflict (record_a, record_b) do update"
        " set outcome = 'same', basis = 'exact', weight = 0, agreements = '{identifier}', guards = '{}'",
        (min(record_id, other), max(record_id, other)),
    )


def _speaks_first(c: Claimed) -> bool:
    """Whether an event may be the first that we hear of its record: it names none."""
    return not isinstance(c.content, Decision) and not (isinstance(c.content, Change) and c.content.record_id)


def _find_named(connection, cipher: Cipher, claimed: Sequence[Claimed]) -> list[tuple[str, str, str]]:
    """Events that name our records themselves: those must be known, or told of by an event beside them."""
    named: dict[str, tuple[str, ...]] = {}
    for c in claimed:
        if isinstance(c.content, Decision):
            named[c.event_id], c.record_id = c.content.records, c.content.records[0]
        elif isinstance(c.content, Change) and c.content.record_id:
            named[c.event_id], c.record_id = (c.content.record_id,), c.content.record_id
    if not named:
        return []
    wanted = sorted({record for records in named.values() for record in records})
    known = {
        str(record_id)
        for (record_id,) in connection.execute(
            "select record_id from phi.identifiers where record_id = any(%s::uuid[])", (wanted,)
        )
    }
    if not known.issuperset(wanted):
        known |= {str(cipher.ring.patient_id(*(_account(c) or _identifier(c)))) for c in claimed if _speaks_first(c)}
    return [(event_id, *UNKNOWN_RECORD) for event_id, records in named.items() if not known.issuperset(records)]


def _identifier(c: Claimed) -> tuple[str, str]:
    system = c.content.system if isinstance(c.content, Change) else ACCOUNT
    return f"{system}:{c.event.source}", c.event.subject
