"""Which feeds are silent, and how many events each should have sent meanwhile.

A source is told by a name of ours (`intake`, `intake-2`): its own text comes from outside. Not here: how a silence is
compared with earlier days (`domain.alerts.silence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection

from glp1_pipeline.domain.alerts.silence import expected, window
from glp1_pipeline.domain.contract import PIPELINE, EventType


def silent_feeds(
    connection: Connection[Any], after_minutes: float, event_types: Mapping[str, EventType]
) -> list[tuple[str, int, datetime | None]]:
    """Of each feed that has been silent for so long: its name, the events expected since, and when the last came."""
    if event_types:  # without a contract nothing comes in, and nobody can say who emits what
        _note_sources(connection, event_types)
    quiet = connection.execute(
        "select source, feed, first_at, last_at, now() from phi.feeds where last_at < now() - make_interval(secs => %s)"
        " and last_at > now() - interval '15 days' and last_at - first_at >= interval '1 day' order by feed",
        (after_minutes * 60,),
    ).fetchall()
    found = []
    for source, feed, first_at, last_at, now in quiet:
        if compared := window(first_at, last_at, now):
            counts = connection.execute(
                "select d, n from unnest(%(days)s::int[]) as d cross join lateral (select count(*) as n from phi.events"
                " where source = %(source)s and received_at <= %(now)s - make_interval(days => d)"
                " and received_at > %(now)s - make_interval(days => d) - %(length)s::interval) as there",
                {"days": list(compared.days_back), "source": source, "now": now, "length": compared.length},
            ).fetchall()
            found.append((feed, int(expected(dict(counts))), last_at))
    return [one for one in found if one[1]]


def _note_sources(connection: Connection[Any], event_types: Mapping[str, EventType]) -> None:
    """Bring phi.feeds up to date: who sent since the last look. The first time everything is read, later an hour."""
    (since,) = connection.execute(
        "select coalesce(max(last_at) - interval '1 hour', '-infinity')::text from phi.feeds"
    ).fetchone() or ("-infinity",)
    # Asked with the instant itself: within one statement the planner does not know it, and reads everything.
    news = connection.execute(
        "select source, min(type), min(received_at), max(received_at) from phi.events where source is not null"
        " and received_at >= %s::timestamptz group by source order by 3, 1",
        (since,),
    ).fetchall()
    if not news:
        return
    known = dict(
        connection.execute(
            "select source, feed from phi.feeds where source = any(%s)", ([source for source, *_ in news],)
        ).fetchall()
    )
    for source, kind, first_at, last_at in news:
        emitter = event_types[kind].emitter_of(source) if kind in event_types else "other"
        if emitter == PIPELINE:
            continue  # our own clock sends nothing on a day on which nothing is due; that it lives is asked of itself
        feed = known.get(source) or _new_name(connection, emitter)
        connection.execute(
            "insert into phi.feeds as f (source, feed, first_at, last_at) values (%s, %s, %s, %s) on conflict (source)"
            " do update set last_at = greatest(f.last_at, excluded.last_at) where f.last_at < excluded.last_at",
            (source, feed, first_at, last_at),
        )


def _new_name(connection: Connection[Any], emitter: str) -> str:
    row = connection.execute(
        "select count(*) from phi.feeds where feed = %s or feed like %s", (emitter, f"{emitter}-%")
    ).fetchone()
    n = row[0] if row else 0
    return f"{emitter}-{n + 1}" if n else emitter
