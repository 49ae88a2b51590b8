"""How far the CRM was read, and when it is time to look again: rows of ops.poll_cursors.

The cursor is the instant of the last change read, by the CRM's own clock, and never past ours (the database's): a CRM
whose clock was ahead and is set right stamps new changes earlier than old ones. Two clocks apart cost reading twice,
never a change. Not here: reading the CRM (`changes`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.types.json import Jsonb

from glp1_pipeline.domain.crm import Contact

SYSTEM, CHANGED, ARCHIVED = "crm", "contact", "archived"
HINT, DELETION_HINT = "hint", "deletion_hint"
OVERLAP = timedelta(minutes=2)
"""Read again at each look: longer than a CRM's search is behind its contacts."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
LOOK_EVERY_SECONDS = 15.0
SWEEP_EVERY_SECONDS = 600.0
"""Deleted contacts are listed whole, so less often; a webhook makes it at once."""
STEP_SECONDS = 0.2
_DUE: LiteralString = (
    # A look that lies ahead was noted by a clock that was set back since, and tells nothing.
    "select coalesce((select coalesce(c.polled_at not between now() - make_interval(secs => %(every)s) and now(), true)"
    " or c.polled_at <= coalesce((select max(h.polled_at) from ops.poll_cursors h where h.system = c.system"
    " and h.kind = any(%(hints)s)), '-infinity')"
    " from ops.poll_cursors c where c.system = %(system)s and c.kind = %(kind)s), true)"
)
Append = Callable[[list[bytes]], Any]


@dataclass
class Cursor:
    kind: str
    since: datetime | None
    seen: dict[str, list[Any]]
    """Contact -> its state and when it was changed (milliseconds), within the stretch that is read again."""
    began_at: datetime

    def has(self, there: Contact) -> bool:
        return self.seen.get(there.contact_id, [None])[0] == there.stamp

    def note(self, there: Contact, now: Contact | None = None) -> None:
        """It was read; `now` if it changed again since the search showed it. The cursor goes by what the search
        showed, which is in order: by anything later it would pass over what is still to come."""
        state = now or there
        self.seen[there.contact_id] = [state.stamp, round(state.changed_at.timestamp() * 1000)]
        self.since = max(self.since or BEGINNING, min(there.changed_at, self.began_at))

    def start(self) -> datetime:
        return BEGINNING if self.since is None else self.since - OVERLAP


def wait_for_due(connection: Connection[Any], timeout: float, every: float = LOOK_EVERY_SECONDS) -> bool:
    """Wait until it is time to look again or a webhook says so, at most `timeout` seconds."""
    ends = time.monotonic() + timeout
    while True:
        with connection.transaction():  # one each time: `now()` stands still within a transaction
            (is_due,) = row_of(
                connection,
                _DUE,
                {"every": every, "system": SYSTEM, "kind": CHANGED, "hints": [HINT, DELETION_HINT]},
            )
        if is_due:
            return True
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(STEP_SECONDS, left))


def read_cursor(connection: Connection[Any], kind: str) -> Cursor:
    row = connection.execute(
        "select since, seen from ops.poll_cursors where system = %s and kind = %s", (SYSTEM, kind)
    ).fetchone()
    (now,) = row_of(connection, "select clock_timestamp()")
    since, seen = row or (None, {})
    return Cursor(kind, since and min(since, now), dict(seen), now)


def move_cursor(
    connection: Connection[Any], cursor: Cursor, news: list[bytes], append: Append, is_over: bool = False
) -> None:
    """The events and the cursor behind them, in one transaction. `is_over`: all was read that there was."""
    if cursor.since is not None:
        start = round(cursor.start().timestamp() * 1000)
        cursor.seen = {contact_id: state for contact_id, state in cursor.seen.items() if state[1] >= start}
    with connection.transaction():
        if news:
            append(news)
        connection.execute(
            "insert into ops.poll_cursors as c (system, kind, since, seen, polled_at, changes)"
            " values (%(system)s, %(kind)s, %(since)s, %(seen)s, %(at)s, %(changes)s)"
            " on conflict (system, kind) do update set since = excluded.since, seen = excluded.seen,"
            " polled_at = coalesce(excluded.polled_at, c.polled_at), changes = c.changes + excluded.changes",
            {
                "system": SYSTEM,
                "kind": cursor.kind,
                "since": cursor.since,
                "seen": Jsonb(cursor.seen),
                # When the look began: a webhook that came while we read asks for another.
                "at": cursor.began_at if is_over else None,
                "changes": len(news),
            },
        )


def lag_seconds(connection: Connection[Any]) -> float | None:
    """Age of the last look that came to its end; None: none ever did."""
    row = connection.execute(
        "select extract(epoch from now() - polled_at)::float8 from ops.poll_cursors where system = %s and kind = %s",
        (SYSTEM, CHANGED),
    ).fetchone()
    return row[0] if row else None


def is_sweep_due(connection: Connection[Any]) -> bool:
    (is_due,) = row_of(
        connection,
        _DUE,
        {"every": SWEEP_EVERY_SECONDS, "system": SYSTEM, "kind": ARCHIVED, "hints": [DELETION_HINT]},
    )
    return is_due


def row_of(
    connection: Connection[Any], statement: LiteralString, values: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row
