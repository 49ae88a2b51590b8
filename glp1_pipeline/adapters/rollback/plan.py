"""The plan itself: which writes, in which chunks, who approved it, how far it is, what still stands of it.

Not here: taking the writes back (`apply`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from ...domain.rollback import NOTHING_TO_DO, TAKEN_BACK
from ..plans import Course, NotApproved, PlanFault

COURSE = Course("rollback_plans", "rollback")
CHUNK = 20
"""Writes a transaction; a patient with more of them makes a larger chunk, since a patient is never split. The EHR is
asked for some forty histories of each."""


@dataclass(frozen=True)
class Selection:
    """Which writes; what is empty does not narrow, and of each kind any one may match. A target alone chooses
    nothing."""

    write_ids: tuple[int, ...] = ()
    run_ids: tuple[str, ...] = ()
    """Runs of Dagster that made or delivered them."""
    since: datetime | None = None
    """Delivered at or after."""
    until: datetime | None = None
    """Delivered before."""
    contract_versions: tuple[str, ...] = ()
    """Versions of the contract that they were made by."""
    patients: tuple[uuid.UUID, ...] = ()
    """Our ids of patients: the writes of all their records."""
    targets: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        """What was asked, without what was not."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: [str(one) for one in (asked if isinstance(asked, tuple) else (asked,))]
            for name, asked in told.items()
            if asked not in ((), None)
        }


CONDITIONS: dict[str, LiteralString] = {
    "write_ids": "w.write_id = any(%(write_ids)s)",
    "run_ids": "(w.run_id = any(%(run_ids)s) or exists (select from ops.deliveries d where d.write_id = w.write_id"
    " and d.run_id = any(%(run_ids)s)))",
    "since": "w.settled_at >= %(since)s",
    "until": "w.settled_at < %(until)s",
    "contract_versions": "w.contract_version = any(%(contract_versions)s)",
    "patients": "w.patient_id = any(array(select unnest(%(patients)s::uuid[]) union"
    " select record_id from ops.patient_links where patient_id = any(%(patients)s::uuid[])))",
    "targets": "w.target = any(%(targets)s)",
}
# What a rollback wrote is in the same window and of the same patient: taken back only by who names it.
NOT_A_ROLLBACK: LiteralString = (
    "(w.write_id = any(%(write_ids)s) or not exists (select from ops.rollback_plan_writes r"
    " where r.undone_by = w.write_id))"
)
CHOOSING = (
    "with chosen as (select w.write_id, w.target, w.patient_id from ops.writes w where {}),"
    " told as (select target, patient_id, min(write_id) as first, count(*) as n from chosen group by 1, 2),"
    " placed as (select target, patient_id, div(sum(n) over (order by first) - n, %(chunk)s) as chunk from told)"
    " insert into ops.rollback_plan_writes (plan_id, write_id, chunk)"
    " select %(plan_id)s, write_id, chunk from chosen join placed using (target, patient_id)"
)


def choose(connection: psycopg.Connection, selection: Selection) -> uuid.UUID:
    """Make a plan of the writes that there are now. What is written later is not in it.

    Plans that nobody approved in a week are forgotten here. Raises PlanFault where nothing is asked for.
    """
    asked = selection.as_dict()
    if not asked.keys() - {"targets"}:
        raise PlanFault("say what to take back: writes, a run, a window of time, a contract version or a patient")
    values = {
        field.name: list(told) if isinstance(told := getattr(selection, field.name), tuple) else told
        for field in fields(selection)
    }
    plan_id = uuid.uuid4()
    conditions: list[LiteralString] = [
        *(CONDITIONS[name] for name in asked), NOT_A_ROLLBACK, "w.status <> 'cancelled'",
    ]  # fmt: skip
    choosing = sql.SQL(CHOOSING).format(sql.SQL(" and ").join(sql.SQL(one) for one in conditions))
    with connection.transaction():
        connection.execute(
            "with old as (delete from ops.rollback_plans where state = 'planned'"
            " and made_at < now() - interval '7 days' returning plan_id)"
            " delete from ops.rollback_plan_writes w using old where w.plan_id = old.plan_id"
        )
        chosen = connection.execute(choosing, values | {"plan_id": plan_id, "chunk": CHUNK}).rowcount
        connection.execute(
            "insert into ops.rollback_plans (plan_id, selection, writes, state, made_at)"
            " values (%s, %s, %s, 'planned', now())",
            (plan_id, Jsonb(asked), chosen),
        )
    return plan_id


