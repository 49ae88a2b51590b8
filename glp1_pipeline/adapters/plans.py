"""The course that every plan takes, whatever it does: planned, approved, applying, stopped or applied, by one process.

Not here: what is chosen, predicted and done (`replay`, `rollback`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

LOCKED = "another process applies this plan now: `show` says how far it is"


class PlanFault(ValueError):
    """A plan cannot do what was asked; says what it is and what to do."""


class NotApproved(PlanFault):
    """A plan may not be applied as it stands; says why."""


@dataclass(frozen=True)
class Course:
    """Of the plans of one kind; its table has plan_id, state, made_at, actor, reason and approved_at."""

    table: str
    """In the schema ops."""
    word: str
    """What one is called, which is its command too."""

    def unknown(self) -> PlanFault:
        return PlanFault(f"no plan has this id: `glp1 {self.word} list` shows them")

    def newest(self, connection: psycopg.Connection, limit: int) -> list[uuid.UUID]:
        rows = connection.execute(
            self._of("select plan_id from {} order by made_at desc, plan_id limit %s"), (limit,)
        ).fetchall()
        return [plan_id for (plan_id,) in rows]

    def approve(self, connection: psycopg.Connection, plan_id: uuid.UUID, actor: str, reason: str) -> None:
        """Say who wants it and why; a plan that was stopped or killed may go on after it. Raises PlanFault. Who said so
        before stays in the receipt.

        Not while a process applies it: the receipt would name somebody who did not want what was done.
        """
        if not actor.strip() or not reason.strip():
            raise PlanFault(f"a {self.word} needs an actor and a reason")
        with connection.transaction():
            if not is_free(connection, plan_id):  # and nobody begins: the lock is held to the end of this transaction
                raise NotApproved(LOCKED)
            done = connection.execute(
                self._of(
                    "update {} set actor = %(actor)s, reason = %(reason)s, approved_at = now(),"
                    " approvals = approvals || jsonb_build_object('actor', %(actor)s::text, 'reason', %(reason)s::text,"
                    "  'at', now()), state = case when state = 'applying' then state else 'approved' end"
                    " where plan_id = %(plan)s and state <> 'applied'"
                ),
                {"actor": actor.strip(), "reason": reason.strip(), "plan": plan_id},
            ).rowcount
        if not done:
            raise PlanFault(f"it is {self._state(connection, plan_id)}: plan again")

    def stop(self, connection: psycopg.Connection, plan_id: uuid.UUID) -> None:
        """End it after the chunk that is under way; `approve` and `apply` take it up again. Raises PlanFault."""
        done = connection.execute(
            self._of("update {} set state = 'stopped' where plan_id = %s and state in ('approved', 'applying')"),
            (plan_id,),
        ).rowcount
        if not done:
            raise PlanFault(f"it is {self._state(connection, plan_id)}: there is nothing to stop")

    def must_be_approved(self, state: str) -> None:
        if state not in ("approved", "applying"):
            raise NotApproved(f"the plan is {state}: `glp1 {self.word} approve` first, with an actor and a reason")

    def _state(self, connection: psycopg.Connection, plan_id: uuid.UUID) -> str:
        row: tuple[Any, ...] | None = connection.execute(
            self._of("select state from {} where plan_id = %s"), (plan_id,)
        ).fetchone()
        if row is None:
            raise self.unknown()
        return row[0]

    def _of(self, statement: LiteralString) -> sql.Composed:
        return sql.SQL(statement).format(sql.Identifier("ops", self.table))


def is_free(connection: psycopg.Connection, plan_id: uuid.UUID) -> bool:
    """Whether no process applies it just now."""
    with connection.transaction():
        return connection.execute("select pg_try_advisory_xact_lock(%s)", (_key(plan_id),)).fetchone() == (True,)


@contextmanager
def alone(connection: psycopg.Connection, plan_id: uuid.UUID) -> Iterator[None]:
    """One process applies a plan; a dead one's lock is free. Raises NotApproved."""
    if connection.execute("select pg_try_advisory_lock(%s)", (_key(plan_id),)).fetchone() != (True,):
        raise NotApproved(LOCKED)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", (_key(plan_id),))


def _key(plan_id: uuid.UUID) -> int:
    return int.from_bytes(plan_id.bytes[:8], "big", signed=True)
