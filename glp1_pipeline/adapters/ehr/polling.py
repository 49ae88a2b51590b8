"""One round of the poller: all kinds of resources, then a slice of the sweep; one poller at a time for one target.

Not here: how one kind is read (`changes`), and when a round is due (`defs.ehr_changes`).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from psycopg import Connection

from ...domain.contract import Contract
from ..cipher import Cipher
from .changes import Polled, Poller
from .ehr import Ehr
from .entries import NOT_OFFERED, Entry, floor, instant, is_of
from .feed import MILLISECOND, PAGE
from .sweep import KIND as SWEEP
from .sweep import sweep
from .wire import EhrFailure, EhrMisconfigured

KINDS = (
    "Patient", "Observation", "AllergyIntolerance", "Condition", "Procedure", "FamilyMemberHistory",
    "MedicationStatement", "MedicationRequest", "MedicationDispense", "Consent", "Flag", "Task",
)  # fmt: skip
"""The Patient first: whose a resource is, is learned from it. Not polled: what nobody edits (answers as they came in,
provenance)."""


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
    EhrMisconfigured where the server cannot be read without loss; what can be read is read before that.
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
    misfit: EhrMisconfigured | None = None
    try:
        for kind in _longest_unseen_first(connection, target):
            if is_over():
                break
            try:
                poller.poll(kind, is_over)
            except EhrMisconfigured as error:
                misfit = misfit or error
            except EhrFailure as failure:
                if failure.status not in (*NOT_OFFERED, 403):
                    raise
                # Not every server lists all that it holds; what it neither lists nor searches, it does not have.
                if kind in ehr.capability.types or failure.status == 403:
                    if failure.status == 404 and failure.trouble == "misaddressed":  # nobody is there at all
                        raise
                    misfit = misfit or _refused(kind, failure)
        poller.polled.is_complete = poller.polled.is_complete and not is_over()
        sweep(poller, is_over)
    except EhrFailure as failure:
        poller.polled.trouble, poller.polled.is_complete = failure.trouble, False
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 11))", (f"changes of {target}",))
    if misfit is not None:
        raise misfit
    return poller.polled


def _refused(kind: str, failure: EhrFailure) -> EhrMisconfigured:
    return EhrMisconfigured(
        f"The EHR refuses to be read for changes of {kind} ({failure.status}): nothing that people change there of this"
        " type is heard, the other types are. Ask its operator for searches by `_lastUpdated` with"
        " `_sort=_lastUpdated`, and for a scope that allows them."
    )


def _longest_unseen_first(connection: Connection[Any], target: str) -> list[str]:
    """So that no kind starves behind one that never ends."""
    seen_at = dict(
        connection.execute(
            "select kind, polled_at from ops.poll_cursors where system = %s and polled_at is not null", (target,)
        ).fetchall()
    )
    return sorted(KINDS, key=lambda kind: seen_at[kind].timestamp() if kind in seen_at else 0.0)


def has_news(connection: Connection[Any], ehr: Ehr, target: str) -> bool:
    """Whether anything there is newer than what we met, in one call: cheap enough to ask often.

    Not seen by it: deletions, and what shows late. So a round is due now and then whatever this says.
    """
    rows = connection.execute(
        "select kind, seen ->> 'newest', seen ? 'later' or seen ? 'position' from ops.poll_cursors"
        " where system = %s and kind <> %s",
        (target, SWEEP),
    ).fetchall()
    if any(has_more for _, _, has_more in rows):
        return True
    newest = dict.fromkeys(kind for kind in KINDS if kind in ehr.capability.types)
    newest |= {kind: stamp for kind, stamp, _ in rows if stamp}
    asked = []
    for kind, stamp in newest.items():
        since = f"&_lastUpdated=ge{instant(floor(datetime.fromisoformat(stamp)) + MILLISECOND)}" if stamp else ""
        asked.append(f"{kind}?_count=1{since}")
    answers = ehr.batch_get(asked)
    found = [(answer.get("resource") or {}).get("entry") or () for answer in answers]
    return any(is_of(entry, kind) for kind, entries in zip(newest, found, strict=True) for entry in entries)


def lag_seconds(connection: Connection[Any], target: str) -> float | None:
    """Age of the oldest of the last looks at each kind that were read to their end; None: one never was."""
    row = connection.execute(
        "select case when bool_and(polled_at is not null) then extract(epoch from now() - min(polled_at))::float8 end"
        " from ops.poll_cursors where system = %s and kind <> %s",
        (target, SWEEP),
    ).fetchone()
    return row[0] if row else None


def sweep_age_seconds(connection: Connection[Any], target: str) -> float | None:
    """How long the sweep that is under way has been; None: none ever was."""
    row = connection.execute(
        "select extract(epoch from now() - since)::float8 from ops.poll_cursors where system = %s and kind = %s",
        (target, SWEEP),
    ).fetchone()
    return row[0] if row else None


def hear(
    connection: Connection[Any],
    ehr: Ehr,
    contract: Contract,
    cipher: Cipher,
    target: str,
    entry: Entry,
    ours: dict[str, Any],
) -> int:
    """Bring one change into the ledger before it is written over (`Poller.hear`); how many events are new."""
    return Poller(connection, ehr, contract, cipher, target).hear(entry, ours)
