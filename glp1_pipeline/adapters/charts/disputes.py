"""Who is asked about a resource that somebody changed in another system against us: a task opens, and closes.

Delivery finds such a conflict after the patient was charted, and a person's decision comes at any time; so tasks are
made to follow what stands in `ops.copies`, however it came about. Killed anywhere, the next call finds what is left.
Not here: what is in conflict (`outbox`), and how the task looks (`domain.tasks`).
"""

from __future__ import annotations

from ...domain.contract import Contract
from ...domain.tasks import EDITED, edit_cause
from ..cipher import Cipher
from .claim import Scope
from .run import chart_events


def attend_disputes(connection, contract: Contract, cipher: Cipher) -> int:
    """Open and close these tasks as needed, in the EHR too; of how many patients. `connection` in autocommit mode."""
    asked: dict[str, set[str]] = {}
    for patient_id, key, reason in connection.execute(
        "select coalesce(l.patient_id, c.patient_id)::text, m.key, m.value ->> 'reason' from ops.copies c"
        " left join ops.patient_links l on l.record_id = c.patient_id, jsonb_each(c.conflicts) m"
        " where c.conflicts <> '{}' and not m.value ? 'decision'"
    ):
        asked.setdefault(patient_id, set()).add(edit_cause(key, reason))
    told: dict[str, set[str]] = {}
    for patient_id, cause in connection.execute(
        "select patient_id::text, cause from ops.tasks where code = %s and status = 'open'", (EDITED,)
    ):
        told.setdefault(patient_id, set()).add(cause)
    patients = sorted(p for p in asked.keys() | told.keys() if asked.get(p, set()) != told.get(p, set()))
    # To judge a patient anew takes any one event of theirs; the newest is the least to open.
    newest = [
        event_id
        for (event_id,) in connection.execute(
            "select events[array_upper(events, 1)] from phi.charts where patient_id = any(%s::uuid[])", (patients,)
        )
    ]
    for event_id in newest:
        chart_events(connection, contract, cipher, Scope(event_ids=(event_id,), is_replay=True))
    return len(newest)
