"""Drills of the database: it goes away, has no place left, takes no one more.

Not here: its password and its backup (`access`, `restore`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.alerts import Absence, Channels
from glp1_pipeline.adapters.alerts.channels import read_addresses

from .disk import SmallDisk
from .drill import Drill
from .ending import DrillFailed
from .programs import wait_until
from .receiver import receiver
from .scene import Scene

SOON = "it is back before anybody is called; `database-away` is what lasts"


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


@contextmanager
def _on_call(scene: Scene, data: Path | None = None) -> Iterator[Callable[[], str | None]]:
    """What tells whether somebody was called without the database. Afterwards its end is told, as of any other
    incident. `data`: a folder on the disk of the tables."""
    secret, alert = "a secret of this drill", str(scene.alert)
    channels = {channel for team in scene.book.teams.values() for channel in team.channels}
    with receiver(secret) as heard:
        addresses, _ = read_addresses(" ".join(map(heard.address, sorted(channels))), has_secret=True)
        ways = Channels(addresses, secret)
        absence = Absence(scene.home / "run", scene.book, scene.settings.ui_base_url(), data)

        def is_called() -> str | None:
            """As `glp1 alerts watch` looks."""
            try:
                with scene.connect() as connection:
                    absence.is_over(connection)
            except (psycopg.OperationalError, ConnectionError):
                absence.lasts(ways)
            scene.is_raised = heard.has("opened", alert)
            return f"alert {alert}, told without the database" if scene.is_raised else None

        def is_end_told() -> bool:
            with scene.connect() as connection:
                absence.is_over(connection)
                scene.look(connection)
                alerts.send(connection, ways, deadline=5.0)
            return heard.has("resolved", alert)

        yield is_called
        wait_until(is_end_told, 15, "its end was not told")
        if heard.n_forged or heard.n_twice():
            raise DrillFailed("a message was forged, or told twice")
        scene.step(f"{len(heard.got)} signed messages, none twice: that it is away, and that it is back")


def _away(scene: Scene) -> None:
    with _on_call(scene) as is_called:
        scene.feed(6)
        scene.until(lambda: scene.one("select count(*) from ops.writes") > 0)
        scene.break_("Postgres is stopped, and nobody starts it", lambda: scene.site.stop_postgres(signal.SIGINT))
        scene.feed(4)
        scene.until_detected(is_called)
        scene.heal("Postgres is started", scene.site.start_postgres)
        scene.until_settled()


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
            with _on_call(scene, disk.path) as is_called:
                for _ in range(4):
                    scene.feed(12)
                scene.until_detected(is_called)
                scene.heal("somebody makes room", disk.empty)
                scene.until_settled()
            _ = scene.proof  # before the disk goes
        finally:
            disk.empty()
            site.move_database(None)


DRILLS = [
    Drill("database-restarted", "database", "Postgres is restarted while charts are on their way.", None,
          _goes(signal.SIGINT), SOON),
    Drill("database-killed", "database", "Postgres is killed with all its processes, and started a moment later.", None,
          _goes(signal.SIGKILL), SOON),
    Drill("database-away", "database", "Postgres is stopped, and nobody starts it until somebody is called.",
          "store_away", _away),
    Drill("database-out-of-connections", "database", "Another program takes all connections of Postgres.", None,
          _no_connection, SOON),
    Drill("database-disk-full", "database", "The disk under the tables of Postgres is full.", "store_away", _full),
]  # fmt: skip
