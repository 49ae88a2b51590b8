"""Flags and tasks as the chart shows them to people.

Here: how a raised flag, an open task and a closed one look. Not here: which are raised or open (`flags`, `tasks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from ..contract import FlagRule
from ..told import INTAKE
from .elements import ASSEMBLER, HL7, SNOMED, Resource, code_token, concept, instant_utc, resource_id
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
    @property
    def event_id(self) -> str: ...


class Needed(Protocol):
    """What an open task must tell to be shown."""

    @property
    def code(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def due_minutes(self) -> int: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def due_at(self) -> datetime | None: ...


def flag_key(patient_id: str, flag_id: str) -> str:
    """Where a patient's flag lies among the resources of the chart."""
    return f"Flag/{resource_id(patient_id, f'Flag/{flag_id}')}"


def write_flags(page: Page, flags: Mapping[str, Raised], ended: Iterable[str]) -> None:
    for flag in flags.values():
        _flag(page, flag.flag_id, flag.severity, "active")
    for flag_id in ended:
        # Of the declared severity: what it was when it stood may differ with the order that submissions came in.
        _flag(page, flag_id, page.tables.contract.flags[flag_id].severity, "inactive")


def _flag(page: Page, flag_id: str, severity: str, status: str) -> None:
    rule = page.tables.contract.flags[flag_id]
    coding = [{"system": FLAG_SYSTEM, "code": flag_id}]
    if rule.snomed_equivalence == "equivalent":
        coding.append({"system": SNOMED, "code": rule.snomed})
    shown: Resource = {
        "extension": [{"url": SEVERITY_URL, "valueCode": severity}],
        "status": status,
        "category": _category(rule),
        "code": {"coding": coding, "text": rule.label},
        "subject": page.patient,
        "author": ASSEMBLER,
    }
    page.add("Flag", flag_id, shown)


def _category(rule: FlagRule) -> list[Resource]:
    return _CATEGORIES[_BY_INPUT.get(rule.input) or _BY_ACTCODE.get(rule.actcode, "safety")]


def write_tasks(page: Page, tasks: Iterable[Needed], flags: Mapping[str, Raised]) -> None:
    for task in tasks:
        since = task.since or _arose(page, task.cause, flags)
        opened = instant_utc(since)
        shown = _task(page, task.code, task.cause, "requested", opened, opened)
        shown["performerType"] = [{"text": task.owner}]
        if (about := _edited(task.cause)) is not None:
            shown["focus"] = {"reference": about}
        ends = task.due_at or since + timedelta(minutes=task.due_minutes)
        shown["restriction"] = {"period": {"end": instant_utc(ends)}}


def _edited(cause: str) -> str | None:
    """The resource that a task asks about, where it is there to be looked at."""
    reason, _, about = cause.partition(":")
    return about.replace(":", "/") if reason == "edited_in_ehr" else None


def write_closed_tasks(page: Page, closed: Iterable[tuple[str, str]]) -> None:
    """As completed, with instants that no later submission moves: it would be written again for nothing."""
    first = min(_submitted(page))
    for code, cause in closed:
        answered = page.received_at(cause.partition(":")[0])
        _task(page, code, cause, "completed", instant_utc(first), instant_utc(max(first, answered or first)))


def _task(page: Page, code: str, cause: str, status: str, opened: str, changed: str) -> Resource:
    kind = page.tables.contract.tasks.get(code)
    shown: Resource = {
        "status": status,
        "intent": "order",
        "code": concept(TASK_SYSTEM, code_token(code), kind.purpose if kind else None),
        "for": page.patient,
        "authoredOn": opened,
        "lastModified": changed,
        "requester": ASSEMBLER,
        "reasonCode": concept(CAUSE_SYSTEM, code_token(cause)),
    }
    page.add("Task", f"{code}/{cause}", shown)
    return shown


def _submitted(page: Page) -> list[datetime]:
    """When each submission came in that the patient pressed submit on."""
    told = page.chart.submissions
    return [s.received_at for s in told if s.is_submitted and s.source == INTAKE] or [s.received_at for s in told]


def _arose(page: Page, cause: str, flags: Mapping[str, Raised]) -> datetime:
    """When the cause of a task came in: with the answer or the flag it names; a blank one, with the first submission.

    The patient's other causes (a gate was passed) hold since the last submission.
    """
    name = cause.partition(":")[0]
    flag = flags.get(name)
    answered = page.received_at(name) if flag is None else page.received.get(flag.event_id)
    if answered is not None:
        return answered
    submitted = _submitted(page)
    return min(submitted) if name in page.tables.contract.fields else max(submitted)
