"""Who may be somebody else by what they say of themselves, and how likely.

Here: what tells who somebody is, kept with keys by which it is found again; candidates, under locks on those keys; and
what the model says of each pair. Not here: when two records are one person (`domain.identity`), and who is whose
patient then (`grouping`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

import orjson

from ...domain import identity
from ...domain.chart import Reported
from ...domain.charting import Claimed, Read
from ...domain.contract import Contract
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


def match(
    connection, contract: Contract, claimed: Sequence[Claimed], said: Read, new: Set[str], fewer: int
) -> tuple[set[str], set[str]]:
    """Compare whoever says something new of who they are with whom they may be; the records whose matches changed, and
    those that are left, `fewer` than so many. `new`: records that nobody told of before."""
    reports: dict[str, list[Reported]] = defaultdict(list)
    for report in said.reports.values():
        if not report.is_draft and not FIELDS.isdisjoint(report.values):
            reports[report.record_id].append(report)
    if not reports:
        return set(), set()
    stored = {
        str(record_id): (features, first_at)
        for record_id, features, first_at in connection.execute(
            "select record_id, features, first_at from phi.people where record_id = any(%s::uuid[])",
            (sorted(reports.keys() - new),),
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
        _save_people(connection, rows, {record_id: keys[record_id] for record_id in changed}, stored)
    again = {r for r, document, first_at in rows if r in stored and stored[r] != (orjson.loads(document), first_at)}
    # Who was heard of first may be another than before, and the question is then the other's to wait for.
    asked = {record_id: keys[record_id] for record_id in changed}
    matched = _compare(connection, contract, changed, asked, known=stored.keys())
    return matched | again | _partners(connection, again), left


def _lock_keys(connection, keys: Mapping[str, Collection[int]], fewer: int) -> set[str]:
    """Two runs that bring the same person at once must not miss each other: keys are one run's until it commits, and
    who has them next sees what it brought. The records, `fewer` than so many, with a key that another run has; where
    they are more, it is waited for. Two runs that each have one of a person's keys both leave that one record."""
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


def _save_people(
    connection, rows, keys: Mapping[str, Collection[int]], known: Mapping[str, tuple[dict[str, Any], datetime]]
) -> None:
    """`keys`: of those who say something new of who they are. `known`: what was kept until now."""
    fresh = [row for row in rows if row[0] not in known]
    copy_rows(connection, "phi.people", ("record_id", "features", "first_at"), fresh)
    for record_id, document, first_at in (row for row in rows if row[0] in known):
        connection.execute(
            "update phi.people set features = %s, first_at = %s where record_id = %s",
            (document, first_at, record_id),
        )
    had = {r: identity.blocking_keys(identity.Features.from_doc(known[r][0])) for r in keys.keys() & known.keys()}
    # The new ones, too: another version of the program may have found other keys in what was said before.
    if old := [(key, r) for r, own in had.items() for key in {*own, *keys[r]}]:
        connection.execute(
            "delete from phi.people_keys k using unnest(%s::bigint[], %s::uuid[]) as u(key, record_id)"
            " where k.key = u.key and k.record_id = u.record_id",
            tuple(map(list, zip(*old, strict=True))),
        )
    pairs = ((key, record_id) for record_id, own in keys.items() for key in own)
    copy_rows(connection, "phi.people_keys", ("key", "record_id"), pairs)


def _compare(
    connection,
    contract: Contract,
    changed: Mapping[str, identity.Features],
    keys: Mapping[str, Collection[int]],
    known: Set[str],
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
            {"r": sorted(changed.keys() & known)},
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
