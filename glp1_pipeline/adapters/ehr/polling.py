"""One round of the poller: all kinds of resources, then a slice of the sweep; one poller at a time for one target.

Not here: how one kind is read (`changes`), and when a round is due (`defs.ehr_changes`).
"""

from __future__ import annotations

import time
from typing import Any

from psycopg import Connection

from ...domain.contract import Contract
from ..cipher import Cipher
from .changes import Polled, Poller
from .ehr import Ehr
from .feed import PAGE
from .sweep import sweep
from .wire import EhrFailure

KINDS = (
    "Patient", "Observation", "AllergyIntolerance", "Condition", "Procedure", "FamilyMemberHistory",
    "MedicationStatement", "MedicationRequest", "Consent", "Flag", "Task",
)  # fmt: skip
"""In this order: whose a resource is, is learned from the Patient. Not polled: what nobody edits (answers as they came
in, provenance)."""


def poll_changes(
    connection: Connection[Any],
    ehr: Ehr,
    contract: Contract,
    cipher: Cipher,
    target: str,
    seconds: float = 20.0,
    page_size: int = PAGE,
) -> Polled:
    """Bring what changed in the EHR into the ledger, for about so many seconds; what is left waits for the next round.

    `connection` in autocommit mode. What the EHR fails at is told by `Polled.trouble`; nothing is skipped by it.
    EhrMisconfigured where the server cannot be read without loss.
    """
    ends = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= ends

    (is_alone,) = connection.execute(
        "select pg_try_advisory_lock(hashtextextended(%s, 11))", (f"changes of {target}",)
    ).fetchone() or (False,)
    poller = Poller(connection, ehr, contract, cipher, target, page_size)
    if not is_alone:
        poller.polled.is_elsewhere = True
        return poller.polled
    try:
        for kind in KINDS:
            if kind in ehr.capability.types and not is_over():
                poller.poll(kind, is_over)
        poller.polled.is_complete = poller.polled.is_complete and not is_over()
        sweep(poller, is_over)
    except EhrFailure as failure:
        poller.polled.trouble, poller.polled.is_complete = failure.trouble, False
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 11))", (f"changes of {target}",))
    return poller.polled


def lag_seconds(connection: Connection[Any], target: str) -> float | None:
    """Age of the oldest of the last looks at each kind that were read to their end; None: nobody ever looked."""
    row = connection.execute(
        "select extract(epoch from now() - min(coalesce(polled_at, '-infinity')))::float8 from ops.poll_cursors"
        " where system = %s and kind <> 'sweep'",
        (target,),
    ).fetchone()
    return row[0] if row else None
