"""Rows of our own tables that nothing needs any more: attempts, incidents with their messages, events of done plans.

Each function says how many rows went, or would. Not here: bodies of writes (`bodies`), when it is done (`prune`).
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from .chunks import CHUNK, Work

# `offset 0`: each row of a block asks by the index. As a join it would read the whole table for each block, which is
# work that grows with the square of the table.
OLD_ATTEMPTS: LiteralString = (
    "with block as (select delivery_id, write_id from ops.deliveries where delivery_id > %(last)s"
    " and delivered_on < (now() at time zone 'utc')::date - %(days)s order by delivery_id limit %(chunk)s),"
    " going as (select b.delivery_id from block b where exists"
    "  (select from ops.deliveries l where l.write_id = b.write_id and l.delivery_id > b.delivery_id offset 0)),"
    " gone as (delete from ops.deliveries d using going g where d.delivery_id = g.delivery_id and not %(for_show)s)"
    " select (select max(delivery_id) from block), (select count(*) from going)"
)
OLD_MESSAGES: LiteralString = (
    "select notification_id from ops.notifications where settled_at < now() - make_interval(days => %(days)s)"
    " and (incident_id is null or incident_id in (select incident_id from ops.incidents"
    "  where resolved_at < now() - make_interval(days => %(days)s)))"
)
OLD_INCIDENTS: LiteralString = (
    "select incident_id from ops.incidents i where resolved_at < now() - make_interval(days => %(days)s)"
    " and not exists (select from ops.notifications n where n.incident_id = i.incident_id"
    "  and (n.settled_at is null or n.settled_at >= now() - make_interval(days => %(days)s)))"
)
EVENTS_OF_PLAN: LiteralString = "select event_id from ops.replay_plan_events where plan_id = %(plan)s"


def prune_attempts(connection: psycopg.Connection, days: int, work: Work) -> int:
    """Attempts at delivery that another followed. The last of each write stays: `glp1 trace` tells how it ended.

    Goes through old rows once, in order, since most of them stay: no chunk reads again what one before it read.
    """
    gone, last = 0, 0
    while last is not None and work.may_go_on():
        values = {"last": last, "days": days, "chunk": CHUNK, "for_show": work.is_dry_run}
        row = connection.execute(OLD_ATTEMPTS, values).fetchone()
        assert row is not None  # two aggregates always answer
        last, gone = row[0], gone + row[1]
    return gone


def prune_alerts(connection: psycopg.Connection, days: int, work: Work) -> int:
    """Incidents that ended, and messages that are settled: of such incidents, and of tests."""
    values = {"days": days}
    messages = _while_any(connection, work, OLD_MESSAGES, "notifications", "notification_id", values)
    return messages + _while_any(connection, work, OLD_INCIDENTS, "incidents", "incident_id", values)


def prune_plan_events(connection: psycopg.Connection, days: int, work: Work) -> int:
    """Which events a done plan had. Who wanted it, why and what it changed stays; one that may go on stays whole."""
    plans = connection.execute(
        "select plan_id from ops.replay_plans where state = 'applied'"
        " and settled_at < now() - make_interval(days => %s) order by settled_at",
        (days,),
    ).fetchall()
    return sum(
        _while_any(connection, work, EVENTS_OF_PLAN, "replay_plan_events", "event_id", {"plan": plan_id}, "plan_id")
        for (plan_id,) in plans
    )


def _while_any(
    connection: psycopg.Connection,
    work: Work,
    going: LiteralString,
    table: LiteralString,
    key: LiteralString,
    values: dict[str, Any],
    of: LiteralString | None = None,
) -> int:
    """Delete the rows whose keys `going` selects, a chunk at a time; for show they are only counted.

    `of`: where the key is one within a plan alone, the column of the plan.
    """
    if work.is_dry_run:
        row = connection.execute(
            sql.SQL("select count(*) from ({}) as going").format(sql.SQL(going)), values
        ).fetchone()
        return row[0] if row else 0
    within = sql.SQL("{} = %(plan)s and ").format(sql.Identifier(of)) if of else sql.SQL("")
    statement = sql.SQL("delete from ops.{} where {}{} = any(array({} limit {}))").format(
        sql.Identifier(table), within, sql.Identifier(key), sql.SQL(going), CHUNK
    )
    gone = 0
    while work.may_go_on():
        done = connection.execute(statement, values).rowcount
        gone += done
        if done < CHUNK:
            break
    return gone
