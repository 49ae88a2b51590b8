"""Into the outbox: a patient's next write to a target, with its body sealed, in the caller's transaction (law 5).

Not here: what is to be written (`domain.charting`, `domain.rollback`), and its delivery (`outbox`). The caller holds
the patient's lock and counts the write in ops.copies.
"""

from __future__ import annotations

import hashlib
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
    # The lane first: its lock makes the order of writes the order of commits, and wakes the deliverer.
    connection.execute(
        "insert into ops.lanes (target, patient_id, has_work, next_at) select t, p, true, now()"
        " from unnest(%s::text[], %s::uuid[]) as u(t, p) order by 1, 2"
        " on conflict (target, patient_id) do update set has_work = true",
        ([w.target for w in writes], [w.patient_id for w in writes]),
    )
    ids = connection.execute(
        "insert into ops.writes (target, patient_id, n, kind, resources, sha256, status, events, created_at,"
        " contract_version) select t, p, n, k, r, s, 'ready', string_to_array(e, ',')::uuid[], %s, %s"
        " from unnest(%s::text[], %s::uuid[], %s::int[], %s::text[], %s::int[], %s::bytea[], %s::text[])"
        " as u(t, p, n, k, r, s, e) returning target, patient_id, write_id",
        (
            now,
            contract_version,
            [w.target for w in writes],
            [w.patient_id for w in writes],
            [w.n for w in writes],
            [w.kind for w in writes],
            [len(w.hashes) + (w.target == EHR) for w in writes],  # a provenance goes with each
            [hashlib.sha256(w.body).digest() for w in writes],
            [",".join(w.event_ids) for w in writes],
        ),
    ).fetchall()
    write_ids = {(target, str(patient_id)): write_id for target, patient_id, write_id in ids}
    numbered = ((write_ids[write.target, write.patient_id], write.body) for write in writes)
    seal = cipher.seal_in_transaction()
    sealed = ((write_id, *seal(body, f"writes|{write_id}")) for write_id, body in numbered)
    copy_rows(connection, "phi.write_bodies", ("write_id", "kid", "body"), sealed)
    return write_ids
