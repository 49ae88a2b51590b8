"""Consents: given, refused or taken back.

A consent is known by our own code, or by a category that one of our consents alone has. A given one that does not name
the version of its text is held, as it is on a form. Not here: whether that holds a patient (`gates`).
"""

from __future__ import annotations

from typing import Any

from ...fhir.elements import CODE_SYSTEM, HL7, LOINC
from .reading import Reading, codings, has_code, objects, part, text

_OWN = CODE_SYSTEM + ":consent"
_BY_CATEGORY = {
    "consent.privacy_npp": (HL7 + "consentcategorycodes", "npp"),
    "consent.release_pcp": (LOINC, "64292-6"),
}


def read_consent(reading: Reading) -> None:
    consent = reading.content
    status = text(consent.get("status"))
    reading.is_taken_back = reading.is_taken_back or status == "entered-in-error"
    field, version = _which(reading, consent)
    if not field:
        return reading.trouble("consent.treatment", "unmapped_consent")
    decision = _decision(status, text(part(consent.get("provision"), "type")))
    if not decision:
        return None
    told = {"status": decision, "version": version, "at": text(consent.get("dateTime"))}
    reading.say(field, {name: value for name, value in told.items() if value})
    return None


def _which(reading: Reading, consent: dict[str, Any]) -> tuple[str, str]:
    for coding in codings(consent.get("policyRule")):
        name = text(coding.get("code"))
        if coding.get("system") == _OWN and name in reading.contract.fields:
            return name, text(coding.get("version"))
    categories = objects(consent.get("category"))
    for field, (system, code) in _BY_CATEGORY.items():
        if any(has_code(category, system, code) for category in categories):
            return field, ""
    return "", ""


def _decision(status: str, provision: str) -> str:
    """`inactive` is a consent that was and is no more; one in force that denies is a refusal."""
    match status:
        case "active":
            return "refused" if provision == "deny" else "given"
        case "rejected":
            return "refused"
        case "inactive":
            return "revoked"
        case "entered-in-error":
            return "given"
        case _:
            return ""
