"""What is taken back from a chart: resources that nobody says any more there, and a Patient that another replaces.

Here: the last content that was sent, changed as little as FHIR asks. Not here: which those are (`charting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .elements import HL7, PATIENT_SYSTEM, RESOURCE_SYSTEM, Resource, resource_id

_BY_STATUS: Final = frozenset(
    (
        "Observation", "QuestionnaireResponse", "MedicationStatement", "FamilyMemberHistory", "Consent", "Flag", "Task",
        "MedicationRequest", "DetectedIssue", "CommunicationRequest", "Procedure",
    )
)  # fmt: skip
_BY_VERIFICATION: Final = {"Condition": "condition-ver-status", "AllergyIntolerance": "allergyintolerance-verification"}


def patient_key(patient_id: str) -> str:
    return f"Patient/{resource_id(patient_id, 'Patient')}"


def response_key(patient_id: str, submission_id: str) -> str:
    return f"QuestionnaireResponse/{resource_id(patient_id, f'QuestionnaireResponse/{submission_id}')}"


def can_withdraw(key: str) -> bool:
    kind = key.partition("/")[0]
    return kind in _BY_STATUS or kind in _BY_VERIFICATION


def withdrawn(last: Resource) -> Resource:
    """The resource as entered in error, all else as it was: who looks at it still sees what it said."""
    kind = last["resourceType"]
    if kind in _BY_STATUS:
        return {**last, "status": "entered-in-error"}
    # FHIR forbids a clinical status on what never was true.
    rest = {key: value for key, value in last.items() if key != "clinicalStatus"}
    coding = [{"system": HL7 + _BY_VERIFICATION[kind], "code": "entered-in-error"}]
    return {**rest, "verificationStatus": {"coding": coding}}


def link(kind: str, patient_id: str) -> Resource:
    """To the Patient of another record of the same person; by our identifier too, where the server made the id."""
    key = patient_key(patient_id)
    identifier = {"system": PATIENT_SYSTEM, "value": patient_id}
    return {"other": {"reference": key, "type": "Patient", "identifier": identifier}, "type": kind}


def retired_patient(sent: Mapping[str, Resource], patient_id: str, survivor_id: str) -> dict[str, Resource]:
    """The Patient as it was shown last, out of use and replaced by the survivor's."""
    key = patient_key(patient_id)
    last = sent.get(key)
    if last is None:
        return {}
    return {key: {**last, "active": False, "link": [link("replaced-by", survivor_id)]}}


def replaced_by(patient: Resource) -> set[str]:
    """The records that a Patient says it replaces."""
    links = [one for one in patient.get("link", ()) if one["type"] == "replaces"]
    return {one["other"]["identifier"]["value"] for one in links}


def unshown_patient(patient_id: str, accounts: Sequence[tuple[str, str]]) -> dict[str, Resource]:
    """The Patient of somebody who never pressed submit, and was shown while a record that did was part of them: out
    of use, and without a word of what that record said."""
    key = patient_key(patient_id)
    rid = key.partition("/")[2]
    known = [(RESOURCE_SYSTEM, rid), (PATIENT_SYSTEM, patient_id), *accounts]
    identifiers = [{"system": system, "value": value} for system, value in known]
    return {key: {"resourceType": "Patient", "id": rid, "identifier": identifiers, "active": False}}
