"""Who the events of a batch are about: the patient that each record is part of.

Here: candidates for a match, decisions of stewards, and the links between records, all under locks that two runs take
in one order. Not here: the record of an event (`records`), when two records are one person (`domain.identity`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from ...domain import identity
from ...domain.chart import Reported
from ...domain.charting import Claimed, Read
from ...domain.contract import Contract
from ...domain.crosswalk import ACCOUNT
from ...domain.events import Decision
from ..copying import copy_rows
from .reports import reports_of

FIELDS = frozenset(
    (
        "demo.legal_first", "demo.legal_last", "demo.preferred_name", "demo.dob", "demo.sex_at_birth", "demo.email",
        "demo.mobile", "demo.address", "demo.state_residence",
    )
)  # fmt: skip
"""What tells who somebody is."""
MOST_CANDIDATES = 200
"""Per key: what more people share, as an office's phone, tells hardly anybody apart."""
MOST_TOGETHER = 200
"""Records that may hang together and still be joined by themselves."""


@dataclass(slots=True)
class Met:
    """Records, patients and what was learned of them."""

    patient_of: dict[str, str] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Patients whose records are others than before, and records that are no patient of their own any more."""
    again: set[str] = field(default_factory=set)
    """Patients whose matches are others than before."""
    reviews: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> records of others, heard of earlier, of whom a person must say whether they are the same."""
    accounts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    """Records who may be somebody that another run brings just now: who they are is known once it has committed."""


def meet(connection, contract: Contract, claimed: Sequence[Claimed], said: Read, *, may_leave: bool = False) -> Met:
    """Who is one person with whom, now that these events are known. From here to the commit the patients are ours.

    `may_leave`: who may be somebody of a run under way is left for another batch, unless all are; else waited for.
    """
    decisions = [c for c in claimed if isinstance(c.content, Decision)]
    records = {c.record_id for c in claimed} | {r for c in decisions for r in _decision(c).records}
    lock(connection, records)
    _save_decisions(connection, decisions)
    touched, left = _match(connection, contract, claimed, said, len(records) if may_leave else 0)
    touched |= {r for c in decisions for r in _decision(c).records}
    for pair in connection.execute(
        "select record_a, record_b from ops.patient_matches where basis = 'exact' and (record_a = any(%(r)s::uuid[])"
        " or record_b = any(%(r)s::uuid[]))",
        {"r": sorted(records)},
    ):
        touched |= {str(record) for record in pair}
    moved = _regroup(connection, contract, touched, records) if touched else set()
    met = Met(moved=moved, left=left)
    met.patient_of = _locked_patients(connection, records | moved | touched, records)
    met.again = {met.patient_of[record] for record in touched}
    for mine, other in connection.execute(
        "select later, earlier from ops.patient_match_reviews where later = any(%s::uuid[])",
        (sorted(met.patient_of),),
    ):
        met.reviews.setdefault(met.patient_of[str(mine)], set()).add(str(other))
    for system, value, record_id in connection.execute(
        "select system, value, record_id from phi.identifiers where record_id = any(%s::uuid[])"
        " and starts_with(system, %s) order by system, value",
        (sorted(met.patient_of), ACCOUNT),
    ):
        met.accounts.setdefault(str(record_id), []).append((system, value))
    return met


def lock(connection, records: Collection[str]) -> None:
    """The locks of records, always taken in one order: whoever charts a patient does it alone."""
    connection.execute(
        "select pg_advisory_xact_lock(k) from (select distinct hashtextextended(p, 0) as k"
        " from unnest(%s::text[]) p order by 1) as keys",
        (sorted(records),),
    )


def _decision(c: Claimed) -> Decision:
    assert isinstance(c.content, Decision)
    return c.content


def _save_decisions(connection, decisions: Sequence[Claimed]) -> None:
    for c in decisions:
        told = _decision(c)
        connection.execute(
            "insert into phi.match_decisions (event_id, action, record_a, record_b, actor, reason, decided_at)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict (event_id) do nothing",
            (c.event_id, told.action, *told.records, told.actor, told.reason, told.decided_at),
        )


