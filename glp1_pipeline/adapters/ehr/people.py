"""Whose a resource in the EHR is: the record of ours that its Patient carries.

Here: following the reference to the Patient. Not here: who is one person (`domain.identity`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ...domain.events import as_record
from ...domain.fhir.elements import PATIENT_SYSTEM
from .echoes import record_of
from .entries import Entry
from .feed import Feed

SUBJECTS = ("subject", "patient", "for", "beneficiary")
PATIENT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")
"""Anything else is nobody that a server could be asked for: it may refuse the question, and with it the whole page."""
MOST_KNOWN = 50_000


class People:
    """Kept for one round: who is a stranger now may be ours in the next."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._records: dict[str, str | None] = {}

    def records(self, entries: Iterable[Entry]) -> dict[str, str | None]:
        """Our record by `Type/id` of each entry; None: the resource is of none of our patients."""
        asked: dict[str, str] = {}
        if len(self._records) > MOST_KNOWN:
            self._records.clear()
        for entry in entries:
            if entry.kind == "Patient" and entry.content:
                self._records[entry.place] = record_of(entry.content)
            asked[entry.place] = self.patient_of(entry)
        self.look_up(patient for patient in asked.values() if patient)
        return {place: self._records.get(patient) for place, patient in asked.items()}

    def look_up(self, patients: Iterable[str]) -> dict[str, str | None]:
        """Our record by `Patient/id`, or by a search where a reference names an identifier alone."""
        wanted = list(dict.fromkeys(patients))
        unknown = [patient for patient in wanted if patient not in self._records]
        for patient, answer in zip(unknown, self.feed.ehr.batch_get(unknown) if unknown else (), strict=True):
            self._records[patient] = _record_in(answer.get("resource"))
        return {patient: self._records[patient] for patient in wanted}

    def patient_of(self, entry: Entry) -> str:
        """`Patient/id` that a resource is about, or a search for it; empty where it is about nobody."""
        if entry.kind == "Patient":
            return entry.place
        reference = next((r for name in SUBJECTS if isinstance(r := entry.content.get(name), dict)), {})
        return self.place_of(reference)

    def record_of_reference(self, reference: dict[str, Any]) -> str | None:
        """Our record that a reference to a Patient means: by our identifier, if it names it, else by the Patient."""
        identifier = reference.get("identifier")
        if isinstance(identifier, dict) and identifier.get("system") == PATIENT_SYSTEM:
            return as_record(identifier.get("value"))
        place = self.place_of(reference)
        return self.look_up([place])[place] if place else None

    def place_of(self, reference: dict[str, Any]) -> str:
        """Where a reference to a Patient points, on this server."""
        told = reference.get("reference")
        if isinstance(told, str):
            path = self.feed.ehr.path_of(told.split("/_history/")[0]) or ""
            place = path.removeprefix("/")
            return place if PATIENT.fullmatch(place) else ""
        identifier = reference.get("identifier") or {}
        system, value = identifier.get("system"), identifier.get("value")
        if system and value and reference.get("type", "Patient") == "Patient":
            return f"Patient?identifier={_searched(system)}%7C{_searched(value)}"
        return ""


def _searched(told: Any) -> str:
    """Whatever a stranger wrote, as one value of a search within an address."""
    return quote(re.sub(r"[\\|,$]", r"\\\g<0>", str(told)), safe="")


def _record_in(answer: Any) -> str | None:
    if not isinstance(answer, dict):
        return None
    if answer.get("resourceType") == "Patient":
        return record_of(answer)
    hits = [e.get("resource") for e in answer.get("entry") or () if isinstance(e, dict)]
    patients = [p for p in hits if isinstance(p, dict) and p.get("resourceType") == "Patient"]
    return record_of(patients[0]) if len(patients) == 1 else None
