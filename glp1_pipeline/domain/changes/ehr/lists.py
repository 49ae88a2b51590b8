"""Allergies and medicines: each resource is a row of a list, added or taken back; never the whole list.

Not here: GLP-1 medicines that are ordered in the EHR. They are the programme's own treatment, and read as a medicine of
the patient's they would warn of a second one beside it.
"""

from __future__ import annotations

import re
from typing import Any

from ...fhir.elements import CODE_SYSTEM, RXNORM, SNOMED
from .reading import Reading, codings, has_code, is_ours, objects, part, status_code, text, words_of

_NO_ALLERGY = ("716186003", "409137002")
"""None known at all, and none known to a drug, which is what is asked."""
_NO_OTHER_ALLERGY = ("429625007", "428607008", "1003774007")
"""None known to food, to what is around us, to latex: of drugs that says nothing."""
_DENIES = re.compile(
    r"(?:no|denies)\W+(?:any\W+)?(?:known\W+)?((?:.*\W)?allerg(?:y|ies)\b.*)", re.IGNORECASE | re.DOTALL
)
_TO_DRUGS = re.compile(r"(?:(?:drug|medication|medicine)s?\W+)?allerg(?:y|ies)\W*", re.IGNORECASE)
_UNNAMED = "Has a drug allergy, substance not named"
_UNTOLD = "Reaction not told"
_SEVERITIES = ("mild", "moderate", "severe")
_OVER = ("inactive", "resolved")
_TAKEN_BACK = ("refuted", "entered-in-error")
_STOPPED = ("entered-in-error", "completed", "stopped", "not-taken", "cancelled")
_PRODUCT = CODE_SYSTEM + ":product"
_GLP1 = "glp1"


def read_allergy(reading: Reading) -> None:
    allergy = reading.content
    verification = status_code(allergy.get("verificationStatus"))
    is_over = status_code(allergy.get("clinicalStatus")) in _OVER
    reading.is_taken_back = reading.is_taken_back or is_over or verification in _TAKEN_BACK
    reading.is_confirmed = verification not in ("unconfirmed", "presumed")
    code = allergy.get("code")
    if has_code(code, SNOMED, *_NO_ALLERGY):
        return reading.put("allergy.any", {"value": "no"})
    substance = words_of(code)
    denied = None if is_ours(allergy) else _DENIES.fullmatch(substance)
    if has_code(code, SNOMED, *_NO_OTHER_ALLERGY):
        return None
    if substance == _UNNAMED:
        return reading.put("allergy.any", {"value": "yes"})
    if not substance:
        return reading.trouble("allergy.list", "unnamed_allergen")
    row: dict[str, Any] = {"substance": substance}
    reactions = objects(allergy.get("reaction"))
    told = [words for r in reactions for m in objects(r.get("manifestation")) if (words := words_of(m))]
    if told and told[0] != _UNTOLD:
        row["reaction"] = told[0]
    if worst := [s for s in _SEVERITIES if any(r.get("severity") == s for r in reactions)]:
        row["severity"] = worst[-1]
    _say_row(reading, "allergy.list", row)
    if reading.values.get("allergy.list", {}).get("value") == [] or (denied and _TO_DRUGS.fullmatch(denied[1])):
        reading.values = {"allergy.any": {"value": "no"}}  # its words say that there is none
    elif denied:  # of something else, or of one drug alone
        reading.values = {}
    elif not reading.is_taken_back and not is_ours(allergy):
        reading.put("allergy.any", {"value": "yes"})
    return None


def read_statement(reading: Reading) -> None:
    statement = reading.content
    status = text(statement.get("status"))
    reading.is_confirmed = bool(statement.get("informationSource")) or bool(reading.change.actor)
    concept = statement.get("medicationCodeableConcept")
    if any(c.get("system") == f"{CODE_SYSTEM}:{reading.set_of('med.prior_weight_loss')}" for c in codings(concept)):
        reading.is_taken_back = reading.is_taken_back or status == "entered-in-error"
        codes = sorted(reading.codes_of("med.prior_weight_loss", concept))
        return reading.put("med.prior_weight_loss", {"value": codes}) if codes else None
    if any(c.get("system") == _PRODUCT for c in codings(concept)):
        return _read_glp1(reading, statement, status)
    if status in ("unknown", "draft") or words_of(concept) == "A GLP-1 medicine, product not named":
        return None
    reading.is_taken_back = reading.is_taken_back or status in _STOPPED
    return _read_medicine(reading, statement, "dosage")


def read_request(reading: Reading) -> None:
    """An order of somebody there: a medicine that the patient takes, as long as it is active."""
    request = reading.content
    status = text(request.get("status"))
    if (
        request.get("intent") not in ("order", "original-order", "instance-order")
        or request.get("doNotPerform") is True
    ):
        return
    if status not in ("active", *_STOPPED):
        return
    reading.is_taken_back = reading.is_taken_back or status in _STOPPED
    _read_medicine(reading, request, "dosageInstruction")
    listed = reading.values.get("med.current_list", {}).get("value") or [{}]
    if listed[0].get("class") == _GLP1:
        reading.values.clear()


def _read_medicine(reading: Reading, resource: dict[str, Any], dosage: str) -> None:
    concept = _medicine_of(resource)
    name = words_of(concept)
    if not name:
        return reading.trouble("med.current_list", "unnamed_medicine")
    row: dict[str, Any] = {"name": name}
    if rxcui := next((text(c.get("code")) for c in codings(concept) if c.get("system") == RXNORM), ""):
        row["rxnorm"] = rxcui
    if dose := next((told for one in objects(resource.get(dosage)) if (told := text(one.get("text")))), ""):
        row["dose"] = dose
    return _say_row(reading, "med.current_list", row)


def _medicine_of(resource: dict[str, Any]) -> Any:
    """The medicine's name, also where the resource brings it along; one that must be looked up elsewhere is unnamed."""
    reference = resource.get("medicationReference")
    target = text(part(reference, "reference"))
    if target.startswith("#"):
        inside = [one for one in objects(resource.get("contained")) if one.get("id") == target[1:]]
        return inside[0].get("code") if inside else None
    if target or reference is not None:
        return {"text": text(part(reference, "display"))}
    return resource.get("medicationCodeableConcept")


def _read_glp1(reading: Reading, statement: dict[str, Any], status: str) -> None:
    """Our own statement of GLP-1 use: which of the past answers it was, a status cannot say."""
    reading.is_taken_back = reading.is_taken_back or status == "entered-in-error"
    codes = [
        text(c.get("code")) for c in codings(statement["medicationCodeableConcept"]) if c.get("system") == _PRODUCT
    ]
    dosage = next((told for one in objects(statement.get("dosage")) if (told := text(one.get("text")))), "")
    reading.say("med.glp1_product", {"product": codes[0]} | ({"dose": dosage} if dosage else {}))
    if status == "active":
        reading.put("med.glp1_history", {"value": "current"})
    if last := text(part(statement.get("effectivePeriod"), "end")):
        reading.say("med.glp1_last_dose", last[:10])
    if statement.get("category"):
        reading.say_code("med.glp1_source", statement["category"])


def _say_row(reading: Reading, field: str, row: dict[str, Any]) -> None:
    """A row that cannot be read leaves the list what it was."""
    before = reading.values.copy()
    reading.say(field, [row])
    if "held" in reading.values.get(field, {}):
        reading.values = before
