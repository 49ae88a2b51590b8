"""Hints of the EHR: that something changed there, so that we look at once. A row of ops.poll_cursors under a system of
its own, since nothing is read by it.

A hint while we deliver is most likely the echo of our own write, and waits for the next look that is due anyway: else
each chart that we deliver would cost a run that finds nothing. Not here: receiving it (`adapters.hooks`), and looking.
"""

from __future__ import annotations

import time
from typing import Any, LiteralString

from psycopg import Connection

SYSTEM, HINT = "ehr_hints", "hint"
STEP_SECONDS = 0.2
ECHO_SECONDS = 2.0
"""How long after a delivery of ours its echo may come."""
_COUNT: LiteralString = "select coalesce((select changes from ops.poll_cursors where system = %s and kind = %s), 0)"
_IS_NEWS: LiteralString = (
    "select exists (select from ops.poll_cursors h where h.system = %(system)s and h.kind = %(kind)s"
    " and h.changes > %(seen)s"
    " and not exists (select from ops.writes w where w.target = %(target)s and w.status = 'in_doubt')"
    " and not exists (select from (select * from ops.deliveries order by delivery_id desc limit 100) d"
    " join ops.writes w using (write_id) where w.target = %(target)s and h.polled_at between"
    " d.at - make_interval(secs => d.ms / 1000 + 1) and d.at + make_interval(secs => %(echo)s)))"
)


def note_hint(connection: Connection[Any]) -> None:
    """The EHR said that something changed. Returns once that is committed."""
    connection.execute(
        "insert into ops.poll_cursors as c (system, kind, polled_at, changes) values (%s, %s, now(), 1)"
        " on conflict (system, kind) do update set polled_at = now(), changes = c.changes + 1",
        (SYSTEM, HINT),
    )


def hints(connection: Connection[Any]) -> int:
    """How many there ever were."""
    (count,) = connection.execute(_COUNT, (SYSTEM, HINT)).fetchone() or (0,)
    return count


def wait_for_hint(connection: Connection[Any], target: str, seen: int, timeout: float) -> bool:
    """Wait for a hint beyond the first `seen` ones that is no echo of ours, at most `timeout` seconds."""
    ends = time.monotonic() + timeout
    asked = {"system": SYSTEM, "kind": HINT, "seen": seen, "target": target, "echo": ECHO_SECONDS}
    while True:
        with connection.transaction():  # one each time: what others committed meanwhile is to be seen
            (is_news,) = connection.execute(_IS_NEWS, asked).fetchone() or (False,)
        if is_news:
            return True
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(STEP_SECONDS, left))
