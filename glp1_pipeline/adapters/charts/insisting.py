"""Marks the Patient that is told over what stands in the EHR, as of the version that this was decided on.

In the transaction that plans the write, under its lane's lock. A version that came later matches none, and is for a
person. Not here: what is insisted on (`domain.overruling`), and how it is merged (`domain.outbox`).
"""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from ...domain.overruling import Insistence


def save_insistence(connection, target: str, patient_id: str, insists: Insistence, now: datetime) -> None:
    (place,) = connection.execute(
        "update ops.copies set insisted = insisted || %s::text[] where target = %s and patient_id = %s"
        " returning remote -> %s::text ->> 0",
        (list(insists.tokens), target, patient_id, insists.key),
    ).fetchone()
    heard = [event_id for resource, event_id in insists.heard if resource == f"Patient/{place}"]
    row = connection.execute(
        "select version from phi.events where event_id = any(%s::uuid[]) and source = %s"
        " order by array_position(%s::uuid[], event_id) desc limit 1",
        (heard, f"/{target}/{target}", heard),
    ).fetchone()
    if row is None:
        return  # that server never said otherwise: it was another's word
    mark = {"reason": "edited_in_ehr", "since": now.isoformat(), "decision": "ours", "over": list(insists.over)}
    connection.execute(
        "update ops.copies set conflicts = conflicts || %(mark)s,"
        " remote = jsonb_set(remote, array[%(key)s::text, '1'], to_jsonb(%(version)s::text))"
        " where target = %(target)s and patient_id = %(patient)s",
        {
            "mark": Jsonb({insists.key: mark}),
            "key": insists.key,
            "version": row[0],
            "target": target,
            "patient": patient_id,
        },
    )
