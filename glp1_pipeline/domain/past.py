"""What was known of a patient at a moment: now, and then, for what was decided then rests on no more.

One walk over all that was said serves every moment at which what was known is a beginning of it. Where something came
late, or the treatment of then is not the beginning of today's, that moment is judged by itself: the same, and dearer.
Here: judging, and looking back. Not here: each judgement (`flags`, `medication`, `followup`), what follows from it
(`charting`, `refill`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from . import flags, followup, medication, refill
from .chart import Chart, Passes, Reported, Treated, in_order, resolve, spoken, stages
from .contract import Contract
from .told import FOLLOWUP, Value


class Judged(NamedTuple):
    history: flags.History
    courses: list[medication.Course]


def judge(contract: Contract, patient_id: str, reports: Sequence[Reported], passes: Passes) -> Judged:
    """Chart, standing flags and treatments of what was said; a treatment changes whose word counts in the chart."""
    if not _is_treated(reports):
        return Judged(flags.evaluate_history(contract, patient_id, reports, passes=passes), [])
    courses = medication.courses(contract, resolve(contract, patient_id, reports, passes), reports)
    treated = medication.stages_of(contract, courses, reports)
    history = flags.evaluate_history(contract, patient_id, reports, passes=passes, treated=treated)
    return Judged(_standing(history, reports), courses)


def _is_treated(reports: Sequence[Reported]) -> bool:
    return any(report.medication is not None or report.refill is not None for report in reports)


def _standing(history: flags.History, reports: Sequence[Reported]) -> flags.History:
    """Without the flags that a provider refuted."""
    if all(report.refill is None for report in reports):
        return history
    standing = refill.standing(history.flags, reports)
    return history._replace(flags=standing, ended=history.ended | (history.flags.keys() - standing.keys()))


class Past:
    """All that was said of a patient, and what it comes to, now and at any moment before."""

    def __init__(self, contract: Contract, patient_id: str, told: Sequence[Reported], passes: Passes) -> None:
        self.contract, self.patient_id, self.told, self.passes = contract, patient_id, told, passes
        self.as_of = max(report.received_at for report in told)
        self._lacking: dict[tuple[int, tuple[str, ...]], tuple[tuple[str, str], ...]] = {}
        self._then: dict[tuple[int, ...], tuple[Judged, int]] = {}

    @cached_property
    def now(self) -> Judged:
        return judge(self.contract, self.patient_id, self.told, self.passes)

    @cached_property
    def latest(self) -> refill.Snapshot:
        return self._snapshot(self.as_of, self.told, self.now)

    def look(self, at: datetime) -> refill.Snapshot:
        """All that was known then."""
        heard = [report for report in self.told if report.received_at <= at]
        if len(heard) < len(self.told):
            return self._snapshot(at, heard, *self._judged_of(heard))
        if at <= self.as_of:
            return self.latest
        return self._snapshot(at, self.told, self.now)

    def chart_at(self, at: datetime) -> Chart:
        """The chart alone, as it was known then."""
        heard = [report for report in self.told if report.received_at <= at]
        judged = self.now if len(heard) == len(self.told) else self._judged_of(heard)[0]
        return judged.history.chart

    def _snapshot(self, at: datetime, heard: Sequence[Reported], judged: Judged, epoch: int = -1) -> refill.Snapshot:
        history, courses = judged
        lacks = self._lacks(epoch) if epoch >= 0 else None
        standing = followup.follow_ups(self.contract, history.chart, courses, heard, at, lacks)
        return refill.Snapshot(at, history.chart, history.flags, courses, standing, heard)

    # ---- then

    def _judged_of(self, heard: Sequence[Reported]) -> tuple[Judged, int]:
        """Judged, and the epoch of its chart; -1 where the walk did not come by there."""
        key = (
            sum(not report.is_of_treatment for report in heard),
            sum(report.medication is not None for report in heard),
            sum(report.refill is not None and report.refill["kind"] == "resolved" for report in heard),
        )
        if key not in self._then:  # what was heard of a kind is a beginning of what is: as many are the same ones
            self._then[key] = self._as_walked(heard) or (
                judge(self.contract, self.patient_id, heard, self.passes), -1,
            )  # fmt: skip
        return self._then[key]

    def _as_walked(self, heard: Sequence[Reported]) -> tuple[Judged, int] | None:
        ordered = in_order(heard)
        counted = spoken(ordered)
        n = len(counted)
        began = [id(report) for report in self.counted[:n]]
        if not n or not self._is_walked or [id(report) for report in counted] != began:
            return None
        plain = replace(self._plain[n - 1], submissions=tuple(ordered))
        courses = medication.courses(self.contract, plain, heard)
        treated = medication.stages_of(self.contract, courses, heard)
        last = counted[-1].said_at
        if [one for one in treated if one[0] <= last] != [one for one in self._treated if one[0] <= last]:
            return None
        walked = self._walked[n - 1]
        chart = replace(walked.chart, treated=tuple(treated), submissions=tuple(ordered))
        history = replace(walked, chart=chart).history(self.contract, ordered, counted)
        return Judged(_standing(history, heard), courses), self._epochs[n - 1]

    # ---- the walk: the chart after each report that counts. Made for the first that looks back, and kept

    @cached_property
    def counted(self) -> list[Reported]:
        return spoken(in_order(self.told))

    @cached_property
    def _is_walked(self) -> bool:
        """A draft counts until something is submitted, and then no more: there every moment is judged by itself."""
        return _is_treated(self.told) and not any(report.is_draft for report in self.counted)

    @cached_property
    def _plain(self) -> list[Chart]:
        """Without any treatment: what treatments are worked out from."""
        return [chart.copy() for chart in stages(self.contract, self.patient_id, self.counted, self.passes)]

    @cached_property
    def _walked(self) -> list[flags.Walked]:
        return flags.walk(self.contract, self.patient_id, self.counted, self.passes, self._treated)

    @property
    def _treated(self) -> Treated:
        return self.now.history.chart.treated

    @cached_property
    def _epochs(self) -> list[int]:
        """Of each chart; the same as before where a check-in changed nothing but what check-ins ask."""
        epochs, asked = [0], frozenset(self.contract.asked_in_checkin)
        for report, (before, after) in zip(self.counted[1:], pairwise(self._walked), strict=True):
            is_same = report.source == FOLLOWUP and _same_but(asked, before.chart, after.chart)
            epochs.append(epochs[-1] if is_same else epochs[-1] + 1)
        return epochs

    def _lacks(self, epoch: int) -> followup.Missing:
        """What a check-in lacks, worked out once for all charts of an epoch: they differ in what check-ins ask alone,
        and of that the check-in's own answers count."""

        def lacks(chart: Chart, report: Reported, answers: dict[str, Value], ids: tuple[str, ...]):
            if (epoch, ids) not in self._lacking:
                self._lacking[epoch, ids] = followup.missing(self.contract, chart, report, answers)
            return self._lacking[epoch, ids]

        return lacks


def _same_but(asked: frozenset[str], one: Chart, other: Chart) -> bool:
    """Whether two charts say the same but for some fields."""
    parts = ((one.values, other.values), (one.decisive, other.decisive))
    return one.asked == other.asked and all(
        a.keys() - asked == b.keys() - asked and all(a[name] is b[name] for name in a.keys() - asked) for a, b in parts
    )
