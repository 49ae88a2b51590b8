"""Which events a run takes, and what is known of their patients: read under the locks that keep runs apart.

Not here: what is decided (`domain.charting`) and what is written (`save`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import psycopg

from ...domain.chart import Reported
from ...domain.charting import ACCOUNT, Claimed, Known
from ..cipher import Cipher

BATCH = 500
TARGET = "ehr"


@dataclass(frozen=True)
class Scope:
    """Which events a run takes: those pending, or all of some days, or some by id."""

    days: tuple[date, ...] = ()
    event_ids: tuple[uuid.UUID, ...] = ()
    is_replay: bool = False
    """Recompute what is settled already, too."""


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


def count(connection: psycopg.Connection, scope: Scope) -> int:
    """How many events a scope holds now."""
    condition, values = _condition(scope)
    row = connection.execute(f"select count(*) from phi.events where {condition}".encode(), values).fetchone()
    return row[0] if row else 0


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
    condition, values = _condition(scope)
    # A replay waits for a row that another run holds; a run of what is pending leaves it to that run.
    locked = "" if scope.is_replay else "skip locked"
    # By day first, as the index of what waits is: else each batch would sort the whole backlog.
    order = "seq" if scope.is_replay else "received_on, seq"
    return connection.execute(
        f"select event_id, seq, kid, body, received_at, status, reason from phi.events where {condition} and seq > %s"
        f" order by {order} limit {BATCH} for update {locked}",
        [*values, after if scope.is_replay else -1],
    ).fetchall()


def read_known(connection, cipher: Cipher, claimed: Sequence[Claimed]) -> Known:
    """Find each event's patient, lock the patients, and read what is known of them."""
    if not claimed:
        return Known()
    subjects = sorted({(ACCOUNT + ":" + c.event.source, c.event.subject) for c in claimed})
    first = {}
    for c in claimed:
        first.setdefault((ACCOUNT + ":" + c.event.source, c.event.subject), c.event_id)
    made = [cipher.ring.patient_id(*subject) for subject in subjects]
    systems, values = [s for s, _ in subjects], [v for _, v in subjects]
    connection.execute(
        "insert into phi.identifiers (system, value, patient_id, learned_by, learned_at)"
        " select s, v, p, e, now() from unnest(%s::text[], %s::text[], %s::uuid[], %s::uuid[]) as t(s, v, p, e)"
        " on conflict do nothing",
        (systems, values, made, [first[s] for s in subjects]),
    )
    found = {
        (system, value): str(patient_id)
        for system, value, patient_id in connection.execute(
            "select i.system, i.value, i.patient_id from phi.identifiers i"
            " join unnest(%s::text[], %s::text[]) as t(s, v) on i.system = t.s and i.value = t.v",
            (systems, values),
        )
    }
    for c in claimed:
        c.patient_id = found[(ACCOUNT + ":" + c.event.source, c.event.subject)]
    patients = sorted(set(found.values()))
    # The lock of a patient, always taken in one order: whoever charts a patient does it alone.
    connection.execute(
        "select pg_advisory_xact_lock(k) from (select distinct hashtextextended(p, 0) as k"
        " from unnest(%s::text[]) p order by 1) as keys",
        (patients,),
    )
    known = Known()
    known.patients = {
        str(patient_id)
        for (patient_id,) in connection.execute(
            "select patient_id from phi.charts where patient_id = any(%s::uuid[])", (patients,)
        )
    }
    for (system, value), patient_id in found.items():
        known.accounts.setdefault(patient_id, []).append((system, value))
    taken = {c.event_id for c in claimed}
    for row in connection.execute(
        "select patient_id, event_id, submission_id, form_version, status, authored_at, received_at, time_zone,"
        " doc, contradictions from phi.patient_values where patient_id = any(%s::uuid[])",
        (sorted(known.patients),),
    ):
        if str(row[1]) in taken:
            known.events.add(str(row[1]))
        else:
            known.reports.setdefault(str(row[0]), []).append(_reported(row))
    for patient_id, n, planned in connection.execute(
        "select patient_id, n, planned from ops.copies where target = %s and patient_id = any(%s::uuid[])",
        (TARGET, patients),
    ):
        known.changes[str(patient_id)], known.planned[str(patient_id)] = n, planned
    for patient_id, code, cause in connection.execute(
        "select patient_id, code, cause from ops.tasks where patient_id = any(%s::uuid[])", (patients,)
    ):
        known.tasks.setdefault(str(patient_id), []).append((code, cause))
    return known


def _reported(row: tuple) -> Reported:
    _, event_id, submission_id, version, status, authored_at, received_at, time_zone, values, contradictions = row
    return Reported(
        str(event_id),
        submission_id,
        version,
        status,
        authored_at,
        received_at,
        time_zone,
        values,
        tuple(contradictions),
    )
