"""FHIR R4 QuestionnaireResponse as an intake event: its items become the same raw answers that the form sends.

Here: reading the resource. Not here: its items (`items`), writing one (`fhir.answers`), and what the answers mean
(`mapping`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..contract import Contract
from .envelope import AMENDED, SUBMITTED
from .items import Items, flat
from .refill import CHECKIN
from .shapes import Event, Refused, Submission, check_form, read_duration, read_time, read_token, read_word

STATUSES = ("completed", "amended", "in-progress")
SOURCE = "urn:fhir:QuestionnaireResponse"
"""Source of events whose identifier has no system."""
OF_NOBODY = (None, "urn:ietf:rfc:3986")
"""Systems of identifiers that name no producer."""


def parse_questionnaire_response(resource: dict[str, Any], contract: Contract) -> tuple[Event, Submission]:
    submission = questionnaire_response_to_submission(resource, contract)
    system, _ = name_of(resource)
    theirs, subject = subject_of(resource)
    if system in OF_NOBODY and theirs is not None:
        system = theirs  # else the accounts of all who name themselves so would be one producer's
    event = Event(
        source=SOURCE if system is None else read_token(system, "identifier.system", "wrong_shape"),
        source_id=source_id(resource, submission),
        type=_type(contract, submission),
        subject=read_token(subject, "subject.identifier.value", "missing_subject"),
        occurred_at=submission.authored_at,
        version=submission.form_version,
    )
    return event, submission


def name_of(resource: dict[str, Any]) -> tuple[Any, Any]:
    """Who names a response, and how: its identifier, or else its id on the server that `meta.source` names."""
    if "identifier" in resource:
        identifier = inner(resource, "identifier")
        return identifier.get("system"), identifier.get("value")
    return inner(resource, "meta").get("source"), resource.get("id")


def subject_of(resource: dict[str, Any]) -> tuple[Any, Any]:
    """Who calls the patient what: an identifier, also of a contained patient, or a reference that means one patient."""
    subject = inner(resource, "subject")
    identifier, reference = inner(subject, "identifier"), subject.get("reference")
    if "value" not in identifier and isinstance(reference, str) and reference.startswith("#"):
        held, reference = resource.get("contained"), None
        inside = [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
        told = next((one.get("identifier") for one in inside if one.get("id") == subject["reference"][1:]), None)
        identifier = next((one for one in told if isinstance(one, dict)), {}) if isinstance(told, list) else {}
    if "value" in identifier:
        return identifier.get("system"), identifier["value"]
    is_one = isinstance(reference, str) and (":" in reference or name_of(resource)[0] not in OF_NOBODY)
    return None, reference if is_one else None


def _type(contract: Contract, submission: Submission) -> str:
    if submission.form_id == contract.checkin.form_id:
        return CHECKIN
    return AMENDED if submission.status == "amended" else SUBMITTED


def questionnaire_response_to_submission(resource: dict[str, Any], contract: Contract) -> Submission:
    """Its answers by question id, as the form itself would have sent them; raises Refused."""
    canonical = resource.get("questionnaire")
    address, _, version = canonical.partition("|") if isinstance(canonical, str) else ("", "", "")
    form_id = address.replace(":", "/").rpartition("/")[2]
    is_checkin = form_id == contract.checkin.form_id
    check_form(contract, form_id, version, ("questionnaire", "questionnaire"), is_checkin)
    status = resource.get("status")
    if status not in STATUSES:
        raise Refused("unknown_status", f"`status` must be one of {', '.join(STATUSES)}")
    identifier = read_token(name_of(resource)[1], "identifier.value", "missing_submission_id")
    answers = Items(contract).read(resource.get("item"))
    details = flat(resource.get("extension"))
    zone = details.get("timezone") or answers.get("demo.timezone")
    received = inner(resource, "meta").get("lastUpdated", details.get("receivedat"))
    supersedes = details.get("supersedes", identifier) if status == "amended" else None
    return Submission(
        submission_id=f"{identifier}:{fingerprint(resource)}" if status == "amended" else identifier,
        form_id=form_id,
        form_version=version,
        status=status,
        authored_at=read_time(resource.get("authored"), "authored"),
        received_at=None if received is None else read_time(received, "meta.lastUpdated"),
        time_zone=zone if isinstance(zone, str) and len(zone) <= 64 and zone.isascii() and zone.isprintable() else "",
        channel=read_word(details.get("channel"), "channel") or "fhir",
        locale=read_word(resource.get("language", details.get("locale")), "language"),
        ab_variant=read_word(details.get("abvariant"), "abVariant"),
        duration_s=read_duration(details.get("durationseconds")),
        supersedes=None if supersedes is None else read_token(supersedes, "supersedes", "missing_supersedes"),
        answers=answers,
    )


def source_id(resource: dict[str, Any], submission: Submission) -> str:
    """An amendment keeps its response's identifier, so its content must tell one amendment from the next."""
    _, identifier = name_of(resource)
    tail = f":{fingerprint(resource)}" if submission.status == "amended" else ""
    return read_token(f"{identifier}:{submission.status}{tail}", "identifier.value", "missing_submission_id")


def fingerprint(resource: dict[str, Any]) -> str:
    told = json.dumps([resource.get("authored"), resource.get("item")], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def inner(resource: dict[str, Any], key: str) -> dict[str, Any]:
    found = resource.get(key)
    return found if isinstance(found, dict) else {}
