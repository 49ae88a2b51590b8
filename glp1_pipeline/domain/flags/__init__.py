"""The risk flags of a chart, and which of them outlive the answer that raised them.

Here: running the rules on a chart and over a patient's submissions. Not here: the rules (`answers`, `measures`), what
follows from a flag (`tasks`), overrides and their reasons (events of their own).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..chart import Chart, Passes, Reported, Treated, in_order, spoken, stages
from ..contract import Contract, Severity
from ..declared import kept
from ..told import FOLLOWUP
from . import answers, checkins, measures  # importing them registers their rules
from .facts import Facts, bmi
from .registry import RULES, Fires, Quiet

__all__ = [
    "RULES",
    "SUICIDAL",
    "Facts",
    "History",
    "RaisedFlag",
    "Walked",
    "answers",
    "bmi",
    "checkins",
    "evaluate",
    "evaluate_history",
    "measures",
    "walk",
]

SUICIDAL = "SUICIDAL_ACTIVE"
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


class _Asked(NamedTuple):
    flag_id: str
    severity: Severity
    fires: Fires
    is_urgent: bool
    """Whether a check-in alone raises it."""


class _Plan(NamedTuple):
    """The rules in the order of flags.csv, and which of them an answer may raise at all."""

    rules: tuple[_Asked, ...]
    always: tuple[int, ...]
    """Places of the rules that are asked of every chart."""
    fields: tuple[tuple[str, Quiet, tuple[int, ...]], ...]
    """Field, the answers that raise none of the rules which look at it, and the places of these rules."""

    def asked_of(self, chart: Chart) -> Iterable[_Asked]:
        """The rules that may fire, most of which look at one question that most patients answer by no."""
        if chart.decisive:  # some rules look at the patient's own word, some at what counts in its place
            return self.rules
        told = chart.values
        looking = [
            places for name, quiet, places in self.fields if name in told and told[name].get("value") not in quiet
        ]
        return [self.rules[place] for place in sorted({*self.always}.union(*looking))]


@kept
def _plan(contract: Contract) -> _Plan:
    wanted = [
        f for f in contract.flags.values() if f.input == "intake" or (f.input == "followup" and f.flag_id in RULES)
    ]
    if lacking := sorted(f.flag_id for f in wanted if f.flag_id not in RULES):
        raise LookupError(f"flags.csv has intake flags without a rule in domain.flags: {', '.join(lacking)}")
    urgent = _urgent(contract)
    rules = tuple(_Asked(f.flag_id, f.severity, RULES[f.flag_id].fires, f.flag_id in urgent) for f in wanted)
    quiet, looking = {}, {}
    for place, flag in enumerate(wanted):
        for name, raise_nothing in RULES[flag.flag_id].quiet.items():
            quiet[name] = tuple(answer for answer in raise_nothing if answer in quiet.get(name, raise_nothing))
            looking[name] = (*looking.get(name, ()), place)
    always = tuple(place for place, flag in enumerate(wanted) if not RULES[flag.flag_id].quiet)
    return _Plan(rules, always, tuple((name, quiet[name], looking[name]) for name in quiet))


@kept
def _urgent(contract: Contract) -> frozenset[str]:
    """Flags that a check-in raises and that somebody is called for at once: they stay until a provider refutes them."""
    return frozenset((*contract.refills.symptom_flags, SUICIDAL))


def evaluate(contract: Contract, chart: Chart) -> dict[str, RaisedFlag]:
    """The flags that this chart raises by itself, in the order of flags.csv; none where the patient never spoke. Of who
    answered a check-in and never an intake, those that cannot wait for one."""
    has_intake = bool(chart.counted)
    if not has_intake and not any(report.source == FOLLOWUP for report in chart.submissions):
        return {}
    facts = Facts(contract, chart)
    raised: dict[str, RaisedFlag] = {}
    for asked in _plan(contract).asked_of(chart):
        hit = asked.fires(chart, facts) if has_intake or asked.is_urgent else None
        if hit is not None:
            event_id = next((event for n in hit[1] if (event := chart.event_of(n))), chart.latest.event_id)
            raised[asked.flag_id] = RaisedFlag(asked.flag_id, hit[0] or asked.severity, hit[1], event_id)
    return raised


class History(NamedTuple):
    chart: Chart
    flags: dict[str, RaisedFlag]
    ended: frozenset[str]
    """Flags that an earlier state of the submitted chart raised and that stand no more."""


def evaluate_history(
    contract: Contract,
    patient_id: str,
    reports: Iterable[Reported],
    refuted: frozenset[str] = frozenset(),
    passes: Passes | None = None,
    treated: Treated = (),
) -> History:
    """The chart after all reports and its flags: red ones and symptoms of every earlier chart, else amber and info of
    the last alone.

    Flags of basis `administrative` (state, identity, consent) follow the last chart: they are about paperwork, which
    a patient may mend. Of a draft only what is urgent or tells of the patient's history stays: a number half typed
    is nothing to hold on to. `refuted` names the flags whose refutation the caller holds to be still in force;
    `passes` says of a chart whether it passes the completeness gate, `treated` when a treatment changed its stage (see
    `chart.stages`).
    """
    ordered = in_order(reports)
    counted = spoken(ordered)
    now = _walk(contract, patient_id, counted, passes, treated)
    now.chart.submissions = tuple(ordered)
    return now.history(contract, ordered, counted, refuted)


@dataclass(slots=True)
class Walked:
    """A fold of reports, and the flags on its way."""

    chart: Chart
    present: dict[str, RaisedFlag]
    """Of the last chart."""
    seen: set[str]
    """All that any earlier chart raised."""
    red: dict[str, RaisedFlag]
    """Of the red clinical ones, and the symptoms, of earlier charts the last that was seen of each."""

    def reds(self, contract: Contract) -> dict[str, RaisedFlag]:
        urgent = _urgent(contract)
        return {
            f: flag
            for f, flag in self.present.items()
            if f in urgent or (flag.severity == "red" and not contract.flags[f].basis.startswith("administrative"))
        }

    def history(
        self,
        contract: Contract,
        ordered: list[Reported],
        counted: list[Reported],
        refuted: frozenset[str] = frozenset(),
    ) -> History:
        """Of all that was said (`ordered`), where `counted` is what was walked."""
        chart, present, stays = self.chart, dict(self.present), self.red
        if not chart.is_complete:
            stays = {f: flag for f, flag in stays.items() if f not in FLEETING_IN_DRAFTS}
        elif len(counted) < len(ordered):
            drafts = _walk(contract, chart.patient_id, [r for r in ordered if r.is_draft])
            drafted = drafts.red | drafts.reds(contract)
            stays = {f: flag for f, flag in drafted.items() if f not in FLEETING_IN_DRAFTS} | stays
        for flag_id, flag in stays.items():
            shown = present.get(flag_id)
            if shown is None or (flag.severity == "red" and shown.severity != "red"):
                present[flag_id] = replace(flag, sticky=True)
        standing = {flag_id: flag for flag_id, flag in present.items() if flag_id not in refuted}
        ended = frozenset((self.seen if chart.is_complete else present.keys()) | present.keys()) - standing.keys()
        return History(chart, standing, ended)


def _walk(
    contract: Contract,
    patient_id: str,
    ordered: list[Reported],
    passes: Passes | None = None,
    treated: Treated = (),
) -> Walked:
    walked = Walked(Chart(patient_id), {}, set(), {})
    said: tuple[object, ...] = ()
    for chart in stages(contract, patient_id, ordered, passes, treated):
        walked.chart, report = chart, chart.submissions[-1]
        if report.is_draft and said == (said := (report.values, report.form_version)) and report is not ordered[-1]:
            continue  # an autosave of what was saved before
        if walked.present:
            walked.seen |= walked.present.keys()
            walked.red |= walked.reds(contract)
        walked.present = evaluate(contract, chart)
    return walked


def walk(
    contract: Contract, patient_id: str, ordered: list[Reported], passes: Passes | None = None, treated: Treated = ()
) -> list[Walked]:
    """How it stood after each of the reports, which hold no draft; each by itself, to be kept."""
    kept: list[Walked] = []
    present, seen, red = {}, set(), {}
    for chart in stages(contract, patient_id, ordered, passes, treated):
        if kept:
            seen, red = seen | present.keys(), red | kept[-1].reds(contract)
        present = evaluate(contract, chart)
        kept.append(Walked(chart.copy(), present, seen, red))
    return kept
