"""What people did in the EHR with the work that we filed there: a task that they finished, a flag that they settled.

Here: reading our own Task and Flag as they stand there now. Not here: what follows (`tasks`, `refill.standing`), and
resources that are not ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contract import Contract
from ...events import Change
from ...fhir.work import CAUSE_SYSTEM, FLAG_SYSTEM, TASK_SYSTEM
from ...tasks import BY_HAND
from .reading import codings, is_ours, text

DONE = ("completed",)
REFUTED = ("inactive", "entered-in-error")
THERE = "EHR"
"""As the reason of what was settled there: the EHR keeps the words."""


def task_told(change: Change) -> str | None:
    """What became of a task of ours, as the report of it is named; None where it is none of ours."""
    if change.kind != "Task" or change.is_deleted or not is_ours(change.content):
        return None
    code, cause = _code(change.content, "code", TASK_SYSTEM), _code(change.content, "reasonCode", CAUSE_SYSTEM)
    if not code or not cause or "/" in code + cause:
        return None
    outcome = "done" if change.content.get("status") in DONE else "noted"
    return f"{BY_HAND}{code}/{cause}//{outcome}"


def flag_told(contract: Contract, change: Change) -> dict[str, Any] | None:
    """What became of a flag of ours, as a document of `domain.refill`; None where it is none of ours."""
    if change.kind != "Flag" or change.is_deleted or not is_ours(change.content):
        return None
    flag_id = _code(change.content, "code", FLAG_SYSTEM)
    if flag_id not in contract.flags:
        return None
    resolution = "refuted" if change.content.get("status") in REFUTED else "confirmed"
    return {
        "kind": "resolved",
        "flag_id": flag_id,
        "resolution": resolution,
        "reason_code": THERE,
        "actor": change.actor,
    }


def _code(resource: Mapping[str, Any], element: str, system: str) -> str:
    told = codings(resource.get(element))
    return next((text(one.get("code")) for one in told if one.get("system") == system), "")
