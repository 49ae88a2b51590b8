"""Which records are one patient, from all that is known of them: what people decided first, then sure matches.

The same for every order in which it became known. Not here: when two records match (`match`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Two records that match surely."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person said of two records: merge (a survives), unmerge or not_a_match."""

    action: str
    a: str
    b: str
    at: datetime
    event_id: str

    @property
    def order(self) -> tuple[datetime, str]:
        return (self.at, self.event_id)

    @property
    def pair(self) -> Pair:
        return (self.a, self.b) if self.a < self.b else (self.b, self.a)


@dataclass(frozen=True, slots=True)
class Grouping:
    patients: dict[str, str]
    """Record -> the record that stands for the patient."""
    reviews: frozenset[Pair]
    """Sure matches that join nobody, since they would join two whom a person told apart."""


def group(records: Mapping[str, datetime], edges: Iterable[Edge], decisions: Iterable[Decided]) -> Grouping:
    """Patients of these records, each given with the instant it was heard of first.

    Of a pair the newest decision holds. A merge joins also what is told apart by an older decision; a match by itself
    never does, nor does any other of the matches that hang together with it: who is whom there is a person's to say.
    """
    latest: dict[Pair, Decided] = {}
    for decided in sorted(decisions, key=lambda d: d.order):
        latest[decided.pair] = decided
    apart = {pair: d for pair, d in latest.items() if d.action != "merge"}
    groups = _Groups(records)
    merges = []
    for decided in sorted((d for d in latest.values() if d.action == "merge"), key=lambda d: d.order):
        if all(refused.order < decided.order for refused in groups.split_by(decided.pair, apart)):
            groups.join(decided.pair)
            merges.append(decided)
    pairs = sorted({(min(e.a, e.b), max(e.a, e.b)) for e in edges if {e.a, e.b} <= records.keys()})
    together = groups.copy()
    for pair in pairs:
        together.join(pair)
    # Told apart and yet in one heap by matches alone: no match of that heap joins anybody.
    torn = {together.of(a) for a, b in apart if together.has(a, b) and not groups.has(a, b)}
    for pair in pairs:
        if together.of(pair[0]) not in torn:
            groups.join(pair)
    patients: dict[str, str] = {}
    for members in groups.all():
        chosen = [d for d in merges if d.a in members]
        survivor = chosen[-1].a if chosen else min(members, key=lambda record: (records[record], record))
        patients |= dict.fromkeys(members, survivor)
    return Grouping(patients, frozenset(pair for pair in pairs if patients[pair[0]] != patients[pair[1]]))


class _Groups:
    """Sets of records that are joined two by two."""

    def __init__(self, records: Iterable[str]) -> None:
        self._members = {record: frozenset((record,)) for record in records}

    def copy(self) -> _Groups:
        other = _Groups(())
        other._members = dict(self._members)
        return other

    def join(self, pair: Pair) -> None:
        if not self.has(*pair) and all(record in self._members for record in pair):
            joined = self._members[pair[0]] | self._members[pair[1]]
            self._members |= dict.fromkeys(joined, joined)

    def has(self, a: str, b: str) -> bool:
        return b in self._members.get(a, ())

    def of(self, record: str) -> frozenset[str]:
        return self._members[record]

    def all(self) -> set[frozenset[str]]:
        return set(self._members.values())

    def split_by(self, pair: Pair, apart: Mapping[Pair, Decided]) -> list[Decided]:
        """Decisions that told apart who would be together once this pair is joined."""
        joined = self._members.get(pair[0], frozenset()) | self._members.get(pair[1], frozenset())
        return [d for (a, b), d in apart.items() if a in joined and b in joined and not self.has(a, b)]
