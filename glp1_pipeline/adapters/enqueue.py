"""Into the outbox: a patient's next write to a target, with its body sealed, in the caller's transaction.

Not here: what is to be written (`domain.charting`, `domain.rollback`), and its delivery (`outbox`). The caller holds
the patient's lock and counts the write in ops.copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg import Connection

from ..domain.charting import Write
from ..domain.contract import EHR
from .cipher import Cipher
from .copying import copy_rows


def enqueue(
    connection: Connection, cipher: Cipher, writes: Sequence[Write], contract_version: str, now: datetime
) -> dict[tuple[str, str], int]:
    """Write the rows and wake the deliverer; the id of each write by target and patient."""
    # The row of each target that is written to, so that it is known without a look through all copies.
    connection.execute(
        "insert into ops.breakers (target, state, changed_at) select t, 'closed', now() from unnest(%s::text[]) t"
        " on conflict do nothing",
        (sorted({write.target for write in writes}),),
    )
    # The lane first: its lock makes the order of writes the order of commits, and wakes the deliverer.
    if later := [write for write in writes if write.n > 1]:
        connection.execute(
            "insert into ops.lanes (target, patient_id, has_work, next_at) select t, p, true, now()"
            " from unnest(%s::text[], %s::uuid[]) as u(t, p) order by 1, 2"
            # A lane at rest waits for nothing, also where its clock was ahead when it came to rest.
            " on conflict (patient_id, target) do update set has_work = true,"
            " next_at = case when lanes.has_work then lanes.next_at else excluded.next_at end",
            ([w.target for w in later], [w.patient_id for w in later]),
        )
    opened = ((w.target, w.patient_id, True, now) for w in writes if w.n == 1)  # before its first write it has no lane
    copy_rows(connection, "ops.lanes", ("target", "patient_id", "has_work", "next_at"), opened)
    numbers = connection.execute(
        "select nextval('ops.writes_write_id_seq') from generate_series(1, %s)", (len(writes),)
    ).fetchall()
    numbered = [(number, write) for (number,), write in zip(numbers, writes, strict=True)]
    copy_rows(
        connection, "ops.writes",
        ("write_id", "target", "patient_id", "n", "kind", "resources", "status", "events", "created_at",
         "contract_version"),
        ((number, w.target, w.patient_id, w.n, w.kind,
          len(w.hashes) + (w.target == EHR),  # a provenance goes with each
          "ready", w.event_ids, now, contract_version) for number, w in numbered),
    )  # fmt: skip
    seal = cipher.seal_in_transaction()
    sealed = ((number, *seal(write.body, f"writes|{number}")) for number, write in numbered)
    copy_rows(connection, "phi.write_bodies", ("write_id", "kid", "body"), sealed)
    return {(write.target, write.patient_id): number for number, write in numbered}
