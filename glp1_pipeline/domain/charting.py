"""The decision of the road's middle: what a batch of events changes in values, charts, flags, gates, tasks, writes.

Here: two pure steps, from events to what they say (`read`), and from all that was said of a patient to what is to be
written (`decide`). Not here: reading and writing it (`adapters.charts`), who is the same person (`identity`), and each
decision by itself (`mapping`, `chart`, `flags`, `gates`, `tasks`, `fhir`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from . import crm, crosswalk, fhir, flags, followup, gates, medication, outward, refill, tasks
from .changes import flag_told, read_change, task_told
from .chart import Chart, Reported
from .contract import CRM, EHR, Contract, Stage
from .events import Change, Content, Decision, Event, Submission
from .events.refill import SPEAKERS
from .failures import where
from .mapping import map_submission
from .overruling import Insistence, contact_insistence, insistence
from .past import Past
from .told import FOLLOWUP

GATE = "clinical-minimum"
NOT_THEIRS = "identifiers:not_theirs_to_tell"
"""An event names a person as only another system may: passed over, and counted."""


@dataclass(slots=True)
class Claimed:
    """An event that was claimed, opened and parsed."""

    event_id: str
    received_at: datetime
    event: Event
    content: Content
    record_id: str = ""
    """To whom it belongs, whoever's patient that record is part of."""


@dataclass(slots=True)
class Read:
    """What the events of a batch say."""

    reports: dict[str, Reported] = field(default_factory=dict)
    """By event. A decision about two records reports nothing."""
    dead: dict[str, str] = field(default_factory=dict)
    """Event -> where our own code failed on it: class and line, never a value."""
    problems: dict[str, int] = field(default_factory=dict)
    """field:cause -> how often in this batch."""

    def add(self, other: Read) -> None:
        """What more events say; their problems were counted when they came."""
        self.reports |= other.reports
        self.dead |= other.dead


@dataclass(slots=True)
class Copy:
    """What a target was told of a patient."""

    n: int
    """Number of writes so far."""
    planned: dict[str, str]
    """Resource -> hash of its content as last decided."""
    insisted: Collection[str] = ()
    """What was told once over what stood there (`overruling`)."""


@dataclass(slots=True)
class Known:
    """What the database already knows of the patients of a batch."""

    patient_of: dict[str, str] = field(default_factory=dict)
    """Record -> the patient it is part of, for every record of every patient here."""
    moved: set[str] = field(default_factory=set)
    """Patients whose records are others than before: all that they ever said is in this batch."""
    again: set[str] = field(default_factory=set)
    """Patients to be judged again although none of these events is theirs: somebody may be the same person."""
    reviews: dict[str, list[str]] = field(default_factory=dict)
    """Patient -> records of others of whom a person must say whether they are the same."""
    reports: dict[str, list[Reported]] = field(default_factory=dict)
    """Record -> what other events of theirs said."""
    copies: dict[str, Copy] = field(default_factory=dict)
    """Patient -> what the EHR was told."""
    contacts: dict[str, Copy] = field(default_factory=dict)
    """Patient -> what the CRM was told."""
    tasks: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Patient -> (code, cause) of every task ever opened."""
    accounts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Record -> its identifiers that the EHR may show."""
    asked: dict[frozenset[str], datetime] = field(default_factory=dict)
    """Pairs of records that the EHR made one after they were told apart here, and since when that is so."""
    disputes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Record -> resources that somebody changed in another system against us, and why; nobody has decided yet."""
    events: set[str] = field(default_factory=set)
    """Claimed events that were charted before: this is a replay of them."""
    patients: set[str] = field(default_factory=set)
    """Patients who have a chart already."""
    ended_refills: dict[str, dict[str, tuple[str, datetime]]] = field(default_factory=dict)
    """Patient -> requests that ended, by this contract: how and when."""
    over_refills: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> requests that ended, by whatever contract."""
    sent: Callable[[str], Mapping[str, dict[str, Any]]] = field(default=lambda _: {})
    """Patient -> resource -> its content as last decided; asked only for what has to be taken back."""

    def members(self) -> dict[str, list[str]]:
        """Patient -> records."""
        found: dict[str, list[str]] = defaultdict(list)
        for record_id, patient_id in sorted(self.patient_of.items()):
            found[patient_id].append(record_id)
        return found