def _match(
    connection, contract: Contract, claimed: Sequence[Claimed], said: Read, fewer: int
) -> tuple[set[str], set[str]]:
    """Compare whoever says something new of who they are with whom they may be; the records whose matches changed, and
    those that are left, `fewer` than so many."""
    reports: dict[str, list[Reported]] = defaultdict(list)
    for report in said.reports.values():
        if not report.is_draft and not FIELDS.isdisjoint(report.values):
            reports[report.record_id].append(report)
    if not reports:
        return set(), set()
    stored = {
        str(record_id): (features, first_at)
        for record_id, features, first_at in connection.execute(
            "select record_id, features, first_at from phi.people where record_id = any(%s::uuid[])", (sorted(reports),)
        )
    }
    taken, replayed = {c.event_id for c in claimed}, set[str]()
    for report in reports_of(connection, sorted(stored)):
        if report.event_id in taken:
            replayed.add(report.record_id)  # the model may be another since
        elif not report.is_draft and not FIELDS.isdisjoint(report.values):
            reports[report.record_id].append(report)
    changed: dict[str, identity.Features] = {}
    rows: list[tuple[str, str, datetime]] = []
    for record_id, told in reports.items():
        features = identity.features(contract.identity, _who(told))
        document, first_at = features.to_doc(), min(report.said_at for report in told)
        before = stored.get(record_id)
        if before is None or before[0] != document or record_id in replayed:
            changed[record_id] = features
        if before is None or before != (document, first_at) or record_id in replayed:
            rows.append((record_id, orjson.dumps(document).decode(), first_at))
    keys = {record_id: identity.blocking_keys(told) for record_id, told in changed.items()}
    left = _lock_keys(connection, keys, fewer)
    changed = {record_id: told for record_id, told in changed.items() if record_id not in left}
    rows = [row for row in rows if row[0] not in left]
    if rows:
        _save_people(connection, rows, {record_id: keys[record_id] for record_id in changed}, known=stored.keys())
    again = {r for r, document, first_at in rows if r in stored and stored[r] != (orjson.loads(document), first_at)}
    # Who was heard of first may be another than before, and the question is then the other's to wait for.
    matched = _compare(connection, contract, changed, {record_id: keys[record_id] for record_id in changed})
    return matched | again | _partners(connection, again), left


def _lock_keys(connection, keys: Mapping[str, Collection[int]], fewer: int) -> set[str]:
    """Two runs that bring the same person at once must not miss each other: keys are one run's until it commits, and
    who has them next sees what it brought. The records, `fewer` than so many, with a key that another run has; where
    they are more, it is waited for."""
    wanted = sorted({key for own in keys.values() for key in own})
    busy = {
        key
        for (key,) in connection.execute(
            "select k from unnest(%s::bigint[]) k where not pg_try_advisory_xact_lock(k)", (wanted,)
        )
    }
    left = {record_id for record_id, own in keys.items() if not busy.isdisjoint(own)}
    if not left or len(left) < fewer:
        return left
    connection.execute(
        "select pg_advisory_xact_lock(k) from (select k from unnest(%s::bigint[]) k order by 1) as keys",
        (sorted(busy),),
    )
    return set()


def _partners(connection, records: set[str]) -> set[str]:
    """Those who may be the same person as one of these."""
    if not records:
        return set()
    return {
        str(record)
        for (record,) in connection.execute(
            "select record_b from ops.patient_matches where record_a = any(%(r)s::uuid[])"
            " union select record_a from ops.patient_matches where record_b = any(%(r)s::uuid[])",
            {"r": sorted(records)},
        )
    }


def _who(told: Iterable[Reported]) -> dict[str, Any]:
    """Of each field that tells who somebody is what was said last, whoever said it."""
    return {
        name: value["value"]
        for report in sorted(told, key=lambda r: r.order)
        for name in FIELDS
        if (value := report.values.get(name)) is not None and "value" in value
    }


def _save_people(connection, rows, keys: Mapping[str, Collection[int]], known: Collection[str]) -> None:
    """`keys`: of those who say something new of who they are."""
    fresh = [row for row in rows if row[0] not in known]
    copy_rows(connection, "phi.people", ("record_id", "features", "first_at"), fresh)
    for record_id, document, first_at in (row for row in rows if row[0] in known):
        connection.execute(
            "update phi.people set features = %s, first_at = %s where record_id = %s",
            (document, first_at, record_id),
        )
    if again := [record_id for record_id in keys if record_id in known]:
        connection.execute("delete from phi.people_keys where record_id = any(%s::uuid[])", (again,))
    pairs = ((key, record_id) for record_id, own in keys.items() for key in own)
    copy_rows(connection, "phi.people_keys", ("key", "record_id"), pairs)


