"""A Patient as the EHR holds it: names, birth, sex and gender, contact points, address, language; that they died.

Not here: merges (`adapters.ehr.changes` tells them as events), the family doctor, and whatever a Patient does not say:
leaving an element out retracts nothing, but for a death.
"""

from __future__ import annotations

from typing import Any

from ...events import Change
from ...told import DIED
from .reading import NULLS, Reading, absent_reason, codings, first_of, objects, part, text

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_BIRTH_SEX = {"F": "female", "M": "male"}
_LINES = ("line1", "line2")


def read_patient(reading: Reading) -> None:
    patient = reading.content
    if reading.is_taken_back or any(link.get("type") == "replaced-by" for link in objects(patient.get("link"))):
        return  # who is no patient any more says nothing new of the person
    _read_names(reading, objects(patient.get("name")))
    telecom = objects(patient.get("telecom"))
    phones = [one for one in telecom if one.get("system") in ("phone", "sms")]
    _say(reading, "demo.mobile", part(first_of(phones, "mobile", ""), "value"))
    emails = [one for one in telecom if one.get("system") == "email"]
    _say(reading, "demo.email", part(first_of(emails, "", "home", "mobile", "work"), "value"))
    _primitive(reading, "demo.dob", patient, "birthDate")
    _primitive(reading, "demo.gender", patient, "gender")
    _read_extensions(reading, objects(patient.get("extension")))
    _read_address(reading, first_of(objects(patient.get("address")), "home", ""))
    _read_language(reading, objects(patient.get("communication")))


def _say(reading: Reading, field: str, raw: Any) -> None:
    if raw not in (None, "", [], {}):
        reading.say(field, raw)


def _primitive(reading: Reading, field: str, patient: dict[str, Any], element: str) -> None:
    if patient.get(element) is None:
        reading.absent(field, absent_reason(patient.get(f"_{element}")))
    else:
        _say(reading, field, patient[element])


def _read_names(reading: Reading, names: list[dict[str, Any]]) -> None:
    """A lone family name says nothing of a given one: we write a single name so, whichever it is."""
    if legal := first_of(names, "official", ""):
        given = legal.get("given")
        _say(reading, "demo.legal_first", " ".join(text(g) for g in given) if isinstance(given, list) else None)
        _primitive(reading, "demo.legal_last", legal, "family")
    if usual := first_of(names, "usual"):
        given = usual.get("given")
        called = " ".join(text(g) for g in given) if isinstance(given, list) else ""
        _say(reading, "demo.preferred_name", called or text(usual.get("text")))


def _read_extensions(reading: Reading, extensions: list[dict[str, Any]]) -> None:
    for extension in extensions:
        url = text(extension.get("url"))
        if url == _US_CORE + "us-core-birthsex":
            letter = text(extension.get("valueCode"))
            if letter in NULLS:
                reading.absent("demo.sex_at_birth", letter)
            else:
                _say(reading, "demo.sex_at_birth", _BIRTH_SEX.get(letter, letter))
        elif url == _US_CORE + "us-core-genderIdentity":
            reading.say_code("demo.gender_identity", extension.get("valueCodeableConcept"))


def _read_address(reading: Reading, address: dict[str, Any] | None) -> None:
    """The state of the home is where the patient resides: a move is to be seen by those who mind licences."""
    if address is None:
        return
    state = text(address.get("state"))
    lines = address.get("line")
    told = [line for raw in (lines if isinstance(lines, list) else ()) if (line := text(raw))]
    parts = dict(zip(_LINES, [*told[:1], ", ".join(told[1:])], strict=False)) if told else {}
    parts |= {"city": text(address.get("city")), "postal_code": text(address.get("postalCode"))}
    parts = {name: value for name, value in parts.items() if value}
    if parts:
        country = text(address.get("country"))
        _say(reading, "demo.address", parts | {k: v for k, v in (("state", state), ("country", country)) if v})
    _say(reading, "demo.state_residence", state)


def _read_language(reading: Reading, spoken: list[dict[str, Any]]) -> None:
    preferred = [one for one in spoken if one.get("preferred") is True] or (spoken if len(spoken) == 1 else [])
    if preferred:
        tongue = preferred[0].get("language")
        code = next((text(c.get("code")) for c in codings(tongue)), "") or text(part(tongue, "text"))
        _say(reading, "demo.language", code)


def death_told(change: Change) -> dict[str, Any] | None:
    """That the patient died, as a document of `domain.refill`; None where this version of the Patient does not say it.
    On which day stays in the EHR."""
    if change.kind != "Patient" or change.is_deleted:
        return None
    is_dead = change.content.get("deceasedBoolean") is True or bool(text(change.content.get("deceasedDateTime")))
    return {"kind": DIED} if is_dead else None