@dataclass(slots=True)
class Write:
    """One change of a patient that another system must hear."""

    patient_id: str
    n: int
    hashes: dict[str, str]
    body: bytes
    event_ids: list[str]
    target: str = EHR
    kind: str = "ehr_chart"
    insists: Insistence | None = None
    """What of it is told over what stands there."""


@dataclass(slots=True)
class PatientOutcome:
    """All that is decided for one patient, from all that is known."""

    chart: Chart
    reports: list[Reported]
    """The reports of this batch alone."""
    received_at: datetime
    """When the first event of this batch reached our ledger."""
    flags: dict[str, flags.RaisedFlag]
    gate: gates.GateResult
    tasks: list[tasks.TaskNeed]
    closed: list[tuple[str, str]]
    write: Write | None
    contact: Write | None = None
    """What the CRM must hear: how far the patient is, nothing clinical."""
    courses: list[medication.Course] = field(default_factory=list)
    """Of treatments, one per product family."""
    follow_ups: list[followup.FollowUp] = field(default_factory=list)
    """All check-ins of the treatments."""
    refills: list[refill.Refill] = field(default_factory=list)
    """Requests, but for those that ended before this batch."""
    tick: refill.Tick | None = None
    """When something about the patient changes by itself next."""
    other_contacts: list[Write] = field(default_factory=list)
    """What it must hear of the contacts that other records of the patient have there."""

    @property
    def stage(self) -> Stage:
        if self.chart.treated:
            return self.chart.treated[-1][1]
        return "clinical_review" if self.gate.outcome == "passed" else self.chart.stage

    @property
    def waits_for_review(self) -> bool:
        """Whether a provider has still to look at the intake: who ordered a treatment has reviewed it."""
        return self.gate.outcome == "passed" and not self.chart.treated


@dataclass(slots=True)
class Retired:
    """A record that is part of another's patient now: it has no chart of its own, and the EHR is told so."""

    patient_id: str
    write: Write | None


@dataclass(slots=True)
class Decided:
    """What to write for a batch."""

    patients: list[PatientOutcome] = field(default_factory=list)
    retired: list[Retired] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> list[Write]:
        """All that other systems must hear."""
        told = [write for o in self.patients for write in (o.write, o.contact, *o.other_contacts)]
        return [write for write in (*told, *(r.write for r in self.retired)) if write is not None]


def read(contract: Contract, claimed: Iterable[Claimed]) -> Read:
    """What each event says. One event that our code cannot handle is dead; the rest goes on."""
    found = Read()
    for item in claimed:
        if isinstance(item.content, Decision):
            continue
        try:
            if isinstance(item.content, Change):
                said = read_change(contract, item.content)
                named = crosswalk.told(contract, item.event, item.content, said.values)
                fact = medication.told(contract, item.content)
                report = _of_change(item, item.content, said.values, said.voice, fact, named.identifiers)
                report = replace(
                    report,
                    refill=refill.told(contract, item.content) or flag_told(contract, item.content),
                    submission_id=task_told(item.content) or report.submission_id,
                )
            else:
                is_checkin = item.content.form_id == contract.checkin.form_id
                said = (followup.read_checkin if is_checkin else map_submission)(contract, item.content)
                named = crosswalk.told(contract, item.event, item.content, said.values)
                report = _of_submission(item, item.content, said.values, said.contradictions, named.identifiers)
                if is_checkin:
                    report = _of_checkin(item, report)
        except Exception as error:  # noqa: BLE001 - one poison event must not hold a batch; it is named dead, not hidden
            found.dead[item.event_id] = where(error)
            continue
        found.reports[item.event_id] = report
        if named.refused:
            found.problems[NOT_THEIRS] = found.problems.get(NOT_THEIRS, 0) + named.refused
        for problem in said.problems:
            name = f"{problem.field}:{problem.cause}"
            found.problems[name] = found.problems.get(name, 0) + 1
    return found


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
                decided.retired.append(_retire(contract, patient_id, claimed, known))
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
    leaving: Callable[[Iterable[str]], tuple[dict[str, fhir.Resource], set[str]]] = field(
        default=lambda shown: ({}, set())
    )
    """What of it the EHR hears, beside what else is said of the patient there; and what stays as it was said."""


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


