"""The small pieces that every FHIR resource is made of: ids, references, instants, texts, concepts.

Here: how one piece is spelled in FHIR R4, and the systems it is spelled in. Not here: what any resource says.

Pieces are shared between resources and never copied (a chart is 25 of them, and speed counts): nobody may change a
dict that came from here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final

Resource = dict[str, Any]

RESOURCE_SYSTEM: Final = "urn:glp1-pipeline:resource"
PATIENT_SYSTEM: Final = "urn:glp1-pipeline:patient"
SUBMISSION_SYSTEM: Final = "urn:glp1-pipeline:submission"
EVENT_SYSTEM: Final = "urn:glp1-pipeline:event"
CODE_SYSTEM: Final = "urn:glp1-pipeline:code"
DEVICE_SYSTEM: Final = "urn:glp1-pipeline:device"

HL7: Final = "http://terminology.hl7.org/CodeSystem/"
SNOMED: Final = "http://snomed.info/sct"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"

ASSEMBLER: Final = {"type": "Device", "identifier": {"system": DEVICE_SYSTEM, "value": "glp1_pipeline"}}
"""The pipeline as an author: a logical reference, since no server need hold a Device for it."""

ABSENT_SYSTEM: Final = HL7 + "data-absent-reason"
ABSENT: Final = {"unknown": "asked-unknown", "declined": "asked-declined", "held": "error"}
"""State of a field -> why there is no value, where somebody was asked and said so: reason enough to write a resource.
Of a blank, of what nobody asked and of what does not apply no resource is made."""
_LEFT_OUT: Final = {"absent": "unknown", "not_asked": "not-asked", "not_applicable": "not-applicable"}
"""The other states, for an element of a resource that is there anyway. A blank is `unknown`, the kind above all others:
whether it was never seen or passed over, nobody can tell."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, RESOURCE_SYSTEM).bytes
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""A hex digit with its two upper bits set to those of a uuid."""
_ZONE_LIMIT: Final = timedelta(hours=14)
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TEXT_BYTES: Final = 1024 * 1024
_SURELY_FITS: Final = _TEXT_BYTES // 4


def resource_id(patient_id: str, role: str) -> str:
    """The id of what plays `role` for a patient: a name-based uuid, so a replay finds the resource it wrote before."""
    return ids_of(patient_id)(role)


@lru_cache(maxsize=8)
def ids_of(patient_id: str) -> Callable[[str], str]:
    """From role to id, for the many resources of one patient."""
    begun = sha1(_NAMESPACE + f"{patient_id}\n".encode("utf-8", "surrogatepass"), usedforsecurity=False)

    def resource_id(role: str) -> str:
        # uuid.uuid5 by hand: its object costs more than its hash, 25 times a chart.
        name = begun.copy()
        name.update(role.encode("utf-8", "surrogatepass"))
        h = name.hexdigest()
        return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"

    return resource_id


def instant_utc(at: datetime) -> str:
    """In UTC, whatever zone the reader of a table gave it: one instant has one spelling, or a replay would differ."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def instant_zoned(at: datetime) -> str:
    """With the offset it was told in; FHIR has no offset past 14 hours and none with seconds."""
    offset = at.utcoffset()
    if offset is None or abs(offset) > _ZONE_LIMIT or offset.seconds % 60:
        return instant_utc(at)
    return at.isoformat()


def instant_told(at: str) -> str:
    """The same of a canonical instant: nearly always it stands there as FHIR has it, with an offset of hours and
    minutes."""
    return at if at[-6] in "+-" else instant_zoned(datetime.fromisoformat(at))


def clean(raw: str, submission_id: str = "") -> str:
    """A text as FHIR can carry it: forbidden characters replaced, a huge one cut with a pointer; blank is ""."""
    if not raw or raw.isspace():
        return ""
    if raw.isprintable() and len(raw) <= _SURELY_FITS:
        return raw
    text = _FORBIDDEN.sub("\ufffd", raw)
    if len(text) > _SURELY_FITS and len(data := text.encode()) > _TEXT_BYTES:
        pointer = f" [cut here; the whole answer is kept with submission {submission_id or 'as received'}]"
        text = data[: _TEXT_BYTES - len(pointer.encode())].decode(errors="ignore") + pointer
    return text


def code_token(raw: str) -> str:
    """Any name as a FHIR code: no blanks at the ends, single ones inside."""
    return " ".join(clean(raw).split()) or "blank"


def concept(system: str, code: str, text: str | None = None) -> Resource:
    coding = [{"system": system, "code": code}]
    return {"coding": coding, "text": text} if text else {"coding": coding}


def absent_concept(reason: str) -> Resource:
    return {"coding": [{"system": ABSENT_SYSTEM, "code": reason}]}


def absent_extension(reason: str) -> Resource:
    """Stands in the place of a primitive that has no value (`_birthDate` and the like)."""
    return {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": reason}]}


ABSENT_CONCEPT: Final = {state: absent_concept(code) for state, code in ABSENT.items()}
ABSENT_ELEMENT: Final = {state: absent_extension(code) for state, code in (ABSENT | _LEFT_OUT).items()}
