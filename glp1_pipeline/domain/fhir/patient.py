"""The Patient resource.

Here: names, contact points, address, sex and gender, language. Not here: who is the same person (`identity`), the
Patient that another replaces (`taken_back`), and the time zone and the photos, which stay in the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..contract import fold
from ..mapping.records import UNITED_STATES
from .elements import ABSENT, ABSENT_CONCEPT, ABSENT_ELEMENT, PATIENT_SYSTEM, RESOURCE_SYSTEM, Resource, clean
from .page import Page, part
from .taken_back import link

_US_CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/"
_BIRTH_SEX: Final = {"female": "F", "male": "M", "asked-declined": "ASKU", "unknown": "UNK"}
_BIRTH_SEX_ABSENT: Final = {"declined": "ASKU", "unknown": "UNK"}
_GENDERS: Final = frozenset(("male", "female", "other", "unknown"))


def write_patient(page: Page, accounts: Sequence[tuple[str, str]], replaces: Sequence[str]) -> None:
    reference = page.patient["reference"]
    rid = reference[8:]
    identifiers = [
        {"system": RESOURCE_SYSTEM, "value": rid},
        {"system": PATIENT_SYSTEM, "value": page.patient_id},
        *({"system": system, "value": value} for system, value in accounts),
    ]
    patient: Resource = {"resourceType": "Patient", "id": rid, "identifier": identifiers, "active": True}
    page.out[reference] = patient
    if replaces:
        patient["link"] = [link("replaces", record_id) for record_id in replaces]
    chart = page.chart
    if names := _names(page):
        patient["name"] = names
    if telecom := _telecom(page):
        patient["telecom"] = telecom
    gender = chart.get("demo.gender")
    if gender in _GENDERS:
        patient["gender"] = gender
    elif why := ABSENT_ELEMENT.get(chart.state("demo.gender")):
        patient["_gender"] = why
    if born := chart.get("demo.dob"):
        patient["birthDate"] = born
    elif why := ABSENT_ELEMENT.get(chart.state("demo.dob")):
        patient["_birthDate"] = why
    if address := _address(page):
        patient["address"] = [address]
    if extensions := _extensions(page):
        patient["extension"] = extensions
    if language := _text(chart.get("demo.language")):
        tongue = {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]}
        patient["communication"] = [{"language": tongue, "preferred": True}]
    elif why := ABSENT_CONCEPT.get(chart.state("demo.language")):
        patient["communication"] = [{"language": why}]
    if doctor := _text(part(chart.get("care.pcp"), "name")):
        patient["generalPractitioner"] = [{"type": "Practitioner", "display": doctor}]


def _text(raw: Any) -> str:
    return clean(raw) if isinstance(raw, str) else ""


def _names(page: Page) -> list[Resource]:
    """A single name is a family name: FHIR asks for one, and a given name made up to fill the gap would be false."""
    chart = page.chart
    first, last = _text(chart.get("demo.legal_first")), _text(chart.get("demo.legal_last"))
    names: list[Resource] = []
    if last and first:
        names.append({"use": "official", "family": last, "given": [first]})
    elif last or first:
        names.append({"use": "official", "family": last or first})
    elif why := ABSENT_ELEMENT.get(chart.state("demo.legal_last")):
        names.append({"use": "official", "_family": why})
    if preferred := _text(chart.get("demo.preferred_name")):
        names.append({"use": "usual", "given": [preferred]})
    return names


def _telecom(page: Page) -> list[Resource]:
    points: list[Resource] = []
    if phone := _text(page.chart.get("demo.mobile")):
        points.append({"system": "phone", "value": phone, "use": "mobile"})
    elif (state := page.chart.state("demo.mobile")) in ABSENT:
        points.append({"system": "phone", "_value": ABSENT_ELEMENT[state], "use": "mobile"})
    if email := _text(page.chart.get("demo.email")):
        points.append({"system": "email", "value": email})
    elif (state := page.chart.state("demo.email")) in ABSENT:
        points.append({"system": "email", "_value": ABSENT_ELEMENT[state]})
    return points


def _address(page: Page) -> Resource | None:
    told = page.chart.get("demo.address")
    given = told if isinstance(told, dict) else {}
    lines = [line for name in ("street", "line1", "street2", "line2", "unit") if (line := _text(given.get(name)))]
    address: Resource = {"use": "home"}
    if lines:
        address["line"] = lines
    if city := _text(given.get("city")):
        address["city"] = city
    country = _text(given.get("country"))
    # Where they reside is in the United States: a home elsewhere is not there.
    is_abroad = country and fold(country) not in UNITED_STATES
    if state := _text(given.get("state") or ("" if is_abroad else page.chart.get("demo.state_residence"))):
        address["state"] = state
    elif not is_abroad and (why := page.chart.state("demo.state_residence")) in ABSENT:
        address["_state"] = ABSENT_ELEMENT[why]
    if postal := _text(part(given, "postal", "postal_code", "zip")):
        address["postalCode"] = postal
    if country:
        address["country"] = country
    if len(address) == 1 and (why := page.chart.state("demo.address")) in ABSENT:
        address |= ABSENT_ELEMENT[why]
    return address if len(address) > 1 else None


def _extensions(page: Page) -> list[Resource]:
    chart, extensions = page.chart, []
    sex = chart.get("demo.sex_at_birth")
    letter = _BIRTH_SEX.get(sex) if isinstance(sex, str) else _BIRTH_SEX_ABSENT.get(chart.state("demo.sex_at_birth"))
    if letter:
        extensions.append({"url": _US_CORE + "us-core-birthsex", "valueCode": letter})
    identity = chart.get("demo.gender_identity")
    if isinstance(identity, str) and identity.strip():
        told = page.tables.concept("demo.gender_identity", identity)
        extensions.append({"url": _US_CORE + "us-core-genderIdentity", "valueCodeableConcept": told})
    elif why := ABSENT.get(chart.state("demo.gender_identity")):
        null = {"asked-unknown": "UNK", "asked-declined": "ASKU"}.get(why)
        if null:
            told = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": null}]}
            extensions.append({"url": _US_CORE + "us-core-genderIdentity", "valueCodeableConcept": told})
    return extensions