def _outcome(
    contract, patient_id: str, records, items, said: Read, history, gate, known: Known, followed: _Followed
) -> PatientOutcome:
    chart, raised, _ = history
    needed = tasks.derive(contract, chart, raised, gate)
    of_treatment = medication.needs(contract, followed.courses) + followup.needs(contract, followed.follow_ups)
    of_treatment += medication.against(contract, chart, raised, followed.courses)
    if followed.refills:
        of_flags = tasks.flag_work(contract, chart, raised)
        of_treatment += refill.needs(contract, followed.refills, of_treatment, of_flags)
    needed += tasks.still_needed(contract, chart, raised, of_treatment)
    needed += tasks.who_is_who(contract, known.reviews.get(patient_id, ()))
    needed += tasks.edited_elsewhere(contract, (d for record in records for d in known.disputes.get(record, ())))
    open_now = {(task.code, task.cause) for task in needed}
    closed = [key for key in known.tasks.get(patient_id, []) if key not in open_now]
    write = None
    if chart.is_complete:  # a draft stays with us: the EHR hears of a patient who pressed submit
        write = _write(contract, patient_id, records, items, history, needed, closed, known, followed)
    elif _was_shown(patient_id, known):  # with the words of a record that is part of them no more
        shown = fhir.unshown_patient(patient_id, known.accounts.get(patient_id, ()))
        write = _change_of(contract, patient_id, shown, chart.latest.received_at, items, known)
    first = min((item.received_at for item in items), default=chart.latest.received_at)
    reports = [said.reports[item.event_id] for item in items if item.event_id in said.reports]
    outcome = PatientOutcome(chart, reports, first, raised, gate, needed, closed, write, courses=followed.courses)
    outcome.follow_ups, outcome.refills, outcome.tick = followed.follow_ups, followed.refills, followed.tick
    if contract.crm and (outcome.stage != "lead" or patient_id in known.contacts):
        body = crm.contact(contract, chart, outcome.stage, gate, followup.crm_status(followed.follow_ups))
        outcome.contact = _contact(patient_id, body, items, known, chart)
        others = [record for record in records if record != patient_id and record in known.contacts]
        heard = [_contact(record, crm.retired_contact(contract, body, record), items, known) for record in others]
        outcome.other_contacts = [write for write in heard if write is not None]
    return outcome


def _contact(
    record_id: str, body: Mapping[str, Any], items: Sequence[Claimed], known: Known, chart: Chart | None = None
) -> Write | None:
    copy = known.contacts.get(record_id) or Copy(0, {})
    hashes = {crm.COPY: crm.contact_hash(body)}
    insists = contact_insistence(chart, crm.COPY, copy.insisted) if chart is not None and copy.planned else None
    if copy.planned == hashes and insists is None:
        return None
    event_ids = sorted({item.event_id for item in items})
    return Write(record_id, copy.n + 1, hashes, orjson.dumps(body), event_ids, CRM, "crm_contact", insists)


def _write(
    contract, patient_id, records, items, history, needed, closed, known: Known, followed: _Followed
) -> Write | None:
    chart, raised, _ = history
    planned = known.copies[patient_id].planned if patient_id in known.copies else {}
    # We may have shown a flag while an older submission was still on its way: then only our writes know of it.
    over = [flag_id for flag_id in contract.flags if flag_id not in raised] if planned else ()
    ended = history.ended.union(flag_id for flag_id in over if fhir.flag_key(patient_id, flag_id) in planned)
    resources = fhir.chart_resources(
        contract,
        chart,
        raised,
        needed,
        accounts=[account for record in records for account in known.accounts.get(record, ())],
        closed_tasks=closed,
        ended_flags=sorted(ended),
        replaces=[record for record in records if record != patient_id and _was_shown(record, known)],
    )
    outward_said, keep = followed.leaving(resources)
    resources |= outward_said
    patient = fhir.patient_key(patient_id)
    if chart.blocked and patient in planned:
        # A person must settle who this is: until then the Patient there stays as it is, but for who is part of them.
        last = known.sent(patient_id)[patient]
        if fhir.replaced_by(last) <= set(records):  # else it may say what somebody says who is another patient now
            who = {k: v for k, v in resources[patient].items() if k in ("identifier", "link", "active")}
            resources[patient] = {k: v for k, v in last.items() if k != "link"} | who
    for item in items:
        if isinstance(item.content, Submission) and item.content.status != "in-progress":
            response = fhir.questionnaire_response(contract, item.content, patient_id)
            resources[f"QuestionnaireResponse/{response['id']}"] = response
    if planned:
        keep |= {fhir.response_key(patient_id, report.submission_id) for report in chart.submissions}
    insists = None
    if patient in planned and not chart.blocked:
        answers = [item.event_id for item in items if _answers(item, known)]
        insists = insistence(chart, patient, answers, known.copies[patient_id].insisted)
    at = chart.latest.received_at
    return _change_of(contract, patient_id, resources, at, items, known, keep=keep, insists=insists)


