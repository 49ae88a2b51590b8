"""One thing that a source said of a treatment, as it is kept: product, dose, time, and why it cannot be used if so.

Here: the shape, to and from the document that lies in the database. Not here: reading events (`reading`), and what
follows from it (`fold`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

Kind = Literal[
    "ordered", "planned", "listed", "dispensed", "lost", "taken", "counted", "paused", "resumed", "stopped",
    "overridden",
]  # fmt: skip
"""counted: what a report of a dose says of missed ones, at the time when it said so (`versions`). overridden: that an
order is let through (`overrides`)."""
KINDS: Final[tuple[Kind, ...]] = (
    "lost", "stopped", "planned", "listed", "ordered", "resumed", "dispensed", "taken", "counted", "paused",
    "overridden",
)  # fmt: skip
"""In the order in which they count where they happened at one instant: the old order ends before the new one begins,
and what was ordered may be handed over."""


@dataclass(frozen=True, slots=True)
class Fact:
    kind: Kind
    at: datetime
    """When it happened, as the source says; UTC."""
    seen_at: datetime
    """When the source said it: of two versions of one order the later one counts."""
    event_id: str = ""
    source: str = ""
    """portal, ehr or pharmacy; intake for what the form says of the time before."""
    ref: str = ""
    """What the source calls the order or hand-over."""
    product: str = ""
    """Product key; empty where nobody could tell."""
    mg: float | None = None
    """Per dose. Never compared beyond a family (`contracts/medication.yaml`)."""
    mg_per_ml: float | None = None
    ml: float | None = None
    """Volume and concentration of compounded products alone."""
    status: str = "active"
    """active, on-hold, stopped, draft, over or entered-in-error."""
    days: float | None = None
    """Days' supply as told."""
    refills: int = 0
    quantity: float | None = None
    unit: str = ""
    order_ref: str = ""
    keeps_dose: bool = False
    """The provider says that this is the dose to keep."""
    replaces: str = ""
    """Product key that the order takes the place of."""
    is_estimated: bool = False
    """Of a hand-over: `at` is worked out from the shipment, since nobody told it."""
    missed: int | None = None
    """Doses missed, as told."""
    told_on: date | None = None
    """Of a check-in: the day where the patient lives, where that is another than the one of UTC."""
    held: str = ""
    """Name of a finding: why it cannot be used."""
    rules: tuple[str, ...] = ()
    """Of an override: the rules that it means. Its `ref` is the order's."""
    reason_code: str = ""
    reason_class: str = ""
    role: str = ""
    actor: str = ""
    """Who overrode, as what, for which reason; the words stay with the event."""

    @property
    def order(self) -> tuple[datetime, int, datetime, str, str]:
        return (self.at, KINDS.index(self.kind), self.seen_at, self.ref, self.event_id)

    def to_doc(self) -> dict[str, Any]:
        """What is kept beside the event: all but its id and source, and nothing that was not said."""
        usual = {field.name: field.default for field in fields(self)}
        told = {name: value for name, value in asdict(self).items() if value != usual[name]}
        told.pop("event_id", None)
        told.pop("source", None)
        if self.told_on is not None:
            told["told_on"] = self.told_on.isoformat()
        return told | {"at": self.at.isoformat(), "seen_at": self.seen_at.isoformat()}

    @classmethod
    def from_doc(cls, doc: Mapping[str, Any], event_id: str, source: str) -> Fact:
        times = {name: datetime.fromisoformat(doc[name]).astimezone(UTC) for name in ("at", "seen_at")}
        named: dict[str, Any] = {"rules": tuple(doc["rules"])} if "rules" in doc else {}
        if "told_on" in doc:
            named["told_on"] = date.fromisoformat(doc["told_on"])
        return cls(**{**doc, **times, **named, "event_id": event_id, "source": source})
