"""Which patient each record is part of: who hangs together by matches, decisions and links, under locks of records.

Here: the locks, always taken in one order, and the links. Not here: how records are grouped (`domain.identity.group`),
and who may be alike (`likely`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from ...domain import identity
from ...domain.contract import Contract

MOST_TOGETHER = 200
"""Records that may hang together and still be joined by themselves."""


def lock(connection, records: Collection[str]) -> None:
    """The locks of records, always taken in one order: whoever charts a patient does it alone."""
    connection.execute(
        "select pg_advisory_xact_lock(k) from (select distinct hashtextextended(p, 0) as k"
        " from unnest(%s::text[]) p order by 1) as keys",
        (sorted(records),),
    )


def regroup(connection, contract: Contract, touched: set[str], locked: set[str]) -> set[str]:
    """Who is whose patient, for all who hang together with the touched; the patients that gained or lost a record."""
    while True:
        around = _around(connection, touched)
        if around <= locked:
            break
        lock(connection, around - locked)  # then look again: what hangs together may have changed while we waited
        locked |= around
    listed = sorted(around)
    edges = [
        identity.Edge(str(a), str(b))
        for a, b in connection.execute(
            "select record_a, record_b from ops.patient_matches where outcome = 'same' and record_a = any(%s::uuid[])",
            (listed,),
        )
    ]
    decided = [
        identity.Decided(action, str(a), str(b), at, str(event_id))
        for action, a, b, at, event_id in connection.execute(
            "select action, record_a, record_b, decided_at, event_id from phi.match_decisions"
            " where record_a = any(%s::uuid[])",
            (listed,),
        )
    ]
    before = _links(connection, listed)
    after = _grouped(connection, contract, listed, edges, decided)
    moved = {r for r in listed if before.get(r, r) != after.get(r, r)}
    for record_id in sorted(moved):
        connection.execute(
            "insert into ops.patient_links (record_id, patient_id, since) values (%s, %s, now())"
            " on conflict (record_id) do update set patient_id = excluded.patient_id, since = excluded.since",
            (record_id, after.get(record_id, record_id)),
        )
    return moved | {before.get(r, r) for r in moved} | {after.get(r, r) for r in moved}


def _grouped(
    connection,
    contract: Contract,
    records: Sequence[str],
    edges: Sequence[identity.Edge],
    decided: Sequence[identity.Decided],
) -> dict[str, str]:
    """Record -> patient. Whom nothing ties together are grouped apart: a batch may touch hundreds of people, and each
    pair of those who hang together is compared."""
    tied = identity.components(records, [*edges, *((d.a, d.b) for d in decided)])
    parts: dict[str, set[str]] = defaultdict(set)
    for record, part in tied.items():
        parts[part].add(record)
    several = {part: those for part, those in parts.items() if len(those) > 1}
    together = sorted(record for those in several.values() for record in those)
    first_at = {
        str(record_id): at
        for record_id, at in connection.execute(
            "select i.record_id, min(coalesce(p.first_at, i.learned_at)) from phi.identifiers i left join phi.people p"
            " using (record_id) where i.record_id = any(%s::uuid[]) group by 1",
            (together,),
        )
    }
    people = {
        str(record_id): identity.Features.from_doc(doc)
        for record_id, doc in connection.execute(
            # Who tells no name contradicts nobody: a birth date alone may be in dispute between two systems.
            "select record_id, features from phi.people where record_id = any(%s::uuid[]) and features ? 'first'",
            (together,),
        )
    }
    edges_of, decided_of = defaultdict(list), defaultdict(list)
    for edge in edges:
        edges_of[tied[edge.a]].append(edge)
    for decision in decided:
        decided_of[tied[decision.a]].append(decision)
    patients: dict[str, str] = {}
    for part, those in several.items():
        # So many alike are no one person: nobody is joined but by people.
        is_few = len(those) <= MOST_TOGETHER
        known = {record: people[record] for record in those & people.keys()} if is_few else {}
        patients |= identity.group(
            {record: first_at[record] for record in those & first_at.keys()},
            edges_of[part] if is_few else (),
            decided_of[part],
            identity.contradictions(contract.identity, known),
        ).patients
    return patients


def _around(connection, records: Iterable[str]) -> set[str]:
    """Everybody who hangs together with these records, by a match, a decision or a link."""
    return {
        str(record_id)
        for (record_id,) in connection.execute(
            "with recursive near as (select unnest(%s::uuid[]) as r union select x.r from near cross join lateral ("
            " select record_b as r from ops.patient_matches where record_a = near.r and outcome = 'same'"
            " union all select record_a from ops.patient_matches where record_b = near.r and outcome = 'same'"
            " union all select record_b from phi.match_decisions where record_a = near.r"
            " union all select record_a from phi.match_decisions where record_b = near.r"
            " union all select patient_id from ops.patient_links where record_id = near.r"
            " union all select record_id from ops.patient_links where patient_id = near.r) x) select r from near",
            (sorted(records),),
        )
    }


def _links(connection, records: Sequence[str]) -> dict[str, str]:
    return {
        str(record_id): str(patient_id)
        for record_id, patient_id in connection.execute(
            "select record_id, patient_id from ops.patient_links where record_id = any(%s::uuid[])", (list(records),)
        )
    }


def locked_patients(connection, records: set[str], locked: set[str]) -> dict[str, str]:
    """As `_patients`, under the locks of all these patients: another run may have events of their other records."""
    while True:
        patients = _patients(connection, records)
        if not (more := set(patients.values()) - locked):
            return patients
        lock(connection, more)  # then look again: who is whose may have changed while we waited
        locked |= more


def _patients(connection, records: set[str]) -> dict[str, str]:
    """Record -> patient, for these records and for all others of their patients."""
    listed = sorted(records)
    patients = _links(connection, listed)
    alone = {record: record for record in records if record not in patients}
    wanted = sorted({*alone, *patients.values()})
    for record_id, patient_id in connection.execute(
        "select record_id, patient_id from ops.patient_links where patient_id = any(%s::uuid[])", (wanted,)
    ):
        patients[str(record_id)] = str(patient_id)
    for patient_id in set(patients.values()):
        patients.setdefault(patient_id, patient_id)  # the survivor needs no link of its own
    return alone | patients
