"""One round of pruning: everything that piles up, in its turn, within a budget of time.

Not here: what may go (`rows`, `bodies`, `dagster_rows`, `files`), and when a round is made (`defs`, `cli`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from ..keep import Keep
from . import bodies, dagster_rows, files, rows
from .chunks import Work

LOCK = "select {}(hashtextextended('glp1 prune', 0))"


@dataclass
class Pruned:
    """What a round took away, or would, in counts by name."""

    gone: dict[str, int] = field(default_factory=dict)
    is_over: bool = True
    """False: it ran out of time; the next round goes on."""
    is_left_to_another: bool = False
    """Another process prunes just now."""


def prune(
    connection: psycopg.Connection,
    keep: Keep,
    open_body: bodies.OpenBody,
    home: Path,
    dagster_url: str | None,
    *,
    is_dry_run: bool = False,
    seconds: float = 600.0,
    progress: Callable[[str, int], None] = lambda name, count: None,
) -> Pruned:
    """Take away what is older than `keep` says and nothing needs. The connection must be in autocommit mode.

    `home`: where archive, logs and broker lie. `dagster_url` None: Dagster's database is not asked. One process at a
    time. Killed anywhere, what went is gone and the rest goes with the next round.
    """
    done, work = Pruned(), Work(is_dry_run, seconds)
    with _alone(connection) as is_ours:
        if not is_ours:
            done.is_left_to_another, done.is_over = True, False
            return done
        steps: list[tuple[str, int, Callable[[], int]]] = [
            ("attempts", keep.attempts, lambda: rows.prune_attempts(connection, keep.attempts, work)),
            ("incidents_and_messages", keep.alerts, lambda: rows.prune_alerts(connection, keep.alerts, work)),
            ("events_of_done_plans", keep.plans, lambda: rows.prune_plan_events(connection, keep.plans, work)),
            ("archived_drops", keep.drops, lambda: files.prune_archive(connection, home / "archive", keep.drops, work)),
            ("results_of_the_broker", 1, lambda: files.prune_results(home / "broker" / "results", work)),
            ("logs", keep.logs, lambda: files.prune_logs(home / "logs", keep.logs, work)),
            ("runs_of_dagster", keep.runs, lambda: _prune_runs(dagster_url, keep.runs, work)),
            ("bodies", keep.bodies, lambda: bodies.prune_bodies(connection, open_body, keep.bodies, work)),
        ]
        for name, days, step in steps:
            done.gone[name] = step() if days else 0
            progress(name, done.gone[name])
    done.is_over = not work.is_over
    return done


def _prune_runs(url: str | None, days: int, work: Work) -> int:
    if url is None:
        return 0
    with closing(dagster_rows.connect(url)) as connection:
        return dagster_rows.prune_runs(connection, days, work)


@contextmanager
def _alone(connection: psycopg.Connection) -> Iterator[bool]:
    """A dead process's lock is free."""
    row = connection.execute(LOCK.format("pg_try_advisory_lock").encode()).fetchone()
    is_ours = row == (True,)
    try:
        yield is_ours
    finally:
        if is_ours and not connection.closed:
            connection.execute(LOCK.format("pg_advisory_unlock").encode())
