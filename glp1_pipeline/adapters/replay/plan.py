"""The plan itself: which events, in which chunks, who approved it and how far it is.

Not here: charting its events (`apply`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ...domain.contract import CRM, EHR
from ...domain.crosswalk import ACCOUNT
from ...domain.events.medication import SYSTEMS
from ..plans import Course, PlanFault

COURSE = Course("replay_plans", "replay")
CHUNK = 300
"""Events a transaction; a person with more of them makes a larger chunk, since a person is never split."""
KEPT_UNAPPROVED = "7 days"


@dataclass(frozen=True)
class Selection:
    """Which events; what is empty does not narrow, and of each kind any one may match. All empty chooses nothing."""

    event_ids: tuple[uuid.UUID, ...] = ()
    days: tuple[date, ...] = ()
    """Days of receipt in UTC."""
    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    """waiting, charted, rejected or dead."""
    reasons: tuple[str, ...] = ()
    """Why they are rejected or dead: the whole reason, or the class of the failure that it begins with."""
    contract_versions: tuple[str, ...] = ()
    """Versions of the contract that they were charted with."""
    patients: tuple[uuid.UUID, ...] = ()
    """Our ids of patients: all events of all their records."""

    def as_dict(self) -> dict[str, list[str]]:
        """What was asked, without what was not."""
        told = {field.name: [str(one) for one in getattr(self, field.name)] for field in fields(self)}
        return {name: values for name, values in told.items() if values}


CONDITIONS = {
    "event_ids": "e.event_id = any(%(event_ids)s)",
    "days": "e.received_on = any(%(days)s)",
    "sources": "e.source = any(%(sources)s)",
    "types": "e.type = any(%(types)s)",
    "statuses": "e.status = any(%(statuses)s)",
    "reasons": "(e.reason = any(%(reasons)s) or split_part(e.reason, ' in ', 1) = any(%(reasons)s))",
    "contract_versions": "exists (select from phi.patient_values v where v.event_id = e.event_id"
    " and v.contract_version = any(%(contract_versions)s))",
    "patients": "e.record_id = any(array(select unnest(%(patients)s::uuid[]) union"
    " select record_id from ops.patient_links where patient_id = any(%(patients)s::uuid[])))",
}
# An event that was never charted has no record yet: then its identifier's, else the record that it names itself (as a
# steward and our own clock do), else its subject's, else its own.
SYSTEMS_OF_PEOPLE = ", ".join(
    f"'{system}:' || e.source" for system in dict.fromkeys([ACCOUNT, EHR, CRM, *SYSTEMS.values()])
)
NAMED = "case when e.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then e.subject::uuid end"
PERSON = (
    "coalesce(l.patient_id, e.record_id, i.record_id, md5(e.source || chr(31) || e.subject)::uuid, e.event_id) as who"
    " from phi.events e left join lateral (select i.record_id from phi.identifiers i where e.record_id is null"
    f" and (i.system in ({SYSTEMS_OF_PEOPLE}) and i.value = e.subject or i.record_id = {NAMED}) limit 1) i on true"
    " left join ops.patient_links l on l.record_id = coalesce(e.record_id, i.record_id)"
)


def choose(connection: psycopg.Connection, selection: Selection, contract_version: str) -> uuid.UUID:
    """Make a plan of the events that are there now. What is received later is not in it.

    Plans that nobody approved in a week are forgotten here. Raises PlanFault where the selection is empty.
    """
    asked = selection.as_dict()
    if not asked:
        raise PlanFault("say what to replay: events, days, source, type, status, reason, contract version or patient")
    values = {field.name: list(getattr(selection, field.name)) for field in fields(selection)}
    plan_id = uuid.uuid4()
    with connection.transaction():
        connection.execute(
            "with old as (delete from ops.replay_plans where state = 'planned'"
            f" and made_at < now() - interval '{KEPT_UNAPPROVED}' returning plan_id)"
            " delete from ops.replay_plan_events e using old where e.plan_id = old.plan_id"
        )
        chosen = connection.execute(
            _choosing([CONDITIONS[name] for name in asked]), values | {"plan_id": plan_id, "chunk": CHUNK}
        ).rowcount
        connection.execute(
            "insert into ops.replay_plans (plan_id, selection, chosen, contract_version, state, made_at)"
            " values (%s, %s, %s, %s, 'planned', now())",
            (plan_id, Jsonb(asked), chosen, contract_version),
        )
    return plan_id


def _choosing(conditions: list[str]) -> bytes:
    return (
        f"with chosen as (select e.event_id, e.seq, {PERSON} where {' and '.join(conditions)}),"
        " told as (select who, min(seq) as first, count(*) as n from chosen group by who),"
        " placed as (select who, div(sum(n) over (order by first, who) - n, %(chunk)s) as chunk from told)"
        " insert into ops.replay_plan_events (plan_id, event_id, chunk)"
        " select %(plan_id)s, event_id, chunk from chosen join placed using (who)"
    ).encode()


COLUMNS = (
    "plan_id", "state", "selection", "chosen", "contract_version", "predicted", "changed", "made_at", "actor",
    "reason", "approved_at", "approvals", "settled_at", "fingerprint_before", "fingerprint_after",
)  # fmt: skip


def show(connection: psycopg.Connection, plan_id: uuid.UUID) -> dict[str, Any]:
    """The plan with how many of its events are done: its receipt, once it is applied. Raises PlanFault if unknown."""
    row = connection.execute(
        # Of a plan that is applied all are done; which they were is not kept for ever.
        f"select {', '.join(COLUMNS)}, case state when 'applied' then chosen else (select count(done_at)"
        " from ops.replay_plan_events e where e.plan_id = p.plan_id) end from ops.replay_plans p where plan_id = %s",
        (plan_id,),
    ).fetchone()
    if row is None:
        raise COURSE.unknown()
    return dict(zip((*COLUMNS, "done"), row, strict=True)) | {"plan_id": str(plan_id)}


def listed(connection: psycopg.Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The newest plans, newest first."""
    return [show(connection, plan_id) for plan_id in COURSE.newest(connection, limit)]
