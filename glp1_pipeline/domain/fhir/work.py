"""Flags and tasks as the chart shows them to people.

Here: how a raised flag, an open task and a closed one look. Not here: which are raised or open (`flags`, `tasks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol

from ..contract import FlagRule
from .elements import ASSEMBLER, HL7, SNOMED, Resource, clean, code_token, concept, instant_utc
from .page import Page

FLAG_SYSTEM: Final = "urn:glp1-pipeline:flag"
TASK_SYSTEM: Final = "urn:glp1-pipeline:task"
CAUSE_SYSTEM: Final = "urn:glp1-pipeline:task-cause"
SEVERITY_URL: Final = "urn:glp1-pipeline:flag-severity"

_CATEGORIES: Final = {c: [concept(HL7 + "flag-category", c)] for c in ("safety", "admin", "drug", "lab")}
_BY_INPUT: Final = {"identity": "admin", "labs": "lab"}
_BY_ACTCODE: Final = {"DRG": "drug", "DUPTHPCLS": "drug", "LAB": "lab", "BUS": "admin"}


class Raised(Protocol):
    """What a flag must tell to be shown."""

    @property
    def flag_id(self) -> str: ...
    @property
    def severity(self) -> str: ...


class ToDo(NamedTuple):
    """A task to be shown: one for each code and cause."""

    code: str
    cause: str
    opened_at: datetime
    due_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: Literal["completed", "cancelled"] = "completed"
    """How it ended, where it did."""


def write_flags(page: Page, flags: Iterable[Raised]) -> None:
    rules = page.tables.contract.flags
    for flag in flags:
        rule = rules[flag.flag_id]
        shown = page.add("Flag", flag.flag_id)
        shown["extension"] = [{"url": SEVERITY_URL, "valueCode": flag.severity}]
        shown["status"] = "active"
        shown["category"] = _category(rule)
        coding = [{"system": FLAG_SYSTEM, "code": flag.flag_id}]
        if snomed := page.tables.only_snomed(flag.flag_id):
            coding.append({"system": SNOMED, "code": snomed})
        shown["code"] = {"coding": coding, "text": rule.label}
        shown["subject"] = page.patient
        shown["author"] = ASSEMBLER


def _category(rule: FlagRule) -> list[Resource]:
    return _CATEGORIES[_BY_INPUT.get(rule.input) or _BY_ACTCODE.get(rule.actcode, "safety")]


def write_tasks(page: Page, tasks: Iterable[ToDo], *, closed: bool) -> None:
    kinds = page.tables.contract.tasks
    for task in tasks:
        kind = kinds[task.code]
        cause = clean(task.cause)
        opened = instant_utc(task.opened_at)
        ended = task.closed_at if closed else None
        shown = page.add("Task", f"{task.code}/{task.cause}")
        shown["status"] = task.outcome if closed else "requested"
        shown["intent"] = "order"
        shown["code"] = concept(TASK_SYSTEM, task.code, kind.purpose)
        shown["for"] = page.patient
        shown["authoredOn"] = opened
        # inv-1: a clock of another machine may not make a change older than the task.
        shown["lastModified"] = instant_utc(max(ended, task.opened_at)) if ended else opened
        shown["requester"] = ASSEMBLER
        if kind.owner:
            shown["performerType"] = [{"text": kind.owner}]
        if cause:
            shown["reasonCode"] = concept(CAUSE_SYSTEM, code_token(cause))
        if task.due_at is not None:
            shown["restriction"] = {"period": {"end": instant_utc(task.due_at)}}
