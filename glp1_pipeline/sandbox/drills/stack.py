"""Drills that happen to Dagster itself, with the whole stack at work: its broker, its daemon, its worker.

Not here: what happens to the same functions without Dagster (`machine`).
"""

from __future__ import annotations

import sys

from .. import stack as parts
from ..dagster_home import WORKSPACE, dagster_env
from .drill import Drill
from .scene import Scene
from .whole import StackSite

SECONDS = 240.0
"""Runs begin seconds after they are asked for, and a failed one is not asked for again at once."""


def _site(scene: Scene) -> StackSite:
    assert isinstance(scene.site, StackSite), "it needs the whole stack"
    return scene.site


def _broker_gone(scene: Scene) -> None:
    queue = scene.home / "broker" / "queue"
    away = queue.with_name("queue-away")

    def back() -> None:
        if queue.exists():
            for message in queue.iterdir():
                message.rename(away / message.name)
            queue.rmdir()
        away.rename(queue)

    scene.break_("the broker's queue is not there any more", lambda: queue.rename(away))
    scene.feed(10)
    scene.until_detected(seconds=60)
    scene.heal("it is there again", back)
    scene.feed(5)
    scene.until_settled(SECONDS)


def _two_daemons(scene: Scene) -> None:
    site = _site(scene)
    argv = [sys.executable, "-m", "glp1_pipeline.sandbox.daemon", "run", "-w", str(WORKSPACE)]
    ports = {"GLP1_CODE_PORT": "code_port", "GLP1_METRICS_PORT": "metrics_port"}
    env = dagster_env(scene.settings) | {name: str(scene.settings.state.get(key)) for name, key in ports.items()}

    def start() -> None:
        site.launch("second daemon", argv, env)
        scene.until(lambda: b"following daemons" in site.log_of("second daemon").read_bytes(), 60)

    scene.break_("a second daemon of Dagster is started beside the first", start)
    try:
        for _ in range(5):
            scene.feed(6)
            scene.until(lambda: True, after=1.0)
        scene.nothing_to_notice("each asks for runs, and a run finds what the other left")
        scene.until_settled(SECONDS)
    finally:
        site.stop("second daemon")


def _worker_killed(scene: Scene) -> None:
    site = _site(scene)
    worker = site.stack.supervisor.process_of(parts.WORKER)
    for _ in range(4):
        scene.feed(10)
    scene.until(lambda: scene.one("select count(*) from phi.events where status = 'waiting'") > 0, 60)
    scene.break_("the worker is killed in the middle of a run", lambda: site.kill_program(parts.WORKER))
    scene.until_detected(
        lambda: "the stack started it again" if site.stack.supervisor.process_of(parts.WORKER) != worker else None, 60
    )
    scene.until_settled(SECONDS)


DRILLS = [
    Drill("broker-gone", "machine", "The broker between Dagster and its workers is gone, and comes back.",
          "event_waiting", _broker_gone, needs_dagster=True),
    Drill("two-daemons", "machine", "Two daemons of Dagster run at once.", None, _two_daemons,
          "both work side by side", needs_dagster=True),
    Drill("worker-killed", "machine", "Dagster's worker is killed in the middle of a run.", None, _worker_killed,
          "the stack starts it again within a second, and the next run does what is left", needs_dagster=True),
]  # fmt: skip
