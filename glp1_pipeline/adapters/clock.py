"""The patients' own clocks: what was reached becomes an event of ours, once.

The time is an argument: a test walks a year in seconds. Here: which moments are due, their events, and how fast they
may come. Not here: which moment comes next (`domain.refill.clock`), and what follows from one (`charts`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
import psycopg

from ..domain.contract import Contract
from ..domain.refill.clock import SOURCE
from .charts import is_backlog
from .cipher import Cipher
from .ledger import append

MOST = 500
ROOM = 1000
"""Events that may wait to be charted before no more moments are rung."""
LOOK_SECONDS = 2.0
SHORT_REST = 0.25


def ring(connection: psycopg.Connection, contract: Contract, cipher: Cipher, now: datetime | None = None) -> int:
    """Bring the moments that were reached into the ledger; how many. `now`: the store's own time where it is left out.

    A moment and the note that it rang are one transaction, so that it rings once, whoever dies when.
    """
    with connection.transaction():
        rows = connection.execute(
            "select patient_id::text, next_at, moment, of_id::text, name, record_id::text, coalesce(%s, now())"
            " from ops.clocks"
            " where rung_at is null and next_at <= coalesce(%s, now()) order by next_at limit %s"
            " for update skip locked",
            (now, now, MOST),
        ).fetchall()
        if not rows:
            return 0
        late = timedelta(hours=contract.followups.remind_within_hours)
        append(connection, contract, cipher, [_event(row, late) for row in rows])
        connection.execute(
            "update ops.clocks set rung_at = now() where patient_id = any(%s::uuid[])", ([row[0] for row in rows],)
        )
    return len(rows)


def _event(row: Sequence, late: timedelta) -> bytes:
    _, at, moment, of_id, name, record_id, now = row
    told = at.astimezone(UTC).isoformat()
    event = {
        "specversion": "1.0",
        "type": moment,
        "source": SOURCE,
        "id": f"{moment}/{of_id}/{name}",
        "subject": record_id,
        "time": told,
        "datacontenttype": "application/json",
        "data": {"record_id": record_id, "of": of_id, "name": name, "at": told, "is_late": now - at > late},
    }
    return orjson.dumps(event)


def ring_on(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, seconds: float, pause: float = LOOK_SECONDS
) -> int:
    """Ring what is due for so many seconds; how many moments.

    Thousands may be due at one hour of the morning, and what is charted goes in the order of receipt: so no more are
    rung while many events wait, and what people send meanwhile waits behind a few of ours, never behind all of them.
    Between two batches it rests for as long as the batch took: others work in the same process.
    """
    rung, ends = 0, time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        began, more = time.monotonic(), 0
        if due(connection) and not is_backlog(connection, ROOM):
            more = ring(connection, contract, cipher)
            rung += more
        took = time.monotonic() - began
        time.sleep(min(left, max(took, SHORT_REST) if more else pause))
    return rung


def due(connection: psycopg.Connection) -> bool:
    """Whether a moment was reached that no event tells of."""
    row = connection.execute(
        "select exists (select from ops.clocks where rung_at is null and next_at <= now())"
    ).fetchone()
    return row is not None and row[0]
