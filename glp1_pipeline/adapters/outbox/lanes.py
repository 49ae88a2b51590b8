"""Claiming lanes and settling what was done for them: all statements by which delivery changes a row.

Whoever holds a lane's row lock may change its writes, nobody else: so each step takes the lane first, and reads in a
statement of its own what an earlier holder left. Times are the database's. Not here: what an outcome means.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from glp1_pipeline.domain.outbox import Breaker

PERSON = ("Patient/", "contact")
"""Keys of what stands for a person in a target."""


@dataclass(slots=True)
class Claimed:
    """One write, ours until the lease ends."""

    token: uuid.UUID
    patient_id: uuid.UUID
    write_id: int
    n: int
    tries: int
    was: str
    """Its status before the claim: ready, or in_doubt when an earlier try may have landed."""
    age_hours: float
    kid: str | None
    body: bytes | None
    remote: dict[str, list[str]]
    conflicts: dict[str, dict[str, Any]]
    """By key what somebody else changed there: since, reason, and a person's decision, if there is one; `over`: the
    elements that it is about, where not the whole."""
    heard: dict[str, dict[str, str]]
    """By key event and version of what somebody changed there since our last delivery, as far as the ledger knows."""
    claimed_at: float
    """Our own monotonic clock, read before the claim: the lease never ends earlier than we think."""
    content: dict[str, Any] = field(default_factory=dict)
    """The body, opened; its shape is the target's."""
    keys: list[str] = field(default_factory=list)
    """The resources that it is about."""
    is_known_there: bool = False

    def decided(self, decision: str | None) -> set[str]:
        """The resources in conflict of which a person said this; None: nobody has said anything."""
        return {k for k, mark in self.conflicts.items() if mark.get("decision") == decision and "over" not in mark}

    @property
    def over(self) -> dict[str, list[str]]:
        """Of a resource the elements of which somebody settled that ours is right."""
        return {key: mark["over"] for key, mark in self.conflicts.items() if "over" in mark}


@dataclass(slots=True)
class Settled:
    """What became of a claimed write. `outcome` None: it was given back untried."""

    claimed: Claimed
    status: str
    outcome: str | None
    last_class: str | None
    http_status: int | None = None
    ms: float = 0.0
    remote: dict[str, list[str]] = field(default_factory=dict)
    delay_seconds: float = 0.0
    blocked: str | None = None
    burns_try: bool = True
    conflicts: dict[str, str] = field(default_factory=dict)
    """Resources left as they are there, and why. Delivered without them, the write ends the conflict of its others."""
    seen: dict[str, str] = field(default_factory=dict)
    """By key the version that stood there when we looked; empty where it stays, since it says what we would."""

    @property
    def marks(self) -> dict[str, str | None]:
        """What changes in the copy's conflicts: a new reason, or None where there is none any more."""
        over = self.claimed.keys if self.is_delivered else ()
        return {key: None for key in over if key in self.claimed.conflicts} | self.conflicts

    @property
    def answered(self) -> list[tuple[str, str]]:
        """Keys and versions of others' changes that this write came after: they are no news any more."""
        over = [key for key in self.claimed.keys if self.is_delivered and key not in self.conflicts]
        known = {key: mark["version"] for key, mark in self.claimed.heard.items() if self.seen.get(key)}
        return [(key, version) for key in over for found in (known, self.seen) if (version := found.get(key))]

    @property
    def is_delivered(self) -> bool:
        return self.status == "delivered"


