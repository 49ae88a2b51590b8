"""What is known of the patients of a batch, read under the locks that keep runs apart.

Not here: who is the same person (`meet`), what is decided (`domain.charting`) and what is written (`save`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ...domain.charting import Claimed, Copy, Known
from ...domain.contract import CRM, EHR, Contract
from ...domain.events import Decision
from ...domain.outbox import keys_of
from ..cipher import Cipher
from .meet import Met
from .reports import reports_of


def read_known(connection, contract: Contract, cipher: Cipher, claimed: Sequence[Claimed], met: Met) -> Known:
    """What the database knows of all patients that these events are about."""
    known = Known(met.patient_of, met.moved, met.again, met.reviews, accounts=met.accounts)
    known.sent = lambda patient_id: _sent(connection, cipher, patient_id)
    patients = sorted(({*met.patient_of.values()} | met.moved) - met.new)
    if not patients:
        return known
    known.patients = {
        str(patient_id)
        for (patient_id,) in connection.execute(
            "select patient_id from phi.charts where patient_id = any(%s::uuid[])", (patients,)
        )
    }
    taken = {c.event_id for c in claimed}
    # Who has no chart and no link has said nothing yet: most patients of a big file.
    told = sorted(r for r, p in met.patient_of.items() if p in known.patients or r != p or p in met.moved)
    for row in reports_of(connection, told):
        if row.event_id in taken:
            known.events.add(row.event_id)
        else:
            known.reports.setdefault(row.record_id, []).append(row)
    for target, patient_id, n, planned, insisted, conflicts in connection.execute(
        "select target, patient_id, n, planned, insisted, conflicts from ops.copies where target = any(%s)"
        " and patient_id = any(%s::uuid[])",
        ([EHR, CRM], sorted({*patients, *met.patient_of} - met.new)),
    ):
        (known.copies if target == EHR else known.contacts)[str(patient_id)] = Copy(n, planned, insisted)
        if open_now := [(key, mark["reason"]) for key, mark in conflicts.items() if "decision" not in mark]:
            known.disputes.setdefault(str(patient_id), []).extend(open_now)
    if refused := sorted({r for c in claimed if isinstance(c.content, Decision) for r in c.content.records}):
        known.asked = {
            frozenset((str(a), str(b))): at
            for a, b, at in connection.execute(
                "select least(record_a, record_b), greatest(record_a, record_b), min(decided_at)"
                " from phi.match_decisions where action = 'asked' and record_a = any(%(r)s::uuid[])"
                " and record_b = any(%(r)s::uuid[]) group by 1, 2",
                {"r": refused},
            )
        }
    for patient_id, code, cause in connection.execute(
        "select patient_id, code, cause from ops.tasks where patient_id = any(%s::uuid[])", (patients,)
    ):
        known.tasks.setdefault(str(patient_id), []).append((code, cause))
    for patient_id, refill_id, is_by_this_contract, *ended in connection.execute(
        "select patient_id, refill_id, contract_version = %s, status, ended_at from ops.refills"
        " where patient_id = any(%s::uuid[]) and ended_at is not null",
        (contract.version, sorted(known.patients)),
    ):
        known.over_refills.setdefault(str(patient_id), set()).add(str(refill_id))
        if is_by_this_contract:
            known.ended_refills.setdefault(str(patient_id), {})[str(refill_id)] = tuple(ended)
    return known


def _sent(connection, cipher: Cipher, patient_id: str) -> dict[str, dict[str, Any]]:
    """The content of each resource as it was last decided for the EHR."""
    last: dict[str, dict[str, Any]] = {}
    for write_id, kid, body in connection.execute(
        "select write_id, b.kid, b.body from ops.writes w join phi.write_bodies b using (write_id)"
        " where w.target = %s and w.patient_id = %s order by w.n",
        (EHR, patient_id),
    ):
        last |= keys_of(orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}")))
    return last
