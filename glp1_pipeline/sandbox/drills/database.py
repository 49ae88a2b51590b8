"""Drills of the database: it goes away, has no place left, takes no one more.

Not here: its password and its backup (`access`, `restore`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg

from .disk import SmallDisk
from .drill import Drill
from .scene import Scene

AWAY = "alerts live in the database that is away: `glp1 alerts check` from cron fails, the stack starts Postgres again"


def _goes(number: signal.Signals) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        scene.feed(10)
        scene.until(lambda: scene.one("select count(*) from ops.writes") > 0)
        word = "killed with all its processes" if number == signal.SIGKILL else "stopped at once"
        scene.break_(f"Postgres is {word} while charts are on their way", lambda: scene.site.stop_postgres(number))
        scene.feed(5)
        scene.until_detected(scene.failed_turn)
        scene.heal("Postgres is started", scene.site.start_postgres)
        scene.until_settled()

    return run


def _no_connection(scene: Scene) -> None:
    """Somebody else takes every connection that there is."""
    url = scene.site.postgres.url("dagster")
    with ExitStack() as taken:

        def take() -> None:
            while True:
                try:
                    taken.enter_context(psycopg.connect(url, connect_timeout=5))
                except psycopg.OperationalError:
                    return

        scene.feed(4)
        scene.break_("another program takes all connections of Postgres", take)
        scene.feed(6)
        scene.until_detected(scene.failed_turn)
        scene.heal("the other program lets them go", taken.close)
        scene.until_settled()


def _full(scene: Scene) -> None:
    """The tables lie on a disk of their own, so that the server's log does not stop with them."""
    site = scene.site
    account = site.postgres.place.account
    with SmallDisk(Path(site.postgres.place.base) / "small", 96, account) as disk:
        site.move_database(disk.path)
        try:
            scene.feed(6)
            scene.until(lambda: not scene.left())
            scene.break_("the disk under the tables is full", disk.fill)
            for _ in range(4):
                scene.feed(12)
            scene.until_detected(scene.failed_turn)
            scene.heal("somebody makes room", disk.empty)
            scene.until_settled()
            _ = scene.proof  # before the disk goes
        finally:
            disk.empty()
            site.move_database(None)


DRILLS = [
    Drill("database-restarted", "database", "Postgres is restarted while charts are on their way.", None,
          _goes(signal.SIGINT), AWAY),
    Drill("database-killed", "database", "Postgres is killed with all its processes, and started a moment later.", None,
          _goes(signal.SIGKILL), AWAY),
    Drill("database-out-of-connections", "database", "Another program takes all connections of Postgres.", None,
          _no_connection, AWAY),
    Drill("database-disk-full", "database", "The disk under the tables of Postgres is full.", None, _full,
          "runs fail and say so in the UI; an incident could not be written either"),
]  # fmt: skip
