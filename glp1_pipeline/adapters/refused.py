"""Changes that a target refused for what they say: the same words are refused again, so they are decided anew.

A dead write stops its patient, and what would mend it waits behind. It and what waits are given up, and the patient is
charted by the contract and the answers as they are now: one new write says all of it. Not here: writes that failed for
another reason, which are sent again as they are (`outbox.retry_dead`).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import psycopg

from ..domain.contract import Contract
from ..domain.crm import COPY
from ..domain.outbox import keys_of
from .charts import Scope, chart_events
from .charts.grouping import lock
from .cipher import Cipher
from .status import events_of, patient_of

NOT_AS_DECIDED = ""
"""In place of the hash of what was planned: differs from all that may be decided, and is still known to be there."""


@dataclass
class Anew:
    """Counts."""

    patients: int = 0
    given_up: int = 0
    """Writes that are sent no more."""
    new_writes: int = 0
    left: int = 0
    """Patients whose charting fails now: all of theirs stays as it was."""


def refused(connection: psycopg.Connection, target: str) -> list[str]:
    """Patients of whom the target refused a write for what it says."""
    rows = connection.execute(
        "select distinct patient_id::text from ops.writes where target = %s and status = 'dead'"
        " and last_class = 'rejected' order by 1",
        (target,),
    ).fetchall()
    return [patient_id for (patient_id,) in rows]


def decide_anew(connection: psycopg.Connection, contract: Contract, cipher: Cipher, target: str) -> Anew:
    """A patient a transaction: given up and decided anew, or neither. `connection` in autocommit mode."""
    found = Anew()
    for record_id in refused(connection, target):
        with connection.transaction() as whole:
            patient_id = patient_of(connection, record_id)
            lock(connection, {record_id, patient_id})  # by it a patient is charted alone; before any lane's
            given_up = _give_up(connection, cipher, target, record_id)
            # All of them: what a submission said word by word is told with it alone.
            scope = Scope(event_ids=events_of(connection, patient_id), is_replay=True)
            done = chart_events(connection, contract, cipher, scope) if given_up and scope.event_ids else None
            if done is None or done.dead or done.rejected:
                found.left += 1
                raise psycopg.Rollback(whole)
            found.patients += 1
            found.given_up += given_up
            found.new_writes += done.all_writes
    return found


def _give_up(connection, cipher: Cipher, target: str, record_id: str) -> int:
    """How many writes; none where another was quicker, or where one may be there already."""
    connection.execute("select 1 from ops.lanes where target = %s and patient_id = %s for update", (target, record_id))
    rows = connection.execute(
        "select w.write_id, w.status, w.last_class, b.kid, b.body from ops.writes w join phi.write_bodies b"
        " using (write_id) where w.target = %s and w.patient_id = %s and w.status in ('ready', 'in_doubt', 'dead')",
        (target, record_id),
    ).fetchall()
    dead = [last_class for _, status, last_class, *_ in rows if status == "dead"]
    if set(dead) != {"rejected"} or any(status == "in_doubt" for _, status, *_ in rows):
        return 0
    keys: set[str] = set()
    for write_id, _, _, kid, body in rows:
        content = orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}"))
        keys |= keys_of(content).keys() if "entry" in content else {COPY}
    connection.execute(
        "update ops.writes set status = 'cancelled', settled_at = now() where write_id = any(%s)",
        ([write_id for write_id, *_ in rows],),
    )
    # What an earlier write brought there is still to be corrected or taken back; of the rest nothing is there.
    connection.execute(
        "update ops.copies set planned = (planned - %(keys)s::text[]) || (select coalesce(jsonb_object_agg(k,"
        " %(none)s::text), '{}') from unnest(%(keys)s::text[]) k where planned ? k and remote ? k)"
        " where target = %(target)s and patient_id = %(record)s",
        {"keys": sorted(keys), "none": NOT_AS_DECIDED, "target": target, "record": record_id},
    )
    connection.execute(
        "update ops.lanes set blocked = null, has_work = false, next_at = now() where target = %s and patient_id = %s",
        (target, record_id),
    )
    return len(rows)
