"""Observations: what was measured or found. The body mass index is recomputed and never read.

Not here: laboratory results, and codes that none of our fields has its home in.
"""

from __future__ import annotations

from typing import Any

from ...fhir.elements import CODE_SYSTEM
from ...fhir.observations import ACTIVITY_UNIT, OWN_CODES
from .reading import FINAL, Reading, has_code, is_loinc, measured, objects, part, status_code, text

_OWN = CODE_SYSTEM + ":observation"
_QUANTITIES = ("anthro.height", "anthro.weight", "vitals.hr", *OWN_CODES)
_SIDES = {"systolic": "8480-6", "diastolic": "8462-4"}
_TAKEN_BACK = ("entered-in-error", "cancelled")


def read_observation(reading: Reading) -> None:
    observation = reading.content
    status, code = text(observation.get("status")), observation.get("code")
    reading.is_taken_back = reading.is_taken_back or status in _TAKEN_BACK
    reading.is_confirmed = status in FINAL or status in _TAKEN_BACK
    if status in ("registered", "unknown"):
        return None
    fields = reading.contract.fields
    for field in _QUANTITIES:
        own = OWN_CODES.get(field)
        if has_code(code, _OWN, own) if own else is_loinc(code, fields[field].loinc):
            return _read_quantity(reading, field, observation)
    if is_loinc(code, fields["vitals.bp"].loinc):
        return _read_pressure(reading, observation)
    for field in ("preg.status", "preg.breastfeeding", "preg.lmp"):
        if is_loinc(code, fields[field].loinc) and not _is_absent(reading, field, observation):
            if field == "preg.lmp":
                # The day as written there: no zone of the patient's is known here.
                reading.say(field, text(observation.get("valueDateTime"))[:10])
            else:
                reading.say_code(field, observation.get("valueCodeableConcept"))
    return None


def _is_absent(reading: Reading, field: str, observation: dict[str, Any]) -> bool:
    if observation.get("dataAbsentReason") is None:
        return False
    reading.absent(field, status_code(observation["dataAbsentReason"]))
    return True


def _read_quantity(reading: Reading, field: str, observation: dict[str, Any]) -> None:
    if _is_absent(reading, field, observation):
        return None
    amount = measured(observation.get("valueQuantity"))
    if field == "life.activity":
        if part(amount, "unit") != ACTIVITY_UNIT:
            return reading.hold(field, "unknown_unit", amount)
        amount = part(amount, "value")
    if amount in (None, {}):
        return None
    reading.say(field, amount)
    if field == "anthro.weight":
        _read_weighing(reading, observation)
    return None


def _read_weighing(reading: Reading, observation: dict[str, Any]) -> None:
    """When and how. The instant beside a patient's own word is when they told us, not when they stood on a scale."""
    weighed = text(observation.get("effectiveDateTime"))
    if len(weighed) == 10 or (len(weighed) > 10 and reading.is_confirmed):
        reading.say("anthro.weight_measured_at", weighed[:10])
    if observation.get("method"):
        reading.say_code("anthro.weight_method", observation["method"])


def _read_pressure(reading: Reading, observation: dict[str, Any]) -> None:
    field = "vitals.bp"
    if observation.get("valueCodeableConcept") is not None:
        found = _category(reading, observation["valueCodeableConcept"])
        if found:
            reading.put(field, {"value": {"category": found}})
        else:
            reading.hold(field, "unmapped_code", observation["valueCodeableConcept"])
        return None
    if _is_absent(reading, field, observation):
        return None
    told: dict[str, Any] = {}
    for side, code in _SIDES.items():
        for component in objects(observation.get("component")):
            if is_loinc(component.get("code"), code) and component.get("valueQuantity") is not None:
                amount = measured(component["valueQuantity"])
                if part(amount, "unit") not in ("mm[Hg]", "mmHg") or "comparator" in amount:
                    return reading.hold(field, "unknown_unit", component["valueQuantity"])
                told[side] = amount.get("value")
    if told:
        reading.say(field, told)
    return None


def _category(reading: Reading, concept: Any) -> str:
    """A named range, by our own code alone: no standard code is declared for it."""
    names = reading.contract.fields["vitals.bp"].part_codes["category"]
    known = reading.tables.codes[names]
    systems = (f"{CODE_SYSTEM}:vitals.bp", f"{CODE_SYSTEM}:{names}")
    return next((code for code in known if any(has_code(concept, system, code) for system in systems)), "")
