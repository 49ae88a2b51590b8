"""The patients' own clocks: what was reached becomes an event of ours, once.

The time is an argument: a test walks a year in seconds. Here: which moments are due, and their events. Not here: which
moment comes next (`domain.refill.clock`), and what follows from one (`charts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
import psycopg

from ..domain.contract import Contract
from .cipher import Cipher
from .ledger import append

SOURCE = "/pipeline/clock"
MOST = 500


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


def due(connection: psycopg.Connection) -> bool:
    """Whether a moment was reached that no event tells of."""
    row = connection.execute(
        "select exists (select from ops.clocks where rung_at is null and next_at <= now())"
    ).fetchone()
    return row is not None and row[0]
