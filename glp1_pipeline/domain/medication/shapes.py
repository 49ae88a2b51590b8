"""A course of treatment: its state, how it came there, what was last said by whom, and what a person should see.

Not here: how it comes about (`fold`), and what in it does not fit (`drift`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..medication_model import State
from .facts import Fact

UNKNOWN = "unknown"
"""Family of what no product could be told of."""
Outcome = Literal["made", "rejected", "held", "overridden"]


@dataclass(frozen=True, slots=True)
class Transition:
    """A move that was made, or that was asked for and refused: nothing that was asked for is lost."""

    at: datetime
    leaves: State
    to: State
    outcome: Outcome
    """made; rejected: against a rule; held: what was said could not be used; overridden: against a rule that a person
    let it through."""
    rule: str
    """Of one made the trigger, else the rule or reason, as contracts/medication.yaml names it; of one overridden
    `rule:reason_code`."""
    event_id: str
    """Of one overridden the override's: the moves that it let through follow, with the order's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person should see: who said what it rests on, and since when."""

    name: str
    at: datetime
    sources: tuple[tuple[str, str, datetime], ...]
    """kind, event and time of each."""
    proposal: str = ""
    """To the provider, of contracts/medication.yaml; never an action."""

    def to_doc(self) -> dict[str, Any]:
        told = [{"said": kind, "event_id": event, "at": at.isoformat()} for kind, event, at in self.sources]
        doc = {"finding": self.name, "at": self.at.isoformat(), "sources": told}
        return doc | ({"proposal": self.proposal} if self.proposal else {})


@dataclass(frozen=True, slots=True)
class Supply:
    """What a hand-over gave, and how long it lasts."""

    fact: Fact
    days: float
    """0 where nobody tells."""
    runs_out_at: datetime


@dataclass(slots=True)
class Course:
    """One patient's treatment with the products of one family."""

    family: str
    state: State = "none"
    since: datetime | None = None
    product: str = ""
    mg: float | None = None
    """Of the order in force."""
    dose_since: datetime | None = None
    """When it was first handed over at this dose, anew after a restart; until then when it was ordered. The time of a
    pause is added, so that it is none at the dose."""
    is_anchored: bool = False
    orders: list[Fact] = field(default_factory=list)
    """As written, those that were refused too, oldest first."""
    accepted: Fact | None = None
    dispensed: list[Fact] = field(default_factory=list)
    taken: list[Fact] = field(default_factory=list)
    told: dict[str, Fact] = field(default_factory=dict)
    """Kind of fact -> what was said last of it."""
    supplies: list[Supply] = field(default_factory=list)
    """Of each hand-over that somebody got, oldest first."""
    runs_out_at: datetime | None = None
    last_dose_at: datetime | None = None
    paused_from: State = "none"
    paused_at: datetime | None = None
    gap: tuple[Fact, int] | None = None
    """The fact that tells of so many missed doses that going on is a restart, until a provider answers by an order."""
    answered_at: datetime | None = None
    """When a provider ordered although, or because, so many doses were missed: from then on they are counted anew."""
    let_through: dict[str, Mapping[str, Fact]] = field(default_factory=dict)
    """Event of an order that stands although it broke rules -> each of them, and the override that let it through."""
    history: list[Transition] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def kept_orders(self) -> list[Fact]:
        """Those that were not refused, oldest first."""
        refused = {move.event_id for move in self.history if move.outcome != "made"}
        return [fact for fact in self.orders if fact.event_id not in refused]

    def stands_since(self, event_id: str, at: datetime) -> datetime:
        """Since when an order stands that was not refused: written then, or let through later."""
        return max([at, *(word.at for word in self.let_through.get(event_id, {}).values())])

    @property
    def is_under_way(self) -> bool:
        return self.state not in ("none", "discontinued")
