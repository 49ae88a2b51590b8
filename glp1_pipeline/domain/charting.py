"""The decision of the road's middle: what a batch of events changes in values, charts, flags, gates, tasks, writes.

Here: one pure function from what was read to what is to be written. Not here: reading and writing it
(`adapters.charts`), and each decision by itself (`mapping`, `chart`, `flags`, `gates`, `tasks`, `fhir`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import fhir, flags, gates, tasks
from .chart import Chart, Reported
from .contract import Contract
from .events import Event, Submission
from .failures import where
from .mapping import map_submission

GATE = "clinical-minimum"
ACCOUNT = "intake-account"
"""System of the identifier that the intake form's own account gives a person."""


@dataclass(slots=True)
class Claimed:
    """An event that was claimed, opened and parsed."""

    event_id: str
    received_at: datetime
    event: Event
    submission: Submission
    patient_id: str = ""


@dataclass(slots=True)
class Known:
    """What the database already knows of the patients of a batch."""

    reports: dict[str, list[Reported]] = field(default_factory=dict)
    """Patient -> what other events of theirs said."""
    planned: dict[str, dict[str, str]] = field(default_factory=dict)
    """Patient -> resource -> hash of its content as last decided."""
    changes: dict[str, int] = field(default_factory=dict)
    """Patient -> number of writes so far."""
    tasks: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Patient -> (code, cause) of every task ever opened."""
    accounts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    """Claimed events that were charted before: this is a replay of them."""
    patients: set[str] = field(default_factory=set)
    """Patients who have a chart already."""


@dataclass(slots=True)
class Write:
    """One change of a patient's chart that the EHR must hear."""

    patient_id: str
    n: int
    hashes: dict[str, str]
    body: bytes
    event_ids: list[str]


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


@dataclass(slots=True)
class Decided:
    """What to write for a batch."""

    patients: list[PatientOutcome] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)
    """Event -> where our own code failed on it: class and line, never a value."""
    problems: dict[str, int] = field(default_factory=dict)
    """field:cause -> how often in this batch."""


def decide(contract: Contract, claimed: Iterable[Claimed], known: Known) -> Decided:
    """Everything that these events change. One event that our code cannot handle is dead; the rest goes on."""
    decided = Decided()
    fresh: dict[str, list[tuple[Claimed, Reported, tuple]]] = defaultdict(list)
    for item in claimed:
        try:
            mapped = map_submission(contract, item.submission)
        except Exception as error:  # noqa: BLE001 - one poison event must not hold a batch; it is named dead, not hidden
            decided.dead[item.event_id] = where(error)
            continue
        for problem in mapped.problems:
            name = f"{problem.field}:{problem.cause}"
            decided.problems[name] = decided.problems.get(name, 0) + 1
        fresh[item.patient_id].append((item, reported(item, mapped.values, mapped.contradictions), mapped.problems))

    gate_asked = contract.gates[GATE]
    gates.evaluate(contract, gate_asked, [])  # a malformed gate is the contract's fault, and no patient's
    for patient_id, items in fresh.items():
        reports = known.reports.get(patient_id, []) + [report for _, report, _ in items]
        try:
            history = flags.evaluate_history(contract, patient_id, reports)
            (gate,) = gates.evaluate(contract, gate_asked, [history.chart], [history.flags])
            decided.patients.append(_outcome(contract, patient_id, items, history, gate, known))
        except Exception as error:  # noqa: BLE001 - as above, for one patient
            decided.dead |= {item.event_id: where(error) for item, _, _ in items}
    return decided


def _outcome(contract: Contract, patient_id: str, items, history: flags.History, gate, known: Known) -> PatientOutcome:
    chart, raised, _ = history
    needed = tasks.derive(contract, chart, raised, gate)
    open_now = {(task.code, task.cause) for task in needed}
    closed = [key for key in known.tasks.get(patient_id, []) if key not in open_now]
    write = None
    if chart.is_complete:  # a draft stays with us: the EHR hears of a patient who pressed submit
        write = _write(contract, patient_id, items, history, needed, closed, known)
    first = min(item.received_at for item, _, _ in items)
    return PatientOutcome(chart, [report for _, report, _ in items], first, raised, gate, needed, closed, write)


def _write(contract, patient_id, items, history: flags.History, needed, closed, known: Known) -> Write | None:
    chart, raised, _ = history
    accounts, planned = known.accounts.get(patient_id, []), known.planned.get(patient_id, {})
    # We may have shown a flag while an older submission was still on its way: then only our writes know of it.
    ended = history.ended | {f for f in contract.flags if f not in raised and fhir.flag_key(patient_id, f) in planned}
    resources = fhir.chart_resources(
        contract, chart, raised, needed, accounts=accounts, closed_tasks=closed, ended_flags=sorted(ended)
    )
    for item, _, _ in items:
        if item.submission.status == "in-progress":
            continue
        response = fhir.questionnaire_response(contract, item.submission, patient_id)
        resources[f"QuestionnaireResponse/{response['id']}"] = response
    dumped = {key: fhir.dump(resource) for key, resource in resources.items()}
    hashes = {key: fhir.content_hash(content) for key, content in dumped.items()}
    changed = {key: digest for key, digest in hashes.items() if planned.get(key) != digest}
    if not changed:
        return None
    n = known.changes.get(patient_id, 0) + 1
    event_ids = sorted({item.event_id for item, _, _ in items})
    proof = fhir.provenance(patient_id, n, sorted(changed), chart.latest.received_at, event_ids, contract.version)
    content = {key: dumped[key] for key in changed} | {f"Provenance/{proof['id']}": fhir.dump(proof)}
    return Write(patient_id, n, changed, fhir.transaction(content), event_ids)


def reported(item: Claimed, values: Mapping[str, Any], contradictions: tuple[str, ...]) -> Reported:
    submission = item.submission
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
    )
