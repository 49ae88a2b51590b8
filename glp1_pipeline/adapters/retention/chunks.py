"""A budget of time, and the two ways of going through rows: for show, or deleting. Not here: which rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

CHUNK = 2_000
"""Rows a transaction: some ten milliseconds."""


@dataclass
class Work:
    """One round of pruning: whether it is for show, until when it may last, and whether it came to its end."""

    is_dry_run: bool = False
    seconds: float = 600.0
    is_over: bool = field(default=False, init=False)
    """It had to stop before all was done: the next round goes on."""

    def __post_init__(self) -> None:
        self._ends = time.monotonic() + self.seconds

    def may_go_on(self) -> bool:
        self.is_over = self.is_over or time.monotonic() >= self._ends
        return not self.is_over
