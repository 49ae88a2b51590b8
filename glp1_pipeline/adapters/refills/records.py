"""The records of decisions: opened, checked against their hash, decided again, and decided by other rules.

They hold values of patients. Not here: what a decision rests on (`domain.refill.inputs`), and resealing (`resealing`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
import psycopg
from pydantic import ValidationError

from ...domain.refill import decide_again, differences
from ...domain.refill_model import CONDITIONS, RefillRules, version_of
from ..cipher import Cipher, Tampered

CHUNK = 1000


class RecordFault(RuntimeError):
    """A record, or the rules it was decided by, is not what was kept: says what, never a value."""


class Opened(NamedTuple):
    decision_id: str
    refill_id: str
    as_of: datetime
    rules_version: str
    made_at: datetime
    doc: dict[str, Any]


COLUMNS = "decision_id::text, refill_id::text, as_of, rules_version, made_at, sha256, kid, body"


def opened(connection: psycopg.Connection, cipher: Cipher, decision_id: str) -> Opened | None:
    """A record, proven to be the one that was kept; None where there is none. Raises RecordFault."""
    row = connection.execute(
        f"select {COLUMNS} from phi.refill_decisions where decision_id = %s", (uuid.UUID(decision_id),)
    ).fetchone()
    return None if row is None else _open(cipher, row)


def _open(cipher: Cipher, row: tuple) -> Opened:
    decision_id, refill_id, as_of, rules_version, made_at, sha256, kid, body = row
    try:
        content = cipher.open(kid, bytes(body), f"refill_decisions|{decision_id}")
    except Tampered as error:
        raise RecordFault(f"the record of decision {decision_id} is not the one that was made: {error}") from None
    if hashlib.sha256(content).digest() != bytes(sha256):
        raise RecordFault(f"the record of decision {decision_id} is not the one that was made: its hash differs")
    doc = orjson.loads(content)
    told = (doc["refill_id"], datetime.fromisoformat(doc["as_of"]), doc["rules_version"])
    if told != (refill_id, as_of, rules_version):
        raise RecordFault(f"the record of decision {decision_id} says another request, moment or rules than its row")
    return Opened(decision_id, refill_id, as_of, rules_version, made_at, doc)


def rules_of(connection: psycopg.Connection, version: str) -> RefillRules:
    """The decision table of a version, proven to be it. Raises RecordFault."""
    row = connection.execute("select document from ops.refill_rules where rules_version = %s", (version,)).fetchone()
    if row is None:
        raise RecordFault(f"the rules {version} are not kept")
    try:
        rules = RefillRules(**orjson.loads(row[0]))
    except (ValidationError, orjson.JSONDecodeError):
        raise RecordFault(f"the rules {version} that are kept cannot be read by this program any more") from None
    if (hashed := version_of(row[0].encode())) != version:
        raise RecordFault(f"the rules that are kept as {version} are others: their hash is {hashed}")
    if gone := sorted(rule.rule for rule in rules.rules if rule.rule not in CONDITIONS and not rule.waits_for):
        raise RecordFault(f"this program cannot decide by rule {gone[0]} of the rules {version} any more")
    return rules


def decision_of(connection: psycopg.Connection, name: str) -> str | None:
    """A decision's id from itself, or from a request's: then its last one."""
    row = connection.execute(
        "select decision_id::text from phi.refill_decisions where decision_id = %(id)s union all"
        " select decision_id::text from ops.refills where refill_id = %(id)s",
        {"id": uuid.UUID(name)},
    ).fetchone()
    return None if row is None else row[0]


def explain(connection: psycopg.Connection, cipher: Cipher, decision_id: str) -> tuple[Opened, RefillRules, list[str]]:
    """The record, the rules that it was decided by, and what differs when it is decided again from these alone.

    Raises RecordFault, and LookupError where there is no such decision."""
    record = opened(connection, cipher, decision_id)
    if record is None:
        raise LookupError(decision_id)
    rules = rules_of(connection, record.rules_version)
    return record, rules, differences(record.doc, decide_again(record.doc, rules))


def proven(connection: psycopg.Connection, cipher: Cipher, each: int) -> Counter[str]:
    """How many records are what was kept and decide again the same: `same`, `differs`, `broken`. So many of the newest,
    and so many from a place by chance: in time that is everywhere."""
    found: Counter[str] = Counter(same=0, differs=0, broken=0)
    known: dict[str, RefillRules] = {}
    rows = connection.execute(
        f"(select {COLUMNS} from phi.refill_decisions order by made_at desc, outcome desc, decided_by desc limit %(n)s)"
        f" union (select {COLUMNS} from phi.refill_decisions where decision_id >= %(start)s order by decision_id"
        " limit %(n)s)",
        {"n": each, "start": uuid.uuid4()},
    ).fetchall()
    for row in rows:
        try:
            record = _open(cipher, row)
            if record.rules_version not in known:
                known[record.rules_version] = rules_of(connection, record.rules_version)
            again = decide_again(record.doc, known[record.rules_version])
        except RecordFault:
            found["broken"] += 1
        else:
            found["differs" if differences(record.doc, again) else "same"] += 1
    return found


def what_if(
    connection: psycopg.Connection, cipher: Cipher, rules: RefillRules, since: date | None = None
) -> dict[str, Any]:
    """Every decision since a day, decided again from its own record by other rules: how many would be others, from what
    to what, and which. Each is looked at by itself; what would have followed is not known."""
    requests: set[str] = set()
    moves: Counter[tuple[str, str]] = Counter()
    differ, seen = [], 0
    for record in _since(connection, cipher, since):
        seen += 1
        requests.add(record.refill_id)
        was, now = record.doc["decision"], decide_again(record.doc, rules)
        if (was["outcome"], was["rule"]) == (now["outcome"], now["rule"]):
            continue
        move = f"{was['outcome']} ({was['rule']})", f"{now['outcome']} ({now['rule']})"
        moves[move] += 1
        differ.append(
            {
                "refill_id": record.refill_id,
                "decision_id": record.decision_id,
                "as_of": record.as_of,
                "from": move[0],
                "to": move[1],
            }
        )
    return {
        "rules_version": rules.version,
        "decisions": seen,
        "requests": len(requests),
        "different": len(differ),
        "different_requests": len({one["refill_id"] for one in differ}),
        "moves": [{"from": was, "to": now, "decisions": n} for (was, now), n in moves.most_common()],
        "differ": differ,
    }


def _since(connection, cipher: Cipher, since: date | None) -> Iterator[Opened]:
    """In chunks by key, so that neither memory nor a transaction grows with them."""
    after = uuid.UUID(int=0)
    while rows := connection.execute(
        f"select {COLUMNS} from phi.refill_decisions where decision_id > %s and (%s::date is null or as_of >= %s::date)"
        " order by decision_id limit %s",
        (after, since, since, CHUNK),
    ).fetchall():
        after = uuid.UUID(rows[-1][0])
        for row in rows:
            yield _open(cipher, row)
