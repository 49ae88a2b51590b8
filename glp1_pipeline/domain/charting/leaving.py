"""What other systems must hear of a patient: one write of what differs from what they were told last.

Not here: what holds of the patient (`deciding`), and what a resource or a contact says (`fhir`, `crm`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from .. import crm, fhir
from ..chart import Chart
from ..contract import CRM, Contract
from ..events import Decision, Submission
from ..overruling import Insistence, contact_insistence, insistence
from .shapes import Claimed, Copy, Known, Retired, Write

Leaving = Callable[[Iterable[str]], tuple[dict[str, fhir.Resource], set[str]]]
"""From what is said of the patient in the EHR otherwise to what it hears of their treatments, and what stays there as
it was said."""


def contact_write(
    record_id: str, body: Mapping[str, Any], items: Sequence[Claimed], known: Known, chart: Chart | None = None
) -> Write | None:
    copy = known.contacts.get(record_id) or Copy(0, {})
    hashes = {crm.COPY: crm.contact_hash(body)}
    insists = contact_insistence(chart, crm.COPY, copy.insisted) if chart is not None and copy.planned else None
    if copy.planned == hashes and insists is None:
        return None
    event_ids = sorted({item.event_id for item in items})
    return Write(record_id, copy.n + 1, hashes, orjson.dumps(body), event_ids, CRM, "crm_contact", insists)


def chart_write(
    contract, patient_id, records, items, history, needed, closed, known: Known, leaving: Leaving
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
        replaces=[record for record in records if record != patient_id and was_shown(record, known)],
    )
    outward_said, keep = leaving(resources)
    resources |= outward_said
    patient = fhir.patient_key(patient_id) if planned else ""
    if patient in planned and chart.blocked:
        # A person must settle who this is: until then the Patient there stays as it is, but for who is part of them.
        last = known.sent(patient_id)[patient]
        if fhir.replaced_by(last) <= set(records):  # else it may say what somebody says who is another patient now
            who = {k: v for k, v in resources[patient].items() if k in ("identifier", "link", "active")}
            resources[patient] = {k: v for k, v in last.items() if k != "link"} | who
    # Of a submission that came more than once, in other words, the last word is shown: whichever of them is looked at.
    last_word = {report.submission_id: report.event_id for report in chart.submissions if not report.is_draft}
    for item in items:
        if isinstance(item.content, Submission) and last_word.get(item.content.submission_id) == item.event_id:
            response = fhir.questionnaire_response(contract, item.content, patient_id)
            resources[f"QuestionnaireResponse/{response['id']}"] = response
    if planned:
        keep |= {fhir.response_key(patient_id, report.submission_id) for report in chart.submissions}
    insists = None
    if patient in planned and not chart.blocked:
        answers = [item.event_id for item in items if _answers(item, known)]
        insists = insistence(chart, patient, answers, known.copies[patient_id].insisted)
    at = chart.latest.received_at
    return change_of(contract, patient_id, resources, at, items, known, keep=keep, insists=insists)


def _answers(item: Claimed, known: Known) -> bool:
    """Whether a person says that two are two, after the EHR had made them one."""
    said = item.content
    if not isinstance(said, Decision) or said.action not in ("unmerge", "not_a_match"):
        return False
    asked = known.asked.get(frozenset(said.records))
    return asked is not None and said.decided_at > asked


def retire(contract: Contract, patient_id: str, claimed: Sequence[Claimed], known: Known) -> Retired:
    """Of a record that is part of another's patient the EHR keeps the Patient, out of use; all else that was filed
    under it is taken back there, since the survivor has it."""
    if not was_shown(patient_id, known):
        return Retired(patient_id, None)
    own = [item for item in claimed if patient_id in (item.record_id, *_named(item))]
    patient = fhir.retired_patient(known.sent(patient_id), patient_id, known.patient_of[patient_id])
    at = max(item.received_at for item in own or claimed)
    return Retired(patient_id, change_of(contract, patient_id, patient, at, own or claimed, known))


def _named(item: Claimed) -> tuple[str, ...]:
    return item.content.records if isinstance(item.content, Decision) else ()


def was_shown(record_id: str, known: Known) -> bool:
    return record_id in known.copies and fhir.patient_key(record_id) in known.copies[record_id].planned


def change_of(
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
    planned = copy.planned
    if gone := planned.keys() - resources.keys() - set(keep):
        sent = known.sent(patient_id)
        resources |= {key: fhir.withdrawn(sent[key]) for key in gone if key in sent and fhir.can_withdraw(key)}
    dumped = {key: fhir.dump(resource) for key, resource in resources.items()}
    hashes = {key: fhir.content_hash(content) for key, content in dumped.items()}
    changed = {key: digest for key, digest in hashes.items() if planned.get(key) != digest} if planned else hashes
    if insists is not None:
        changed[insists.key] = hashes[insists.key]
    if not changed:
        return None
    n = copy.n + 1
    event_ids = sorted({item.event_id for item in items})
    proof = fhir.provenance(patient_id, n, sorted(changed), recorded, event_ids, contract.version)
    content = {key: dumped[key] for key in changed} | {f"Provenance/{proof['id']}": fhir.dump(proof)}
    return Write(patient_id, n, changed, fhir.transaction(content), event_ids, insists=insists)
