"""The whole journey of one event: received, charted, in the queue, each write that it is part of, each attempt.

Here: reading, in ids, names and times, never a value. Not here: a patient's state (`status`), many events (`hops`).
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import psycopg

from ..domain.contract import CRM, EHR
from .status import patient_of

MERGED = (
    "select %(record)s::uuid union select patient_id from ops.patient_links where record_id = %(record)s"
    " union select record_a from phi.match_decisions where record_b = %(record)s and action = 'merge'"
)
"""Whose writes an event of a record may be in: its own, and those of whoever's patient it is or was."""

TOLD = "type", "source", "status", "reason", "hint", "drop_id", "line", "taken_by_run", "settled_by_run"


def trace(connection: psycopg.Connection, event_id: uuid.UUID) -> dict[str, Any] | None:
    """The journey, with `hops` in seconds; None where no event has this id. What has not happened is None or empty, as
    is the run of what no run of Dagster did (a command, say).

    Charting and entering the queue are one transaction, so between them there is no hop to wait at.
    """
    row = connection.execute(
        "select e.type, e.source, e.status, e.reason, e.hint, e.drop_id::text, e.line, e.taken_by_run,"
        " e.settled_by_run, e.received_at, e.settled_at, e.occurred_at, e.record_id from phi.events e"
        " where event_id = %s",
        (event_id,),
    ).fetchone()
    if row is None:
        return None
    *_, received_at, settled_at, occurred_at, record_id = row
    found: dict[str, Any] = {
        "event_id": str(event_id),
        **dict(zip(TOLD, row, strict=False)),
        "occurred_at": occurred_at,
        "received_at": received_at,
        "charted_at": settled_at if row[2] == "charted" else None,
        "failed_at": settled_at if row[2] in ("rejected", "dead") else None,
        "patient_id": None,
        "queue": None,
        "decisions": [],
        "writes": [],
        "replays": _replays(connection, event_id),
    }
    if record_id is not None:
        found |= _of_record(connection, event_id, record_id)
    hops = {"receipt to charted": _seconds(received_at, found["charted_at"])}
    if found["queue"]:
        hops["receipt to queue"] = _seconds(received_at, found["queue"]["entered_at"])
    for write in found["writes"]:
        if write["status"] == "delivered":
            hops[f"change to {write['target']} ({write['write']})"] = _seconds(write["decided_at"], write["settled_at"])
    return found | {"hops": {name: seconds for name, seconds in hops.items() if seconds is not None}}


def _of_record(connection, event_id: uuid.UUID, record_id: uuid.UUID) -> dict[str, Any]:
    patient_id = uuid.UUID(patient_of(connection, record_id))
    queue = connection.execute(
        "select entered_at, left_at from ops.provider_queue where patient_id = %s", (patient_id,)
    ).fetchone()
    writes = connection.execute(
        "select write_id, target, n, kind, status, resources, tries, last_class, created_at, settled_at, run_id"
        f" from ops.writes where target = any(%(targets)s) and patient_id in ({MERGED}) and %(event)s = any(events)"
        " order by created_at, target, n",
        {"record": record_id, "targets": [EHR, CRM], "event": event_id},
    ).fetchall()
    names = "write", "target", "n", "kind", "status", "resources", "tries", "last", "decided_at", "settled_at", "run"
    told = [dict(zip(names, write, strict=True)) | {"attempts": []} for write in writes]
    by_id = {write["write"]: write for write in told}
    names = "attempt", "at", "ms", "http_status", "outcome", "trouble", "run"
    for write_id, *tried in connection.execute(
        "select write_id, attempt, at, round(ms::numeric, 1)::float8, http_status, outcome, trouble, run_id"
        " from ops.deliveries where write_id = any(%s) order by delivery_id",
        (list(by_id),),
    ):
        by_id[write_id]["attempts"].append(dict(zip(names, tried, strict=True)))
    return {
        "patient_id": str(patient_id),
        "queue": {"entered_at": queue[0], "left_at": queue[1]} if queue else None,
        "decisions": _decisions(connection, event_id, patient_id),
        "writes": told,
    }


def _decisions(connection, event_id: uuid.UUID, patient_id: uuid.UUID) -> list[dict[str, Any]]:
    """Decisions on refills that were made because of the event: a request is looked at again at the moment of each word
    of its patient, and a decision is kept where it is another than the one before."""
    rows = connection.execute(
        "select d.decision_id::text, d.refill_id::text, d.as_of, d.outcome, d.decided_by from phi.patient_values v"
        " join ops.refills r on r.patient_id = %s join phi.refill_decisions d on d.refill_id = r.refill_id"
        " and d.as_of = v.received_at where v.event_id = %s order by d.as_of, d.made_at",
        (patient_id, event_id),
    ).fetchall()
    names = "decision_id", "refill_id", "as_of", "outcome", "rule"
    return [dict(zip(names, row, strict=True)) for row in rows]


def _replays(connection, event_id: uuid.UUID) -> list[dict[str, Any]]:
    rows = connection.execute(
        "select p.plan_id::text, e.done_at, p.actor from ops.replay_plan_events e join ops.replay_plans p"
        " using (plan_id) where e.event_id = %s and e.done_at is not null order by e.done_at",
        (event_id,),
    ).fetchall()
    return [dict(zip(("plan_id", "at", "actor"), row, strict=True)) for row in rows]


def _seconds(since: datetime, until: datetime | None) -> float | None:
    return None if until is None or until < since else round((until - since).total_seconds(), 3)
