"""Where the rules of risk flags are kept, and the two shapes that most of them have.

Here: registration, "the answer is one of these codes", "takes a medicine of this group", which answer is the newest.
Not here: any one rule (`answers`, `measures`).
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


def newest_first(chart: Chart, *names: str) -> tuple[str, ...]:
    """The fields that a flag rests on, what was said last at the front: a flag is as new as that. Else who says it anew
    would be taken for who said it before a provider refuted it."""
    if len(names) < 2:  # as nearly always; who saves a form a hundred times pays for no search
        return names
    place = {report.event_id: n for n, report in enumerate(chart.submissions)}
    return tuple(sorted(names, key=lambda name: -place.get(chart.event_of(name) or "", -1)))


def takes(group: str) -> Rule:
    """Fires where the medicine list holds a medicine of the group."""
    hit: Hit = (None, ("med.current_list",))
    return lambda chart, facts: hit if group in facts.groups else None
