"""Which events a run takes.

Not here: what is known of their patients (`known`), what is decided (`domain.charting`), what is written (`save`).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import psycopg

from ...domain.contract import EHR
from ...domain.told import FOLLOWUP

BATCH = 1000
SHARE = "greatest(250, (select count(*) / 4 from (select from phi.events where status = 'waiting' limit 4000) as w))"
"""Of what waits, so that batches become smaller towards its end: runs side by side end together, and the first patients
of a file do not wait for its last."""
LOCKS = 8
"""That an event takes of the server's table of locks, about: its record's, and its person's keys for a match."""
AT_ONCE = 2.5
"""Batches that the table must have room for: two runs that chart, and whoever else is at work."""
ROOM = (
    f"current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / {LOCKS * AT_ONCE}"
)
"""Events whose locks find room there: 320 on a server as it comes."""
BY_INDEX = "set local enable_seqscan = off; set local enable_bitmapscan = off"
"""All that a batch looks up is a thousand rows by their ids: without statistics, as of a file that was just read,
Postgres would read whole tables for them, more with each batch."""
COLUMNS = "event_id, seq, kid, body, received_at, status, reason"


@dataclass(frozen=True)
class Scope:
    """Which events a run takes: those pending, or all of some days, or some by id."""

    days: tuple[date, ...] = ()
    event_ids: tuple[uuid.UUID, ...] = ()
    is_replay: bool = False
    """Recompute what is settled already, too."""
    tells_changes: bool = False
    """Also count what is another than before (`Charted.changes`): a tenth more work."""

    @property
    def is_of_pending(self) -> bool:
        """Whether it takes whatever waits, until nothing does: what one batch leaves the next one takes."""
        return not (self.is_replay or self.event_ids)


def pending_days(connection: psycopg.Connection) -> list[date]:
    """Days of receipt that hold waiting events, oldest first."""
    # A loose index scan: one index probe per day, however many events wait.
    rows = connection.execute(
        "with recursive days as ("
        " (select received_on from phi.events where status = 'waiting' order by received_on limit 1)"
        " union all select (select e.received_on from phi.events e where e.status = 'waiting'"
        " and e.received_on > days.received_on order by e.received_on limit 1) from days"
        " where days.received_on is not null) select received_on from days where received_on is not null"
    ).fetchall()
    return [row[0] for row in rows]


def is_backlog(connection: psycopg.Connection, size: int) -> bool:
    """Whether at least so many events wait; counts no further."""
    row = connection.execute(
        "select count(*) from (select from phi.events where status = 'waiting' limit %s) as waiting", (size,)
    ).fetchone()
    return row is not None and row[0] >= size


def _condition(scope: Scope) -> tuple[str, list]:
    condition, values = "true" if scope.is_replay else "status = 'waiting'", []
    if scope.event_ids:
        condition += " and event_id = any(%s)"
        values.append(list(scope.event_ids))
    if scope.days:
        condition += " and received_on = any(%s)"
        values.append(list(scope.days))
    return condition, values


def claim(connection, scope: Scope, after: int) -> list[tuple]:
    """The next batch, each row locked until the transaction ends. In a transaction."""
    condition, values = _condition(scope)
    # A replay waits for a row that another run holds; a run of what is pending leaves it to that run.
    locked = "" if scope.is_replay else "skip locked"
    # What a batch asks is small: starting helpers for a query of this transaction costs more than they bring.
    connection.execute(f"set local max_parallel_workers_per_gather = 0; {BY_INDEX}")
    # By day first, as the index of what waits is: else each batch would sort the whole backlog.
    order = "seq" if scope.is_replay else "received_on, seq"
    if scope.is_of_pending:
        # Charts follow from the ledger: where the machine dies within the second in which this commit is not on disk
        # yet, the events wait again. Who tells others of them commits a claim first, and with it all that was before.
        connection.execute("set local synchronous_commit = off")
        # Without statistics, as of a file that was just read, Postgres takes what waits for a few rows and sorts them.
        connection.execute("set local enable_sort = off")
    most = f"least({BATCH}, {ROOM}, {SHARE if scope.is_of_pending else BATCH})"
    rows = connection.execute(
        f"select {COLUMNS} from phi.events where {condition} and seq > %s order by {order} limit {most}"
        f" for update {locked}",
        [*values, after if scope.is_replay else -1],
        binary=True,  # as text a body is twice as long
    ).fetchall()
    if scope.is_of_pending:
        connection.execute("set local enable_sort to default")
    return rows


def claim_all_of(connection, records: Collection[str], but: Collection[uuid.UUID]) -> list[tuple]:
    """The charted events of these records, but for some: all that was ever said is looked at again."""
    return connection.execute(
        f"select {COLUMNS} from phi.events where record_id = any(%s::uuid[]) and status = 'charted'"
        " and event_id <> all(%s) order by seq for update",
        (sorted(records), list(but)),
    ).fetchall()


def claim_unshown(connection, patient_of: Mapping[str, str], but: Collection[uuid.UUID]) -> list[tuple]:
    """The charted check-ins of these records, where the EHR was never told of the patient, but for some events."""
    if not patient_of:
        return []
    told = connection.execute(
        "select event_id, record_id from phi.patient_values where record_id = any(%s::uuid[]) and source = %s"
        " and status <> 'in-progress'",
        ([*patient_of], FOLLOWUP),
    ).fetchall()
    if not told:
        return []
    shown = connection.execute(
        "select patient_id from ops.copies where target = %s and patient_id = any(%s::uuid[])",
        (EHR, [patient_of[str(record_id)] for _, record_id in told]),
    )
    to_whom = {str(patient_id) for (patient_id,) in shown}
    unshown = {event_id for event_id, record_id in told if patient_of[str(record_id)] not in to_whom}
    return connection.execute(
        f"select {COLUMNS} from phi.events where event_id = any(%s) and status = 'charted' order by seq for update",
        (sorted(unshown.difference(but)),),
    ).fetchall()
