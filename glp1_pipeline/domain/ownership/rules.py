"""The eighteen conflict rules that ownership.csv names, each with the sentence that explains it.

Here: what holds after one word. Not here: what everybody said before (`voices`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, get_args

from ..contract import STEWARD, ConflictRule
from .words import RESOLVERS, Case, Outcome, Ruling, Word, join, rank, same

Rule = Callable[[Case], Ruling]


def settle(case: Case) -> Ruling:
    """What holds after the offered word, by the record's rule."""
    return RULES[case.record.conflict](case)


def _take(case: Case) -> Ruling:
    """The offered word holds. It is merged where that changes what the owner had said itself."""
    overrides = case.now is not None and not case.is_owner and case.now.source == case.owner
    return Ruling("merged" if overrides else "applied", case.offered.value)


def _keep(case: Case, outcome: Outcome) -> Ruling:
    return Ruling(outcome, case.now.value if case.now else {"null": "absent"})


def owner_wins(case: Case) -> Ruling:
    """What the owner says holds; what anybody else says is refused and recorded."""
    return _take(case) if case.is_owner else _keep(case, "refused")


def hold_for_steward(case: Case) -> Ruling:
    """What the owner says holds; what anybody else says waits for a data steward, unless the owner says it too."""
    agrees = case.owner_said is not None and same(case.owner_said, case.offered.value)
    return _take(case) if case.is_owner or agrees else _keep(case, "task")


def hold_and_block(case: Case) -> Ruling:
    """As hold_for_steward, and the field is not synced while the conflict is open."""
    return hold_for_steward(case)


def latest_stated(case: Case) -> Ruling:
    """What was stated last holds, whoever stated it."""
    return _take(case)


def latest_verified(case: Case) -> Ruling:
    """What was verified last holds; an unverified word never replaces a verified one, and both are kept."""
    if case.now is not None and case.now.is_verified and not case.offered.is_verified:
        return _keep(case, "merged")
    return _take(case)


def most_restrictive(case: Case) -> Ruling:
    """What permits less holds at once, whoever says it; only the owner may permit more again."""
    return _never_eased(case, ())


def most_cautious(case: Case) -> Ruling:
    """What is more cautious holds, whoever says it, until the owner or a provider says otherwise."""
    return _never_eased(case, RESOLVERS)


def worst_status(case: Case) -> Ruling:
    """The worst status holds, whoever reports it, until the owner reports a better one."""
    return _never_eased(case, ())


def true_wins(case: Case) -> Ruling:
    """A yes holds, whoever says it, until the owner takes it back."""
    return _never_eased(case, ())


def _never_eased(case: Case, resolvers: tuple[str, ...]) -> Ruling:
    if case.is_owner or case.now is None or (case.offered.source in resolvers and _is_of_a_provider(case.offered)):
        return _take(case)
    now, offered = rank(case.record, case.now.value), rank(case.record, case.offered.value)
    if now is None or offered is None:
        return _keep(case, "task")
    return _take(case) if offered <= now else _keep(case, "merged")


def _is_of_a_provider(word: Word) -> bool:
    """Whether a word of a resolver is a clinician's or a steward's own: an EHR also holds what patients write there."""
    return word.is_verified or word.source == STEWARD


def red_sticks(case: Case) -> Ruling:
    """A worse flag is added, whoever raises it; none is cleared but by a provider."""
    return _never_eased(case._replace(owner=""), RESOLVERS)


def append(case: Case) -> Ruling:
    """Every statement is added and none is wiped; the newest measured, else the newest told, is the present one."""
    if case.now is not None and "" < case.offered.measured_on < case.now.measured_on:
        return _keep(case, "applied")
    return Ruling("applied", case.offered.value)


def per_encounter(case: Case) -> Ruling:
    """Each encounter has its own answer: the newest is the present one, and no earlier one is overwritten."""
    return Ruling("applied", case.offered.value)


def immutable(case: Case) -> Ruling:
    """What was said stays as it is; only its owner may add a new version."""
    return owner_wins(case)


def union(case: Case) -> Ruling:
    """All that anybody names is on the list, and nothing is ever removed by itself."""
    if case.now is None or "value" not in case.now.value:
        return _take(case)
    now, offered = case.now.value["value"], case.offered.value.get("value")
    if not isinstance(now, list):
        return _never_eased(case._replace(owner=""), ())
    joined = join(now, offered if isinstance(offered, list) else [])
    # A whole statement that leaves something out asks for its removal; a single row of a system's list does not.
    removes = not case.offered.is_copy and (not isinstance(offered, list) or len(joined) > len(offered))
    return Ruling("merged" if removes else "applied", {**case.now.value, **case.offered.value, "value": joined})


def recomputed(case: Case) -> Ruling:
    """Worked out by the pipeline alone; what anybody else says is refused."""
    return owner_wins(case)


def state_machine(case: Case) -> Ruling:
    """Moved by the pipeline's allowed moves alone; what anybody else says is refused."""
    return owner_wins(case)


def first_write(case: Case) -> Ruling:
    """What was said first holds for ever."""
    known = case.now is not None and case.now.value.get("null") != "absent"
    return _keep(case, "refused") if known and case.offered.source != STEWARD else _take(case)


def eligibility_wins(case: Case) -> Ruling:
    """What the payer's eligibility reply says outranks everybody; without one, the owner's word, and until it spoke
    the latest."""
    if case.offered.source == "payer":
        return Ruling("applied", case.offered.value)
    if (case.now is not None and case.now.source == "payer") or (not case.is_owner and case.owner_said is not None):
        return _keep(case, "refused")
    return _take(case)


RULES: Mapping[ConflictRule, Rule] = {
    "owner_wins": owner_wins, "hold_for_steward": hold_for_steward, "hold_and_block": hold_and_block,
    "latest_stated": latest_stated, "latest_verified": latest_verified, "most_restrictive": most_restrictive,
    "most_cautious": most_cautious, "worst_status": worst_status, "append": append, "immutable": immutable,
    "union": union, "red_sticks": red_sticks, "recomputed": recomputed, "first_write": first_write,
    "per_encounter": per_encounter, "state_machine": state_machine, "eligibility_wins": eligibility_wins,
    "true_wins": true_wins,
}  # fmt: skip
EXPLAINED: Mapping[str, str] = {name: " ".join(str(rule.__doc__).split()) for name, rule in RULES.items()}
"""Rule -> the sentence that explains it."""
UNWRITTEN: Final = frozenset(get_args(ConflictRule)) - RULES.keys()
"""Rules that a contract may name and nobody has written: the contract's check refuses them."""
