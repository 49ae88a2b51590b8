"""Drills: a fault is made on purpose in an installation of its own, and what became of it is measured.

The rooms: `drill` (what a drill is and works with), `site` (its servers), `looping` (the pipeline at work as child
processes), `proxy` (faults between us and the EHR), `people` (what is fed), `proof` (what is lost and doubled), `run`
and `scorecard`; the drills themselves by area. Not here: anything that the pipeline needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .drill import Drill

MODULES = ("ehr", "events", "database", "machine", "access", "restore", "stack")
"""Each has a list DRILLS. In the order in which they run."""


def all_drills() -> list[Drill]:
    """Every drill; read when asked, so that a process of the pipeline does not pay for them."""
    from importlib import import_module

    return [drill for name in MODULES for drill in import_module(f"{__name__}.{name}").DRILLS]
