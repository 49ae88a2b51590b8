"""What people and sensors ask of the outbox: how much is pending, is something due, try the dead again.

Not here: delivery.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from psycopg import Connection

POLL_SECONDS = 0.2


class Pending(NamedTuple):
    ready: int
    in_doubt: int
    dead: int
    oldest_age: timedelta | None
    """Of the oldest write that is ready or in doubt."""


def pending(connection: Connection[Any], target: str) -> Pending:
    """What the target has not been told yet."""
    with connection.transaction():
        row = connection.execute(
            "select count(*) filter (where status = 'ready'), count(*) filter (where status = 'in_doubt'),"
            " count(*) filter (where status = 'dead'), now() - min(created_at) filter (where status <> 'dead')"
            " from ops.writes where target = %s and status in ('ready', 'in_doubt', 'dead')",
            (target,),
        ).fetchone()
    assert row is not None
    return Pending(*row)


def wait_for_due(connection: Connection[Any], target: str, timeout: float) -> bool:
    """Wait until a lane is due and the breaker lets it through, at most `timeout` seconds. For a sensor's long poll."""
    ends = time.monotonic() + timeout
    while True:
        with connection.transaction():  # one each time: `now()` stands still within a transaction
            row = connection.execute(
                "select exists (select 1 from ops.lanes where target = %s and has_work and blocked is null"
                " and next_at <= now() and (leased_until is null or leased_until < now()))"
                " and not exists (select 1 from ops.breakers where target = %s and state <> 'closed'"
                " and open_until > now())",
                (target, target),
            ).fetchone()
        if row is not None and row[0]:
            return True
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(POLL_SECONDS, left))


def retry_dead(connection: Connection[Any], target: str, write_ids: Collection[int] | Literal["all"]) -> int:
    """Give dead writes a new life and open their lanes; each is read back before it is sent. Returns how many."""
    chosen = None if write_ids == "all" else list(write_ids)
    with connection.transaction():
        connection.execute(
            "select 1 from ops.lanes l where l.target = %s and exists (select 1 from ops.writes w where"
            " w.target = l.target and w.patient_id = l.patient_id and w.status = 'dead'"
            " and (%s::bigint[] is null or w.write_id = any(%s))) order by l.patient_id for update of l",
            (target, chosen, chosen),
        )
        revived = connection.execute(
            "update ops.writes set status = 'in_doubt', tries = 0, first_tried_at = null, settled_at = null"
            " where target = %s and status = 'dead' and (%s::bigint[] is null or write_id = any(%s))"
            " returning patient_id",
            (target, chosen, chosen),
        ).fetchall()
        connection.execute(
            "update ops.lanes l set has_work = true, next_at = now(),"
            " blocked = case when exists (select 1 from ops.writes w where w.target = l.target"
            "  and w.patient_id = l.patient_id and w.status = 'dead') then l.blocked end"
            " where target = %s and patient_id = any(%s)",
            (target, [patient_id for (patient_id,) in revived]),
        )
    return len(revived)