def _compare(
    connection, contract: Contract, changed: Mapping[str, identity.Features], keys: Mapping[str, Collection[int]]
) -> set[str]:
    """Judge each changed record beside its candidates, found by these keys; the records whose matches are others than
    before."""
    if not changed:
        return set()
    before = {
        (str(a), str(b)): (outcome, weight, agreements, guards)
        for a, b, outcome, weight, agreements, guards in connection.execute(
            "select record_a, record_b, outcome, weight, agreements, guards from ops.patient_matches"
            " where basis = 'model' and (record_a = any(%(r)s::uuid[]) or record_b = any(%(r)s::uuid[]))",
            {"r": sorted(changed)},
        )
    }
    near = _candidates(connection, keys, before)
    people = {**changed}
    for record, document in connection.execute(
        "select record_id, features from phi.people where record_id = any(%s::uuid[])",
        (sorted({other for others in near.values() for other in others} - changed.keys()),),
    ):
        people[str(record)] = identity.Features.from_doc(document)
    found: dict[tuple[str, str], tuple] = {}
    for record, others in near.items():
        mine = changed[record]
        for other in others:
            theirs = people[other]
            # Of two that changed each is near the other: once is enough.
            if (other in changed and other < record) or identity.is_another_person(mine, theirs):
                continue
            match = identity.compare(contract.identity, mine, theirs)
            if match.outcome != "different":
                pair = min(record, other), max(record, other)
                found[pair] = (match.outcome, round(match.weight, 3), sorted(match.agreements), sorted(match.guards))
    gone = before.keys() - found.keys()
    new = {pair: match for pair, match in found.items() if before.get(pair) != match}
    for pair in gone:
        connection.execute("delete from ops.patient_matches where record_a = %s and record_b = %s", pair)
    for pair, match in new.items():
        connection.execute(
            "insert into ops.patient_matches as t (record_a, record_b, outcome, basis, weight, agreements, guards,"
            " since)"
            " values (%s, %s, %s, 'model', %s, %s, %s, now()) on conflict (record_a, record_b) do update set"
            " outcome = excluded.outcome, basis = excluded.basis, weight = excluded.weight,"
            " agreements = excluded.agreements, guards = excluded.guards where t.basis = 'model'",
            (*pair, *match),
        )
    return {record for pair in gone | new.keys() for record in pair}


def _candidates(
    connection, keys: Mapping[str, Collection[int]], before: Collection[tuple[str, str]]
) -> dict[str, set[str]]:
    """Record -> who shares a key with it.

    Of those who share a crowded one each is compared with whom was heard of first, and again with whom it was found
    alike `before`: so a replay, in whatever batches, finds what was found and takes nobody apart.
    """
    near: dict[str, set[str]] = {record: set() for record in keys}
    whose = {key: record for record, own in keys.items() for key in own}
    sharing: dict[int, set[str]] = defaultdict(set)
    for key, record in connection.execute(
        "select k.key, c.record_id from unnest(%s::bigint[], %s::uuid[]) k(key, own) cross join lateral"
        " (select record_id from phi.people_keys s where s.key = k.key and s.record_id <> k.own limit %s) c",
        ([*whose], [*whose.values()], MOST_CANDIDATES),
    ):
        sharing[key].add(str(record))
    crowded = [key for key, others in sharing.items() if len(others) >= MOST_CANDIDATES]
    for key in sharing.keys() - set(crowded):
        everybody = sharing[key] | {whose[key]}
        for record in everybody & near.keys():
            near[record] |= everybody
    for crowd in _crowds(connection, crowded):
        everybody, first = {*crowd}, {*crowd[:MOST_CANDIDATES]}
        for record in everybody & near.keys():
            near[record] |= everybody if record in first else first
        for pair in before:
            if everybody.issuperset(pair):
                for record in near.keys() & pair:
                    near[record] |= {*pair}
    for record, others in near.items():
        others.discard(record)
    return near


def _crowds(connection, keys: Sequence[int]) -> Iterable[list[str]]:
    """All who share each of these keys, whoever was heard of first before the others."""
    found: dict[int, list[str]] = defaultdict(list)
    if keys:
        for key, record in connection.execute(
            "select key, record_id from phi.people_keys join phi.people using (record_id) where key = any(%s)"
            " order by first_at, record_id",
            (list(keys),),
        ):
            found[key].append(str(record))
    return found.values()


def _regroup(connection, contract: Contract, touched: set[str], locked: set[str]) -> set[str]:
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


def _locked_patients(connection, records: set[str], locked: set[str]) -> dict[str, str]:
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
