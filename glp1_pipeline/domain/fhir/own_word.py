"""The patient's own word, in a chart that other systems spoke in too: what may be written as told by the patient.

What only the EHR said has its resource there already; written again it would be an echo under the patient's name.
Here: what of a chart is left without the EHR's word and without any finding of a provider. Not here: what holds
(`chart`): the Patient resource, flags and tasks are made of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..chart import Chart, Passes, Value, resolve, spoken
from ..contract import EHR, Contract
from ..ownership import adds
from ..told import INTAKE
from .medicines import allergy_keys


def own_word(contract: Contract, chart: Chart) -> Chart:
    """The chart itself where the patient alone spoke; else one whose `get` and `state` tell what the patient said."""
    if {report.source for report in chart.submissions} <= {INTAKE}:
        return chart
    others = _said_by_ehr(chart)
    if not others:  # a pharmacy, a portal, the clock: nothing of it is a field's
        return replace(chart, decisive={})
    said = [report for report in chart.submissions if report.source != EHR]
    own = resolve(contract, chart.patient_id, said, _review_of(chart), chart.treated)
    values, sources, former = dict(chart.values), dict(chart.sources), dict(chart.former)
    authors = {report.event_id: report.source for report in chart.submissions}
    for name, rows in others.items():
        value, holds = own.values.get(name), chart.values.get(name)
        is_theirs = holds is not None and authors[chart.sources[name]] == EHR
        now = _rows_told(chart, name, None if holds is None else holds.get("value"))
        if value is not None and now is not None and not rows and not is_theirs:
            # A list of ours, come back from there: as told, unless it holds rows that the newest telling left out.
            told = value.get("value")
            if isinstance(told, list) and len(told) == len(now) and not adds(value, {"value": now}):
                values[name] = value
            continue
        former.pop(name, None)
        if value is None or holds is None:
            values.pop(name, None)
            sources.pop(name, None)
            continue
        if now is not None:
            values[name] = _own_rows(value, now, rows)
        elif is_theirs:
            values[name] = value
        if is_theirs:
            sources[name] = own.sources[name]
        if name in own.former:
            former[name] = own.former[name]
    return replace(chart, values=values, sources=sources, former=former, decisive={})


def _review_of(chart: Chart) -> Passes | None:
    """The review begins where it began in the chart: from there on other rules say which of the words holds."""
    if not chart.reviewed_after:
        return None
    heard = 0
    for report in spoken(list(chart.submissions)):
        heard += report.source != EHR
        if report.event_id == chart.reviewed_after:
            break
    return lambda own: len(own.submissions) >= heard


def _said_by_ehr(chart: Chart) -> dict[str, list[Any]]:
    """Field -> the rows that the EHR ever named in it, also those that it took back; none where it is no list.

    What it says in a resource that we wrote is no row of its own. Of all lists that matters for allergies alone, for
    they keep a row that the patient's newest list leaves out.
    """
    said: dict[str, list[Any]] = {}
    lists = [r.values["allergy.list"] for r in chart.submissions if r.source != EHR and "allergy.list" in r.values]
    ours = set().union(*(allergy_keys(chart.patient_id, value) for value in lists))
    for report in chart.submissions:
        if report.source == EHR:
            for name, value in report.values.items():
                rows = value.get("value", value.get("withdrawn"))
                is_own = isinstance(rows, list) and report.submission_id not in ours
                said.setdefault(name, []).extend(rows if is_own else ())
    return said


def _rows_told(chart: Chart, name: str, now: Any) -> list[Any] | None:
    """Those rows of a list that anybody but the EHR ever named; None where it is no list."""
    if not isinstance(now, list):
        return None
    lists = (report.values.get(name, {}).get("value") for report in chart.submissions if report.source != EHR)
    told = {"value": [row for rows in lists if isinstance(rows, list) for row in rows]}
    return [row for row in now if not adds(told, {"value": [row]})]


def _own_rows(value: Value, now: Sequence[Any], others: Sequence[Any]) -> Value:
    """The rows as the patient told them last, and what stays listed of those told before that the EHR never named."""
    told = value.get("value")
    own = list(told) if isinstance(told, list) else []
    kept = [row for row in now if adds({"value": [*own, *others]}, {"value": [row]})]
    return {**value, "value": [*own, *kept]} if kept else value
