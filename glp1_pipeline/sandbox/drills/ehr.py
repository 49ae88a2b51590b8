"""Drills of the EHR: it fails in each of the ways that servers and networks fail.

Not here: its credential and its certificate (`access`).
"""

from __future__ import annotations

from .drill import Drill, Scene
from .proxy import Fault, status

ONE_TRY = "a failed try that succeeds a moment later is no reason to call anybody"


def _down(fault: Fault):
    """The EHR answers everything with this until it is mended."""

    def run(scene: Scene) -> None:
        scene.break_("every call to the EHR fails from now on", lambda: scene.proxy.always(fault))
        scene.feed(6)
        scene.until_detected()
        scene.heal("the EHR answers again", scene.proxy.heal)
        scene.until_settled()

    return run


DRILLS = [
    Drill("ehr-503", "ehr", "The EHR is down for maintenance and answers 503 to everything.", "breaker_open",
          _down(status(503))),
]  # fmt: skip
