"""What each alert watches, measured: how many are affected, and since when the oldest. One statement per thing.

Counts and times alone, and cheap enough for every half minute. Not here: which count and age is too much (`domain`).
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection

from glp1_pipeline.domain.alerts import Alert, Measured
from glp1_pipeline.domain.contract import EventType

from ..balance import balance
from .feeds import silent_feeds

SENSOR = "sensor:alerts"
"""Row of ops.alert_looks that says when Dagster's sensor looked last: no name of an alert has a colon."""
MOST_FILES = 10_000
"""Of the landing zone that are looked at."""
Found = tuple[str, int, datetime | None]


@dataclass(frozen=True, slots=True)
class World:
    """What the statements cannot know."""

    landing: Path | None
    """None: it is no folder of this machine."""
    event_types: Mapping[str, EventType]
    """They say who emits what, by a name that may be told."""
    ui: str
    """Address of the UI, for links."""
    faulty: tuple[str, ...] = ()
    """File and line of each fault for which a file of the contract cannot be used. Without a contract there are no
    event types."""


STATEMENTS: dict[str, LiteralString] = {
    # What a blocked lane holds back is told by the write that blocks it.
    "undelivered_writes": "select w.target, count(*), min(w.created_at) from ops.writes w where w.status in"
    " ('ready', 'in_doubt') and not exists (select from ops.lanes l where l.target = w.target"
    " and l.patient_id = w.patient_id and l.blocked is not null) group by 1",
    "dead_writes": "select target, count(*), min(coalesce(settled_at, created_at)) from ops.writes"
    " where status = 'dead' group by 1",
    "dead_events": "select '', count(*), min(coalesce(settled_at, received_at)) from phi.events where status = 'dead'",
    "rejected_events": "select coalesce(reason, ''), count(*), min(received_at) from phi.events"
    " where status = 'rejected' and received_at > now() - make_interval(secs => %(within)s) group by 1",
    "growing_conflicts": "select source, count(*), null::timestamptz from ops.field_conflicts where closed_at is null"
    " and seen_on >= ((now() - make_interval(secs => %(within)s)) at time zone 'utc')::date group by 1",
    # Not hints of webhooks, and not the slow rounds that look for what was deleted. Whom we write to and never yet read
    # is not heard since our first write there.
    "polls": "with read as (select system, min(polled_at) as at from ops.poll_cursors"
    " where kind not in ('hint', 'deletion_hint', 'archived', 'sweep') and polled_at is not null group by 1)"
    " select system, 1, at from read union all select target, 1, (select w.settled_at from ops.writes w"
    "  where w.target = told.target and w.status = 'delivered' order by w.write_id limit 1)"
    " from ops.breakers as told where target not in (select system from read)",
    "open_reviews": "select '', count(*), min(since) from ops.patient_match_reviews",
    # A breaker's own time begins again with every trial call; the trouble began with the first failure in a row.
    "open_breakers": "select b.target, 1, coalesce((select min(d.at) from ops.deliveries d join ops.writes w"
    " using (write_id) where w.target = b.target and d.delivered_on >= (now() at time zone 'utc')::date - 1"
    " and d.outcome not in ('delivered', 'conflict') and d.at > coalesce((select max(g.at) from ops.deliveries g"
    " join ops.writes v using (write_id) where v.target = b.target and g.outcome in ('delivered', 'conflict')"
    " and g.delivered_on >= (now() at time zone 'utc')::date - 1), '-infinity')), b.changed_at)"
    " from ops.breakers b where b.state <> 'closed'",
    "overdue_tasks": "select queue, count(*), min(due_at) from ops.tasks where status = 'open' and due_at < now()"
    " group by 1",
    # Where no sensor ever looked, none is missed.
    "evaluator": "select '', 1, looked_at from ops.alert_looks where alert = %(sensor)s",
    # Whoever is called for these is called at once: no task of that queue is left to its due time.
    "urgent_tasks": "select code, count(*), min(opened_at) from ops.tasks where status = 'open' and queue = 'on-call'"
    " group by 1",
    # From the moment that so little time is left. Once the window is open, the task is overdue and tells it.
    "missed_checkins": "select '', count(*), min(f.window_at) - make_interval(secs => %(within)s) from ops.follow_ups f"
    " where f.ended_at is null and f.status = 'missed' and f.window_at > now()"
    " and f.window_at <= now() + make_interval(secs => %(within)s) and exists (select from ops.tasks t"
    " where t.patient_id = f.patient_id and t.cause = 'followup.missed:' || f.family and t.status = 'open')",
    # A moment may have been past when it was worked out. One that rang stands here until its event is charted.
    "late_clocks": "select '', count(*), min(case when rung_at is null then greatest(next_at, set_at) else rung_at end)"
    " from ops.clocks where next_at <= now()",
    "refills_against_hold": "select decided_by, count(*), min(ended_at) from ops.refills where is_against_hold"
    " and ended_at > now() - make_interval(secs => %(within)s) group by 1",
    # Tried, and not taken since. What was given up counts for a day, or it would look as if all were well. Where a
    # channel has no address here, nobody is called over it at all: the check `somebody_is_told` says so.
    "untaken_messages": "select channel, count(*), min(written_at) from ops.notifications n where tries > 0"
    " and (status = 'waiting' or status = 'given_up' and settled_at > now() - interval '1 day' and not exists"
    " (select from ops.notifications s where s.channel = n.channel and s.status = 'sent'"
    "  and s.settled_at > n.settled_at)) group by 1",
    "blind_alerts": "select alert, 1, blind_since from ops.alert_looks where blind_since is not null",
}


