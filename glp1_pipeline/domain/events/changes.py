"""Events of other systems and of stewards: what changed in the EHR or the CRM, and which records are one person.

Here: reading their data. Not here: the envelope (`envelope`), and what a changed resource says (`domain.changes`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from .shapes import TOKEN, Change, Decision, Refused, as_record, read_token

CHART, CONTACT, SETTLED, TASK = "chart.updated", "contact.updated", "field.conflict_resolved", "task.completed"
TASK_OUTCOMES = ("done", "declined", "noted")
DECISIONS: dict[str, tuple[Literal["merge", "unmerge", "not_a_match", "asked"], str, str]] = {
    "patient.merged": ("merge", "survivor_id", "retired_id"),
    "patient.unmerged": ("unmerge", "survivor_id", "restored_id"),
    "patient.not_a_match": ("not_a_match", "record_id", "other_id"),
    "patient.merge_asked": ("asked", "record_id", "other_id"),
}
"""Type -> what was decided, and the keys of the two records."""
LONGEST_REASON = 500


def read_change(kind: str, data: dict[str, Any], seen_at: datetime) -> Change:
    deleted = data.get("deleted", False)
    if not isinstance(deleted, bool):
        raise Refused("wrong_shape", "`data.deleted` must be true or false")
    is_chart = kind == CHART
    content = data.get("resource" if is_chart else "properties")
    if not isinstance(content, dict):
        if content is not None or not deleted:
            raise Refused("wrong_shape", "`data` must hold the resource or the properties as an object")
        content = {}
    resource_type = (
        read_token(data.get("resource_type"), "data.resource_type", "wrong_shape") if is_chart else "contact"
    )
    if is_chart and content and content.get("resourceType") != resource_type:
        raise Refused("wrong_shape", "`data.resource.resourceType` must be what `data.resource_type` says")
    record_id = data.get("record_id")
    return Change(
        system="ehr" if is_chart else "crm",
        kind=resource_type,
        remote_id=read_token(data.get("resource_id" if is_chart else "contact_id"), "data id", "wrong_shape"),
        version=read_token(data.get("version"), "data.version", "wrong_shape"),
        is_deleted=deleted,
        seen_at=seen_at,
        content=content,
        record_id=None if record_id is None else read_record(record_id, "data.record_id"),
        actor=read_actor(data),
        # Whoever names our record read it in the resource: what else stands there of accounts we wrote ourselves.
        identifiers=read_identifiers(data.get("identifiers") or (content.get("identifier") if not record_id else None)),
        sent=sent if isinstance(sent := data.get("sent"), dict) else {},
    )


def read_identifiers(raw: Any) -> tuple[tuple[str, str], ...]:
    """Those that are whole; an identifier that we cannot use is no fault of the change."""
    listed = raw if isinstance(raw, list) else []
    found = {
        (one["system"], one["value"])
        for one in listed
        if isinstance(one, dict)
        and all(isinstance(one.get(key), str) and TOKEN.fullmatch(one[key]) for key in ("system", "value"))
    }
    return tuple(sorted(found))


def read_settlement(data: dict[str, Any], seen_at: datetime) -> Change:
    """What a steward holds to be right of one field, as a value document."""
    field, value = read_token(data.get("field"), "data.field", "wrong_shape"), data.get("value")
    if not isinstance(value, dict) or ("value" in value) == ("null" in value):
        raise Refused("wrong_shape", "`data.value` must be an object with either `value` or `null`")
    return Change(
        system="steward",
        kind="field",
        remote_id=field,
        version="1",
        is_deleted=False,
        seen_at=seen_at,
        content={field: value},
        record_id=read_record(data.get("record_id"), "data.record_id"),
        actor=read_reasoned(data)[0],
    )


def read_task(data: dict[str, Any], seen_at: datetime) -> Change:
    """What became of a task that somebody worked on by hand, and the event that the task rested on then."""
    outcome = data.get("outcome")
    if outcome not in TASK_OUTCOMES:
        raise Refused("wrong_shape", f"`data.outcome` must be one of {', '.join(TASK_OUTCOMES)}")
    parts = [read_token(data.get(key), f"data.{key}", "wrong_shape") for key in ("task", "cause")]
    if any("/" in part for part in parts):
        raise Refused("wrong_shape", "`data.task` and `data.cause` must be names of ours, as the worklist has them")
    rests_on = read_record(data.get("rests_on"), "data.rests_on")
    if not read_actor(data):
        raise Refused("wrong_shape", "`data.actor` must say who did it")
    return Change(
        system="steward",
        kind="task",
        remote_id="/".join((*parts, rests_on, outcome)),
        version="1",
        is_deleted=False,
        seen_at=seen_at,
        content={},
        record_id=read_record(data.get("record_id"), "data.record_id"),
        actor=read_actor(data),
    )


def read_reasoned(data: dict[str, Any]) -> tuple[str, str]:
    """Who decided, and why."""
    reason = data.get("reason")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > LONGEST_REASON:
        raise Refused("wrong_shape", f"`data.reason` must say why, in at most {LONGEST_REASON} characters")
    actor = read_actor(data)
    if not actor:
        raise Refused("wrong_shape", "`data.actor` must say who decided")
    return actor, reason.strip()


def read_decision(kind: str, data: dict[str, Any], decided_at: datetime) -> Decision:
    action, first, second = DECISIONS[kind]
    records = read_record(data.get(first), f"data.{first}"), read_record(data.get(second), f"data.{second}")
    if records[0] == records[1]:
        raise Refused("unknown_record", f"`data.{first}` and `data.{second}` must be two records")
    return Decision(action, records, *read_reasoned(data), decided_at)


def read_record(raw: Any, key: str) -> str:
    if (record_id := as_record(raw)) is None:
        raise Refused("unknown_record", f"`{key}` must be the id of a record of ours")
    return record_id


def read_actor(data: dict[str, Any]) -> str:
    actor = data.get("actor")
    return "" if actor is None else read_token(actor, "data.actor", "wrong_shape")
