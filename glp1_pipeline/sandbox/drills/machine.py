"""Drills of the machine: programs die, run twice, lose their broker; the landing zone's disk fills or goes away.

Not here: Postgres (`database`).
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from .disk import SmallDisk
from .drill import Drill
from .looping import AS_ANYBODY, LOOPS
from .powers import given_up
from .scene import Scene


def _workers_killed(scene: Scene) -> None:
    scene.feed(10)
    scene.until(lambda: scene.one("select count(*) from ops.writes") > 0)
    scene.break_("every process of the pipeline is killed while charts are on their way",
                 lambda: scene.site.stop_loops(signal.SIGKILL))  # fmt: skip
    scene.feed(5)
    scene.until_detected()
    scene.heal("they are started again", scene.site.start_loops)
    scene.until_settled()


def _all_killed(scene: Scene) -> None:
    """As when the machine loses its power, but for the disk's own memory."""
    site = scene.site
    scene.feed(10)
    scene.until(lambda: scene.one("select count(*) from ops.writes") > 0)

    def kill() -> None:
        site.stop_loops(signal.SIGKILL)
        site.stop_postgres(signal.SIGKILL)
        scene.kill("ehr")
        scene.kill("crm")

    def start() -> None:
        site.start_ehr()
        site.start_crm()
        site.start_postgres()
        site.start_loops()

    scene.break_("Postgres, the EHR, the CRM and the whole pipeline are killed at once", kill)
    scene.feed(5)
    scene.until_detected(scene.store_is_away)
    scene.heal("everything is started", start)
    scene.until_settled()


def _twice(scene: Scene) -> None:
    """Two of each, as when a deployment starts the new before the old is gone."""
    argv = [sys.executable, "-m", "glp1_pipeline.sandbox.drills.looping"]
    names = [f"second {loop}" for loop in LOOPS]

    def start() -> None:
        for name, loop in zip(names, LOOPS, strict=True):
            scene.site.launch(name, [*argv, loop], {})
        scene.until(lambda: all(b"ready" in scene.site.log_of(name).read_bytes() for name in names))

    scene.break_("each process of the pipeline runs twice", start)
    try:
        for _ in range(4):
            scene.feed(6)
        scene.nothing_to_notice("each drop, event and patient is claimed by one of the two")
        scene.until_settled()
    finally:
        for name in names:
            scene.site.stop(name)


def _landing_full(scene: Scene) -> None:
    landing = Path(scene.settings.landing_url)
    with SmallDisk(landing, 8) as disk:
        scene.feed(4)
        scene.break_("the disk of the landing zone is full", disk.fill)
        scene.until_detected()
        scene.heal("somebody makes room", disk.empty)
        scene.feed(4)
        scene.until_settled()


def _landing_gone(scene: Scene) -> None:
    landing = Path(scene.settings.landing_url)
    away = landing.with_name("landing-away")
    scene.feed(4)
    scene.break_("the folder of the landing zone is not there (a share that was unmounted)",
                 lambda: landing.rename(away))  # fmt: skip
    try:
        scene.until_detected()
    finally:
        if landing.exists():
            shutil.rmtree(landing)
        scene.heal("it is there again", lambda: away.rename(landing))
    scene.feed(4)
    scene.until_settled()


def _landing_unreadable(scene: Scene) -> None:
    landing = Path(scene.settings.landing_url)
    scene.site.loop_options = (AS_ANYBODY,)
    scene.restart_loops()
    scene.step("nobody at work may pass over the rights of files, root neither")
    scene.feed(4)
    try:
        with given_up():
            scene.break_("the landing zone may not be read any more", lambda: landing.chmod(0))
            try:
                scene.until_detected()
            finally:
                scene.heal("it may be read again", lambda: landing.chmod(0o700))
            scene.feed(4)
            scene.until_settled()
    finally:
        scene.site.loop_options = ()
        scene.restart_loops()


DRILLS = [
    Drill("pipeline-killed", "machine", "All processes of the pipeline are killed in the middle of their work.",
          "event_waiting", _workers_killed),
    Drill("machine-killed", "machine", "Everything on the machine dies at once and is started again.", None,
          _all_killed, "the machine's own watch sees it; `glp1 alerts check` from another machine fails"),
    Drill("pipeline-twice", "machine", "Each process of the pipeline runs twice at once.", None, _twice,
          "both work side by side"),
    Drill("landing-full", "machine", "The disk of the landing zone is full.", "landing_full", _landing_full),
    Drill("landing-gone", "machine", "The folder of the landing zone is not there.", "landing_closed", _landing_gone),
    Drill("landing-unreadable", "machine", "The folder of the landing zone may not be read.", "landing_closed",
          _landing_unreadable),
]  # fmt: skip
