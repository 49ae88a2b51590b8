"""Requests of refills and what holds them, for people: ids, names and times, never a value.

Not here: the sealed records of decisions (`records`), and numbers of all (`counts`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from ...domain.contract import Contract
from ...domain.refill import holding_flags, may_override
from ..crosswalk import find_patient

NAMES = (
    "refill_id", "patient_id", "family", "channel", "status", "outcome", "rule", "reasons", "since", "until",
    "requested_at", "queued_at", "ended_at", "decisions", "decision_id", "is_overridden", "is_against_hold",
)  # fmt: skip
SELECT = (
    "select refill_id::text, patient_id::text, family, channel, status, outcome, decided_by, reasons, since, until_at,"
    " requested_at, queued_at, ended_at, decisions, decision_id::text, is_overridden, is_against_hold from ops.refills"
)


def listed(
    connection: psycopg.Connection, statuses: Sequence[str], outcomes: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    """Requests of these statuses and outcomes (none: all), the one first that has stood so for the longest."""
    rows = connection.execute(
        f"{SELECT} where (%(statuses)s::text[] = '{{}}' or status = any(%(statuses)s))"
        " and (%(outcomes)s::text[] = '{}' or outcome = any(%(outcomes)s)) order by since, refill_id limit %(limit)s",
        {"statuses": list(statuses), "outcomes": list(outcomes), "limit": limit},
    ).fetchall()
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def find(connection: psycopg.Connection, name: str) -> tuple[str, str | None] | None:
    """(patient, request) of our id of a request, or (patient, None) of any name of a patient; None: nobody's."""
    try:
        row = connection.execute(
            "select patient_id::text from ops.refills where refill_id = %s", (uuid.UUID(name),)
        ).fetchone()
        if row:
            return row[0], str(uuid.UUID(name))
    except ValueError:
        pass  # none of ours: a system's id of the patient, then
    patient_id = find_patient(connection, name)
    return None if patient_id is None else (patient_id, None)


def show(connection: psycopg.Connection, patient_id: str, refill_id: str | None = None) -> list[dict[str, Any]]:
    """The requests of a patient, or one of them, oldest first: each with its decisions and overrides."""
    rows = connection.execute(
        f"{SELECT} where patient_id = %(patient)s and (%(refill)s::uuid is null or refill_id = %(refill)s)"
        " order by requested_at, refill_id",
        {"patient": patient_id, "refill": refill_id},
    ).fetchall()
    found: dict[str, dict[str, Any]] = {row[0]: dict(zip(NAMES, row, strict=True)) for row in rows}
    for one in found.values():
        one |= {"made": [], "overrides": []}
    for refill_id_, *made in connection.execute(
        "select refill_id::text, decision_id::text, as_of, outcome, decided_by, rules_version from phi.refill_decisions"
        " where refill_id = any(%s::uuid[]) order by as_of, made_at",
        (list(found),),
    ):
        names = ("decision_id", "as_of", "outcome", "rule", "rules_version")
        found[refill_id_]["made"].append(dict(zip(names, made, strict=True)))
    for refill_id_, *given in connection.execute(
        "select refill_id::text, event_id::text, rules, flags, reason, role, actor, since, expires_at,"
        " since <= now() and now() < expires_at from ops.refill_overrides where refill_id = any(%s::uuid[])"
        " order by since, event_id",
        (list(found),),
    ):
        names = ("event_id", "rules", "flags", "reason", "role", "actor", "since", "expires_at", "is_in_force")
        found[refill_id_]["overrides"].append(dict(zip(names, given, strict=True)))
    return list(found.values())


def holding(connection: psycopg.Connection, contract: Contract, patient_id: str) -> list[dict[str, Any]]:
    """Why each open request of a patient stands where it does: which rule, since when, whose it is, until when it
    changes by itself, and who may let it go on."""
    clock = connection.execute(
        "select of_id::text, next_at, moment from ops.clocks where patient_id = %s", (patient_id,)
    ).fetchone()
    found = []
    for one in show(connection, patient_id):
        if one["status"] != "open":
            continue
        rule = contract.refills.by_name.get(one["rule"])
        is_next = clock is not None and clock[0] == one["refill_id"]
        roles = may_override(contract, one["rule"], holding_flags(one["rule"], one["reasons"]))
        found.append(
            {
                **{name: one[name] for name in ("refill_id", "family", "outcome", "rule", "reasons", "since")},
                "rule_says": rule.description if rule is not None else "",
                "requested_at": one["requested_at"],
                "decision_id": one["decision_id"],
                "changes_at": clock[1] if clock is not None and is_next else one["until"],
                "changes_by": clock[2] if clock is not None and is_next else None,
                "may_override": roles,
                "overrides": [given for given in one["overrides"] if given["is_in_force"]],
                "tasks": _tasks(connection, patient_id, one, rule.task if rule is not None else ""),
            }
        )
    return found


def _tasks(connection, patient_id: str, one: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Whose it is. Somebody who calls about the check-in already, or about the flag that the rule holds for, is not
    told of the request again."""
    rows = connection.execute(
        "select code, cause, queue, owner, opened_at, due_at from ops.tasks where patient_id = %s and status = 'open'"
        " and (rests_on = %s or (%s = 'not_eligible' and cause = %s) or (code = %s and cause = any(%s)))"
        " order by due_at, code",
        (patient_id, one["refill_id"], one["outcome"], f"followup.missed:{one['family']}", task, one["reasons"]),
    ).fetchall()
    return [dict(zip(("task", "cause", "queue", "owner", "since", "due"), row, strict=True)) for row in rows]
