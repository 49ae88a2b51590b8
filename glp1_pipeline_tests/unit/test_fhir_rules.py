"""The strict reader refuses what the libraries let pass: a rule that never fires would prove nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from glp1_pipeline_tests.fhir_rules import bundle_problems, problems

OURS = [{"system": "urn:canary", "value": "c"}]
PATIENT = {"reference": "Patient/c"}
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
SOUND: dict[str, dict[str, Any]] = {
    "Patient": {"gender": "female", "birthDate": "1980-02-29", "name": [{"family": "Canary"}]},
    "Observation": {
        "status": "preliminary",
        "code": {"text": "x"},
        "subject": PATIENT,
        "valueQuantity": {"value": 1.5},
    },
    "Condition": {
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
        "verificationStatus": {"coding": [{"system": VERIFIED, "code": "unconfirmed"}]},
        "category": [{"coding": [{"code": "problem-list-item"}]}],
        "subject": PATIENT,
    },
    "Task": {
        "status": "requested",
        "intent": "order",
        "authoredOn": "2026-03-02T12:00:00Z",
        "lastModified": "2026-03-02T12:00:00Z",
    },
    "Consent": {"status": "active", "scope": {"text": "x"}, "category": [{"text": "x"}], "policyRule": {"text": "x"}},
}


def sound(kind: str) -> dict[str, Any]:
    return deepcopy({"resourceType": kind, "id": "c", "identifier": OURS} | SOUND[kind])


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_resource_has_no_problem(kind):
    assert problems(sound(kind)) == []


@pytest.mark.parametrize(
    ("kind", "change", "word"),
    [
        ("Patient", {"gender": "femalex"}, "required set"),
        ("Patient", {"birthDate": "1981-02-29"}, "not a date"),
        ("Patient", {"birthDate": "80-02-28"}, "not a date"),
        ("Patient", {"name": []}, "empty"),
        ("Patient", {"name": [{}]}, "empty"),
        ("Patient", {"name": [{"family": " "}]}, "not a string"),
        ("Patient", {"name": [{"family": "Can\x00ary"}]}, "not a string"),
        ("Patient", {"active": "yes"}, "not a boolean"),
        ("Patient", {"_birthDate": {"extension": [{"url": "u", "valueCode": "c"}]}}, "stand alone"),
        ("Patient", {"identifier": []}, "ours is missing"),
        ("Patient", {"id": "no id"}, "not an id"),
        ("Patient", {"canary": 1}, "no such element"),
        ("Observation", {"status": "done"}, "required set"),
        ("Observation", {"valueQuantity": {"value": "92.1"}}, "not a decimal"),
        ("Observation", {"dataAbsentReason": {"text": "x"}}, "obs-6"),
        ("Observation", {"valueDateTime": "2026"}, "two of one choice"),
        ("Observation", {"subject": {"reference": "Task/c"}}, "may not point"),
        ("Observation", {"code": None}, "not an object"),
        ("Condition", {"clinicalStatus": {"text": "x"}}, "required code"),
        ("Condition", {"verificationStatus": {"coding": [{"system": VERIFIED, "code": "entered-in-error"}]}}, "con-5"),
        ("Task", {"lastModified": "2026-03-02T11:59:59Z"}, "inv-1"),
        ("Task", {"authoredOn": "2026-03-02T12:00:00"}, "not a dateTime"),
        ("Consent", {"policyRule": ...}, "ppc-1"),
        ("Consent", {"scope": {"coding": [{"code": "treatment"}]}}, "ppc-2"),
        ("Condition", {"clinicalStatus": ...}, "con-3"),
        ("Condition", {"subject": ...}, "missing"),
    ],
)
def test_a_broken_resource_is_refused(kind, change, word):
    broken = {name: value for name, value in (sound(kind) | change).items() if value is not ...}
    assert word in " ".join(problems(broken))


def test_a_reference_that_leads_nowhere_is_refused():
    entry = {
        "fullUrl": "urn:uuid:c",
        "resource": sound("Observation"),
        "request": {"method": "PUT", "url": "Observation/c"},
    }
    assert bundle_problems({"type": "transaction", "entry": [entry]}) == [
        "Observation: points to a Patient that is not here"
    ]