def approve(connection: psycopg.Connection, plan_id: uuid.UUID, actor: str, reason: str) -> None:
    """As of any plan (`Course.approve`), unless what it took back was released. Raises PlanFault."""
    with connection.transaction():
        COURSE.approve(connection, plan_id, actor, reason)
        if show(connection, plan_id)["released_at"] is not None:
            raise NotApproved("what it took back was released, so it goes on no more: plan again")


COLUMNS = (
    "plan_id", "state", "selection", "writes", "predicted", "changed", "made_at", "actor", "reason", "approved_at",
    "approvals", "settled_at", "released_at", "released_by", "released_because", "done",
)  # fmt: skip
HELD: LiteralString = (
    "select r.target, r.patient_id, r.resource, r.hash_before, r.hash_after from ops.rollback_resources r"
    " join ops.copies c using (target, patient_id) where r.plan_id = %(plan)s and r.outcome = any(%(taken_back)s)"
    " and c.planned ->> r.resource = r.hash_before and r.hash_before <> r.hash_after"
)
"""What a plan took back and is not sent again: our side still says just that."""


def show(connection: psycopg.Connection, plan_id: uuid.UUID) -> dict[str, Any]:
    """The plan, and how it stands now: its receipt, once it is applied. Raises PlanFault if unknown.

    `done`: of its writes; while it is applied, the others wait for the outbox. `sent`: what came of the new writes,
    `conflict` where somebody was quicker there. `held`: resources that are not sent again while our side says what was
    taken back.
    """
    row = connection.execute(
        "select p.plan_id, p.state, p.selection, p.writes, p.predicted, p.changed, p.made_at, p.actor, p.reason,"
        " p.approved_at, p.approvals, p.settled_at, p.released_at, p.released_by, p.released_because,"
        " (select count(undone_at)"
        " from ops.rollback_plan_writes w where w.plan_id = p.plan_id) from ops.rollback_plans p where plan_id = %s",
        (plan_id,),
    ).fetchone()
    if row is None:
        raise COURSE.unknown()
    told = dict(zip(COLUMNS, row, strict=True)) | {"plan_id": str(plan_id)}
    told["sent"] = dict(
        connection.execute(
            "select case when status = 'delivered' then coalesce((select outcome from ops.deliveries d"
            "  where d.write_id = w.write_id and outcome = 'conflict' limit 1), status) else status end, count(*)"
            " from ops.writes w where write_id in (select undone_by from ops.rollback_plan_writes where plan_id = %s)"
            " group by 1",
            (plan_id,),
        ).fetchall()
    )
    told["held"] = 0
    if told["released_at"] is None:
        counting = sql.SQL("select count(*) from ({}) as h").format(sql.SQL(HELD))
        (told["held"],) = connection.execute(counting, _held_by(plan_id)).fetchone() or (0,)
    return told


def held(connection: psycopg.Connection, plan_id: uuid.UUID) -> list[tuple]:
    """Target, patient, resource and both hashes of what the plan keeps from being sent again."""
    return connection.execute(HELD, _held_by(plan_id)).fetchall()


def _held_by(plan_id: uuid.UUID) -> dict[str, Any]:
    return {"plan": plan_id, "taken_back": list(TAKEN_BACK)}


def left(connection: psycopg.Connection, plan_id: uuid.UUID) -> list[dict[str, str]]:
    """What the plan could not take back, and why: for a person to look at."""
    rows = connection.execute(
        "select target, patient_id::text, resource, outcome from ops.rollback_resources where plan_id = %s"
        " and outcome <> all(%s) order by outcome, target, patient_id, resource",
        (plan_id, [*TAKEN_BACK, *NOTHING_TO_DO]),
    ).fetchall()
    return [dict(zip(("target", "patient_id", "resource", "why"), row, strict=True)) for row in rows]


def listed(connection: psycopg.Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The newest plans, newest first."""
    return [show(connection, plan_id) for plan_id in COURSE.newest(connection, limit)]
