"""Whose word counts: for one field, one stage and one speaker, what holds afterwards and how it was settled.

Here: the conflict rules that ownership.csv names, each with the sentence that explains it. Not here: who owns what
(ownership.csv), what everybody said before (`voices`), the work that a conflict makes (`tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

from .contract import ConflictRule, Contract, Ownership, Stage, fold

Value = Mapping[str, Any]
"""A value document: {"value": …} or {"null": …} or {"held": …, "raw": …}, with optional "edges"."""
Outcome = Literal["applied", "refused", "task", "merged"]

INTAKE: Final = "intake"
STEWARD: Final = "steward"
"""A person who settles what was held: their word is applied in every stage."""
EARLY: Final[tuple[Stage, ...]] = ("lead", "intake")
"""Before a provider reviews the chart."""
COPYING: Final = ("crm", "ehr")
"""Systems that send a record whole: a field that stands as it stood before is carried along, not said again."""
RESOLVERS: Final = ("ehr", STEWARD)
"""Where a provider speaks, who alone may ease what is most cautious."""
HELD_FOR_A_PERSON: Final = ("hold_for_steward", "hold_and_block")
RANKED: Final = ("most_restrictive", "most_cautious", "worst_status", "true_wins")
"""Rules for which not knowing has a place of its own: there, to take a value back is to say `unknown`."""
ADDED_UP: Final = ("append", "union")
"""Rules that never take anything away by themselves."""
DATED_BY: Final = {"weight_patient_reported": "anthro.weight_measured_at"}
"""Record -> the field that says when it was measured, which outranks when it was told."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A word of a system that does not hold, or that changed what the field's owner said."""

    field: str
    rule: ConflictRule
    owner: str
    source: str
    event_id: str
    since: datetime
    outcome: Outcome
    """refused, task or merged."""
    stage: Stage


class Word(NamedTuple):
    """What somebody says of a field."""

    value: Value
    source: str
    event_id: str = ""
    is_verified: bool = False
    measured_on: str = ""
    """ISO date, where the record has one."""
    is_copy: bool = False
    """Said by a system that sends its records whole."""


class Case(NamedTuple):
    """What a rule decides on."""

    record: Ownership
    owner: str
    """Of the stage that the patient is in."""
    now: Word | None
    """What holds; None where nothing does."""
    offered: Word
    owner_said: Value | None = None
    """The owner's last word, if it ever spoke."""

    @property
    def is_owner(self) -> bool:
        return self.offered.source in (self.owner, STEWARD)


class Ruling(NamedTuple):
    outcome: Outcome
    value: Value
    """What holds afterwards."""


Rule = Callable[[Case], Ruling]


def record_of(contract: Contract, name: str) -> Ownership:
    """The row of ownership.csv for a field, or for a record that no question asks and only a system says."""
    field = contract.fields.get(name)
    record = contract.ownership.get(field.owned_as if field else name)
    if record is None:
        raise LookupError(f"`{name}` has no row in ownership.csv")
    return record


def verified_record(contract: Contract, name: str) -> Ownership | None:
    """Where a provider's own finding of this field lies, beside what the patient said; None where both are one."""
    return contract.ownership.get(record_of(contract, name).verified)


def same(one: Value | None, other: Value | None) -> bool:
    """Whether two documents say the same; of a consent only what was decided counts, not when nor of which text."""
    if one is None or other is None:
        return one is other
    return _content(one) == _content(other)


def _content(value: Value) -> tuple[str, Any]:
    for kind in ("value", "null", "held"):
        if kind in value:
            said = value[kind]
            return kind, said["status"] if isinstance(said, Mapping) and "status" in said else said
    return "null", "absent"


def withdrawal(value: Value) -> Value:
    """The document for a value that a system takes back: to everybody but the rules it is a blank."""
    return {"null": "absent", "withdrawn": value["value"]}


def holds(now: Value | None, taken: Any) -> bool:
    """Whether what was taken back is what holds, or rows of it."""
    said = None if now is None else now.get("value")
    if isinstance(said, list) and isinstance(taken, list):
        return bool({_key(row) for row in said} & {_key(row) for row in taken})
    return said is not None and same(now, {"value": taken})


def rank(record: Ownership, value: Value) -> int | None:
    """Place in the record's order, 0 the worst; None where the order does not know the code."""
    places, (kind, said) = record.worst_first.split(), _content(value)
    code = str(said).lower() if isinstance(said, bool) else said
    if kind != "value":
        code = "no" if said == "not_applicable" and "no" in places else "?"
    return places.index(code) if isinstance(code, str) and code in places else None


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
    if case.is_owner or case.offered.source in resolvers or case.now is None:
        return _take(case)
    now, offered = rank(case.record, case.now.value), rank(case.record, case.offered.value)
    if now is None or offered is None:
        return _keep(case, "task")
    return _take(case) if offered <= now else _keep(case, "merged")


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


def join(now: list[Any], offered: list[Any]) -> list[Any]:
    """Rows of both, each thing once, in an order of their own. Of one thing the newer row's known parts hold."""
    rows: dict[str, Any] = {}
    for row in [*now, *offered]:
        key = _key(row)
        if isinstance(row, Mapping) and isinstance(before := rows.get(key), Mapping):
            row = {**before, **{part: said for part, said in row.items() if said not in (None, "")}}
        rows[key] = row
    return [rows[key] for key in sorted(rows)]


def adds(found: Value, told: Value) -> bool:
    """Whether what was told says more than what was found: another answer, or a thing that is not on the list."""
    now, offered = found.get("value"), told.get("value")
    if isinstance(now, list) and isinstance(offered, list):
        return len(join(now, offered)) > len(join(now, []))
    return "value" in told and not same(found, told)


def _key(row: Any) -> str:
    """What a row of a list is about: its name. A code is that of a group, and two of one group are two things."""
    if not isinstance(row, Mapping):
        return str(row)
    return fold(str(next((row[part] for part in ("substance", "name", "product", "code") if row.get(part)), row)))


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
