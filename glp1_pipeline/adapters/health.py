"""What health is judged from: each part in numbers, what the alerts measure now, and their incidents.

Reads alone, in names, counts and times. A question that fails or takes too long is told, and hides no other. Not here:
verdicts (`domain.health`), and how they look (`health_page`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import Connection

from glp1_pipeline.domain.alerts import Book, plain_scope
from glp1_pipeline.domain.alerts.telling import age, counted
from glp1_pipeline.domain.health import Fault, Health, Part, Seen, judge_health

from .alerts.incidents import open_incidents
from .alerts.measure import World, measure
from .health_refills import refill_parts

PATIENCE_MS = 5_000


def look_at_health(
    connection: Connection[Any],
    book: Book,
    world: World,
    gates: Collection[str],
    targets: Collection[str],
    gate_queue: str,
    more: Collection[Part] = (),
) -> Health:
    """Read everything and judge it. `connection` is in autocommit. `gate_queue`: whose team a gate belongs to. `more`:
    parts that the caller looked at."""
    connection.execute("select set_config('statement_timeout', %s, false)", (str(PATIENCE_MS),))
    try:
        seen = _read(connection, book, world, gates, targets, gate_queue)
        return judge_health(book, replace(seen, parts=(*seen.parts, *more)), _now(connection))
    finally:
        if not connection.closed:
            connection.execute("reset statement_timeout")


def _read(connection, book: Book, world: World, gates, targets, gate_queue: str) -> Seen:
    parts = [
        *_ledger(connection),
        *_feeds(connection),
        *_queues(connection, book),
        *refill_parts(connection, _ago(connection)),
        *(_gate(connection, gate, gate_queue) for gate in sorted(gates)),
        *(_target(connection, target) for target in sorted(targets)),
        *_programs(connection),
    ]
    measured, asked, blind = [], set(), set()
    for alert in book.alerts.values():
        if alert.every_minutes:
            continue  # what is dear was counted by the last look
        try:
            measured += measure(connection, alert, world)
            asked.add(alert.name)
        except (psycopg.Error, OSError):
            if connection.closed:
                raise
            blind.add(alert.name)
    looks = connection.execute("select alert, looked_at from ops.alert_looks where looked_at is not null").fetchall()
    ended = connection.execute(
        "select alert, scope, max(resolved_at) from ops.incidents where resolved_at is not null group by 1, 2"
    ).fetchall()
    return Seen(
        tuple(parts),
        tuple(measured),
        frozenset(asked),
        frozenset(blind),
        dict(looks),
        tuple(open_incidents(connection)),
        {(alert, scope): at for alert, scope, at in ended},
    )


def _ledger(connection) -> list[Part]:
    waiting, oldest = _row(connection, "select count(*), min(received_at) from phi.events where status = 'waiting'")
    (dead,) = _row(connection, "select count(*) from phi.events where status = 'dead'")
    ago = _ago(connection)
    looked = connection.execute("select looked_at from ops.alert_looks where alert = 'ledger_unbalanced'").fetchone()
    (conflicts,) = _row(connection, "select count(*) from ops.field_conflicts where closed_at is null")
    since = f", the oldest for {ago(oldest)}" if oldest else ""
    return [
        Part("ledger", "charting", f"{counted(waiting, 'events')} waiting{since}; {dead} dead"),
        Part("ledger", "balance", f"counted {ago(looked[0])} ago" if looked and looked[0] else "not counted yet"),
        Part("ledger", "disagreements", f"{counted(conflicts, 'fields')} in dispute"),
    ]


HALF_READ: LiteralString = (
    # Longer than the largest drop takes. After a week it is told no more: who sent it knows by then.
    "select count(*), min(received_at) from ops.drops where received_on >= (now() at time zone 'utc')::date - 7"
    " and state = 'reading' and received_at < now() - interval '2 hours'"
)


def _feeds(connection) -> list[Part]:
    ago = _ago(connection)
    drops, refused, rejected = _row(
        connection,
        "select count(*), count(*) filter (where state = 'refused'), coalesce(sum(rejected), 0)::bigint from ops.drops"
        " where received_on = (now() at time zone 'utc')::date",
    )
    says = f"{counted(drops, 'drops')} today, {refused} refused; {counted(rejected, 'lines')} rejected"
    begun, since = _row(connection, HALF_READ)
    faults = ()
    if begun:
        faults = (
            Fault("amber", f"{counted(begun, 'drops')} begun and not read to the end",
                  "If no drop lies there any more, they were taken away or replaced half-read: have them sent again.",
                  "glp1 status", since),
        )  # fmt: skip
    found = [Part("feed", "landing zone", says, faults=faults)]
    for feed, last_at in connection.execute("select feed, last_at from phi.feeds order by feed"):
        found.append(Part("feed", plain_scope(feed), f"last event {ago(last_at)} ago"))
    for system, at in connection.execute(
        "select system, min(polled_at) from ops.poll_cursors where polled_at is not null"
        " and kind not in ('hint', 'deletion_hint', 'archived', 'sweep') group by 1 order by 1"
    ):
        found.append(Part("feed", f"changes from {plain_scope(system)}", f"asked {ago(at)} ago"))
    return found


def _queues(connection, book: Book) -> list[Part]:
    ago = _ago(connection)
    work = {
        queue: (count, overdue, due)
        for queue, count, overdue, due in connection.execute(
            "select queue, count(*), count(*) filter (where due_at < now()), min(due_at) from ops.tasks"
            " where status = 'open' group by 1"
        )
    }
    patients, since = _row(connection, "select count(*), min(entered_at) from ops.provider_queue where left_at is null")
    found = []
    for queue in sorted({*work, *(queue for team in book.teams.values() for queue in team.queues)}):
        count, overdue, due = work.get(queue, (0, 0, None))
        says = f"{counted(count, 'tasks')} open, {overdue} overdue" + (f" for up to {ago(due)}" if overdue else "")
        if queue == "provider" and patients:
            says += f"; {counted(patients, 'patients')} in the provider's queue, the first for {ago(since)}"
        found.append(Part("queue", plain_scope(queue), says, queue=queue))
    (pairs,) = _row(connection, "select count(*) from ops.patient_match_reviews")
    return [*found, Part("queue", "likely matches", f"{counted(pairs, 'pairs')} waiting for a steward")]


HELD_UNATTENDED: LiteralString = (
    "select count(*), min(g.since), (array_agg(g.patient_id::text order by g.since, g.patient_id))[1]"
    " from ops.gate_results g where g.gate_id = %s and g.outcome = 'held'"
    " and not exists (select from ops.tasks t where t.patient_id = g.patient_id and t.status = 'open')"
    # A patient who only began, or whom only another system knows, is nobody's work yet.
    " and exists (select from phi.patient_values v where v.source = 'intake' and v.status <> 'in-progress'"
    " and v.record_id in (select g.patient_id union all select l.record_id from ops.patient_links l"
    " where l.patient_id = g.patient_id))"
)


def _gate(connection, gate: str, queue: str) -> Part:
    passed, held = _row(
        connection,
        "select count(*) filter (where outcome = 'passed'), count(*) filter (where outcome = 'held')"
        " from ops.gate_results where gate_id = %s",
        gate,
    )
    overdue, due = _row(
        connection,
        "select count(distinct g.patient_id), min(t.due_at) from ops.gate_results g join ops.tasks t"
        " using (patient_id) where g.gate_id = %s and g.outcome = 'held' and t.status = 'open' and t.due_at < now()",
        gate,
    )
    lost, since, first = _row(connection, HELD_UNATTENDED, gate)
    faults = []
    if lost:
        faults.append(
            Fault("red", f"{counted(lost, 'patients')} held, and nobody's work",
                  "Their tasks were done by hand, and what was learned was not entered: send the answers.",
                  f"glp1 why {first}", since)
        )  # fmt: skip
    if overdue:
        faults.append(
            Fault("amber", f"{counted(overdue, 'patients')} held, and work that would free them is overdue",
                  "Staff the queues whose tasks hold them.", "glp1 tasks --overdue", due)
        )  # fmt: skip
    return Part("gate", gate, f"{passed} passed, {held} held", queue=queue, faults=tuple(faults))


def _target(connection, target: str) -> Part:
    ago = _ago(connection)
    waiting, oldest, dead = _row(
        connection,
        "select count(*) filter (where status <> 'dead'), min(created_at) filter (where status <> 'dead'),"
        " count(*) filter (where status = 'dead') from ops.writes"
        " where target = %s and status in ('ready', 'in_doubt', 'dead')",
        target,
    )
    (delivered,) = _row(
        connection,
        "select count(*) from ops.deliveries d join ops.writes w using (write_id) where w.target = %s"
        " and d.delivered_on >= (now() at time zone 'utc')::date - 1 and d.at > now() - interval '1 hour'"
        " and d.outcome = 'delivered'",
        target,
    )
    conflicts, since = _row(
        connection,
        "select count(*), min((m.value ->> 'since')::timestamptz) from ops.copies c, jsonb_each(c.conflicts) m"
        " where c.target = %s and c.conflicts <> '{}' and not m.value ? 'decision'",
        target,
    )
    faults = ()
    if conflicts:
        command = "glp1 crm conflicts" if target == "crm" else "glp1 conflicts"
        against = f"{counted(conflicts, 'edits')} there against ours"
        faults = (Fault("amber", against, "Decide whose word stays.", command, since),)
    oldest_told = f", the oldest for {ago(oldest)}" if oldest else ""
    says = f"{counted(waiting, 'changes')} waiting{oldest_told}"
    says += f"; {delivered} delivered in the last hour; {dead} given up"
    for (reason,) in connection.execute(
        "select reason from ops.breakers where target = %s and state <> 'closed' and reason is not null", (target,)
    ):
        says += f"; out of reach: {reason}"
    return Part("target", target, says, faults=faults)


def _programs(connection) -> list[Part]:
    ago = _ago(connection)
    sensor = connection.execute("select looked_at from ops.alert_looks where alert = 'sensor:alerts'").fetchone()
    faults = ()
    if sensor is None:
        faults = (
            Fault("amber", "no sensor has ever looked", "Start the stack, or run this from cron.", "glp1 alerts check"),
        )
    blind, asked = _row(
        connection,
        "select count(*) filter (where blind_since is not null), count(*) from ops.alert_looks"
        " where alert <> 'sensor:alerts'",
    )
    return [
        Part("program", "sensor of alerts", f"looked {ago(sensor[0])} ago" if sensor else "", faults=faults),
        Part("program", "measuring", f"{counted(asked, 'alerts')} measured, {blind} blind"),
    ]


def _row(connection, statement: LiteralString, *values: Any) -> tuple:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # an aggregate always answers
    return row


def _now(connection) -> datetime:
    return _row(connection, "select clock_timestamp()")[0]


def _ago(connection) -> Callable[[datetime], str]:
    now = _now(connection)
    return lambda at: age(max(now - at, timedelta(0)))
