"""Records into patients: what people decided, then what may be joined without them.

Here: pure grouping, the same for every order of what is given. Not here: comparing two records (`match`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from .paths import edges_between

Pair = tuple[str, str]
Refused = dict[Pair, frozenset[str]]
"""Two who stay apart (smaller id first), and which of them give way."""


class Edge(NamedTuple):
    """Two records that may be joined without a person."""

    a: str
    b: str


class Decided(NamedTuple):
    """What a person (or another system of record) said of two records; of a merge, the survivor comes first."""

    action: Literal["merge", "unmerge", "not_a_match", "asked"]
    a: str
    b: str
    at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class Grouping:
    patients: dict[str, str]
    """Record -> patient; a record that is alone is its own."""
    reviews: frozenset[Pair]
    """Edges (smaller id first) that were not followed, because they would join what must stay apart."""


def group(
    records: Mapping[str, datetime],
    edges: Iterable[Edge],
    decisions: Iterable[Decided],
    contradictions: Iterable[Pair] = (),
) -> Grouping:
    """
    `records`: when each was first heard of. `contradictions`: pairs that the model holds to be two people.

    Decisions are followed in the order of (at, event_id). A merge links the two and takes back every older refusal
    that would now lie inside one patient. A refusal (unmerge, not_a_match) undoes the latest merges that held the two
    together, until they are apart. Then edges join, but never two records that were refused or that contradict: of
    each way from the one to the other the edges at both ends are left for a person, for nobody knows which of them is
    wrong. After an unmerge it is known: only the restored record loses its edges, and the others stay together.
    The survivor is that of the latest merge in force; without one, the record heard of first.
    What concerns records that are not given is passed over, and a question (asked) changes nothing.
    """
    merges, refused = follow(records, decisions)
    decided = components(records, (ordered(merge.a, merge.b) for merge in merges))
    apart = {ordered(*pair): frozenset(pair) for pair in contradictions} | refused
    followed, reviews = followed_edges(records, edges, decided, apart)
    whole = components(records, [*((merge.a, merge.b) for merge in merges), *followed])
    survivors = {whole[merge.a]: merge.a for merge in merges}  # in order of time: the latest stays
    first: dict[str, str] = {}
    for record in sorted(records, key=lambda record: (records[record], record)):
        first.setdefault(whole[record], record)
    patients = {record: survivors.get(whole[record], first[whole[record]]) for record in records}
    return Grouping(patients, frozenset(reviews))


def follow(records: Mapping[str, datetime], decisions: Iterable[Decided]) -> tuple[list[Decided], Refused]:
    """Merges in force in order of time, and refusals in force."""
    merges: list[Decided] = []
    refused: Refused = {}
    known = {d for d in decisions if d.action != "asked" and d.a in records and d.b in records and d.a != d.b}
    for decision in sorted(known, key=lambda d: (d.at, d.event_id, d)):
        if decision.action == "merge":
            merges.append(decision)
            joined = components(records, ((m.a, m.b) for m in merges))
            refused = {(a, b): leaves for (a, b), leaves in refused.items() if joined[a] != joined[b]}
        else:
            leaves = (decision.b,) if decision.action == "unmerge" else (decision.a, decision.b)
            refused[ordered(decision.a, decision.b)] = frozenset(leaves)
            while (latest := joining(records, merges, decision.a, decision.b)) is not None:
                del merges[latest]
    return merges, refused


def joining(records: Mapping[str, datetime], merges: list[Decided], a: str, b: str) -> int | None:
    """Which merge, in order of time, first put the two together; None where none did."""
    low, high = 0, len(merges)
    if not is_joined(records, merges, a, b):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_joined(records, merges[:middle], a, b) else (middle, high)
    return low


def is_joined(records: Mapping[str, datetime], merges: list[Decided], a: str, b: str) -> bool:
    found = components(records, ((m.a, m.b) for m in merges))
    return found[a] == found[b]


def followed_edges(
    records: Mapping[str, datetime], edges: Iterable[Edge], decided: dict[str, str], apart: Refused
) -> tuple[list[Pair], set[Pair]]:
    """Edges that may join, and those that may not; between groups that decisions made."""
    known = sorted({ordered(*edge) for edge in edges if edge[0] in records and edge[1] in records})
    useful = [edge for edge in known if decided[edge[0]] != decided[edge[1]]]
    between = [(decided[a], decided[b]) for a, b in useful]
    walls: Refused = {}
    for (a, b), leaves in apart.items():
        if a in decided and b in decided and decided[a] != decided[b]:
            wall = ordered(decided[a], decided[b])
            walls[wall] = walls.get(wall, frozenset()) | {decided[record] for record in leaves}
    blocked = edges_between(between, walls)
    reviews = {edge for edge, way in zip(useful, between, strict=True) if ordered(*way) in blocked}
    return [edge for edge in useful if edge not in reviews], reviews


def components(nodes: Iterable[str], edges: Iterable[Pair]) -> dict[str, str]:
    """Node -> the smallest node that it is connected with."""
    root = {node: node for node in nodes}

    def find(node: str) -> str:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for a, b in edges:
        a, b = sorted((find(a), find(b)))
        root[b] = a
    return {node: find(node) for node in root}


def ordered(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)
