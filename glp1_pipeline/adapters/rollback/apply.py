"""Taking back the writes of a plan: all for show (`dry_run`), or for good, chunk by chunk (`apply`).

Both look in the same way. What is taken back becomes new writes in the outbox, in one transaction with the mark that a
chunk is done: killed anywhere, a chunk is done or not begun, and delivery goes on by itself. Not here: choosing and
approving (`plan`), looking (`look`), sending (`outbox`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected
from psycopg.types.json import Jsonb

from ...domain.contract import Contract
from ...domain.rollback import NOTHING_TO_DO, TAKEN_BACK
from ..charts.grouping import lock
from ..cipher import Cipher
from ..ehr import Ehr
from ..plans import PlanFault, alone, is_free
from ..replay import tree
from .look import STAGE, Looked, look, stands
from .plan import COURSE, held, show
from .save import counted, save

LOOKS_EVERY_SECONDS = 1.0
"""While the outbox has writes of the plan's patients on their way."""
PATIENTS_AT_A_TIME = 200


@dataclass
class Told:
    """How far a plan is, in counts, since this process took it up."""

    chosen: int
    done: int = 0
    """Writes whose chunk is done, those of earlier takings-up among them."""
    new_writes: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    """`resources/<type>/<outcome>` and `writes/<target>` -> how many."""
    is_stopped: bool = False

    @property
    def waiting(self) -> int:
        """Writes that are not done: of patients of whom something is on its way."""
        return self.chosen - self.done

    def add(self, changes: dict[str, int], writes: int) -> None:
        self.done += writes
        self.new_writes += sum(count for name, count in changes.items() if name.startswith("writes/"))
        for name, count in changes.items():
            self.changes[name] = self.changes.get(name, 0) + count


def dry_run(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    ehr: Ehr,
    plan_id: uuid.UUID,
    progress: Callable[[Told], None] = lambda _: None,
) -> Told:
    """What the plan would do as everything stands now, here and in the EHR, which is asked for its versions; nothing is
    changed but the plan's `predicted`. Raises EhrFailure."""
    told = Told(show(connection, plan_id)["writes"])
    for chunk, writes in _chunks(connection, plan_id):
        told.add(counted(look(connection, contract, cipher, ehr, plan_id, chunk)), writes)
        progress(told)
    connection.execute(
        "update ops.rollback_plans set predicted = %s where plan_id = %s and state = 'planned'",
        (Jsonb(told.changes), plan_id),
    )
    return told


def apply(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    ehr: Ehr,
    plan_id: uuid.UUID,
    progress: Callable[[Told], None] = lambda _: None,
    patience: float = 0.0,
) -> Told:
    """Take back what is left of an approved plan, until it is done or somebody stops it.

    Of whom something is on its way, the outbox first has to say what came of it: that is waited for `patience` seconds
    at most. Then the plan stays as it is, `Told.waiting` says how many are left, and the next call goes on.

    The connection must be in autocommit mode. Nothing is sent here: the outbox delivers, and asks by If-Match. Raises
    NotApproved, EhrFailure.
    """
    ends = time.monotonic() + patience
    with alone(connection, plan_id):
        plan = show(connection, plan_id)
        COURSE.must_be_approved(plan["state"])
        connection.execute(
            "update ops.rollback_plans set state = 'applying' where plan_id = %s and state = 'approved'", (plan_id,)
        )
        told = Told(plan["writes"], plan["done"])
        while told.waiting:
            before = told.done
            for chunk in due_chunks(connection, contract, plan_id):
                done = _apply_chunk(connection, contract, cipher, ehr, plan_id, chunk)
                if done is None:
                    break
                told.add(*done)
                progress(told)
            if told.waiting and show(connection, plan_id)["state"] != "applying":
                told.is_stopped = True
                return told
            if told.done == before:
                if time.monotonic() >= ends:
                    return told
                time.sleep(LOOKS_EVERY_SECONDS)
        connection.execute(
            "update ops.rollback_plans set state = 'applied', settled_at = now() where plan_id = %s", (plan_id,)
        )
    return told


def release(connection: psycopg.Connection, plan_id: uuid.UUID, actor: str, reason: str) -> int:
    """Let what the plan took back be sent again: the next replay or event of a patient writes what our side says then.
    Returns how many resources were held. A plan that was stopped half-way goes on no more then. Raises PlanFault.
    Killed, it is done again."""
    if not actor.strip() or not reason.strip():
        raise PlanFault("a release needs an actor and a reason")
    with alone(connection, plan_id):
        plan = show(connection, plan_id)
        if plan["state"] not in ("applied", "stopped"):
            raise PlanFault(
                f"it is {plan['state']}: only what was taken back can be released, by a plan that is applied or stopped"
            )
        rows = held(connection, plan_id)
        patients = sorted({patient_id for _, patient_id, *_ in rows})
        for start in range(0, len(patients), PATIENTS_AT_A_TIME):  # each is a lock until the commit
            some = set(patients[start : start + PATIENTS_AT_A_TIME])
            _forget(connection, [row for row in rows if row[1] in some])
        connection.execute(
            "update ops.rollback_plans set released_at = now(), released_by = %s, released_because = %s"
            " where plan_id = %s",
            (actor.strip(), reason.strip(), plan_id),
        )
    return len(rows)


