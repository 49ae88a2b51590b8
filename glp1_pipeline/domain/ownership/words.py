"""What somebody says of a field, and how two such words compare: the same, worse, holding the other, adding to it.

Here: the shapes that rules decide on. Not here: the rules (`rules`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..contract import CRM, EHR, STEWARD, Contract, Ownership, Stage, fold
from ..told import Outcome, Value

BLANK: Final[Value] = {"null": "absent"}
EARLY: Final[tuple[Stage, ...]] = ("lead", "intake")
"""Before a provider reviews the chart."""
COPYING: Final = (CRM, EHR)
"""Systems that send a record whole: a field that stands as it stood before is carried along, not said again."""
RESOLVERS: Final = (EHR, STEWARD)
"""Where a provider speaks, who alone may ease what is most cautious: in a verified word."""
HELD_FOR_A_PERSON: Final = ("hold_for_steward", "hold_and_block")
RANKED: Final = ("most_restrictive", "most_cautious", "worst_status", "true_wins")
"""Rules for which not knowing has a place of its own: there, to take a value back is to say `unknown`."""
ADDED_UP: Final = ("append", "union")
"""Rules that never take anything away by themselves."""
DATED_BY: Final = {"weight_patient_reported": "anthro.weight_measured_at"}
"""Record -> the field that says when it was measured, which outranks when it was told."""


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


def fragment_differs(now: Value | None, offered: Value) -> bool | None:
    """Whether a word that names parts of an address alone says anything new beside one that is known with its street;
    None where it is no such word. A lone ZIP code is typed to complete what stands there, or filled in by a program: it
    is nobody's new home."""
    known, told = (now or {}).get("value"), offered.get("value")
    if not (isinstance(known, Mapping) and isinstance(told, Mapping) and "line1" in known and "line1" not in told):
        return None
    return any(fold(str(known.get(part, ""))) != fold(str(said)) for part, said in told.items())


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
