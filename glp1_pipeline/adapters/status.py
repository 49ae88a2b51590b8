"""Answers for people: how the whole stands, and for one patient every unmet thing, since when, and whose it is.

Here: reading, in names, counts and times, never a value. Not here: whether it adds up (`balance`).
"""

from __future__ import annotations

import uuid
from typing import Any

import psycopg

from ..domain.chart import death
from .charts.conflicts import conflicts_of
from .charts.reports import reports_of
from .crosswalk import known_as
from .hops import LATELY_DELIVERED


def status(connection: psycopg.Connection) -> dict[str, Any]:
    """Counts along the road, why what is held is held, and how long each hop takes (median and p95, last day)."""
    rows = lambda sql: connection.execute(sql).fetchall()  # noqa: E731
    found: dict[str, Any] = {
        "events": dict(rows("select status, count(*) from phi.events group by 1 order by 1")),
        "rejected": dict(
            rows("select reason, count(*) from phi.events where status = 'rejected' group by 1 order by 2 desc, 1")
        ),
        "refused_drops": dict(
            rows("select reason, count(*) from ops.drops where state = 'refused' group by 1 order by 2 desc")
        ),
        "duplicates": rows("select coalesce(sum(duplicates), 0)::bigint from ops.drops")[0][0],
        "patients": rows("select count(*) from phi.charts")[0][0],
        "gate": dict(rows("select outcome, count(*) from ops.gate_results group by 1 order by 1")),
        "missing": dict(
            rows("select m, count(*) from ops.gate_results, unnest(missing) m group by 1 order by 2 desc, 1 limit 12")
        ),
        "queue": rows("select count(*) from ops.provider_queue where left_at is null")[0][0],
        "flags": dict(
            rows("select severity, count(*) from phi.risk_flags where status <> 'cleared' group by 1 order by 1")
        ),
        "tasks_open": dict(
            rows("select code, count(*) from ops.tasks where status = 'open' group by 1 order by 2 desc, 1")
        ),
        "tasks_overdue": rows("select count(*) from ops.tasks where status = 'open' and due_at < now()")[0][0],
        "writes": dict(rows("select status, count(*) from ops.writes group by 1 order by 1")),
        "blocked_lanes": dict(
            rows("select blocked, count(*) from ops.lanes where blocked is not null group by 1 order by 2 desc")
        ),
        "conflicts": dict(
            rows(
                "select m.value ->> 'reason', count(*) from ops.copies c, jsonb_each(c.conflicts) m"
                " where c.conflicts <> '{}' and not m.value ? 'decision' group by 1 order by 2 desc"
            )
        ),
        "breakers": dict(rows("select target, state from ops.breakers order by 1")),
        "breaker_reasons": dict(rows("select target, reason from ops.breakers where state <> 'closed' order by 1")),
    }
    for name, sql in LATENCIES.items():
        median, p95 = rows(sql)[0]
        found[name] = {"median": _seconds(median), "p95": _seconds(p95)}
    return found


_QUANTILES = (
    "select percentile_cont(0.5) within group (order by {0}), percentile_cont(0.95) within group (order by {0})"
)
LATENCIES = {
    "seconds_receipt_to_queue": _QUANTILES.format("extract(epoch from entered_at - submitted_at)")
    + " from ops.provider_queue where entered_at > now() - interval '1 day'",
    **{
        f"seconds_change_to_{target}": _QUANTILES.format("extract(epoch from settled_at - created_at)")
        + f" from ({LATELY_DELIVERED}) as w where target = '{target}' and settled_at > now() - interval '1 day'"
        for target in ("ehr", "crm")
    },
}


def events(connection: psycopg.Connection, status: str, limit: int) -> list[dict[str, Any]]:
    """The newest events of a status: id, place (drop and line), reason, and how to mend it; never a value."""
    rows = connection.execute(
        "select event_id::text, drop_id::text, line, received_at, type, reason, hint from phi.events where status = %s"
        # By day first, as the index is: else all of a status would be sorted for the newest few.
        " order by received_on desc, seq desc limit %s",
        (status, limit),
    ).fetchall()
    names = ("event_id", "drop_id", "line", "received_at", "type", "reason", "hint")
    return [dict(zip(names, row, strict=True)) for row in rows]


def records_of(connection: psycopg.Connection, patient_id: str) -> list[str]:
    """The records that a patient is made of."""
    rows = connection.execute("select record_id::text from ops.patient_links where patient_id = %s", (patient_id,))
    return sorted({patient_id, *(record_id for (record_id,) in rows)})


