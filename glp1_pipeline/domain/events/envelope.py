"""CloudEvents 1.0: the envelope of an event, and the data of an intake event.

Here: which keys they have. Not here: FHIR (`questionnaire`), the data of other events (`changes`).
"""

from __future__ import annotations

from typing import Any

from ..contract import Contract
from .changes import CHART, CONTACT, DECISIONS, SETTLED, TASK, read_change, read_decision, read_settlement, read_task
from .medication import is_medication, read_medication
from .refill import CHECKIN, is_refill, read_refill
from .shapes import (
    STATUSES,
    Content,
    Event,
    Refused,
    Submission,
    check_form,
    read_duration,
    read_time,
    read_token,
    read_word,
)

SUBMITTED, AMENDED = "intake.submitted", "intake.amended"
ABSENT = {
    "submission_id": "missing_submission_id",
    "supersedes": "missing_supersedes",
    "form_id": "unknown_form",
    "form_version": "unknown_version",
    "status": "unknown_status",
    "authored_at": "bad_time",
}
"""Key of the data -> the reason when it is not there."""


def parse_cloud_event(document: dict[str, Any], contract: Contract) -> tuple[Event, Content]:
    if document.get("specversion") != "1.0":
        raise Refused("wrong_shape", '`specversion` must be "1.0", or the document a FHIR QuestionnaireResponse')
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in contract.event_types:
        raise Refused("unknown_type", f"`type` must be one of {', '.join(contract.event_types)}")
    source = read_token(document.get("source"), "source", "wrong_shape")
    source_id = read_token(document.get("id"), "id", "wrong_shape")
    subject = read_token(document.get("subject"), "subject", "missing_subject")
    data = document.get("data")
    time = document.get("time")
    if time is None and isinstance(data, dict):
        time = data.get("authored_at")  # CloudEvents leaves `time` to the producer; a form says when it was filled in
    occurred_at = read_time(time, "time")
    if not isinstance(data, dict):
        raise Refused("wrong_shape", "`data` must be an object")
    for key in contract.event_types[kind].data:
        if data.get(key) is None:
            raise Refused(ABSENT.get(key, "wrong_shape"), f"`data.{key}` is missing; {kind} must have it")
    if is_medication(kind):
        told = read_medication(contract, kind, data, source_id, occurred_at)
        return Event(source, source_id, kind, subject, occurred_at, told.version), told
    if is_refill(kind):
        told = read_refill(contract, kind, source, data, source_id, occurred_at)
        return Event(source, source_id, kind, subject, occurred_at, told.version), told
    if kind in (CHART, CONTACT, SETTLED, TASK):
        own = {SETTLED: read_settlement, TASK: read_task}.get(kind)
        change = own(data, occurred_at) if own else read_change(kind, data, occurred_at)
        return Event(source, source_id, kind, subject, occurred_at, change.version), change
    if kind in DECISIONS:
        return Event(source, source_id, kind, subject, occurred_at, ""), read_decision(kind, data, occurred_at)
    submission = read_submission(data, kind, contract)
    return Event(source, source_id, kind, subject, occurred_at, submission.form_version), submission


def read_submission(data: dict[str, Any], kind: str, contract: Contract) -> Submission:
    keys = ("data.form_id", "data.form_version")
    check_form(contract, data.get("form_id"), data.get("form_version"), keys, kind == CHECKIN)
    status = data.get("status", "completed") if kind == CHECKIN else data.get("status")
    if kind == AMENDED:
        status = "amended"
    elif status not in STATUSES:
        raise Refused("unknown_status", f"`data.status` must be one of {', '.join(STATUSES)}")
    answers = data.get("answers")
    if not isinstance(answers, dict):
        raise Refused("wrong_shape", "`data.answers` must be an object of answers by question id")
    duration, told = read_duration(data.get("duration_s")), data.get("duration_s")
    if duration is None and told is not None:
        answers = {"sys.duration_s": told, **answers}
    supersedes, client_id = data.get("supersedes"), data.get("client_submission_id")
    return Submission(
        submission_id=read_token(data.get("submission_id"), "data.submission_id", "missing_submission_id"),
        form_id=data["form_id"],
        form_version=data["form_version"],
        status=status,
        authored_at=read_time(data.get("authored_at"), "data.authored_at"),
        received_at=None if data.get("received_at") is None else read_time(data["received_at"], "data.received_at"),
        time_zone=read_word(data.get("time_zone"), "data.time_zone"),
        channel=read_word(data.get("channel"), "data.channel"),
        locale=read_word(data.get("locale"), "data.locale"),
        ab_variant=read_word(data.get("ab_variant"), "data.ab_variant"),
        duration_s=duration,
        supersedes=None if supersedes is None else read_token(supersedes, "data.supersedes", "missing_supersedes"),
        answers=answers,
        client_submission_id=""
        if client_id is None
        else read_token(client_id, "data.client_submission_id", "wrong_shape"),
        device=data.get("device"),
    )
