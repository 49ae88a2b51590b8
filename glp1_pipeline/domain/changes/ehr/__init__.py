"""What a resource of the EHR says in our own fields: FHIR read back into values, for a limited set of fields.

Here: which reader a type of resource has. What we wrote ourselves reads back as what it was written of. What people
there deleted, refuted or entered in error is a value taken back (`ownership.withdrawal`): the very value, of a list the
row, that no longer stands; what holds instead is for ownership to decide, and to all others it is a blank. Flags and
tasks have no value in a chart: they are work. Not here: whose word counts (`ownership`), what FHIR looks like when we
write it (`domain.fhir`). What we wrote and who saves the resource only carries along is not said by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...contract import Contract
from ...events import Change
from ..shapes import Said
from .conditions import read_condition, read_family, read_procedure
from .consents import read_consent
from .lists import read_allergy, read_request, read_statement
from .observations import read_observation
from .patient import read_patient
from .reading import Reading

__all__ = ["read_resource"]

_READERS: dict[str, Callable[[Reading], None]] = {
    "Patient": read_patient,
    "Observation": read_observation,
    "AllergyIntolerance": read_allergy,
    "Condition": read_condition,
    "Procedure": read_procedure,
    "FamilyMemberHistory": read_family,
    "MedicationStatement": read_statement,
    "MedicationRequest": read_request,
    "Consent": read_consent,
}


def read_resource(contract: Contract, change: Change) -> Said:
    """The values that a version of a resource says, and those that it takes back. Total: no resource makes it raise."""
    reader = _READERS.get(change.kind)
    said = _read(contract, change, reader)
    if not change.sent or change.is_deleted:
        return said
    ours = _read(contract, replace(change, content=change.sent, sent={}), reader).values
    return replace(said, values={name: value for name, value in said.values.items() if ours.get(name) != value})


def _read(contract: Contract, change: Change, reader: Callable[[Reading], None] | None) -> Said:
    reading = Reading(contract, change, is_taken_back=change.is_deleted)
    if reader is not None and change.content:
        reader(reading)
    return reading.finished()
