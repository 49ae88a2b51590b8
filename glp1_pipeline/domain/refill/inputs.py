"""What a refill is decided on: every input with its value, who said it, whether it was verified, and when.

A decision rests on these alone, so that it can be made again from its record. Payment is none of them.
Here: gathering them from the chart, the treatment and the check-in as they stood at a moment. Not here: what they mean
(`conditions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from ..chart import Chart, Reported, in_order
from ..contract import Contract
from ..flags import SUICIDAL, RaisedFlag
from ..flags.checkins import weighings
from ..flags.medicines import medicine_names
from ..followup import FollowUp, day_of, value_of
from ..followup.reading import WEIGHED_ON
from ..medication import Course, missed_doses
from ..zones import zone_of

Input = dict[str, Any]
"""value; and where there is one source, voice (reported or verified), event_id, at (when it was measured or said)."""
Inputs = dict[str, Input]
Weighing = tuple[date, float, Reported]
"""When, how many kg, and who told it."""
DAY_OF = {"anthro.weight": WEIGHED_ON}
"""Field -> the field that says when it was measured."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was known of a patient at a moment."""

    as_of: datetime
    chart: Chart
    flags: Mapping[str, RaisedFlag]
    """Those that stand."""
    courses: Sequence[Course]
    follow_ups: Sequence[FollowUp]
    heard: Sequence[Reported] = ()
    """All that was said until then."""

    def course_of(self, contract: Contract, product: str) -> Course | None:
        family = contract.medication.family_of(product)
        return next((c for c in self.courses if family is not None and c.family == family.family), None)


def gather(contract: Contract, known: Snapshot, product: str) -> Inputs:
    """The inputs of a refill of a product."""
    course = known.course_of(contract, product)
    family = course.family if course is not None else ""
    own = [one for one in known.follow_ups if one.family == family and family and one.began_at <= known.as_of]
    inputs: Inputs = {"product": {"value": product}}
    inputs |= _of_treatment(contract, course)
    inputs |= _of_checkin(known, own)
    inputs |= _of_chart(contract, known, course, own)
    inputs |= _of_labs(contract, known)
    inputs |= _of_authorization(contract, known, product)
    inputs |= _of_time(contract, known, course)
    return inputs


def gather_later(contract: Contract, known: Snapshot, product: str, inputs: Inputs, at: datetime) -> Inputs:
    """The same inputs, where nothing is heard until a later moment and no other supply begins."""
    return inputs | _of_time(contract, replace(known, as_of=at), known.course_of(contract, product))


def _of_time(contract: Contract, known: Snapshot, course: Course | None) -> Inputs:
    """What goes on by itself: the day, and the doses missed."""
    zone = zone_of(contract, known.chart)
    found: Inputs = {"today": {"value": day_of(known.as_of, zone).isoformat()}}
    if course is not None and course.supplies:
        next_fill = max(known.as_of, course.supplies[-1].runs_out_at)
        found["next_fill_on"] = {"value": day_of(next_fill, zone).isoformat()}
    family = contract.medication.families.get(course.family) if course is not None else None
    if course is not None and family is not None:
        missed = missed_doses(family, course, known.as_of)
        if course.gap is not None:
            missed = max(missed, course.gap[1])
        proposal = family.proposal(missed)
        found["missed_doses"] = {"value": missed}
        found["is_restart"] = {"value": proposal is not None and proposal.is_restart}
        found["missed_proposal"] = {"value": proposal.propose if proposal is not None else None}
        found["restart_from_doses"] = {
            "value": proposal.doses if proposal is not None and proposal.is_restart else None
        }
    return found


def _of_treatment(contract: Contract, course: Course | None) -> Inputs:
    if course is None:
        return {"course_state": {"value": "none"}}
    rules = contract.medication
    family = rules.families.get(course.family)
    found: Inputs = {"course_state": {"value": course.state, "at": _text(course.since)}}
    if course.accepted is not None:
        found["dose_mg"] = {
            "value": course.mg,
            **_by(course.accepted.event_id, course.accepted.source, course.accepted.at),
        }
    rung = family.rung(course.mg) if family is not None else None
    found["dose_since"] = {"value": _text(course.dose_since)}
    found["min_days_at_dose"] = {"value": rung.min_days if rung is not None else None}
    if course.supplies:
        last = course.supplies[-1]
        found["handed_over_at"] = {
            "value": last.fact.at.isoformat(), **_by(last.fact.event_id, last.fact.source, last.fact.at)
        }  # fmt: skip
        found["supply_days"] = {"value": last.days}
        found["runs_out_at"] = {"value": last.runs_out_at.isoformat()}
    return found


def _of_checkin(known: Snapshot, own: Sequence[FollowUp]) -> Inputs:
    """The check-in of the last supply; of none, what the last one before it said."""
    if not own:
        return {}
    now = own[-1]
    found: Inputs = {
        "followup_id": {"value": now.followup_id},
        "window_opens_at": {"value": now.refill_window_at.isoformat()},
        "followup_answered_at": {"value": _text(now.whole_at)},
        "followup_missing": {"value": [f"{name}:{state}" for name, state in now.missing]},
    }
    before = [one for one in own[:-1] if one.answer_ids]
    found["followup_before_at"] = {"value": _text(before[-1].answered_at or before[-1].began_at) if before else None}
    told = {r.event_id: r for r in known.chart.submissions}
    answers = [told[event_id] for event_id in now.answer_ids]
    for name, value in sorted(now.answers.items()):
        report = next((r for r in reversed(answers) if name in r.values), None)
        if report is not None:
            found[name] = {**_shown(value), **_of_report(report, now.answers, name)}
    return found


