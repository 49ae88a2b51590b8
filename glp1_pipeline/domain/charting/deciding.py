"""From all that was said of each patient of a batch to all that is to be written of them.

Not here: what an event says (`reading`), and what other systems hear of it (`leaving`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .. import crm, fhir, flags, followup, gates, medication, outward, refill, tasks
from ..chart import Chart, death
from ..contract import Contract
from ..events import Decision
from ..failures import where
from ..past import Past
from .leaving import Leaving, change_of, chart_write, contact_write, retire, was_shown
from .shapes import Claimed, Decided, Known, PatientOutcome, Read

GATE = "clinical-minimum"


def decide(contract: Contract, claimed: Sequence[Claimed], said: Read, known: Known) -> Decided:
    """Everything that these events change, patient by patient, from what all records of a patient ever said."""
    decided = Decided()
    fresh: dict[str, list[Claimed]] = defaultdict(list)
    for item in claimed:
        fresh[known.patient_of[item.record_id]].append(item)
        if isinstance(item.content, Decision):  # both are judged again, also where it changed nothing
            fresh[known.patient_of[item.content.records[1]]].append(item)
    gate_asked = contract.gates[GATE]
    gates.evaluate(contract, gate_asked, [])  # a malformed gate is the contract's fault, and no patient's
    members, passes = known.members(), gates.passes(contract, gate_asked)
    for patient_id in sorted(fresh.keys() | known.moved | known.again):
        items = fresh.get(patient_id, [])
        try:
            if patient_id not in members:
                decided.retired.append(retire(contract, patient_id, claimed, known))
                continue
            reports = [r for record in members[patient_id] for r in known.reports.get(record, ())]
            reports += [said.reports[item.event_id] for item in items if item.event_id in said.reports]
            if not reports:
                continue
            past = Past(contract, patient_id, reports, passes)
            history = past.now.history
            (gate,) = gates.evaluate(contract, gate_asked, [history.chart], [history.flags])
            followed = _follow(contract, past, members[patient_id], items, said, known)
            decided.patients.append(
                _outcome(contract, patient_id, members[patient_id], items, said, history, gate, known, followed)
            )
        except Exception as error:
            decided.dead |= {item.event_id: where(error) for item in items}
            if not items:
                raise
    return decided


@dataclass(slots=True)
class _Followed:
    """What follows from the treatments of a patient."""

    courses: list[medication.Course]
    follow_ups: list[followup.FollowUp]
    refills: list[refill.Refill]
    tick: refill.Tick | None
    leaving: Leaving = field(default=lambda shown: ({}, set()))


def _follow(
    contract: Contract, past: Past, records: Iterable[str], items: Iterable[Claimed], said: Read, known: Known
) -> _Followed:
    """Check-ins and refills, as of the newest word of all."""
    patient_id, told, courses = past.patient_id, past.told, past.now.courses
    if not courses and all(report.refill is None for report in told):
        return _Followed(courses, [], [], None)
    fresh = [said.reports[item.event_id].received_at for item in items if item.event_id in said.reports]
    ended = known.ended_refills.get(patient_id, {}) if patient_id not in known.moved else {}
    checkins = past.latest.follow_ups
    requests = refill.refills(contract, told, courses, checkins, past.look, ended, min(fresh, default=None))

    def leaving(shown: Iterable[str]) -> tuple[dict[str, fhir.Resource], set[str]]:
        said_of = {record: known.copies[record].planned for record in records if record in known.copies}
        return outward.leaving(
            contract, past.latest, requests, told, past.chart_at,
            ended=known.over_refills.get(patient_id, ()), shown=shown, planned=said_of.pop(patient_id, {}),
            elsewhere=said_of, is_moved=patient_id in known.moved,
        )  # fmt: skip

    tick = refill.next_tick(contract, past.latest, requests, told)
    return _Followed(courses, [*checkins], requests, tick, leaving)


def _needs_of_treatment(
    contract: Contract, chart: Chart, raised: Mapping[str, flags.RaisedFlag], followed: _Followed
) -> list[tasks.TaskNeed]:
    needed = medication.needs(contract, followed.courses) + followup.needs(contract, followed.follow_ups)
    needed += medication.against(contract, chart, raised, followed.courses)
    if followed.refills:
        needed += refill.needs(contract, followed.refills, needed, tasks.flag_work(contract, chart, raised))
    return needed


def _outcome(
    contract, patient_id: str, records, items, said: Read, history, gate, known: Known, followed: _Followed
) -> PatientOutcome:
    chart, raised, _ = history
    needed = tasks.derive(contract, chart, raised, gate)
    if followed.courses or followed.follow_ups or followed.refills:
        needed += tasks.still_needed(contract, chart, raised, _needs_of_treatment(contract, chart, raised, followed))
    if (died := death(chart.submissions)) is not None:  # nobody is called any more
        needed = tasks.still_needed(contract, chart, raised, medication.after_death(contract, died, followed.courses))
    needed += tasks.who_is_who(contract, known.reviews.get(patient_id, set()))
    needed += tasks.edited_elsewhere(contract, (d for record in records for d in known.disputes.get(record, ())))
    open_now = {(task.code, task.cause) for task in needed}
    closed = [key for key in known.tasks.get(patient_id, []) if key not in open_now]
    write = None
    if chart.is_complete:  # a draft stays with us: the EHR hears of a patient who pressed submit
        write = chart_write(contract, patient_id, records, items, history, needed, closed, known, followed.leaving)
    elif was_shown(patient_id, known):  # with the words of a record that is part of them no more
        shown = fhir.unshown_patient(patient_id, known.accounts.get(patient_id, ()))
        write = change_of(contract, patient_id, shown, chart.latest.received_at, items, known)
    first = min((item.received_at for item in items), default=chart.latest.received_at)
    reports = [said.reports[item.event_id] for item in items if item.event_id in said.reports]
    outcome = PatientOutcome(chart, reports, first, raised, gate, needed, closed, write, courses=followed.courses)
    outcome.follow_ups, outcome.refills, outcome.tick = followed.follow_ups, followed.refills, followed.tick
    if contract.crm and (outcome.stage != "lead" or patient_id in known.contacts):
        body = crm.contact(contract, chart, outcome.stage, gate, followup.crm_status(followed.follow_ups))
        outcome.contact = contact_write(patient_id, body, items, known, chart)
        others = [record for record in records if record != patient_id and record in known.contacts]
        heard = [contact_write(record, crm.retired_contact(contract, body, record), items, known) for record in others]
        outcome.other_contacts = [write for write in heard if write is not None]
    return outcome
