"""What was said of an order over time, as the moments that it makes: signed, held, let go on, stopped, taken back.

An EHR tells each version of an order; which came in first must not matter. A stop of an order that another took the
place of is no stop of the treatment.
Here: versions into moments in order. Not here: what a moment does to a course (`fold`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from ..medication_model import MedicationRules
from .facts import Fact

VERSIONED = ("ordered", "planned", "listed", "dispensed")
SAME_VISIT = timedelta(days=1)


def moments(rules: MedicationRules, facts: Iterable[Fact]) -> list[Fact]:
    """All that stands, oldest first; the same for every order and number of copies of `facts`."""
    once = {fact.event_id: fact for fact in facts}
    groups: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    found: list[Fact] = []
    for fact in once.values():
        if fact.kind in VERSIONED:
            groups[fact.source, fact.ref or fact.event_id].append(fact)
        else:
            found.append(fact)
    for group in groups.values():
        found += _of_one(sorted(group, key=lambda f: (f.seen_at, f.event_id)))
    stands = [fact for fact in found if not (fact.kind == "stopped" and _is_replaced(rules, fact, found))]
    return sorted(stands, key=lambda fact: fact.order)


def _of_one(versions: list[Fact]) -> list[Fact]:
    """The moments of one order, statement or hand-over."""
    if versions[-1].status == "entered-in-error":
        return []
    told = [version for version in versions if version.status not in ("draft", "entered-in-error")]
    if not told:
        return []
    if told[-1].kind in ("listed", "dispensed", "planned"):
        return [] if told[-1].kind == "planned" and told[-1].status == "stopped" else [told[-1]]
    found, before = [], None
    for version in told:
        if before is None:
            found.append(version)
        elif _meaning(version) != _meaning(before):
            found.append(replace(version, at=version.seen_at))
        was = "active" if before is None else before.status
        if version.status != was and version.status != "over":
            if version.status == "on-hold":
                found.append(replace(version, kind="paused", at=version.seen_at))
            elif version.status == "stopped":
                found.append(replace(version, kind="stopped", at=version.seen_at))
            elif was == "on-hold":
                found.append(replace(version, kind="resumed", at=version.seen_at))
        before = version
    return found


def _meaning(fact: Fact) -> tuple:
    return (fact.kind, fact.product, fact.mg, fact.mg_per_ml, fact.keeps_dose, fact.held)


def _is_replaced(rules: MedicationRules, stop: Fact, found: list[Fact]) -> bool:
    """Whether the order that is stopped was not the last of its family any more."""
    if not stop.ref:
        return False
    orders = [f for f in found if f.kind == "ordered" and _family(rules, f) == _family(rules, stop)]
    began = min((f.at for f in orders if f.ref == stop.ref), default=None)
    return began is not None and any(f.ref != stop.ref and began < f.at <= stop.at + SAME_VISIT for f in orders)


def _family(rules: MedicationRules, fact: Fact) -> str:
    return rules.products[fact.product].family if fact.product in rules.products else ""