def claim(
    connection: Connection[Any], target: str, limit: int, lease_seconds: float, claimed_at: float
) -> tuple[list[Claimed], Breaker]:
    """Lease due lanes and mark the next write of each as begun, in one transaction; none while the breaker is open."""
    token = uuid.uuid4()
    with connection.transaction():
        breaker, may_call, is_trial = _ask_breaker(connection, target, lease_seconds)
        if not may_call:
            return [], breaker
        lanes = connection.execute(
            "with due as (select target, patient_id from ops.lanes where target = %s and has_work and blocked is null"
            " and next_at <= now() and (leased_until is null or leased_until < now())"
            " order by next_at limit %s for update skip locked)"
            " update ops.lanes l set token = %s, leased_until = now() + make_interval(secs => %s)"
            " from due where l.target = due.target and l.patient_id = due.patient_id returning l.patient_id",
            (target, 1 if is_trial else limit, token, lease_seconds),
        ).fetchall()
        patients = [patient_id for (patient_id,) in lanes]
        # A second statement on purpose: it sees what the lanes' last holders committed before we got the locks.
        rows = connection.execute(
            "with heads as (select h.* from unnest(%s::uuid[]) p cross join lateral"
            " (select write_id, patient_id, n, status, first_tried_at from ops.writes w where w.target = %s"
            "  and w.patient_id = p and w.status in ('ready', 'in_doubt') order by w.n limit 1) h),"
            " begun as (update ops.writes w set status = 'in_doubt', tries = w.tries + 1,"
            "  first_tried_at = coalesce(w.first_tried_at, now()) from heads where w.write_id = heads.write_id"
            "  returning w.write_id, w.tries)"
            " select h.patient_id, h.write_id, h.n, begun.tries, h.status,"
            " extract(epoch from now() - coalesce(h.first_tried_at, now()))::float8 / 3600, b.kid, b.body,"
            " coalesce(linked.remote, '{}') || coalesce(c.remote, '{}'), coalesce(c.conflicts, '{}'),"
            " coalesce(c.heard, '{}')"
            " from heads h join begun using (write_id)"
            " left join phi.write_bodies b using (write_id)"
            " left join ops.copies c on c.target = %s and c.patient_id = h.patient_id"
            # Where the Patient of a merged record is there: the one refers to the other, also once they are parted.
            " left join lateral (select jsonb_object_agg(e.key, e.value) as remote from"
            "  (select unnest(array[record_id, patient_id]) as id from ops.patient_links"
            "   where h.patient_id in (record_id, patient_id) union select record_b from phi.match_decisions"
            "   where record_a = h.patient_id union select record_a from phi.match_decisions"
            "   where record_b = h.patient_id) l join ops.copies o on o.target = %s and o.patient_id = l.id,"
            "  jsonb_each(o.remote) e where starts_with(e.key, 'Patient/')) linked on true",
            (patients, target, target, target),
        ).fetchall()
        if len(rows) < len(patients):
            with_work = {row[0] for row in rows}
            connection.execute(
                "update ops.lanes set has_work = false, token = null, leased_until = null"
                " where target = %s and patient_id = any(%s)",
                (target, [p for p in patients if p not in with_work]),
            )
        if is_trial and not rows:  # nothing to try it with: leave the trial to the next who has
            connection.execute(
                "update ops.breakers set state = 'open', open_until = now() where target = %s", (target,)
            )
    return [Claimed(token, *row, claimed_at=claimed_at) for row in rows], breaker


def _ask_breaker(connection: Connection[Any], target: str, lease_seconds: float) -> tuple[Breaker, bool, bool]:
    """The breaker, whether to call at all, and whether this is the one call that is let through to see."""
    row = connection.execute(
        "select state, failures, reason, coalesce(open_until > now(), false) from ops.breakers where target = %s",
        (target,),
    ).fetchone()
    if row is None or row[0] == "closed":
        return Breaker(failures=row[1] if row else 0), True, False
    breaker = Breaker(*row[:3])
    if row[3]:
        return breaker, False, False
    # Of several processes one wins; if it dies, the trial is free again when its lease is over.
    won = connection.execute(
        "update ops.breakers set state = 'half_open', open_until = now() + make_interval(secs => %s),"
        " changed_at = now() where target = %s and state <> 'closed' and open_until <= now()",
        (lease_seconds, target),
    ).rowcount
    return Breaker("half_open", row[1], row[2]), won == 1, True


