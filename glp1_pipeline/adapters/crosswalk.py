"""The crosswalk: every identifier that any system gave a person, when, and by which event; and who is known by one.

Here: the view's own text (the migration makes it), and asking it. Not here: whose an event is (`charts.records`), and
what an event tells (`domain.crosswalk`).
"""

from __future__ import annotations

import uuid
from typing import Any, LiteralString

import psycopg

from ..domain.crosswalk import plain

VIEW: LiteralString = (
    "create view phi.crosswalk as select system, value, record_id, learned_by, learned_at, true as says_who"
    " from phi.identifiers union all select * from (select distinct on (t.system, t.value, t.record_id) t.system,"
    " t.value, t.record_id, t.event_id as learned_by, e.received_at as learned_at, false as says_who"
    " from phi.told_identifiers t join phi.events e using (event_id)"
    " order by t.system, t.value, t.record_id, e.seq) as told"
)
COMMENT: LiteralString = (
    "comment on view phi.crosswalk is 'One row per record and identifier that a system gave it, and the first event"
    " that taught us. says_who: whoever is named by it is that person; else it is only known of them, and several"
    " people may have the same.'"
)
DROP: LiteralString = "drop view phi.crosswalk"


_PATIENTS: LiteralString = (
    "select distinct coalesce(l.patient_id, i.record_id)::text from phi.{} i left join ops.patient_links l"
    " using (record_id) where i.value {} order by 1"
)
SAYS_WHO = _PATIENTS.format("identifiers", "= %(name)s")
KNOWN_OF = _PATIENTS.format("told_identifiers", "in (%(name)s, nullif(%(plain)s, ''))")


class SeveralPatients(LookupError):
    """An identifier that more than one patient was given; `patients` are our opaque ids."""

    def __init__(self, patients: list[str]) -> None:
        super().__init__(
            f"{len(patients)} patients were given this identifier, and nothing tells which is meant: ask by one of"
            f" {', '.join(patients)}"
        )
        self.patients = patients


def find_patient(connection: psycopg.Connection, name: str) -> str | None:
    """Our id of a patient: given as our id of any of their records, or as an identifier that any system gave.

    None where it is nobody's; SeveralPatients where it is more than one's. A name that says who somebody is counts
    before one that is only known of people.
    """
    try:
        row = connection.execute(
            "select patient_id from phi.charts where patient_id = %(id)s union all"
            " select patient_id from ops.patient_links where record_id = %(id)s",
            {"id": str(uuid.UUID(name))},
        ).fetchone()
        if row:
            return str(row[0])
    except ValueError:
        pass  # none of ours: a system's, then
    for statement in (SAYS_WHO, KNOWN_OF):
        rows = connection.execute(statement, {"name": name, "plain": plain(name)}).fetchall()
        if len(rows) == 1:
            return rows[0][0]
        if rows:
            raise SeveralPatients([patient for (patient,) in rows])
    return None


def known_as(connection: psycopg.Connection, records: list[str]) -> list[dict[str, Any]]:
    """By which system each of these records is known, since when and by which event; never the identifier itself."""
    rows = connection.execute(
        "select record_id, system, learned_at, learned_by, says_who from phi.crosswalk"
        " where record_id = any(%s::uuid[]) order by says_who desc, learned_at, system",
        (records,),
    ).fetchall()
    return [{"record": str(i), "system": s, "since": at, "event_id": str(e), "says_who": w} for i, s, at, e, w in rows]


def beside(connection: psycopg.Connection, records: tuple[str, str]) -> dict[str, list[list[str]]]:
    """By system the identifiers that two records were given, side by side: values, for the eyes of who decides."""
    found: dict[str, list[list[str]]] = {}
    for record, system, value in connection.execute(
        "select record_id::text, system, value from phi.crosswalk where record_id = any(%s::uuid[]) order by 2, 3",
        (list(records),),
    ):
        found.setdefault(system, [[], []])[records.index(record)].append(value)
    return found
