"""Who may be the same person: the review queue, and the decisions of people about it.

Here: reading pairs, and a decision as an event in the ledger. Not here: when two records match (`domain.identity`),
and what follows from a decision (`charts`).
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

import orjson
import psycopg

from ..domain.contract import Contract
from ..domain.events import Refused
from ..domain.events.changes import DECISIONS
from . import crosswalk
from .cipher import Cipher
from .ledger import append, event_id_of, read_event

SOURCE = "/steward/glp1"
TYPES = {action: kind for kind, (action, *_) in DECISIONS.items()}
Action = Literal["merge", "unmerge", "not_a_match"]


class WordRefused(ValueError):
    """What a person decides cannot be taken; the text says why and what to do, never a value. Any other ValueError is a
    fault of ours, and may quote what it failed on."""


def reviews(connection: psycopg.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Pairs that a person must decide, the likeliest first: names of what agrees, never a value."""
    names = ("later", "earlier", "weight", "agreements", "guards", "since")
    rows = connection.execute(
        "select later::text, earlier::text, weight, agreements, guards, since from ops.patient_match_reviews"
        " order by weight desc, later, earlier limit %s",
        (limit,),
    ).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def links(connection: psycopg.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Records that are part of another's patient, the newest first."""
    rows = connection.execute(
        "select record_id::text, patient_id::text, since from ops.patient_links where record_id <> patient_id"
        " order by since desc, 1 limit %s",
        (limit,),
    ).fetchall()
    return [dict(zip(("record_id", "patient_id", "since"), row, strict=True)) for row in rows]


def beside(connection: psycopg.Connection, records: tuple[str, str]) -> dict[str, list[Any]]:
    """What is compared, and what systems call the two, side by side, for the person who decides: values, so for their
    eyes alone."""
    found = {
        str(record_id): features
        for record_id, features in connection.execute(
            "select record_id, features from phi.people where record_id = any(%s::uuid[])", (list(records),)
        )
    }
    sides = [found.get(record, {}) for record in records]
    said = {name: [side.get(name) for side in sides] for name in sorted({*sides[0], *sides[1]})}
    return said | crosswalk.beside(connection, records)


def counts(connection: psycopg.Connection) -> dict[str, Any]:
    """How many pairs wait, since when, and how many records are part of another's patient."""
    row = connection.execute(
        "select count(*), coalesce(extract(epoch from now() - min(since)) / 3600, 0)::float8,"
        " (select count(*) from ops.patient_links where record_id <> patient_id),"
        " (select count(*) from phi.match_decisions) from ops.patient_match_reviews"
    ).fetchone()
    assert row is not None
    return {"open": row[0], "oldest hours": round(row[1], 2), "merged records": row[2], "decisions": row[3]}


def decide(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    action: Action,
    records: tuple[str, str],
    actor: str,
    reason: str,
) -> uuid.UUID:
    """Put a decision into the ledger, from where it is charted like all else; the id of its event."""
    _, *keys = DECISIONS[TYPES[action]]
    data = {**dict(zip(keys, records, strict=True)), "actor": actor, "reason": reason}
    return put(connection, contract, cipher, TYPES[action], records[0], data)


def put(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, kind: str, subject: str, data: dict[str, Any]
) -> uuid.UUID:
    """What a steward said, as an event of the ledger; its id. WordRefused where it is not whole."""
    (now,) = connection.execute("select now()").fetchone() or (None,)
    assert now is not None
    source_id = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "type": kind,
        "source": SOURCE,
        "id": source_id,
        "subject": subject,
        "time": now.isoformat(),
        "data": data,
    }
    document = orjson.dumps(event)
    try:
        event_id = event_id_of(read_event(contract, document))
    except Refused as refusal:  # said at once, and not left behind as a line in quarantine
        raise WordRefused(f"this is not whole: {refusal.hint}") from None
    append(connection, contract, cipher, [document])
    return event_id
