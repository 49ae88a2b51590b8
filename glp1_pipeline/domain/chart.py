"""A patient's chart: all reported values resolved into one, the same whatever order they came in.

A phone's clock may be wrong, so no submission counts as later than its receipt; a draft says nothing beside a
submission; and a consent once refused is only given again by what came in after the refusal.

Here: the fold of a patient's submissions, and questions asked of the result. Not here: how an answer becomes a
value (`mapping`), what the chart means (`flags`, `gates`), how it looks in FHIR (`fhir`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .contract import Contract

Value = Mapping[str, Any]
"""A value document: {"value": …} or {"null": …} or {"held": …, "raw": …}, with optional "edges"."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What one submission, or another system, said: the unit of provenance."""

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
    source: str = "intake"
    """Who says it, by the owners' names of ownership.csv: intake, crm, ehr, ..."""
    voice: str = "reported"
    """reported: the patient's own word; verified: what a provider found."""

    @property
    def said_at(self) -> datetime:
        """When it was written; a clock that runs ahead cannot carry it past the moment that it was received."""
        return min(self.authored_at, self.received_at)

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        return (self.said_at, self.received_at, self.event_id)

    @property
    def is_draft(self) -> bool:
        return self.status == "in-progress"


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
    """All of them, drafts too."""
    counted: tuple[Reported, ...] = ()
    """Those that the values come from: what the patient submitted, or the drafts where nothing was submitted yet."""
    asked: frozenset[str] = frozenset()
    """Fields that at least one of the counted form versions asks."""

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
        return bool(self.counted) and not self.counted[0].is_draft

    @property
    def latest(self) -> Reported:
        return self.counted[-1]


def resolve(contract: Contract, patient_id: str, reports: Iterable[Reported]) -> Chart:
    """Fold submissions, oldest first; per field the newest answer that says something wins, and of drafts none does
    once something was submitted.
    """
    ordered = sorted(reports, key=lambda r: r.order)
    submitted = [report for report in ordered if not report.is_draft]
    chart = Chart(patient_id)
    for chart in stages(contract, patient_id, submitted or ordered):  # noqa: B007 - the last stage is the chart
        pass
    chart.submissions = tuple(ordered)
    return chart


def stages(contract: Contract, patient_id: str, ordered: Iterable[Reported]) -> Iterator[Chart]:
    """The chart after each report of an ordered row. It is one chart that grows: look at it before the next.

    A blank (`absent`) never wipes what an earlier submission said: leaving a question empty is not a retraction.
    """
    chart = Chart(patient_id)
    consents = {name for name, declared in contract.fields.items() if declared.type == "consent"}
    refused_at: dict[str, datetime] = {}
    for report in ordered:
        chart.submissions = chart.counted = (*chart.counted, report)
        chart.asked |= contract.asked[report.form_version]
        for name, value in report.values.items():
            before = chart.values.get(name)
            if before is not None and value.get("null") == "absent":
                continue
            if name in consents and value.get("null") != "absent":
                refusal = refused_at.get(name)
                if not _is_given(value):
                    refused_at[name] = max(report.received_at, refusal or report.received_at)
                elif refusal is not None and report.received_at <= refusal:
                    # Later by its own clock, yet received before the refusal: of the two the one that permits less.
                    if before != value:
                        chart.former.setdefault(name, []).append(value)
                    continue
            if before is not None and before != value and before.get("null") != "absent":
                chart.former.setdefault(name, []).append(before)
            chart.values[name] = value
            chart.sources[name] = report.event_id
        yield chart


def _is_given(value: Value) -> bool:
    decision = value.get("value")
    return isinstance(decision, Mapping) and decision.get("status") == "given"
