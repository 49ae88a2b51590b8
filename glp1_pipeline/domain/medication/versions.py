"""What was said of an order over time, as the moments that it makes: signed, held, let go on, stopped, taken back.

An EHR tells each version of an order; which came in first must not matter. A stop of an order that another took the
place of is no stop of the treatment. How many doses were missed is known since it was said, not since the last dose.
Here: versions into moments in order. Not here: what a moment does to a course (`fold`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ..medication_model import MedicationRules
from .facts import Fact

Ends = Mapping[str, datetime]
"""Reference of an order -> when the EHR said that it is stopped or cancelled."""
LATER = datetime.max.replace(tzinfo=UTC)
VERSIONED = ("ordered", "planned", "listed", "dispensed")
SAME_VISIT = timedelta(days=1)
ADDED = ("mg", "days", "order_ref")
"""What of a hand-over one source may leave out and the other tell."""


def moments(rules: MedicationRules, facts: Iterable[Fact]) -> tuple[list[Fact], Ends]:
    """All that stands, oldest first, and when orders ended; the same for any order and number of copies of `facts`."""
    once = {fact.event_id: fact for fact in facts}
    groups: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    found: list[Fact] = []
    for fact in once.values():
        if fact.kind in VERSIONED:
            groups[fact.source, fact.ref or fact.event_id].append(fact)
        else:
            found.append(fact)
            if fact.kind == "taken" and (fact.missed is not None or not fact.product):
                found.append(replace(fact, kind="counted", at=max(fact.at, fact.seen_at)))
    for group in groups.values():
        found += _of_one(sorted(group, key=lambda f: (f.seen_at, f.event_id)))
    found, ends = _each_once(rules, found), dict[str, datetime]()
    for fact in found:
        if fact.kind == fact.status == "stopped":
            ends[fact.ref] = min(fact.at, ends.get(fact.ref, fact.at))
    stands = [fact for fact in found if not (fact.kind == "stopped" and _is_replaced(rules, fact, found, ends))]
    return sorted(stands, key=lambda fact: fact.order), ends


def _each_once(rules: MedicationRules, found: list[Fact]) -> list[Fact]:
    """One hand-over that the pharmacy and the EHR both tell is one, in the pharmacy's words; what it left out the other
    may add, and when it was, where the pharmacy only shipped it. Two that one source tells are two."""
    told = sorted((f for f in found if f.kind == "dispensed"), key=lambda f: (f.source != "pharmacy", f.order))
    kept: list[Fact] = []
    twins: set[int] = set()
    for fact in told:
        near = [n for n, one in enumerate(kept) if n not in twins and _is_one_hand_over(rules, one, fact)]
        if not near:
            kept.append(fact)
            continue
        first = min(near, key=lambda n: (abs(kept[n].at - fact.at), kept[n].order))
        twins.add(first)
        lacking = {name: getattr(fact, name) for name in ADDED if getattr(kept[first], name) in (None, "")}
        if kept[first].is_estimated and not fact.is_estimated:
            lacking |= {"at": fact.at, "is_estimated": False}
        kept[first] = replace(kept[first], **lacking)
    return [fact for fact in found if fact.kind != "dispensed"] + kept


def _is_one_hand_over(rules: MedicationRules, one: Fact, other: Fact) -> bool:
    near = SAME_VISIT
    if one.is_estimated or other.is_estimated:  # a parcel may be there at once, or take twice as long
        near += timedelta(days=rules.shipped_after_days)
    if one.source == other.source or one.held or other.held or abs(one.at - other.at) > near:
        return False
    if one.product != other.product or (one.unit == other.unit and _differ(one.quantity, other.quantity)):
        return False
    return not (_differ(one.mg, other.mg) or _differ(one.days, other.days))


def _differ(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) > 1e-6


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


def _is_replaced(rules: MedicationRules, stop: Fact, found: list[Fact], ends: Ends) -> bool:
    """Whether the order that is stopped was not the last of its family any more: one that is over by then takes no
    place."""
    if not stop.ref:
        return False
    orders = [f for f in found if f.kind == "ordered" and _family(rules, f) == _family(rules, stop)]
    began = min((f.at for f in orders if f.ref == stop.ref), default=None)
    others = [f for f in orders if f.ref != stop.ref and ends.get(f.ref, LATER) > stop.at]
    return began is not None and any(began < f.at <= stop.at + SAME_VISIT for f in others)


def _family(rules: MedicationRules, fact: Fact) -> str:
    return rules.products[fact.product].family if fact.product in rules.products else ""