def _answers(item: Claimed, known: Known) -> bool:
    """Whether a person says that two are two, after the EHR had made them one."""
    said = item.content
    if not isinstance(said, Decision) or said.action not in ("unmerge", "not_a_match"):
        return False
    asked = known.asked.get(frozenset(said.records))
    return asked is not None and said.decided_at > asked


def _retire(contract: Contract, patient_id: str, claimed: Sequence[Claimed], known: Known) -> Retired:
    """Of a record that is part of another's patient the EHR keeps the Patient, out of use; all else that was filed
    under it is taken back there, since the survivor has it."""
    if not _was_shown(patient_id, known):
        return Retired(patient_id, None)
    own = [item for item in claimed if patient_id in (item.record_id, *_named(item))]
    patient = fhir.retired_patient(known.sent(patient_id), patient_id, known.patient_of[patient_id])
    at = max(item.received_at for item in own or claimed)
    return Retired(patient_id, _change_of(contract, patient_id, patient, at, own or claimed, known))


def _named(item: Claimed) -> tuple[str, ...]:
    return item.content.records if isinstance(item.content, Decision) else ()


def _was_shown(record_id: str, known: Known) -> bool:
    return record_id in known.copies and fhir.patient_key(record_id) in known.copies[record_id].planned


def _change_of(
    contract: Contract,
    patient_id: str,
    resources: dict[str, fhir.Resource],
    recorded: datetime,
    items: Sequence[Claimed],
    known: Known,
    keep: Iterable[str] = (),
    insists: Insistence | None = None,
) -> Write | None:
    """The write of what differs from what was planned last. What was planned and is said no more is taken back."""
    copy = known.copies.get(patient_id) or Copy(0, {})
    if gone := copy.planned.keys() - resources.keys() - set(keep):
        sent = known.sent(patient_id)
        resources |= {key: fhir.withdrawn(sent[key]) for key in gone if key in sent and fhir.can_withdraw(key)}
    dumped = {key: fhir.dump(resource) for key, resource in resources.items()}
    hashes = {key: fhir.content_hash(content) for key, content in dumped.items()}
    changed = {key: digest for key, digest in hashes.items() if copy.planned.get(key) != digest}
    if insists is not None:
        changed[insists.key] = hashes[insists.key]
    if not changed:
        return None
    n = copy.n + 1
    event_ids = sorted({item.event_id for item in items})
    proof = fhir.provenance(patient_id, n, sorted(changed), recorded, event_ids, contract.version)
    content = {key: dumped[key] for key in changed} | {f"Provenance/{proof['id']}": fhir.dump(proof)}
    return Write(patient_id, n, changed, fhir.transaction(content), event_ids, insists=insists)


def _of_submission(
    item: Claimed, submission: Submission, values: Mapping[str, Any], contradictions, identifiers
) -> Reported:
    return Reported(
        event_id=item.event_id,
        submission_id=submission.submission_id,
        form_version=submission.form_version,
        status=submission.status,
        authored_at=submission.authored_at,
        # When the form's own server had it, as the event says: ages and freshness are then the same at every replay.
        received_at=min(submission.received_at or item.received_at, item.received_at),
        time_zone=submission.time_zone,
        values=dict(values),
        contradictions=contradictions,
        record_id=item.record_id,
        identifiers=identifiers,
    )


def _of_checkin(item: Claimed, report: Reported) -> Reported:
    """As told by who is under treatment. Where the form's own server does not say when it had it, the event does."""
    assert isinstance(item.content, Submission)
    at = item.content.received_at or item.event.occurred_at
    return replace(report, source=FOLLOWUP, received_at=min(at, item.received_at))


def _of_change(
    item: Claimed, change: Change, values: Mapping[str, Any], voice: str, fact: medication.Fact | None, identifiers
) -> Reported:
    return Reported(
        event_id=item.event_id,
        submission_id=f"{change.kind}/{change.remote_id}",
        form_version="",
        status="deleted" if change.is_deleted else "completed",
        authored_at=change.seen_at,
        received_at=min(change.seen_at, item.received_at),
        time_zone="",
        values=dict(values),
        record_id=item.record_id,
        source=SPEAKERS.get(change.system, change.system) if fact is None else fact.source,
        voice=voice,
        medication=None if fact is None else fact.to_doc(),
        identifiers=identifiers,
    )
