"""Ours beside splink's own defaults and an exact rule, on the same records in one run.

Here: one row per set and method. Not here: how a pair is scored (`score`), and splink's part (`peer_splink`).
"""

from __future__ import annotations

import time
from typing import Any

from glp1_pipeline.domain.identity import IdentityModel

from ..results import table
from .score import Score, exact_rule, match_all, score, score_ours
from .sets import LinkageSet, Pair
from .training import splink

THRESHOLD = 0.95
"""Match probability from which on splink's pairs count as joined."""
COLUMNS = (
    "set, method",
    "records",
    "true",
    "joined",
    "precision",
    "recall",
    "F1",
    "asked/100",
    "found",
    "no match",
    "s",
)


def judge(sets: list[LinkageSet], model: IdentityModel, with_peer: bool) -> list[dict[str, Any]]:
    """Prints the table; the figures as plain data."""
    figures: list[dict[str, Any]] = []
    for linkage in sets:
        began = time.monotonic()
        ours = score_ours(linkage, match_all(linkage, model))
        figures.append(told(linkage, "ours", ours, time.monotonic() - began))
        if with_peer:
            pairs, seconds = by_splink(linkage)
            figures.append(told(linkage, "splink's defaults", score(linkage, pairs), seconds))
        began = time.monotonic()
        exact = score(linkage, exact_rule(linkage))
        figures.append(told(linkage, "exact names and date", exact, time.monotonic() - began))
    table("Who is one person (joined: without a person; found: joined or asked, of all true pairs)", COLUMNS, [
        [f"{f['set']}, {f['method']}", f["records"], f["true"], f["joined"], *map(share, (f["precision"], f["recall"], f["f1"])),
         f"{f['asked_per_100']:.1f}", share(f["found"]), f["no_match_joined"], f"{f['seconds']:.1f}"]
        for f in figures
    ])  # fmt: skip
    return figures


def told(linkage: LinkageSet, method: str, found: Score, seconds: float) -> dict[str, Any]:
    return {
        "set": linkage.name,
        "method": method,
        "records": found.records,
        "true": found.true,
        "joined": found.joined,
        "wrongly_joined": found.joined - found.joined_right,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "asked": found.asked,
        "asked_per_100": found.review_rate,
        "found": found.recall_with_review,
        "no_match_joined": found.no_match_joined,
        "possible_match_joined": found.maybe_joined,
        "seconds": round(seconds, 2),
    }


def by_splink(linkage: LinkageSet) -> tuple[set[Pair], float]:
    """What splink's defaults join; of labelled pairs, only those that were labelled are looked at."""
    records = [{"unique_id": record, **columns(values)} for record, values in sorted(linkage.records.items())]
    given = {"records": records, "left": sorted(linkage.left) if linkage.left else None, "threshold": THRESHOLD}
    answer = splink("match", given)
    pairs: set[Pair] = {(a, b) if a < b else (b, a) for a, b in answer["pairs"]}
    return (pairs & set(linkage.labels) if linkage.labels else pairs), answer["seconds"]


def columns(values: dict[str, Any]) -> dict[str, str | None]:
    """A column each, as its users would have them: the second first name apart."""
    home = values.get("demo.address", {})
    first, _, second = values.get("demo.legal_first", "").partition(" ")
    return {
        "first_name": first or None,
        "second_name": second or None,
        "surname": values.get("demo.legal_last"),
        "dob": values.get("demo.dob"),
        "email": values.get("demo.email"),
        "phone": values.get("demo.mobile"),
        "street": home.get("line1"),
        "city": home.get("city"),
        "postcode": home.get("postal_code"),
        "state": home.get("state"),
        "sex": values.get("demo.sex_at_birth"),
    }


def share(number: float | None) -> str | None:
    return None if number is None else f"{number:.4f}"
