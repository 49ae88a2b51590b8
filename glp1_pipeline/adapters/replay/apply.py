"""Charting the events of a plan: all for show (`dry_run`), or for good, chunk by chunk (`apply`).

Both run the same code; a dry run rolls each chunk back. Each chunk is one transaction together with the mark that its
events are done: killed anywhere, a chunk is done or not begun. Not here: choosing and approving (`plan`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ...domain.contract import Contract
from ..balance import fingerprint
from ..charts import Charted, Scope, chart_events
from ..cipher import Cipher
from ..plans import NotApproved, alone
from .plan import COURSE, show


@dataclass
class Told:
    """How far a plan is, in counts, since this process took it up."""

    chosen: int
    done: int = 0
    """Events whose chunk is done, those of earlier takings-up among them."""
    dead: int = 0
    rejected: int = 0
    new_writes: int = 0
    """To all targets."""
    changes: dict[str, int] = field(default_factory=dict)
    is_stopped: bool = False

    def add(self, charted: Charted, events: int) -> None:
        self.done += events
        self.dead += charted.dead
        self.rejected += charted.rejected
        self.new_writes += charted.all_writes
        for name, count in charted.changes.items():
            self.changes[name] = self.changes.get(name, 0) + count


def dry_run(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    plan_id: uuid.UUID,
    progress: Callable[[Told], None] = lambda _: None,
) -> Told:
    """What the plan would change from how everything stands now; nothing is changed but the plan's `predicted`.

    Each chunk is charted and rolled back, so its locks last no longer than an applied chunk's. What one chunk would
    change for another (people who become one person by it) is not seen; within a chunk all is.
    """
    plan = show(connection, plan_id)
    _must_be_of(plan, contract)
    told, chunk = Told(plan["chosen"]), -1
    while True:
        with connection.transaction(force_rollback=True):
            taken = _next_chunk(connection, plan_id, chunk)
            if taken is None:
                break
            chunk, event_ids = taken
            told.add(_chart(connection, contract, cipher, event_ids), len(event_ids))
        progress(told)
    connection.execute(
        "update ops.replay_plans set predicted = %s where plan_id = %s and state = 'planned'",
        (Jsonb(dict(told.changes)), plan_id),
    )
    return told


def apply(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    plan_id: uuid.UUID,
    progress: Callable[[Told], None] = lambda _: None,
) -> Told:
    """Chart what is left of an approved plan, until it is done or somebody stops it. Raises NotApproved.

    The connection must be in autocommit mode. Nothing that reached people is done again: whatever leaves us is a write,
    and a write is born of changed content alone.
    """
    with alone(connection, plan_id):
        plan = show(connection, plan_id)
        COURSE.must_be_approved(plan["state"])
        _must_be_of(plan, contract)
        connection.execute(
            "update ops.replay_plans set state = 'applying', fingerprint_before = coalesce(fingerprint_before, %s)"
            " where plan_id = %s and state = 'approved'",
            (fingerprint(connection)["state"], plan_id),
        )
        told = Told(plan["chosen"], plan["done"])
        while _apply_chunk(connection, contract, cipher, plan_id, told):
            progress(told)
        if not told.is_stopped:
            connection.execute(
                "update ops.replay_plans set state = 'applied', settled_at = now(), fingerprint_after = %s"
                " where plan_id = %s",
                (fingerprint(connection)["state"], plan_id),
            )
    return told


def tree(changes: Mapping[str, int]) -> dict[str, Any]:
    """The paths of a difference as a tree, its branches in order."""
    found: dict[str, Any] = {}
    for name, count in sorted(changes.items()):
        *branches, leaf = name.split("/")
        place = found
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = count
    return found


def receipt(connection: psycopg.Connection, plan_id: uuid.UUID) -> dict[str, Any]:
    """The plan as one document fit for JSON: who, why, when, what was asked, predicted, changed, and fingerprints."""
    told = show(connection, plan_id)
    trees = {name: tree(told[name]) for name in ("predicted", "changed")}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()} | trees


def _apply_chunk(connection, contract: Contract, cipher: Cipher, plan_id: uuid.UUID, told: Told) -> bool:
    """The next chunk for good; False when none is left or the plan was stopped."""
    with connection.transaction():
        # Held to the commit: who stops the plan waits for this chunk, and the next one sees it.
        (state,) = connection.execute(
            "select state from ops.replay_plans where plan_id = %s for update", (plan_id,)
        ).fetchone()
        told.is_stopped = state != "applying"
        taken = None if told.is_stopped else _next_chunk(connection, plan_id, -1)
        if taken is None:
            return False
        chunk, event_ids = taken
        charted = _chart(connection, contract, cipher, event_ids)
        connection.execute(
            # The index of what is left finds them; without its condition each chunk would read the whole plan.
            "update ops.replay_plan_events set done_at = clock_timestamp() where plan_id = %s and chunk = %s"
            " and done_at is null",
            (plan_id, chunk),
        )
        connection.execute(
            "update ops.replay_plans set changed = changed || (select coalesce(jsonb_object_agg(key,"
            " value::bigint + coalesce((changed ->> key)::bigint, 0)), '{}') from jsonb_each_text(%s))"
            " where plan_id = %s",
            (Jsonb(dict(charted.changes)), plan_id),
        )
    told.add(charted, len(event_ids))
    return True


def _next_chunk(connection, plan_id: uuid.UUID, after: int) -> tuple[int, list[uuid.UUID]] | None:
    rows = connection.execute(
        "select chunk, event_id from ops.replay_plan_events where plan_id = %(plan)s and done_at is null and chunk ="
        " (select min(chunk) from ops.replay_plan_events where plan_id = %(plan)s and done_at is null"
        "  and chunk > %(after)s)",
        {"plan": plan_id, "after": after},
    ).fetchall()
    return (rows[0][0], [event_id for _, event_id in rows]) if rows else None


def _chart(connection, contract: Contract, cipher: Cipher, event_ids: list[uuid.UUID]) -> Charted:
    scope = Scope(event_ids=tuple(event_ids), is_replay=True, tells_changes=True)
    return chart_events(connection, contract, cipher, scope)


def _must_be_of(plan: Mapping[str, Any], contract: Contract) -> None:
    if plan["contract_version"] != contract.version:
        raise NotApproved("the contract changed since the plan was made, so it would do another thing: plan again")
