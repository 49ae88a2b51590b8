"""The risk flags of a chart, and which of them outlive the answer that raised them.

Here: running the rules on a chart and over a patient's submissions. Not here: the rules (`answers`, `measures`), what
follows from a flag (`tasks`), overrides and their reasons (events of their own).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..chart import Chart, Reported, resolve, stages
from ..contract import Contract, Severity
from . import answers, measures  # importing them registers their rules
from .facts import Facts, bmi, kept
from .registry import RULES, Rule

__all__ = ["RULES", "Facts", "History", "RaisedFlag", "answers", "bmi", "evaluate", "evaluate_history", "measures"]

FLEETING_IN_DRAFTS = frozenset({"BMI_BELOW", "AGE_OUT"})
"""Red flags worked out of numbers and dates: a draft's are gone with the draft."""


@dataclass(frozen=True, slots=True)
class RaisedFlag:
    """A flag on a patient's chart. `fields` and `event_id` are the evidence; neither carries an answer."""

    flag_id: str
    severity: Severity
    fields: tuple[str, ...]
    event_id: str
    sticky: bool = False
    """Raised by an earlier answer which the present chart no longer shows; stands until a provider refutes it."""


@kept
def _plan(contract: Contract) -> tuple[tuple[str, Severity, Rule], ...]:
    wanted = [flag for flag in contract.flags.values() if flag.input == "intake"]
    if lacking := sorted(f.flag_id for f in wanted if f.flag_id not in RULES):
        raise LookupError(f"flags.csv has intake flags without a rule in domain.flags: {', '.join(lacking)}")
    return tuple((flag.flag_id, flag.severity, RULES[flag.flag_id]) for flag in wanted)


def evaluate(contract: Contract, chart: Chart) -> dict[str, RaisedFlag]:
    """The flags that this chart raises by itself, in the order of flags.csv."""
    facts = Facts(contract, chart)
    raised: dict[str, RaisedFlag] = {}
    for flag_id, severity, fires in _plan(contract):
        hit = fires(chart, facts)
        if hit is not None:
            event_id = next((chart.sources[n] for n in hit[1] if n in chart.sources), chart.latest.event_id)
            raised[flag_id] = RaisedFlag(flag_id, hit[0] or severity, hit[1], event_id)
    return raised


class History(NamedTuple):
    chart: Chart
    flags: dict[str, RaisedFlag]
    ended: frozenset[str]
    """Flags that an earlier state of the submitted chart raised and that stand no more."""


def evaluate_history(
    contract: Contract, patient_id: str, reports: Iterable[Reported], refuted: frozenset[str] = frozenset()
) -> History:
    """The chart after all reports and its flags: red ones of every earlier chart, amber and info of the last alone.

    Flags of basis `administrative` (state, identity, consent) follow the last chart: they are about paperwork, which
    a patient may mend. Of a draft only what is urgent or tells of the patient's history stays: a number half typed
    is nothing to hold on to. `refuted` names the flags whose refutation the caller holds to be still in force.
    """
    ordered = sorted(reports, key=lambda r: r.order)
    chart = resolve(contract, patient_id, ordered)
    if not ordered:
        return History(chart, {}, frozenset())
    present = evaluate(contract, chart)
    submitted, drafts = [r for r in ordered if not r.is_draft], [r for r in ordered if r.is_draft]
    before, stays = _earlier(contract, patient_id, submitted[:-1])
    _, drafted = _earlier(contract, patient_id, drafts if submitted else drafts[:-1])
    stays = {f: flag for f, flag in drafted.items() if f not in FLEETING_IN_DRAFTS} | stays
    for flag_id, flag in stays.items():
        now = present.get(flag_id)
        if now is None or now.severity != "red":
            present[flag_id] = replace(flag, sticky=True)
    standing = {flag_id: flag for flag_id, flag in present.items() if flag_id not in refuted}
    return History(chart, standing, frozenset((before | present.keys()) - standing.keys()))


def _earlier(
    contract: Contract, patient_id: str, ordered: list[Reported]
) -> tuple[frozenset[str], dict[str, RaisedFlag]]:
    """All flags that any state of the chart raised, and of the red clinical ones the last that was seen of each."""
    seen: set[str] = set()
    red: dict[str, RaisedFlag] = {}
    said: tuple[object, ...] = ()
    for stage in stages(contract, patient_id, ordered):
        report = stage.latest
        if report.is_draft and said == (said := (report.values, report.form_version)):
            continue  # an autosave of what was saved before
        for flag_id, flag in evaluate(contract, stage).items():
            seen.add(flag_id)
            if flag.severity == "red" and not contract.flags[flag_id].basis.startswith("administrative"):
                red[flag_id] = flag
    return frozenset(seen), red
