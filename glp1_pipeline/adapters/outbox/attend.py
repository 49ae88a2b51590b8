"""What people and sensors ask of the outbox: how much is pending, is something due, the dead, conflicts.

Not here: delivery.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

from psycopg import Connection

POLL_SECONDS = 0.2


class InConflict(NamedTuple):
    """A resource that someone changed in the target, so that ours is not sent."""

    patient_id: str
    key: str
    reason: str
    since: str
    decision: str | None
    """What a person said of it; it stays until our next change of the resource arrives there."""


class Pending(NamedTuple):
    ready: int
    in_doubt: int
    dead: int


def pending(connection: Connection[Any], target: str) -> Pending:
    """What the target has not been told yet."""
    with connection.transaction():
        row = connection.execute(
            "select count(*) filter (where status = 'ready'), count(*) filter (where status = 'in_doubt'),"
            " count(*) filter (where status = 'dead')"
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


def retry_dead(connection: Connection[Any], target: str) -> int:
    """Give all dead writes a new life and open their lanes; each is read back before it is sent. Returns how many."""
    with connection.transaction():
        connection.execute(
            "select 1 from ops.lanes l where l.target = %s and exists (select 1 from ops.writes w where"
            " w.target = l.target and w.patient_id = l.patient_id and w.status = 'dead') order by l.patient_id"
            " for update of l",
            (target,),
        )
        revived = connection.execute(
            "update ops.writes set status = 'in_doubt', tries = 0, first_tried_at = null, settled_at = null"
            " where target = %s and status = 'dead' returning patient_id",
            (target,),
        ).fetchall()
        connection.execute(
            "update ops.lanes l set has_work = true, next_at = now(),"
            " blocked = case when exists (select 1 from ops.writes w where w.target = l.target"
            "  and w.patient_id = l.patient_id and w.status = 'dead') then l.blocked end"
            " where target = %s and patient_id = any(%s)",
            (target, [patient_id for (patient_id,) in revived]),
        )
    return len(revived)


def conflicts(connection: Connection[Any], target: str, patient_id: str | None = None) -> list[InConflict]:
    """What was left as it is in the target, the oldest first; of one patient, or of all."""
    with connection.transaction():
        rows = connection.execute(
            "select c.patient_id::text, m.key, m.value ->> 'reason', m.value ->> 'since', m.value ->> 'decision'"
            " from ops.copies c, jsonb_each(c.conflicts) m where c.target = %s and c.conflicts <> '{}'"
            " and (%s::uuid is null or c.patient_id = %s) order by (m.value ->> 'since')::timestamptz, 1, 2",
            (target, patient_id, patient_id),
        ).fetchall()
    return [InConflict(*row) for row in rows]


def settle_conflict(
    connection: Connection[Any], target: str, patient_id: str, key: str, decision: Literal["theirs", "ours"]
) -> bool:
    """Note what a person said of a resource in conflict; False when it is not in conflict.

    Both: our next change of it is sent against the version that was found there, and is a conflict again when it was
    changed once more since. `ours`: our side forgets what it planned, so that the next replay of the patient writes it.
    """
    with connection.transaction():
        connection.execute(  # whoever holds the lane's row may change its copy
            "select 1 from ops.lanes where target = %s and patient_id = %s for update", (target, patient_id)
        )
        done = connection.execute(
            "update ops.copies set conflicts ="
            "  jsonb_set(conflicts, array[%(key)s, 'decision'], to_jsonb(%(said)s::text)),"
            " planned = case when %(said)s = 'ours' then planned - %(key)s::text else planned end,"
            # What is gone has no version to match: it is made again.
            " remote = case when %(said)s = 'ours' and conflicts -> %(key)s::text ->> 'reason' like 'deleted_in_%%'"
            "  then remote - %(key)s::text else remote end"
            " where target = %(target)s and patient_id = %(patient)s and conflicts ? %(key)s::text",
            {"key": key, "said": decision, "target": target, "patient": patient_id},
        ).rowcount
    return done == 1
