"""What a drill is: one fault, made on purpose, and whether somebody has to be called for it.

Not here: what it works with (`scene`), how it may end (`ending`), the drills themselves (a module for each area), and
telling what came of them (`run`, `scorecard`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .scene import Scene

Area = Literal["ehr", "events", "database", "machine", "access", "people"]


@dataclass(frozen=True)
class Drill:
    """One fault, made on purpose."""

    name: str
    area: Area
    what: str
    """One sentence that a newcomer understands."""
    alert: str | None
    """The alert of contracts/alerts.yaml that must be raised; None: nobody has to be called, see `why_no_alert`."""
    run: Callable[[Scene], None] = field(repr=False)
    why_no_alert: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """GLP1_* variables of its installation; with any of them it gets one of its own."""
    is_alone: bool = False
    """It gets an installation of its own: nothing of it can be used after this drill, or before."""
    needs_dagster: bool = False
    """It happens to Dagster itself, so that the whole stack must be at work."""

    def __post_init__(self) -> None:
        if not self.alert and not self.why_no_alert:
            raise ValueError(f"drill {self.name}: say why nobody has to be called")