def settle(connection: Connection[Any], target: str, batch: Sequence[Settled]) -> list[Settled]:
    """Write down what became of claimed writes; returns those that still were ours to settle.

    The caller holds a transaction.
    """
    held = connection.execute(
        "select l.patient_id, l.token from ops.lanes l join unnest(%s::uuid[], %s::uuid[]) as u(p, t)"
        " on l.patient_id = u.p and l.token = u.t where l.target = %s order by l.patient_id for update of l",
        ([s.claimed.patient_id for s in batch], [s.claimed.token for s in batch], target),
    ).fetchall()
    ours = set(held)
    mine = [s for s in batch if (s.claimed.patient_id, s.claimed.token) in ours]
    if not mine:
        return []
    tried = [s for s in mine if s.outcome is not None]
    connection.execute(
        "update ops.writes w set status = u.s, tries = w.tries - u.back, last_class = coalesce(u.c, w.last_class),"
        " settled_at = case when u.s in ('delivered', 'dead') then now() end,"
        " first_tried_at = case when w.tries > 1 or u.tried then w.first_tried_at end"
        " from unnest(%s::bigint[], %s::text[], %s::text[], %s::int[], %s::bool[]) as u(w, s, c, back, tried)"
        " where w.write_id = u.w",
        (
            [s.claimed.write_id for s in mine],
            [s.status for s in mine],
            [s.last_class for s in mine],
            [0 if s.burns_try else 1 for s in mine],
            [s.outcome is not None for s in mine],
        ),
    )
    if learned := [s for s in mine if s.remote]:
        connection.execute(
            "insert into ops.copies as c (target, patient_id, remote)"
            " select %s, p, r from unnest(%s::uuid[], %s::jsonb[]) as u(p, r)"
            " on conflict (target, patient_id) do update set remote = c.remote || excluded.remote",
            (target, [s.claimed.patient_id for s in learned], [Jsonb(s.remote) for s in learned]),
        )
    _learn_ids(connection, target, mine)
    if marked := [s for s in mine if s.marks]:
        connection.execute(
            "update ops.copies c set conflicts = jsonb_strip_nulls(c.conflicts || (select jsonb_object_agg(key,"
            "  case when value <> 'null' then jsonb_build_object('reason', value,"
            "  'since', coalesce(c.conflicts -> key -> 'since', to_jsonb(now()))) end) from jsonb_each(u.m)))"
            " from unnest(%s::uuid[], %s::jsonb[]) as u(p, m) where c.target = %s and c.patient_id = u.p",
            ([s.claimed.patient_id for s in marked], [Jsonb(s.marks) for s in marked], target),
        )
    if answered := [(s.claimed.patient_id, *one) for s in mine for one in s.answered]:
        connection.execute(
            "update ops.copies c set heard = c.heard - array(select k from unnest(%s::uuid[], %s::text[], %s::text[])"
            "  as u(p, k, v) where p = c.patient_id and c.heard -> k ->> 'version' = v)"
            " where c.target = %s and c.patient_id = any(%s) and c.heard <> '{}'",
            (*(list(column) for column in zip(*answered, strict=True)), target, [p for p, *_ in answered]),
        )
    if tried:
        connection.execute(
            "insert into ops.deliveries (write_id, attempt, at, ms, http_status, outcome, trouble, delivered_on)"
            " select w, a, now(), ms, h, o, c, (now() at time zone 'utc')::date from unnest(%s::bigint[], %s::int[],"
            " %s::float8[], %s::int[], %s::text[], %s::text[]) as u(w, a, ms, h, o, c)",
            (
                [s.claimed.write_id for s in tried],
                [s.claimed.tries for s in tried],
                [s.ms for s in tried],
                [s.http_status for s in tried],
                [s.outcome for s in tried],
                [None if s.outcome == "delivered" else s.last_class for s in tried],
            ),
        )
    # Last, in a statement of its own under the lane's lock: a write planned meanwhile is seen, or its planner
    # waits for this lock and wakes the lane again.
    connection.execute(
        "update ops.lanes l set token = null, leased_until = null, blocked = coalesce(u.b, l.blocked),"
        " next_at = now() + make_interval(secs => u.d), has_work = exists (select 1 from ops.writes w"
        "  where w.target = l.target and w.patient_id = l.patient_id and w.status in ('ready', 'in_doubt'))"
        " from unnest(%s::uuid[], %s::text[], %s::float8[]) as u(p, b, d)"
        " where l.target = %s and l.patient_id = u.p",
        (
            [s.claimed.patient_id for s in mine],
            [s.blocked for s in mine],
            [s.delay_seconds for s in mine],
            target,
        ),
    )
    return mine


