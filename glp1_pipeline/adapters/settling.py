"""What a steward says of a field that systems disagree about: which value is right, as an event in the ledger.

Here: finding the two values of the dispute. Not here: whose word counts without a steward (`domain.ownership`).
"""

from __future__ import annotations

import uuid
from typing import Literal

import psycopg

from ..domain.contract import Contract
from ..domain.events.changes import SETTLED
from .cipher import Cipher
from .matches import WordRefused, put

Keep = Literal["holding", "offered"]


def settle_field(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    patient_id: str,
    field: str,
    keep: Keep,
    actor: str,
    reason: str,
    source: str | None = None,
) -> uuid.UUID:
    """Put the steward's word into the ledger; the id of its event.

    `holding` is the value that the chart has now; `offered` the one of the conflict, of `source` where several offer
    one. WordRefused says what is missing.
    """
    found = connection.execute(
        "select c.source, v.record_id::text, v.doc -> c.field from ops.field_conflicts c join phi.patient_values v"
        " using (event_id) where c.patient_id = %s and c.field = %s and c.closed_at is null"
        " and (%s::text is null or c.source = %s) order by c.since desc, c.source",
        (patient_id, field, source, source),
    ).fetchall()
    if not found:
        raise WordRefused("nothing is in conflict about this field: `glp1 why PATIENT` lists what is")
    if len(found) > 1 and keep == "offered":
        offering = ", ".join(row[0] for row in found)
        raise WordRefused(f"several systems offer a value: say whose by --source ({offering})")
    _, record_id, value = found[0]
    if keep == "holding":
        row = connection.execute(
            "select value from phi.chart_values where patient_id = %s and field = %s and not is_finding",
            (patient_id, field),
        ).fetchone()
        value = row[0] if row else None
    if not isinstance(value, dict) or not {"value", "null"} & value.keys():
        raise WordRefused("that answer was held or taken back: mend it at its source")
    data = {
        "record_id": record_id,
        "field": field,
        "value": {key: part for key, part in value.items() if key in ("value", "null")},
        "actor": actor,
        "reason": reason,
    }
    return put(connection, contract, cipher, SETTLED, record_id, data)
