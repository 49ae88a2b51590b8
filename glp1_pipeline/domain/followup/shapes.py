"""A check-in: what it counts from, its days, and where it stands.

Not here: which check-ins there are (`cycles`), and how it is worked out where one stands (`standing`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from ..chart import Value
from .moments import Moments

Status = Literal["planned", "open", "due", "missed", "completed", "ended"]
"""planned: not open yet; ended: the treatment was held or stopped, or the next supply came before it was due."""
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:glp1-pipeline:followup")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One check-in."""

    followup_id: str
    """From the hand-over that it follows: the same for whoever's chart that is filed in."""
    record_id: str
    """To whose record the hand-over belongs."""
    family: str
    product: str
    began_at: datetime
    """When the supply was handed over, or is meant to be; where nothing was ever handed over, when it was ordered."""
    supply_at: datetime
    """When the newest supply of its cycle was; a supply of usual length is alone in its cycle."""
    supply_days: float
    moments: Moments
    counts_from: datetime
    """What is said from then on may answer it: its weight is recent still when the refill window opens."""
    refill_window_at: datetime
    """When a refill may go on: of short supplies not as late as the window of their cycle, for they run out before."""
    stands_for: str = ""
    """Id of the check-in that was asked for while only the order of this supply was known."""
    status: Status = "planned"
    answered_at: datetime | None = None
    """When it was answered whole first."""
    whole_at: datetime | None = None
    """When it was last: with the weight that counts."""
    answers: Mapping[str, Value] = field(default_factory=dict)
    """All that was said in it, also while it lacks something."""
    answer_ids: tuple[str, ...] = ()
    """Events of its answers, oldest first."""
    missing: tuple[tuple[str, str], ...] = ()
    """What an answer lacks: field and its state."""
    was_missed: bool = False
    """Whether the exception came before an answer did; that it was asked for again is another thing."""
    weight_until: date | None = None
    """Of one that was answered whole the last day on which its weight is recent enough."""
    again_at: datetime | None = None
    """When it is asked for again if no refill follows until then: the hour of the day after that."""
    lapsed_at: datetime | None = None
    """Since when it is asked for again."""
    ended_at: datetime | None = None
    """When the next supply came, or the treatment was held or stopped."""

    @property
    def is_live(self) -> bool:
        return self.ended_at is None

    @property
    def is_answered(self) -> bool:
        return self.answered_at is not None and self.lapsed_at is None
