"""Where the rules of risk flags are kept, and the two shapes that most of them have.

Here: registration, "the answer is one of these codes", "takes a medicine of this group", which answer is the newest.
Not here: any one rule (`answers`, `measures`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..chart import Chart
from ..contract import Severity
from .facts import Facts

Hit = tuple[Severity | None, tuple[str, ...]] | None
"""Severity (None: the flag's own) and the fields that the flag rests on."""
Fires = Callable[[Chart, Facts], Hit]
Quiet = tuple[object, ...]

NO: Quiet = ("no", "none", "never", None)
NOTHING: Quiet = ([], None)
"""Answers that raise few flags; None stands for every answer that is no value: unknown, declined, held, ..."""


class Rule(NamedTuple):
    fires: Fires
    quiet: Mapping[str, Quiet]
    """By field, the answers that cannot raise it: while each of these fields has one of them, or nothing was ever said
    of it, the rule is not asked. No field: always asked."""


RULES: dict[str, Rule] = {}


def register(flag_id: str, fires: Fires, quiet: Mapping[str, Quiet]) -> None:
    if flag_id in RULES:
        raise ValueError(f"two rules for {flag_id}")
    RULES[flag_id] = Rule(fires, quiet)


def rule(flag_id: str, quiet: Mapping[str, Quiet] | None = None) -> Callable[[Fires], Fires]:
    def decorate(function: Fires) -> Fires:
        register(flag_id, function, quiet or {})
        return function

    return decorate


def says(name: str, *codes: str) -> Rule:
    """Fires where the field's value is one of the codes."""
    hit: Hit = (None, (name,))
    assert not any(answer in codes for answer in NO), name
    return Rule(lambda chart, facts: hit if chart.get(name) in codes else None, {name: NO})


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
    return Rule(lambda chart, facts: hit if group in facts.groups else None, {"med.current_list": NOTHING})