def patient_of(connection: psycopg.Connection, record_id: uuid.UUID | str) -> str:
    """Whose patient a record is now."""
    row = connection.execute("select patient_id::text from ops.patient_links where record_id = %s", (record_id,))
    return (row.fetchone() or (str(record_id),))[0]


def events_of(connection: psycopg.Connection, patient_id: str) -> tuple[uuid.UUID, ...]:
    """The charted events of all records of a patient: what a replay of the patient takes."""
    rows = connection.execute(
        "select event_id from phi.events where record_id = any(%s::uuid[]) and status = 'charted' order by seq",
        (records_of(connection, patient_id),),
    ).fetchall()
    return tuple(event_id for (event_id,) in rows)


def why(connection: psycopg.Connection, patient_id: str) -> dict[str, Any]:
    """Every unmet thing of a patient: what, since when, whose, until when. Names and times, never a value."""
    rows = lambda sql: connection.execute(sql, (patient_id,)).fetchall()  # noqa: E731
    records = records_of(connection, patient_id)
    # What was begun under a record before it became part of the patient goes on under it.
    of_all = lambda sql: connection.execute(sql, (records,)).fetchall()  # noqa: E731
    chart = rows("select stage, received_at, cardinality(events) from phi.charts where patient_id = %s")
    died = death(reports_of(connection, records))
    queue = rows("select entered_at, left_at from ops.provider_queue where patient_id = %s")
    return {
        "patient_id": patient_id,
        "stage": chart[0][0] if chart else None,
        "events": chart[0][2] if chart else 0,
        "last_heard_of": chart[0][1] if chart else None,
        "deceased_since": None if died is None else died.said_at,
        "records": known_as(connection, records),
        "in_queue_since": queue[0][0] if queue and queue[0][1] is None else None,
        "gates": [
            {"gate": g, "outcome": o, "since": s, "missing": [_missing(m) for m in missing]}
            for g, o, s, missing in rows(
                "select gate_id, outcome, since, missing from ops.gate_results where patient_id = %s order by 1"
            )
        ],
        "tasks": [
            {"task": c, "cause": x, "queue": q, "owner": o, "since": s, "due": d}
            for c, x, q, o, s, d in rows(
                "select code, cause, queue, owner, opened_at, due_at from ops.tasks where patient_id = %s"
                " and status = 'open' order by due_at, code, cause"
            )
        ],
        "flags": [
            {"flag": f, "severity": s, "status": t, "fields": list(fields)}
            for f, s, t, fields in rows(
                "select flag_id, severity, status, fields from phi.risk_flags where patient_id = %s and status <>"
                " 'cleared' order by array_position(array['red', 'amber', 'info'], severity), flag_id"
            )
        ],
        "writes": [
            {"target": target, "write": n, "status": s, "tries": t, "since": c, "last": last}
            for target, n, s, t, c, last in of_all(
                "select target, n, status, tries, created_at, last_class from ops.writes"
                " where patient_id = any(%s::uuid[]) and status not in ('delivered', 'cancelled')"
                " order by target desc, n"
            )
        ],
        "out_of_reach": [
            {"target": target, "reason": reason}
            for target, reason in of_all(
                "select b.target, b.reason from ops.breakers b where b.state <> 'closed' and exists (select from"
                " ops.writes w where w.target = b.target and w.patient_id = any(%s::uuid[])"
                " and w.status not in ('delivered', 'cancelled')) order by 1 desc"
            )
        ],
        "blocked": [
            {"target": target, "reason": reason}
            for target, reason in of_all(
                "select distinct target, blocked from ops.lanes where patient_id = any(%s::uuid[])"
                " and blocked is not null order by target desc, blocked"
            )
        ],
        "conflicts": [
            {"target": target, "resource": k, "reason": r, "since": s, "decision": d}
            for target, k, r, s, d in of_all(
                "select c.target, m.key, m.value ->> 'reason', (m.value ->> 'since')::timestamptz,"
                " m.value ->> 'decision' from ops.copies c, jsonb_each(c.conflicts) m"
                " where c.patient_id = any(%s::uuid[]) order by 4, 2, 1"
            )
        ],
        "disagreements": conflicts_of(connection, patient_id),
        "last_events": [
            {"event_id": str(e), "type": y, "received_at": r, "status": s, "reason": n, "hint": h}
            for e, y, r, s, n, h in of_all(
                "select event_id, type, received_at, status, reason, hint from phi.events"
                " where record_id = any(%s::uuid[]) order by seq desc limit 20"
            )
        ],
    }


def _missing(entry: str) -> dict[str, str]:
    name, _, state = entry.rpartition(":")
    return {"field": name, "state": state}


def _seconds(value) -> float | None:
    return None if value is None else round(float(value), 3)