def measure(connection: Connection[Any], alert: Alert, world: World) -> list[Measured]:
    """By scope. A database error or an OSError means that it could not be measured."""
    return [Measured(alert.name, *found) for found in _ask(connection, alert, world)]


def _ask(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    if other := OTHERS.get(alert.watches):
        return other(connection, alert, world)
    rows = connection.execute(
        STATEMENTS[alert.watches], {"within": alert.within_minutes * 60, "sensor": SENSOR}
    ).fetchall()
    return [(str(scope), int(count), since) for scope, count, since in rows if count]


def _waiting_events(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    """In the ledger, and before it: where nobody reads the landing zone, the ledger knows of nothing that waits."""
    row = connection.execute("select count(*), min(received_at) from phi.events where status = 'waiting'").fetchone()
    found: list[Found] = [("", row[0], row[1])] if row and row[0] else []
    if world.landing is None or not world.landing.is_dir():
        return found
    dropped = []
    with os.scandir(world.landing) as entries:
        for entry in islice(entries, MOST_FILES):
            with suppress(FileNotFoundError):  # read and put away just now
                if not entry.name.startswith("."):
                    dropped.append(entry.stat(follow_symlinks=False).st_mtime)
    return [*found, ("landing", len(dropped), datetime.fromtimestamp(min(dropped), UTC))] if dropped else found


def _balance_faults(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    faults = balance(connection, is_by_clock=True).faults
    return [("", len(faults), None)] if faults else []


def _landing_space(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    if world.landing is None or not world.landing.exists():
        return []
    usage = shutil.disk_usage(world.landing)
    # As the disk's own tools count it: what is kept for root is not ours to use.
    return [("", -(-100 * usage.used // max(1, usage.used + usage.free)), None)]


def _landing_access(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    if world.landing is None:
        return []
    try:
        os.scandir(world.landing).close()
        is_usable = os.access(world.landing, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        is_usable = False
    return [] if is_usable else [("", 1, None)]


def _store_access(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    """Who can ask this has the store: that it is away is found by `away`."""
    return []


def _contract_faults(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    """By file. Its folder is not told: a scope is a plain name."""
    files = Counter(Path(place.rpartition(":")[0]).name for place in world.faulty)
    return [(name, count, None) for name, count in files.items()]


def _silent_feeds(connection: Connection[Any], alert: Alert, world: World) -> list[Found]:
    return silent_feeds(connection, alert.after_minutes, world.event_types)


OTHERS: dict[str, Callable[[Connection[Any], Alert, World], list[Found]]] = {
    "waiting_events": _waiting_events,
    "balance_faults": _balance_faults,
    "landing_space": _landing_space,
    "landing_access": _landing_access,
    "silent_feeds": _silent_feeds,
    "store_access": _store_access,
    "contract_faults": _contract_faults,
}
