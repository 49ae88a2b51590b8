"""Where the rules of risk flags are kept, and the two shapes that most of them have.

Here: registration, "the answer is one of these codes", "takes a medicine of this group". Not here: any one rule
(`answers`, `measures`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..chart import Chart
from ..contract import Severity
from .facts import Facts

Hit = tuple[Severity | None, tuple[str, ...]] | None
"""Severity (None: the flag's own) and the fields that the flag rests on."""
Rule = Callable[[Chart, Facts], Hit]

RULES: dict[str, Rule] = {}


def rule(flag_id: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        if flag_id in RULES:
            raise ValueError(f"two rules for {flag_id}")
        RULES[flag_id] = function
        return function

    return register


def says(name: str, *codes: str) -> Rule:
    """Fires where the field's value is one of the codes."""
    hit: Hit = (None, (name,))
    return lambda chart, facts: hit if chart.get(name) in codes else None


def takes(group: str) -> Rule:
    """Fires where the medicine list holds a medicine of the group."""
    hit: Hit = (None, ("med.current_list",))
    return lambda chart, facts: hit if group in facts.groups else None
