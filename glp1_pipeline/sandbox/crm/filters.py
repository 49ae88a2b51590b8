"""Searches of the sandbox CRM: its filters and sorts as SQL, values always as parameters.

Not here: the statement around them (`database`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

COMPUTED = {"hs_object_id": "id", "createdate": "created_ms", "lastmodifieddate": "modified_ms"}


class Refused(Exception):
    """What was asked cannot be done: the HTTP status and a category, as HubSpot names them."""

    def __init__(self, status: int, category: str, message: str) -> None:
        super().__init__(category)
        self.status, self.category, self.message = status, category, message


@dataclass(frozen=True, slots=True)
class Filter:
    property: str
    operator: str
    value: str = ""
    values: tuple[str, ...] = ()


def column_of(name: str) -> tuple[str, list[Any]]:
    if name in COMPUTED:
        return COMPUTED[name], []
    if not re.fullmatch(r"[\w.-]{1,200}", name):
        raise Refused(400, "VALIDATION_ERROR", "no property has such a name")
    return "json_extract(properties, ?)", [f"$.{json.dumps(name)}"]


def folded(name: str, value: str) -> str:
    """As values are compared that only one contact may have."""
    return value.strip().lower() if name == "email" else value


def term_of(one: Filter) -> tuple[str, list[Any]]:
    if one.property == "email" and one.operator == "EQ":
        whose = "id in (select contact_id from unique_values where property = 'email' and value = ?)"
        return whose, [folded("email", one.value)]
    column, values = column_of(one.property)
    comparison = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}.get(one.operator)
    if one.operator == "HAS_PROPERTY":
        return f"{column} is not null", values
    if one.operator == "NOT_HAS_PROPERTY":
        return f"{column} is null", values
    if one.operator == "IN":
        marks = ", ".join("?" * len(one.values))
        return f"{column} in ({marks})", [*values, *(_typed(one.property, v) for v in one.values)]
    if one.operator == "CONTAINS_TOKEN":
        return f"instr(';' || lower({column}) || ';', ';' || lower(?) || ';') > 0", [*values, one.value]
    if comparison is None:
        raise Refused(400, "VALIDATION_ERROR", "this operator is not known")
    return f"{column} {comparison} ?", [*values, _typed(one.property, one.value)]


def _typed(name: str, value: str) -> Any:
    if name not in COMPUTED:
        return value
    if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        raise Refused(400, "VALIDATION_ERROR", "ids are numbers, times are milliseconds since 1970")
    return int(value)
