"""Overrides of refused orders: which order one means, and until when it counts.

An override lets the order go that it names, against the rules that it names. It counts until the next order: one that
is told after another GLP-1 medicine was ordered lets nothing through, and what the EHR says later under the same
reference is another order.
Here: which override counts for which order. Not here: who may override what (`events.medication`), and what becomes of
the order (`moves`, `fold`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ..contract import EHR, Contract
from ..medication_model import MedicationRules
from .facts import Fact


def word_on(
    contract: Contract, ref: str, rules: tuple[str, ...], reason_code: str, role: str, actor: str, at: datetime
) -> Fact:
    """An override of the order `ref`, without its text: that stays with the event. It is a provider's word."""
    reason, at = contract.override_reasons[reason_code], at.astimezone(UTC)
    return Fact(
        "overridden", at, at, ref=ref, rules=rules, reason_code=reason_code, reason_class=reason.reason_class,
        role=role, actor=actor, source=EHR,
    )  # fmt: skip


def let_through(rules: MedicationRules, moments: Sequence[Fact]) -> Mapping[str, Mapping[str, Fact]]:
    """Event of an order -> rule that does not refuse it -> the first override that says so. `moments`: in order."""
    words = [fact for fact in moments if fact.kind == "overridden"]
    if not words:
        return {}
    orders = [fact for fact in moments if fact.kind == "ordered"]
    found: dict[str, dict[str, Fact]] = {}
    for word in words:
        order = _meant(orders, word)
        if order is None or _is_over(rules, orders, order, word):
            continue
        for name in word.rules:
            if name in rules.findings and word.reason_class in rules.findings[name].overridden_by:
                found.setdefault(order.event_id, {}).setdefault(name, word)
    return found


def _meant(orders: Sequence[Fact], word: Fact) -> Fact | None:
    """What the order said when it was overridden; of one that is signed later (a date alone is a noon) the first."""
    own = [order for order in orders if order.ref == word.ref]
    return next((order for order in reversed(own) if order.at <= word.at), own[0] if own else None)


def _is_over(rules: MedicationRules, orders: Sequence[Fact], order: Fact, word: Fact) -> bool:
    """Whether another order came between the order and the word on it."""
    place = orders.index(order)
    if order.at <= word.at:
        between = [one for one in orders[place + 1 :] if one.at <= word.at]
    else:
        between = [one for one in orders[:place] if one.at > word.at]
    # One that names no product is no order that could be followed: a person asks what it means first.
    return any(not one.held or rules.family_of(one.product) == rules.family_of(order.product) for one in between)


def may_let_through(contract: Contract, rule: str) -> dict[str, list[str]]:
    """Role -> codes of the reasons by which it may let an order through that this rule refuses; empty where nobody
    may."""
    kind, found = contract.medication.findings.get(rule), dict[str, list[str]]()
    for role in contract.medication.overrides.roles if kind is not None else ():
        for reason in contract.override_reasons.values():
            is_theirs = role in reason.roles and reason.reason_class in contract.roles[role].overrides
            if kind is not None and is_theirs and reason.reason_class in kind.overridden_by:
                found.setdefault(role, []).append(reason.reason_code)
    return found
