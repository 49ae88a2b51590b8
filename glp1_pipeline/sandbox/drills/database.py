"""Drills of the area database.

Not here: what is broken elsewhere.
"""

from __future__ import annotations

from .drill import Drill

DRILLS: list[Drill] = []
