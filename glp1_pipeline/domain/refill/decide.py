"""The decision on a refill: the first rule of the table that holds, what was let through by an override, and why.

The table is data (contracts/refills.yaml), the inputs are a document: with both, the same decision can be made years
later. Nothing here approves anything.
Here: walking the table. Not here: when a rule holds (`conditions`), gathering inputs (`inputs`), requests over time
(`requests`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..refill_model import Outcome, RefillRule, RefillRules
from .conditions import RULES, Held
from .inputs import Inputs


@dataclass(frozen=True, slots=True)
class Override:
    """What a person let through, and until when."""

    event_id: str
    rules: tuple[str, ...]
    flags: tuple[str, ...]
    reason_code: str
    role: str
    actor: str
    since: datetime
    expires_at: datetime
    saw: Mapping[str, Mapping[str, float]] | None = None
    """Rule -> its grounds as they were known when it was given; none of a rule that did not hold. None in records that
    were made before this was kept: there an override lets a rule through whatever it holds for."""

    def lets_through(self, rule: RefillRule, held: Held, as_of: datetime) -> bool:
        """Whether it stands now, means this rule, names every flag that the rule holds for, and where that is no flag
        saw each ground of it, in no less measure."""
        is_now = self.since <= as_of < self.expires_at
        if not is_now or rule.rule not in self.rules or not {*held.flags} <= {*self.flags}:
            return False
        if held.flags or self.saw is None:
            return True
        seen = self.saw.get(rule.rule, {})
        return all(ground in seen and much <= seen[ground] for ground, much in held.grounds.items())

    def seeing(self, rules: RefillRules, inputs: Inputs) -> Override:
        """With the grounds of what was known when it was given."""
        known = {name: rules.by_name[name] for name in self.rules if name in rules.by_name}
        held = {name: RULES[name](rules, inputs, self.since) for name, rule in known.items() if not rule.waits_for}
        return replace(self, saw={name: one.grounds for name, one in held.items() if one is not None})


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and everything that made it so."""

    rule: str
    outcome: Outcome
    reasons: tuple[str, ...]
    task: str
    minutes: int | None
    proposal: str
    """Of the rule, else of one that only adds."""
    also: tuple[tuple[str, tuple[str, ...]], ...]
    """Rules that only add, with their reasons."""
    overridden: tuple[tuple[str, str], ...]
    """Rules that would have held, with the event of the override that let them through."""
    until: datetime | None
    """When it changes by itself."""

    def to_doc(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "task": self.task,
            "minutes": self.minutes,
            "proposal": self.proposal,
            "also": [[name, list(reasons)] for name, reasons in self.also],
            "overridden": [list(one) for one in self.overridden],
            "until": None if self.until is None else self.until.isoformat(),
        }


def decide(rules: RefillRules, inputs: Inputs, overrides: Iterable[Override], as_of: datetime) -> Decision:
    """The same inputs and rules give the same decision, whenever it is asked for."""
    given = list(overrides)
    also: list[tuple[str, tuple[str, ...]]] = []
    overridden: list[tuple[str, str]] = []
    proposal = ""
    for rule in rules.rules:
        if rule.waits_for or (held := RULES[rule.rule](rules, inputs, as_of)) is None:
            continue
        if rule.adds:
            also.append((rule.rule, held.reasons))
            proposal = proposal or held.proposal or rule.proposal
            continue
        let = next((one for one in given if one.lets_through(rule, held, as_of)), None)
        if let is not None:
            overridden.append((rule.rule, let.event_id))
            continue
        assert rule.outcome is not None
        return Decision(
            rule.rule, rule.outcome, held.reasons, rule.task, rule.minutes, held.proposal or rule.proposal or proposal,
            tuple(also), tuple(overridden), held.until,
        )  # fmt: skip
    raise LookupError("no rule of the table holds: the last one must be `complete`")


def from_docs(docs: Iterable[Mapping[str, Any]]) -> list[Override]:
    """Overrides as a record keeps them."""
    return [
        Override(
            doc["event_id"], tuple(doc["rules"]), tuple(doc["flags"]), doc["reason_code"], doc["role"], doc["actor"],
            datetime.fromisoformat(doc["since"]), datetime.fromisoformat(doc["expires_at"]), doc.get("saw"),
        )
        for doc in docs
    ]  # fmt: skip


def to_doc(override: Override) -> dict[str, Any]:
    doc = {
        "event_id": override.event_id,
        "rules": list(override.rules),
        "flags": list(override.flags),
        "reason_code": override.reason_code,
        "role": override.role,
        "actor": override.actor,
        "since": override.since.isoformat(),
        "expires_at": override.expires_at.isoformat(),
    }
    return doc if override.saw is None else doc | {"saw": override.saw}
