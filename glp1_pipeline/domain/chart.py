"""A patient's chart: all that was said resolved into one, the same whatever order it came in.

A phone's clock may be wrong, so no submission counts as later than its receipt; a draft says nothing beside a
submission; and a consent once refused is only given again by what came in after the refusal.

Here: the fold of what was said of a patient. Not here: its shapes (`told`), how an answer becomes a
value (`mapping`), whose word counts when several speak (`ownership`, `voices`), what the chart means (`flags`,
`gates`), how it looks in FHIR (`fhir`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from .contract import EHR, Contract, Stage
from .told import DIED, FOLLOWUP, INTAKE, Chart, Conflict, Reported, Value
from .voices import Voices, is_given

__all__ = [
    "Chart", "Conflict", "Passes", "Reported", "Treated", "Value", "death", "in_order", "resolve", "spoken", "stages",
]  # fmt: skip

Passes = Callable[[Chart], bool]
"""Whether a chart passes the completeness gate: from then on a provider reviews it, and its fields have new owners."""

Treated = Sequence[tuple[datetime, Stage]]


def in_order(reports: Iterable[Reported]) -> list[Reported]:
    """Oldest first, each event once."""
    ordered = [*reports]
    if len(ordered) < 2:  # most patients say one thing once
        return ordered
    ordered.sort(key=lambda report: report.order)
    return [r for i, r in enumerate(ordered) if i == 0 or r.event_id != ordered[i - 1].event_id]


def spoken(ordered: list[Reported]) -> list[Reported]:
    """What counts for fields: all but the drafts, once something was submitted; not what is of a treatment alone."""
    heard = [report for report in ordered if not report.is_of_treatment]
    submitted = [report for report in heard if not report.is_draft]
    return submitted if any(report.source == INTAKE for report in submitted) else heard


def death(reports: Iterable[Reported]) -> Reported | None:
    """What tells that the patient died: the newest word of the EHR about a Patient of theirs. None where none tells it,
    or it was taken back there."""
    told = [report for report in reports if report.source == EHR and report.submission_id.startswith("Patient/")]
    newest = {report.submission_id: report for report in in_order(told) if report.status != "deleted"}
    return next((r for r in newest.values() if r.refill is not None and r.refill["kind"] == DIED), None)


def resolve(
    contract: Contract,
    patient_id: str,
    reports: Iterable[Reported],
    passes: Passes | None = None,
    treated: Treated = (),
) -> Chart:
    """Fold reports, oldest first; per field the newest answer that says something wins, and of drafts none does once
    something was submitted. Where several systems speak, or a provider reviews already, the field's rule decides.
    """
    ordered = in_order(reports)
    chart = Chart(patient_id)
    for chart in stages(contract, patient_id, spoken(ordered), passes, treated):  # noqa: B007 - the last stage is the chart
        pass
    chart.submissions = tuple(ordered)
    return chart


def stages(
    contract: Contract,
    patient_id: str,
    ordered: Iterable[Reported],
    passes: Passes | None = None,
    treated: Treated = (),
) -> Iterator[Chart]:
    """The chart after each report of an ordered row. It is one chart that grows: look at it before the next.

    Without `passes` nobody ever reviews it: the patient's later words correct the earlier ones. `treated`: when a
    treatment changed the stage, and to which.
    """
    chart = Chart(patient_id, treated=tuple(treated))
    refused_at: dict[str, datetime] = {}
    voices: Voices | None = None
    for report in ordered:
        if chart.stage == "lead" and report.source == INTAKE:
            chart.stage = "intake"
        elif chart.stage == "intake" and voices is None and passes is not None and passes(chart):
            chart.stage, chart.reviewed_after = "clinical_review", chart.submissions[-1].event_id
        began: list[Stage] = [stage for at, stage in chart.treated if at <= report.said_at]
        if began and began[-1] != chart.stage and chart.counted:  # the patient's first word is always an intake's
            chart.stage = began[-1]
            if voices is not None:
                voices.enter()
        if voices is None and (report.source != INTAKE or chart.stage != "intake"):
            voices = Voices(contract, chart, refused_at)
        chart.submissions = (*chart.submissions, report)
        chart.is_followed_up = chart.is_followed_up or (report.source == FOLLOWUP and not report.is_draft)
        if report.source == INTAKE:
            chart.counted = (*chart.counted, report)
            asked = contract.asked[report.form_version]
            chart.asked = chart.asked | asked if chart.asked else asked
        if voices is None:
            _correct(chart, report, contract.consents, refused_at)
        else:
            voices.hear(report)
            # Asked for lazily where only the patient speaks, for most say one thing once; here at once.
            if chart.stage == "intake" and passes is not None and passes(chart):
                chart.stage, chart.reviewed_after = "clinical_review", report.event_id
                voices.enter()
        yield chart


def _correct(chart: Chart, report: Reported, consents: frozenset[str], refused_at: dict[str, datetime]) -> None:
    """The patient's own later word, while nobody reviews it.

    A blank (`absent`) never wipes what an earlier submission said: leaving a question empty is not a retraction.
    """
    if not chart.values:  # the first word of all, and most often the only one: it meets nothing to correct
        chart.values = dict(report.values)
        chart.sources = dict.fromkeys(report.values, report.event_id)
        for name in consents & report.values.keys():
            if not is_given(value := report.values[name]) and value.get("null") != "absent":
                refused_at[name] = report.received_at
        return
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
