"""Check-ins, requests of refills, and the clocks that move both, as parts of the page of health.

Reads alone, in counts and times. Not here: the other parts (`health`), and what is wrong with them (`domain.health`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg import Connection

from glp1_pipeline.domain.health import Part


def refill_parts(connection: Connection[Any], ago: Callable[[datetime], str]) -> list[Part]:
    """`ago`: how long something has been so, in words."""
    counted = connection.execute("select status, count(*) from ops.follow_ups where ended_at is null group by 1")
    live = dict(counted.fetchall())
    check_ins = ", ".join(f"{live.get(status, 0)} {status}" for status in ("open", "due", "missed"))
    (waiting, oldest, queued), *_ = connection.execute(
        "select count(*) filter (where outcome not in ('provider_queue', 'wait_until')), min(since) filter (where"
        " outcome not in ('provider_queue', 'wait_until')), count(*) filter (where outcome = 'provider_queue')"
        " from ops.refills where status = 'open'"
    ).fetchall()
    since = f", the oldest for {ago(oldest)}" if oldest else ""
    (due, clocks), *_ = connection.execute(
        "select count(*) filter (where rung_at is null and next_at <= now()), count(*) from ops.clocks"
    ).fetchall()
    return [
        Part("queue", "check-ins", check_ins),
        Part("queue", "refill requests", f"{waiting} held or not eligible{since}; {queued} in the provider's queue"),
        Part("program", "patients' clocks", f"{clocks} clocks, {due} moments due"),
    ]
