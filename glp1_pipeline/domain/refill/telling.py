"""What people are told of a decision: its inputs with their ages, and who may let a request go on that a rule holds.

Here: reading a record and the contract. Not here: deciding (`decide`), and how it is printed (the command line).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..contract import Contract
from ..events.refill import BY_FLAG, is_closed
from ..refill_model import RefillRules
from .conditions import RULES
from .record import ages


@dataclass(frozen=True, slots=True)
class Told:
    """One input of a decision, for who may see values."""

    name: str
    value: Any
    state: str
    """Why there is no value, where the answer says so: absent, unknown, declined, held; else empty."""
    source: str
    voice: str
    """reported or verified; empty where it was worked out."""
    at: str
    """When it was measured or said."""
    age_days: float | None
    """When the decision was made."""
    event_id: str


def inputs_told(doc: Mapping[str, Any]) -> list[Told]:
    """Every input of a record, in the order of the record."""
    old = ages(doc)
    return [
        Told(
            name, one.get("value"), one.get("state", ""), one.get("source", ""), one.get("voice", ""),
            one.get("at") or "", old.get(name), one.get("event_id", ""),
        )
        for name, one in doc["inputs"].items()
    ]  # fmt: skip


def may_override(contract: Contract, rule_name: str, flags: Iterable[str] = ()) -> dict[str, list[str]]:
    """Role -> codes of the reasons by which it may let a request go on that this rule holds, for these flags; empty
    where nobody may."""
    rule = contract.refills.by_name.get(rule_name)
    if rule is None or any(flag in contract.flags and is_closed(contract, flag) for flag in flags):
        return {}
    found: dict[str, list[str]] = {}
    for reason in contract.override_reasons.values():
        if reason.reason_class in rule.overridden_by:
            for role in reason.roles:
                if reason.reason_class in contract.roles[role].overrides:
                    found.setdefault(role, []).append(reason.reason_code)
    return found


def holding_flags(rule_name: str, reasons: Iterable[str]) -> list[str]:
    """The flags that a decision by this rule rests on: of such a rule they are its reasons."""
    return list(reasons) if rule_name in BY_FLAG else []


def walked(rules: RefillRules, doc: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each rule that was asked until one decided, and what it said: `holds not`, `adds`, `let through`, `decides`,
    `waits` (its inputs come with a later part of the program)."""
    decision, as_of = doc["decision"], datetime.fromisoformat(doc["as_of"])
    let = {name for name, _ in decision["overridden"]}
    found: list[tuple[str, str]] = []
    for rule in rules.rules:
        if rule.waits_for:
            found.append((rule.rule, "waits"))
        elif rule.rule == decision["rule"]:
            return [*found, (rule.rule, "decides")]
        elif rule.rule in let:
            found.append((rule.rule, "let through"))
        else:
            held = RULES[rule.rule](rules, doc["inputs"], as_of)
            found.append((rule.rule, "holds not" if held is None else "adds" if rule.adds else "holds"))
    return found
