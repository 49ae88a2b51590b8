"""A patient's chart: all reported values resolved into one, the same whatever order they came in.

Here: the fold of a patient's submissions, and questions asked of the result. Not here: how an answer becomes a
value (`mapping`), what the chart means (`flags`, `gates`), how it looks in FHIR (`fhir`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .contract import Contract

Value = Mapping[str, Any]
"""A value document: {"value": …} or {"null": …} or {"held": …, "raw": …}, with optional "edges"."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What one submission said: the unit of provenance."""

    event_id: str
    submission_id: str
    form_version: str
    status: str
    """completed, in-progress or amended."""
    authored_at: datetime
    received_at: datetime
    time_zone: str
    values: dict[str, Value]
    contradictions: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        return (self.authored_at, self.received_at, self.event_id)


@dataclass(slots=True)
class Chart:
    """All values of a patient, each with the event it came from."""

    patient_id: str
    values: dict[str, Value] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """Field -> id of the event that said it."""
    former: dict[str, list[Value]] = field(default_factory=dict)
    """Field -> what earlier submissions had said and a later one changed, oldest first."""
    submissions: tuple[Reported, ...] = ()
    asked: frozenset[str] = frozenset()
    """Fields that at least one of the patient's form versions asks."""

    def get(self, name: str) -> Any:
        """The known value of a field, or None where there is none (see `state` for why)."""
        value = self.values.get(name)
        return None if value is None else value.get("value")

    def state(self, name: str) -> str:
        """value, unknown, declined, not_applicable, absent, held or not_asked."""
        value = self.values.get(name)
        if value is None:
            return "absent" if name in self.asked else "not_asked"
        if "value" in value:
            return "value"
        return "held" if "held" in value else value["null"]

    @property
    def is_complete(self) -> bool:
        """Whether the patient ever pressed submit; a draft alone never reaches a provider."""
        return any(s.status != "in-progress" for s in self.submissions)

    @property
    def latest(self) -> Reported:
        return self.submissions[-1]


def resolve(contract: Contract, patient_id: str, reports: Iterable[Reported]) -> Chart:
    """Fold submissions, oldest authored first; per field the newest answer that says something wins.

    A blank (`absent`) never wipes what an earlier submission said: leaving a question empty is not a retraction.
    """
    ordered = tuple(sorted(reports, key=lambda r: r.order))
    chart = Chart(patient_id, submissions=ordered)
    asked: set[str] = set()
    for report in ordered:
        asked |= contract.asked[report.form_version]
        for name, value in report.values.items():
            before = chart.values.get(name)
            if before is not None:
                if value.get("null") == "absent":
                    continue
                if before != value and before.get("null") != "absent":
                    chart.former.setdefault(name, []).append(before)
            chart.values[name] = value
            chart.sources[name] = report.event_id
    chart.asked = frozenset(asked)
    return chart
