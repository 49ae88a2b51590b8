"""Bodies of writes that newer ones made old.

What was last said of a resource is asked for again and again: an echo is known by it, a conflict is judged by it, the
EHR is compared with it, and a rollback goes back to what was said before. So of each resource the last three that were
delivered stay, however old; so does every link that we ever wrote into a Patient (a merge, perhaps undone since), and
all that is not delivered. Only the body goes: the write itself, its key and its hash stay.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import orjson
import psycopg

from ...domain.outbox import keys_of
from .chunks import Work

LAST_KEPT = 3
PATIENTS_AT_A_TIME = 200
FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
OpenBody = Callable[[str, bytes, str], bytes]


def prune_bodies(connection: psycopg.Connection, open_body: OpenBody, days: int, work: Work) -> int:
    """How many went, or would.

    Begins at a random patient and goes round: rounds that have not time for all have in the end been everywhere.
    """
    gone = 0
    middle = str(uuid.UUID(int=random.getrandbits(128)))
    targets = connection.execute("select target from ops.breakers order by 1").fetchall()
    for (target,) in targets:
        for after, until in ((middle, LAST_ID), (FIRST_ID, middle)):
            while work.may_go_on():
                # Who had no more writes than are kept has nothing that may go.
                some = connection.execute(
                    "select patient_id::text from ops.copies where target = %s and patient_id > %s and patient_id <= %s"
                    " and n > %s order by patient_id limit %s",
                    (target, after, until, LAST_KEPT, PATIENTS_AT_A_TIME),
                ).fetchall()
                for (patient_id,) in some:
                    gone += _prune_patient(connection, open_body, target, patient_id, days, work)
                if len(some) < PATIENTS_AT_A_TIME:
                    break
                after = some[-1][0]
    return gone


def _prune_patient(
    connection: psycopg.Connection, open_body: OpenBody, target: str, patient_id: str, days: int, work: Work
) -> int:
    with connection.transaction():
        rows = connection.execute(
            "select w.write_id, w.settled_at, now() - make_interval(days => %s), b.kid, b.body from ops.writes w"
            " join phi.write_bodies b using (write_id) where w.target = %s and w.patient_id = %s"
            " and w.status = 'delivered' order by w.n desc",
            (days, target, patient_id),
        ).fetchall()
        # Nothing is opened where nothing is old.
        if len(rows) <= LAST_KEPT or rows[-1][1] >= rows[-1][2]:
            return 0
        opened = (
            (write_id, settled_at, orjson.loads(open_body(kid, bytes(body), f"writes|{write_id}")))
            for write_id, settled_at, _, kid, body in rows
        )
        going = superseded(opened, rows[0][2])
        if going and not work.is_dry_run:
            connection.execute("delete from phi.write_bodies where write_id = any(%s)", (going,))
    return len(going)


def superseded(newest_first: Iterable[tuple[int, datetime, dict[str, Any]]], old_before: datetime) -> list[int]:
    """Of a patient's delivered writes (id, when, content), the newest first: those whose body nothing needs."""
    said: Counter[str] = Counter()
    linked: set[tuple[str, str]] = set()
    going: list[int] = []
    for write_id, settled_at, content in newest_first:
        resources = keys_of(content) if "entry" in content else content
        links = {
            (link["type"], link["other"]["reference"])
            for key, resource in resources.items()
            if key.startswith("Patient/")
            for link in resource.get("link", ())
        }
        # A provenance tells of its own write alone, and nothing asks for it again.
        keys = [key for key in resources if not key.startswith("Provenance/")]
        is_needed = any(said[key] < LAST_KEPT for key in keys) or not links <= linked
        if settled_at < old_before and not is_needed:
            going.append(write_id)
            continue
        said.update(keys)
        linked |= links
    return going
