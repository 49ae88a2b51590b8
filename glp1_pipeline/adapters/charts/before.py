"""What stood of the events and patients of a batch, just before it is written: read for the difference alone.

Not here: the comparison (`domain.difference`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.difference import Before


def read_before(connection, event_ids: Sequence[str], patients: Sequence[str]) -> Before:
    """Under the locks of a batch, so that nothing moves between this and the writing."""
    found = Before()
    for event_id, doc in connection.execute(
        "select event_id, doc from phi.patient_values where event_id = any(%s::uuid[])", (list(event_ids),)
    ):
        found.values[str(event_id)] = doc
    wanted = (list(patients),)
    for patient_id, gate_id, outcome in connection.execute(
        "select patient_id, gate_id, outcome from ops.gate_results where patient_id = any(%s::uuid[])", wanted
    ):
        found.gates[str(patient_id), gate_id] = outcome
    for patient_id, flag_id in connection.execute(
        "select patient_id, flag_id from phi.risk_flags where patient_id = any(%s::uuid[]) and status <> 'cleared'",
        wanted,
    ):
        found.flags.setdefault(str(patient_id), set()).add(flag_id)
    for patient_id, code, cause in connection.execute(
        "select patient_id, code, cause from ops.tasks where patient_id = any(%s::uuid[]) and status = 'open'", wanted
    ):
        found.tasks.setdefault(str(patient_id), set()).add((code, cause))
    found.queue = {
        str(patient_id)
        for (patient_id,) in connection.execute(
            "select patient_id from ops.provider_queue where patient_id = any(%s::uuid[]) and left_at is null", wanted
        )
    }
    for patient_id, followup_id, status in connection.execute(
        "select patient_id, followup_id, status from ops.follow_ups where patient_id = any(%s::uuid[])", wanted
    ):
        found.follow_ups.setdefault(str(patient_id), {})[str(followup_id)] = status
    for refill_id, *stood in connection.execute(
        "select refill_id, status, outcome, decided_by from ops.refills where patient_id = any(%s::uuid[])", wanted
    ):
        found.refills[str(refill_id)] = tuple(stood)
    return found