def _learn_ids(connection: Connection[Any], target: str, batch: Sequence[Settled]) -> None:
    """What the target calls the person goes into the crosswalk, as the sources of its own events name them."""
    rows = [
        (f"Patient/{remote[0]}" if key.startswith("Patient/") else remote[0], s.claimed.patient_id, s.claimed.write_id)
        for s in batch
        for key, remote in s.remote.items()
        if key.startswith(PERSON) and key not in s.claimed.remote
    ]
    if rows:
        connection.execute(
            "insert into phi.identifiers (system, value, record_id, learned_by, learned_at)"
            " select %s, v, p, w.events[1], now() from unnest(%s::text[], %s::uuid[], %s::bigint[]) as u(v, p, i)"
            " join ops.writes w on w.write_id = u.i and w.events <> '{}' on conflict do nothing",
            (f"{target}:/{target}/{target}", *(list(column) for column in zip(*rows, strict=True))),
        )


def lock_breaker(connection: Connection[Any], target: str) -> Breaker:
    """The breaker's row, locked for a change in the caller's transaction."""
    row = connection.execute(
        "select state, failures, reason from ops.breakers where target = %s for update", (target,)
    ).fetchone()
    assert row is not None
    return Breaker(*row)


def save_breaker(connection: Connection[Any], target: str, breaker: Breaker, open_seconds: float | None) -> None:
    connection.execute(
        "update ops.breakers set state = %s, failures = %s, reason = %s, changed_at = now(),"
        " open_until = case when %s = 'closed' then null when %s::float8 is null then open_until"
        # Only an open breaker's own time counts on; that of a trial was its lease.
        "  else greatest(case state when 'open' then open_until end, now() + make_interval(secs => %s)) end"
        " where target = %s",
        (breaker.state, breaker.failures, breaker.reason, breaker.state, open_seconds, open_seconds, target),
    )


def wake(connection: Connection[Any], target: str, troubles: Collection[str], within_seconds: float) -> None:
    """The target is well again: a lane with a write that failed by one of these troubles waits this long and no longer,
    whatever the target asked for while it was unwell. A lane that another process is at is left to it."""
    connection.execute(
        "with late as (select target, patient_id from ops.lanes l where target = %s and has_work and blocked is null"
        " and next_at > now() + make_interval(secs => %s) and exists (select from ops.writes w where"
        "  w.target = l.target and w.patient_id = l.patient_id and w.status in ('ready', 'in_doubt')"
        "  and w.last_class = any(%s)) for update skip locked)"
        " update ops.lanes l set next_at = now() + make_interval(secs => %s) from late"
        " where l.target = late.target and l.patient_id = late.patient_id",
        (target, within_seconds, list(troubles), within_seconds),
    )


def note_places(connection: Connection[Any], target: str, claimed: Claimed, places: Mapping[str, list[str]]) -> bool:
    """Note where resources stand, in the middle of a try; False where the lane is no longer ours."""
    with connection.transaction():
        held = connection.execute(
            "select from ops.lanes where target = %s and patient_id = %s and token = %s for update",
            (target, claimed.patient_id, claimed.token),
        ).fetchone()
        if held is not None:
            connection.execute(
                "update ops.copies set remote = remote || %s where target = %s and patient_id = %s",
                (Jsonb(places), target, claimed.patient_id),
            )
    return held is not None


def earlier_bodies(connection: Connection[Any], target: str, claimed: Claimed) -> list[tuple[int, str, str, bytes]]:
    """Bodies that were sent for this patient before, newest first, with their writes' status: what we last said."""
    with connection.transaction():
        return connection.execute(
            "select w.write_id, w.status, b.kid, b.body from ops.writes w join phi.write_bodies b using (write_id)"
            " where w.target = %s and w.patient_id = %s and w.n < %s and w.status in ('delivered', 'dead',"
            " 'cancelled') order by w.n desc",
            (target, claimed.patient_id, claimed.n),
        ).fetchall()


def heard_bodies(connection: Connection[Any], events: Collection[str]) -> list[tuple[str, str, bytes]]:
    """Of events their id, and body with its key."""
    with connection.transaction():
        return connection.execute(
            "select event_id::text, kid, body from phi.events where event_id = any(%s::uuid[])", (list(events),)
        ).fetchall()
