"""Refills in numbers: what waits, how it was decided, what went on, and what was let through by whom.

Here: counts and ages of all patients together. Not here: one patient or one request (`asking`).
"""

from __future__ import annotations

from typing import Any

import psycopg

LATELY_DAYS = 30


def count_requests(connection: psycopg.Connection) -> dict[str, Any]:
    """Requests by status; open ones by outcome with the hours of the oldest; hours from request to the provider's
    queue; and how many went on although their decision held them."""
    rows = lambda sql, *values: connection.execute(sql, values).fetchall()  # noqa: E731
    ((queued, median, p95),) = rows(
        "select count(*), percentile_cont(0.5) within group (order by h), percentile_cont(0.95) within group (order by"
        " h) from (select extract(epoch from queued_at - requested_at) / 3600 as h from ops.refills"
        " where queued_at > now() - make_interval(days => %s)) as t",
        LATELY_DAYS,
    )
    return {
        "by_status": dict(rows("select status, count(*) from ops.refills group by 1 order by 1")),
        "open": {
            outcome: {"requests": n, "oldest_hours": round(float(hours), 2)}
            for outcome, n, hours in rows(
                "select outcome, count(*), extract(epoch from now() - min(since)) / 3600 from ops.refills"
                " where status = 'open' group by 1 order by 1"
            )
        },
        "by_reason": dict(
            rows(
                "select r, count(*) from ops.refills, unnest(reasons) as r where status = 'open' group by 1"
                " order by 2 desc, 1 limit 20"
            )
        ),
        "queue_hours": {
            "requests": queued,
            "median": None if median is None else round(float(median), 2),
            "p95": None if p95 is None else round(float(p95), 2),
        },
        "against_hold": dict(
            rows("select decided_by, count(*) from ops.refills where is_against_hold group by 1 order by 2 desc, 1")
        ),
        "against_hold_lately": rows(
            "select count(*) from ops.refills where is_against_hold and ended_at > now() - make_interval(days => %s)",
            LATELY_DAYS,
        )[0][0],
    }


def faults_of_fields(connection: psycopg.Connection) -> dict[str, int]:
    """Refills that went on, or may go on now, without what must be known of them (F2). The second is asked of the
    check-ins themselves, not of the decision."""
    row = connection.execute(
        "select (select count(*) from ops.refills where status in ('approved', 'dispensed') and outcome ="
        " 'not_eligible'), (select count(*) from ops.refills r where r.status = 'open' and r.outcome ="
        " 'provider_queue' and not exists (select from ops.follow_ups f where f.patient_id = r.patient_id"
        " and f.family = r.family and f.ended_at is null and f.answered_at is not null and f.missing = '{}'))"
    ).fetchone()
    assert row is not None
    return {"went_on": row[0], "in_queue": row[1]}


def count_decisions(connection: psycopg.Connection) -> dict[str, Any]:
    """Decisions of all time by outcome and by rule, those of the last seven days by outcome, and versions of rules."""
    rows = connection.execute(
        "select outcome, decided_by, count(*), count(*) filter (where made_at > now() - interval '7 days')"
        " from phi.refill_decisions group by 1, 2 order by 3 desc, 1, 2"
    ).fetchall()
    versions = connection.execute("select count(*) from ops.refill_rules").fetchone()
    found: dict[str, Any] = {"all": 0, "by_outcome": {}, "by_rule": {}, "in_7_days": {}}
    for outcome, rule, n, lately in rows:
        found["all"] += n
        for name, key, count in (
            ("by_outcome", outcome, n), ("by_rule", rule, n), ("in_7_days", outcome, lately),
        ):  # fmt: skip
            found[name][key] = found[name].get(key, 0) + count
    return found | {"rules_versions": versions[0] if versions else 0}


def count_overrides(connection: psycopg.Connection) -> dict[str, Any]:
    """Overrides in force, and of the last days and the same days before: how many, by reason and by role, and their
    rate: requests that were let through, of a hundred that were asked for."""
    row = connection.execute(
        "select (select count(*) from ops.refill_overrides),"
        " (select count(*) from ops.refill_overrides where since <= now() and now() < expires_at)"
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = {"all": row[0], "in_force": row[1]}
    for name, (older, newer) in {"lately": (LATELY_DAYS, 0), "before": (2 * LATELY_DAYS, LATELY_DAYS)}.items():
        span = {"older": older, "newer": newer}
        asked = connection.execute(
            "select count(*) from ops.refills where requested_at > now() - make_interval(days => %(older)s)"
            " and requested_at <= now() - make_interval(days => %(newer)s)",
            span,
        ).fetchone()
        given = connection.execute(
            "select reason, role, count(*), array_agg(distinct refill_id::text) from ops.refill_overrides"
            " where since > now() - make_interval(days => %(older)s)"
            " and since <= now() - make_interval(days => %(newer)s) group by 1, 2 order by 1, 2",
            span,
        ).fetchall()
        requests = asked[0] if asked else 0
        found[name] = {
            "requests": requests,
            "overrides": sum(n for _, _, n, _ in given),
            "rate": _rate({one for *_, ids in given for one in ids}, requests),
            "by_reason": _by(given, 0, requests),
            "by_role": _by(given, 1, requests),
        }
    return found


def _by(given: list[tuple], column: int, requests: int) -> dict[str, dict[str, Any]]:
    names = sorted({row[column] for row in given})
    return {
        name: {
            "overrides": sum(row[2] for row in given if row[column] == name),
            "rate": _rate({one for row in given if row[column] == name for one in row[3]}, requests),
        }
        for name in names
    }


def _rate(refills: set[str], requests: int) -> float:
    """Of a hundred. Where fewer were asked for than let through (they are older requests), it is the whole."""
    return round(100 * len(refills) / max(requests, len(refills), 1), 2)
