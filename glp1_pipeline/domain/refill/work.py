"""The work that decisions on refills make for people: one task for the rule that holds a request, and those it adds.

Not here: other work (`tasks`), and the decisions themselves (`decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..contract import Contract
from ..followup import MISSED
from ..refill_model import RefillRule
from ..tasks import TaskNeed
from .requests import Refill

OF_REFILL: Final = "refill."
"""How the cause of a task begins that a rule makes: refill.rule:family."""


def needs(contract: Contract, refills: Sequence[Refill], others: Iterable[TaskNeed]) -> list[TaskNeed]:
    """Of open requests; gone as soon as the request is decided otherwise, or over. Somebody who calls about a missed
    check-in (`others`) need not be told of it again."""
    called = {need.cause for need in others}
    found: dict[tuple[str, str], TaskNeed] = {}
    for one in refills:
        if not one.is_open:
            continue
        made = one.made[-1]
        names = [made.decision.rule, *(name for name, _ in made.decision.also)]
        for rule in (contract.refills.by_name[name] for name in names):
            if not rule.task or rule.outcome == "wait_until":
                continue
            if rule.task == contract.followups.missed_task and f"{MISSED}:{one.family}" in called:
                continue
            need = _need(contract, rule, one)
            found[need.code, need.cause] = need
    return sorted(found.values())


def _need(contract: Contract, rule: RefillRule, one: Refill) -> TaskNeed:
    kind = contract.tasks[rule.task]
    since = next(made.as_of for made in one.made if made.decision.rule == one.decision.rule)
    return TaskNeed(
        kind.code,
        f"{OF_REFILL}{rule.rule}:{one.family}",
        kind.queue,
        kind.owner,
        rule.minutes or kind.due_minutes,
        rests_on=one.refill_id,
        since=since,
    )
