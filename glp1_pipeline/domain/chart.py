"""A patient's chart: all that was said resolved into one, the same whatever order it came in.

A phone's clock may be wrong, so no submission counts as later than its receipt; a draft says nothing beside a
submission; and a consent once refused is only given again by what came in after the refusal.

Here: the fold of what was said of a patient, and questions asked of the result. Not here: how an answer becomes a
value (`mapping`), whose word counts when several speak (`ownership`, `voices`), what the chart means (`flags`,
`gates`), how it looks in FHIR (`fhir`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .contract import Contract, Stage
from .ownership import INTAKE, Conflict, Value
from .voices import Voices, is_given

__all__ = ["Chart", "Conflict", "Passes", "Reported", "Value", "in_order", "resolve", "spoken", "stages"]

Passes = Callable[["Chart"], bool]
"""Whether a chart passes the completeness gate: from then on a provider reviews it, and its fields have new owners."""


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
    record_id: str = ""
    """Whose account said it: one of the patient's records."""
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

    @property
    def is_submitted(self) -> bool:
        """Whether the patient pressed submit on it; what other systems say is no submission."""
        return self.source == "intake" and not self.is_draft


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
    """All that was said, drafts too, and what other systems said."""
    counted: tuple[Reported, ...] = ()
    """What the patient submitted, or the drafts where nothing was submitted yet."""
    asked: frozenset[str] = frozenset()
    """Fields that at least one of the counted form versions asks."""
    stage: Stage = "lead"
    """Whose stage of ownership it was when the newest report came: `intake` from the patient's first word on, and
    `clinical_review` from the first report after the chart had passed the gate."""
    conflicts: tuple[Conflict, ...] = ()
    """Words that do not hold, or hold against what the field's owner said; by field and source."""
    verified: dict[str, Value] = field(default_factory=dict)
    """Field -> what a provider found, beside what the patient said in `values`: neither ever replaces the other."""
    verified_by: dict[str, str] = field(default_factory=dict)
    """Field -> id of the event that said what was found."""
    decisive: dict[str, Value] = field(default_factory=dict)
    """Those findings that count for decisions in place of what the patient said."""

    def get(self, name: str) -> Any:
        """The known value that counts for decisions, or None where there is none (see `state` for why)."""
        value = self.values.get(name) if name not in self.decisive else self.decisive[name]
        return None if value is None else value.get("value")

    def told(self, name: str) -> Any:
        """The known value beside any finding of a provider: what is written as the patient's own word."""
        value = self.values.get(name)
        return None if value is None else value.get("value")

    def state(self, name: str) -> str:
        """value, unknown, declined, not_applicable, absent, held or not_asked."""
        value = self.values.get(name) if name not in self.decisive else self.decisive[name]
        if value is None:
            return "absent" if name in self.asked else "not_asked"
        if "value" in value:
            return "value"
        return "held" if "held" in value else value["null"]

    def event_of(self, name: str) -> str | None:
        """Id of the event that the value of `get` comes from."""
        return self.verified_by[name] if name in self.decisive else self.sources.get(name)

    @property
    def blocked(self) -> frozenset[str]:
        """Fields that are not synced to any system while a person has to settle them."""
        return frozenset(conflict.field for conflict in self.conflicts if conflict.rule == "hold_and_block")

    @property
    def is_complete(self) -> bool:
        """Whether the patient ever pressed submit; a draft alone never reaches a provider."""
        return any(report.is_submitted for report in self.counted)

    @property
    def latest(self) -> Reported:
        """The patient's newest word; of somebody who never spoke to us, the newest of another system."""
        return (self.counted or self.submissions)[-1]


def in_order(reports: Iterable[Reported]) -> list[Reported]:
    """Oldest first, each event once."""
    ordered = sorted(reports, key=lambda report: report.order)
    if len(ordered) < 2:
        return ordered
    return [r for i, r in enumerate(ordered) if i == 0 or r.event_id != ordered[i - 1].event_id]


def spoken(ordered: list[Reported]) -> list[Reported]:
    """What counts: all but the drafts, once something was submitted."""
    if any(report.is_submitted for report in ordered):
        return [report for report in ordered if not report.is_draft]
    return ordered


def resolve(contract: Contract, patient_id: str, reports: Iterable[Reported], passes: Passes | None = None) -> Chart:
    """Fold reports, oldest first; per field the newest answer that says something wins, and of drafts none does once
    something was submitted. Where several systems speak, or a provider reviews already, the field's rule decides.
    """
    ordered = in_order(reports)
    chart = Chart(patient_id)
    for chart in stages(contract, patient_id, spoken(ordered), passes):  # noqa: B007 - the last stage is the chart
        pass
    chart.submissions = tuple(ordered)
    return chart


def stages(
    contract: Contract, patient_id: str, ordered: Iterable[Reported], passes: Passes | None = None
) -> Iterator[Chart]:
    """The chart after each report of an ordered row. It is one chart that grows: look at it before the next.

    Without `passes` nobody ever reviews it: the patient's later words correct the earlier ones.
    """
    chart = Chart(patient_id)
    refused_at: dict[str, datetime] = {}
    voices: Voices | None = None
    for report in ordered:
        if chart.stage == "lead" and report.source == INTAKE:
            chart.stage = "intake"
        elif chart.stage == "intake" and voices is None and passes is not None and passes(chart):
            chart.stage = "clinical_review"
        if voices is None and (report.source != INTAKE or chart.stage != "intake"):
            voices = Voices(contract, chart, refused_at)
        chart.submissions = (*chart.submissions, report)
        if report.source == INTAKE:
            chart.counted = (*chart.counted, report)
            chart.asked |= contract.asked[report.form_version]
        if voices is None:
            _correct(chart, report, contract.consents, refused_at)
        else:
            voices.hear(report)
            # Asked for lazily where only the patient speaks, for most say one thing once; here at once.
            if chart.stage == "intake" and passes is not None and passes(chart):
                chart.stage = "clinical_review"
                voices.enter()
        yield chart


def _correct(chart: Chart, report: Reported, consents: frozenset[str], refused_at: dict[str, datetime]) -> None:
    """The patient's own later word, while nobody reviews it.

    A blank (`absent`) never wipes what an earlier submission said: leaving a question empty is not a retraction.
    """
    for name, value in report.values.items():
        before = chart.values.get(name)
        if before is not None and value.get("null") == "absent":
            continue
        if name in consents and value.get("null") != "absent":
            refusal = refused_at.get(name)
            if not is_given(value):
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