def _forget(connection, rows: Sequence[tuple]) -> None:
    """Our side plans what the EHR says now, unless it says something else already: so the next charting sees a
    difference."""
    try:
        with connection.transaction():
            lock(connection, {str(patient_id) for _, patient_id, *_ in rows})
            connection.execute(
                "update ops.copies c set planned = c.planned || u.after from (select t, p, jsonb_object_agg(r, a)"
                "  as after from unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[]) as h(t, p, r, b, a)"
                "  join ops.copies o on o.target = t and o.patient_id = p and o.planned ->> r = b group by 1, 2)"
                " as u where c.target = u.t and c.patient_id = u.p",
                [list(column) for column in zip(*rows, strict=True)],
            )
    except DeadlockDetected:  # as with a chunk
        _forget(connection, rows)


def receipt(connection: psycopg.Connection, plan_id: uuid.UUID) -> dict[str, Any]:
    """The plan as one document fit for JSON: who, why, when, what was asked, predicted and done, how it stands now."""
    told = show(connection, plan_id)
    trees = {name: tree(told[name]) for name in ("predicted", "changed")}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()} | trees


def by_outcome(told: Mapping[str, Any]) -> dict[str, int]:
    """Of a receipt's `predicted` or `changed`: how many resources are taken back, need nothing, and are left."""
    found = {"taken back": 0, "nothing to do": 0, "left": 0}
    for outcomes in told.get("resources", {}).values():
        for outcome, count in outcomes.items():
            name = "taken back" if outcome in TAKEN_BACK else "nothing to do" if outcome in NOTHING_TO_DO else "left"
            found[name] += count
    return found


def _chunks(connection, plan_id: uuid.UUID) -> Sequence[tuple[int, int]]:
    """What is left of the plan: each chunk and how many writes."""
    return connection.execute(
        "select chunk, count(*) from ops.rollback_plan_writes where plan_id = %s and undone_at is null"
        " group by chunk order by chunk",
        (plan_id,),
    ).fetchall()


def due(connection: psycopg.Connection, contract: Contract) -> list[uuid.UUID]:
    """Plans under way that no process is at, and of which something can be done now: what was on its way is settled."""
    rows = connection.execute(
        "select p.plan_id from ops.rollback_plans p where p.state = 'applying' and not exists (select from ops.breakers"
        "  where state <> 'closed' and open_until > now() and target in (select w.target from ops.writes w"
        "  join ops.rollback_plan_writes r using (write_id) where r.plan_id = p.plan_id)) order by p.approved_at"
    ).fetchall()
    return [
        plan_id for (plan_id,) in rows if due_chunks(connection, contract, plan_id) and is_free(connection, plan_id)
    ]


def due_chunks(connection, contract: Contract, plan_id: uuid.UUID) -> list[int]:
    """Chunks with somebody of whom nothing is on its way, or of whom nothing may be taken back anyway."""
    asking = sql.SQL(
        "with left_over as (select distinct p.chunk, w.target, w.patient_id, w.kind from ops.rollback_plan_writes p"
        " join ops.writes w using (write_id) where p.plan_id = %s and p.undone_at is null)"
        " select distinct l.chunk from left_over l where l.kind = any(%s) or (select {stage} from ops.writes w"
        "  where w.target = l.target and w.patient_id = l.patient_id) <> 'on_its_way' order by 1"
    ).format(stage=STAGE)
    never = [name for name, kind in contract.writes.items() if kind.rollback == "forbidden"]
    return [chunk for (chunk,) in connection.execute(asking, (plan_id, never)).fetchall()]


def _apply_chunk(
    connection, contract: Contract, cipher: Cipher, ehr: Ehr, plan_id: uuid.UUID, chunk: int
) -> tuple[dict[str, int], int] | None:
    """What can be done of a chunk, for good: the changes and how many writes. None when the plan was stopped.

    Who is written to while we look, or has something on its way, is left for the next look.
    """
    looked = [one for one in look(connection, contract, cipher, ehr, plan_id, chunk) if not one.is_to_wait]
    try:
        with connection.transaction():
            # Held to the commit: who stops the plan waits for this chunk, and the next one sees it.
            (state,) = connection.execute(
                "select state from ops.rollback_plans where plan_id = %s for update", (plan_id,)
            ).fetchone()
            if state != "applying":
                return None
            standing = _standing(connection, looked)
            save(connection, contract, cipher, plan_id, standing)
    except DeadlockDetected:
        # Somebody who charts met the same people in another order, and was let through: this looks again.
        return _apply_chunk(connection, contract, cipher, ehr, plan_id, chunk)
    return counted(standing), sum(len(one.chosen) for one in standing)


def _standing(connection, looked: Sequence[Looked]) -> list[Looked]:
    """Under the locks by which a patient is charted and delivered alone: whose rows are as they were when we looked."""
    whose = [(one.target, one.patient_id) for one in looked]
    lock(connection, {patient_id for _, patient_id in whose})
    connection.execute(
        "select 1 from ops.lanes l join unnest(%s::text[], %s::uuid[]) as u(t, p) on l.target = u.t"
        " and l.patient_id = u.p order by l.target, l.patient_id for update of l",
        ([target for target, _ in whose], [patient_id for _, patient_id in whose]),
    )
    now = {(row[0], row[1]): row for row in stands(connection, whose)}
    return [one for one in looked if now.get((one.target, one.patient_id)) == one.mark]
