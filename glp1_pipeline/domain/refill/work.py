"""The work that decisions on refills make for people: one task for the rule that holds a request, and those it adds.

Not here: other work (`tasks`), and the decisions themselves (`decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Final

from ..contract import Contract
from ..followup import MISSED
from ..refill_model import RefillRule
from ..tasks import TaskNeed
from .requests import Refill

OF_REFILL: Final = "refill."
"""How the cause of a task begins that a rule makes: refill.rule:family."""


def needs(
    contract: Contract,
    refills: Sequence[Refill],
    others: Iterable[TaskNeed],
    of_flags: Mapping[TaskNeed, datetime | None],
) -> list[TaskNeed]:
    """Of open requests; gone as soon as the request is decided otherwise, or over. Nobody is told twice: who calls
    about a missed check-in (`others`) or a flag is not told of the request again; who reads a request reads all of it.
    `of_flags`: the work that standing flags are by themselves, with the time that it was done, None where it is not."""
    called = {need.cause for need in others}
    found: dict[tuple[str, str], TaskNeed] = {}
    for one in refills:
        if not one.is_open:
            continue
        decision = one.made[-1].decision
        told: set[str] = set()
        for name, reasons in ((decision.rule, decision.reasons), *decision.also):
            rule = contract.refills.by_name[name]
            if not rule.task or rule.outcome == "wait_until" or rule.task in told:
                continue
            told.add(rule.task)
            if rule.task == contract.followups.missed_task and f"{MISSED}:{one.family}" in called:
                continue
            if _is_of_flags(rule, reasons, one, of_flags):
                continue
            need = _need(contract, rule, one)
            found[need.code, need.cause] = need
    return sorted(found.values())


def _is_of_flags(
    rule: RefillRule, reasons: Sequence[str], one: Refill, of_flags: Mapping[TaskNeed, datetime | None]
) -> bool:
    """Whether each flag that it holds for is the same work by itself, and stands open or was done after the request was
    made. A request that is made after it was done is work anew."""
    same = {need.cause: done_at for need, done_at in of_flags.items() if need.code == rule.task}
    if not reasons or not same.keys() >= {*reasons}:
        return False
    return all(done_at is None or done_at >= one.requested_at for done_at in map(same.get, reasons))


def _need(contract: Contract, rule: RefillRule, one: Refill) -> TaskNeed:
    kind = contract.tasks[rule.task]
    return TaskNeed(
        kind.code,
        f"{OF_REFILL}{rule.rule}:{one.family}",
        kind.queue,
        kind.owner,
        rule.minutes or kind.due_minutes,
        rests_on=one.refill_id,
        since=_since(rule, one),
    )


def _since(rule: RefillRule, one: Refill) -> datetime:
    """Since when it holds without a break, as what decides or beside it: after a break it is work anew."""
    holding = takewhile(
        lambda made: rule.rule == made.decision.rule or rule.rule in dict(made.decision.also), reversed(one.made)
    )
    return min(made.as_of for made in holding)