def _interacting(contract: Contract, rows: Any) -> Input:
    """Groups among the new medicines, and the places of the rows that are of one: what a word meant then stays so."""
    names, asked = medicine_names(contract.medication), {*contract.refills.interacting}
    groups = [asked & names.groups_in([row]) for row in rows] if isinstance(rows, list) else []
    places = [place for place, own in enumerate(groups) if own]
    return {"value": sorted(set().union(*groups)), **({"rows": places} if places else {})}


def _of_chart(contract: Contract, known: Snapshot, course: Course | None, own: Sequence[FollowUp]) -> Inputs:
    chart = known.chart
    accepted_at = course.accepted.at if course is not None and course.accepted is not None else None
    told = {report.event_id: report for report in chart.submissions}
    found: Inputs = {
        "flags": {
            "value": [
                {
                    "flag": flag.flag_id,
                    "severity": flag.severity,
                    "basis": contract.flags[flag.flag_id].basis.partition(" ")[0],
                    # One that stood when a provider ordered was seen by them.
                    "is_new": accepted_at is None
                    or (flag.event_id in told and told[flag.event_id].received_at > accepted_at),
                    **_of_event(told.get(flag.event_id)),
                }
                for flag in sorted(known.flags.values(), key=lambda f: f.flag_id)
                if flag.severity == "red" or flag.flag_id in contract.refills.symptom_flags
            ]
        },
        "suicidal": {"value": SUICIDAL in known.flags, **_of_event(told.get(_event_of(known, SUICIDAL)))},
        "preg.status": {"value": chart.get("preg.status"), **_where(chart, "preg.status")},
    }
    found["interacting"] = _interacting(contract, value_of(chart.values, "checkin.new_medicines"))
    readings = weighings(chart)
    zone = zone_of(contract, chart)
    found["weight_kg"] = _weighed(readings[-1]) if readings else {"value": None}
    if before := _weight_before(readings, day_of(own[-1].began_at, zone) if own else None):
        found["weight_before_kg"] = _weighed(before)
    return found


def _of_labs(contract: Contract, known: Snapshot) -> Inputs:
    """The newest result of each value that the program asks for of this patient."""
    asked = [lab for lab in contract.refills.labs if not known.flags.keys().isdisjoint(lab.flags)]
    if not asked:
        return {}
    versions = {r.submission_id: r for r in in_order(known.heard) if r.submission_id.startswith("Observation/")}
    results = [r for r in versions.values() if r.refill is not None and r.refill["kind"] == "tested"]
    rows = []
    for lab in asked:
        own = [(r.refill["on"], r) for r in results if r.refill is not None and r.refill["lab"] == lab.lab]
        on, report = max(own, key=lambda one: one[0], default=(None, None))
        rows.append({"lab": lab.lab, **_of_event(report), "at": on})
    return {"labs": {"value": rows}}


def _of_authorization(contract: Contract, known: Snapshot, product: str) -> Inputs:
    """The last day of the payer's approvals of the treatment, each as it was decided last; none where none was told."""
    family = contract.medication.family_of(product)
    told = in_order(r for r in known.heard if r.refill is not None and r.refill["kind"] == "authorized")
    decided = {r.refill["pa_id"]: (r.refill, r) for r in told if r.refill is not None}
    own = [(doc["until"], r) for doc, r in decided.values() if contract.medication.family_of(doc["product"]) == family]
    if family is None or not own:
        return {}
    until, report = max(own, key=lambda one: one[0])
    return {"authorized_until": {"value": until, **_of_event(report)}}


def _weighed(reading: Weighing) -> Input:
    on, kg, report = reading
    return {"value": kg, **_of_event(report), "at": on.isoformat()}


def _weight_before(readings: Sequence[Weighing], began_on: date | None) -> Weighing | None:
    """What the newest weight is compared with: the last one before the supply in hand. Else who weighs anew after a
    slip would be held for the slip."""
    others = readings[:-1]
    earlier = [reading for reading in others if began_on is not None and reading[0] <= began_on]
    return next(reversed(earlier or others), None)


def _shown(value: Mapping[str, Any]) -> Input:
    if "value" in value:
        return {"value": value["value"]}
    return {"value": None, "state": "held" if "held" in value else value.get("null", "absent")}


def _of_report(report: Reported, values: Mapping[str, Any], name: str) -> Input:
    measured = value_of(values, DAY_OF.get(name, ""))
    at = measured if isinstance(measured, str) else report.said_at.isoformat()
    return {"source": report.source, "voice": report.voice, "event_id": report.event_id, "at": at}


def _event_of(known: Snapshot, flag_id: str) -> str:
    flag = known.flags.get(flag_id)
    return "" if flag is None else flag.event_id


def _of_event(report: Reported | None) -> Input:
    """By whose word something is known, in which voice, and since when."""
    return {} if report is None else _of_report(report, {}, "")


def _where(chart: Chart, name: str) -> Input:
    event_id = chart.event_of(name)
    report = next((r for r in chart.submissions if r.event_id == event_id), None)
    return {} if report is None else _of_report(report, chart.values, name)


def _by(event_id: str, source: str, at: datetime) -> Input:
    return {"source": source, "voice": "verified", "event_id": event_id, "at": at.isoformat()}


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
