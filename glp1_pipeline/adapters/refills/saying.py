"""What people say of refills: an override, and that a risk flag holds or does not, each as an event of the ledger.

Here: what the event must say, and whether it would change anything. Not here: who may (`domain.events.refill`), and
what follows from it (`charts`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from ...domain.contract import Contract
from ...domain.events import Refused
from ...domain.events.refill import check_override
from ...domain.refill import Decision, Override, decide, holding_flags, may_override
from ...domain.refill.decide import from_docs
from ..cipher import Cipher
from ..matches import WordRefused, put
from .records import opened

OVERRIDDEN, RESOLVED = "refill.overridden", "flag.resolved"


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody wants to let through, why, and until when."""

    rules: tuple[str, ...]
    flags: tuple[str, ...]
    reason_code: str
    text: str
    expires_at: datetime
    actor: str
    role: str

    def data(self) -> dict[str, Any]:
        return {
            "rules": list(self.rules),
            "flags": list(self.flags),
            "reason_code": self.reason_code,
            "text": self.text,
            "expires_at": self.expires_at.isoformat(),
            "actor": self.actor,
            "role": self.role,
        }


def foresee(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, refill_id: str, word: Word
) -> tuple[Decision, Decision]:
    """How an open request stands by the rules of now, and how it would stand with this override. WordRefused says why
    it may not be, or would change nothing."""
    now, record = _open_request(connection, cipher, refill_id)
    if not word.actor.strip():
        raise WordRefused("say who decides: an opaque name, like a staff id")
    try:
        check_override(contract, {**word.data()}, now)
    except Refused as refusal:
        raise WordRefused(refusal.hint) from None
    given = [one for one in from_docs(record["overrides"]) if now < one.expires_at]
    more = Override("", word.rules, word.flags, word.reason_code, word.role, word.actor, now, word.expires_at)
    more = more.seeing(contract.refills, record["inputs"])

    def stands(at: datetime, *new: Override) -> Decision:
        return decide(contract.refills, record["inputs"], [*given, *new], at)

    before, after = stands(now), stands(now, more)
    last = word.expires_at - timedelta(seconds=1)  # one that ends later than those before it changes what comes then
    if before == after and stands(last) == stands(last, more):
        raise WordRefused(_changes_nothing(contract, before))
    return before, after


def override(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, refill_id: str, word: Word
) -> uuid.UUID:
    """Put an override into the ledger, from where it is charted like all else; the id of its event. WordRefused says
    why it may not be, or would change nothing."""
    foresee(connection, contract, cipher, refill_id, word)
    record_id = _record_of(connection, refill_id)
    data = {"record_id": record_id, "refill_id": refill_id, **word.data()}
    return put(connection, contract, cipher, OVERRIDDEN, record_id, data)


def resolve(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    patient_id: str,
    flag_id: str,
    resolution: str,
    reason_code: str,
    actor: str,
) -> uuid.UUID:
    """Put a provider's word on a flag into the ledger; the id of its event. WordRefused says what is missing."""
    standing = dict(
        connection.execute(
            "select flag_id, event_id from phi.risk_flags where patient_id = %s and status <> 'cleared'", (patient_id,)
        ).fetchall()
    )
    if flag_id not in standing:
        stands = ", ".join(sorted(standing)) or "none"
        raise WordRefused(f"this flag does not stand on the patient's chart; those that do: {stands}")
    if not actor.strip():
        raise WordRefused("say who decides: an opaque name, like a staff id")
    # With the record whose word raised it: parted from another again, the patient keeps what was said of their own.
    row = connection.execute(
        "select record_id::text from phi.events where event_id = %s", (standing[flag_id],)
    ).fetchone()
    record_id = row[0] if row and row[0] else patient_id
    told = {"flag_id": flag_id, "resolution": resolution, "reason_code": reason_code, "actor": actor}
    return put(connection, contract, cipher, RESOLVED, record_id, {"record_id": record_id, **told})


def _open_request(connection, cipher: Cipher, refill_id: str) -> tuple[datetime, dict[str, Any]]:
    """The time of now, and the record of the request's last decision. WordRefused where it is none, or over."""
    row = connection.execute(
        "select status, decision_id::text, now() from ops.refills where refill_id = %s", (uuid.UUID(refill_id),)
    ).fetchone()
    if row is None:
        raise WordRefused("no request has this id: `glp1 refill list` shows those that are open")
    if row[0] != "open":
        raise WordRefused(f"the request is {row[0]}: there is nothing to let through")
    record = opened(connection, cipher, row[1])
    assert record is not None  # the balance holds it
    return row[2], record.doc


def _record_of(connection, refill_id: str) -> str:
    """Whose record asked: an override goes where the request goes, also when records are parted again."""
    row = connection.execute(
        "select coalesce(e.record_id, r.patient_id)::text from ops.refills r left join phi.events e using (event_id)"
        " where r.refill_id = %s",
        (refill_id,),
    ).fetchone()
    assert row is not None
    return row[0]


def _changes_nothing(contract: Contract, stands: Decision) -> str:
    flags = holding_flags(stands.rule, stands.reasons)
    if stands.outcome == "provider_queue":
        return "nothing holds the request: it is in the provider's queue"
    if not may_override(contract, stands.rule, flags):
        whose = f" ({', '.join(flags)})" if flags else ""
        return f"it would change nothing: the request is held by rule {stands.rule}{whose}, which nobody may override"
    named = "".join(f" --flag {flag}" for flag in flags)
    return f"it would change nothing: the request is held by rule {stands.rule}: --rule {stands.rule}{named}"
