"""Precision, recall and F1 of the automatic outcome, and how often a person would be asked.

Here: pairs found by one method, held against what is true. Not here: the sets, and the peer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from glp1_pipeline.domain.identity import IdentityModel, Match, blocking_keys, compare, features

from .sets import LinkageSet, Pair


@dataclass
class Score:
    """Counts of pairs."""

    true: int
    joined: int
    joined_right: int
    asked: int = 0
    asked_right: int = 0
    records: int = 0
    no_match_joined: int | None = None
    """Labelled pairs only: joined although a person said `Not a Match`."""
    maybe_joined: int | None = None

    @property
    def precision(self) -> float | None:
        return self.joined_right / self.joined if self.joined else None

    @property
    def recall(self) -> float | None:
        return self.joined_right / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        return 2 * self.joined_right / (self.joined + self.true) if self.joined + self.true else None

    @property
    def recall_with_review(self) -> float | None:
        return (self.joined_right + self.asked_right) / self.true if self.true else None

    @property
    def review_rate(self) -> float:
        """Questions to a person for a hundred records."""
        return 100 * self.asked / self.records if self.records else 0.0


def candidates(linkage: LinkageSet, model: IdentityModel) -> Iterator[Pair]:
    """Labelled pairs, or the pairs that share a blocking key."""
    if linkage.labels:
        yield from linkage.labels
        return
    buckets: dict[int, list[str]] = defaultdict(list)
    seen: set[Pair] = set()
    for record in sorted(linkage.records):
        for key in blocking_keys(features(model, linkage.records[record])):
            for other in buckets[key]:
                if (other, record) not in seen and linkage.is_compared(other, record):
                    seen.add((other, record))
                    yield other, record
            buckets[key].append(record)


def match_all(linkage: LinkageSet, model: IdentityModel) -> dict[Pair, Match]:
    known = {record: features(model, told) for record, told in linkage.records.items()}
    return {(a, b): compare(model, known[a], known[b]) for a, b in candidates(linkage, model)}


def exact_rule(linkage: LinkageSet) -> set[Pair]:
    """The first of the first names, the last name and the birth date are equal as typed."""
    buckets: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for record, told in sorted(linkage.records.items()):
        first, last, dob = (str(told.get(f"demo.{part}", "")).lower() for part in ("legal_first", "legal_last", "dob"))
        if first and last and dob:
            buckets[first.split()[0], last, dob].append(record)
    pairs = ((a, b) for same in buckets.values() for at, b in enumerate(same) for a in same[:at])
    return {pair for pair in pairs if linkage.is_compared(*pair)}


def score_ours(linkage: LinkageSet, found: dict[Pair, Match]) -> Score:
    joined = {pair for pair, match in found.items() if match.outcome == "same"}
    asked = {pair for pair, match in found.items() if match.outcome == "review"}
    return score(linkage, joined, asked)


def score(linkage: LinkageSet, joined: set[Pair], asked: set[Pair] | None = None) -> Score:
    """Pairs in sorted order. Where pairs are labelled, `Possible Match` is neither right nor wrong."""
    true, asked = linkage.true_pairs(), asked or set()
    result = Score(len(true), len(joined), len(joined & true), len(asked), len(asked & true), len(linkage.records))
    if linkage.labels:
        result.no_match_joined = sum(linkage.labels.get(pair) == "Not a Match" for pair in joined)
        result.maybe_joined = sum(linkage.labels.get(pair) == "Possible Match" for pair in joined)
        result.joined = len(joined & true) + result.no_match_joined
    return result
