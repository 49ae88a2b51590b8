"""Observations: what the patient measured or told as a finding, and the body mass index computed from it.

Here: reported values, always preliminary with the patient as performer. Not here: values that a clinician verified (a
new resource derived from these), laboratory results, and substance use, which stays in the answers (42 CFR Part 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..chart import Value
from ..contract import Contract
from ..declared import kept
from ..flags import bmi
from .elements import (
    ABSENT,
    ABSENT_CONCEPT,
    ABSENT_ELEMENT,
    ASSEMBLER,
    CODE_SYSTEM,
    HL7,
    UCUM,
    Resource,
    absent_concept,
    clean,
    concept,
)
from .page import Page, loinc, part

_CATEGORY: Final = HL7 + "observation-category"
_VITAL: Final = [concept(_CATEGORY, "vital-signs")]
_SOCIAL: Final = [concept(_CATEGORY, "social-history")]
_LOCAL: Final = CODE_SYSTEM + ":observation"
_NOT_TOLD: Final = absent_concept("unknown")
_NOT_APPLICABLE: Final = frozenset(("na", "n/a", "not_applicable"))

OWN_CODES: Final = {
    "anthro.highest_weight": "highest-weight",
    "anthro.pre_glp1_weight": "pre-glp1-weight",
    "life.activity": "active-minutes",
}
"""Field -> our own code. The code of every other field is its LOINC code in the contract."""
ACTIVITY_UNIT: Final = "min/wk"
"""Of the one number that is counted and no quantity."""
_WORDS: Final = {
    "anthro.height": "Height as told",
    "anthro.weight": "Weight as told",
    "vitals.hr": "Resting pulse as told",
    "anthro.highest_weight": "Highest weight as an adult, as told",
    "anthro.pre_glp1_weight": "Weight before any GLP-1, as told",
    "life.activity": "Active minutes a week, as told",
    "vitals.bp": "Blood pressure as told",
    "preg.status": "Pregnant or not, as told",
    "preg.breastfeeding": "Nursing or not, as told",
    "preg.lmp": "First day of the last period, as told",
}
"""What is observed, in our words: the display texts of a dictionary are licensed."""
_VITAL_SIGNS: Final = frozenset(("anthro.height", "anthro.weight", "vitals.hr", "vitals.bp"))
BY_LOINC: Final = _WORDS.keys() - OWN_CODES.keys()
"""Fields that need a LOINC code."""
_BMI: Final = loinc("39156-5", "Body mass index, computed")
_SIDES: Final = (
    (loinc("8480-6", "Upper pressure"), ("systolic", "sys")),
    (loinc("8462-4", "Lower pressure"), ("diastolic", "dia")),
)

Content = Callable[[Page, str, Value], "Resource | None"]
"""The elements that carry a value document's content, or None where it says nothing to observe."""


def write_observations(page: Page) -> None:
    values = page.told.values
    for field, category, code, content in _observed(page.tables.contract):
        value = values.get(field)
        if value is not None:
            _write(page, field, value, category, code, content)
    _write_bmi(page)


def _write(page: Page, field: str, value: Value, category: list[Resource], code: Resource, content: Content) -> None:
    status = "preliminary"
    told = content(page, field, value)
    if told is None:
        # Nothing to observe any more: what was written of an earlier answer must not stand.
        status = "entered-in-error"
        told = next((t for v in page.history(field) if (t := content(page, field, v)) is not None), None)
        if told is None:
            return
    answers, authored = page.origin(field)
    observation: Resource = {
        "status": status,
        "category": category,
        "code": code,
        "subject": page.patient,
        "effectiveDateTime": authored,
        "performer": [page.patient],
        **told,
    }
    if "_effectiveDateTime" in told:
        del observation["effectiveDateTime"]
    if answers:
        observation["derivedFrom"] = [answers]
    page.add("Observation", field, observation)


def _no_value(value: Value) -> Resource | None:
    why = ABSENT_CONCEPT.get("held" if "held" in value else value["null"])
    return {"dataAbsentReason": why} if why else None


def _amount(value: float, unit: str) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _quantity(page: Page, field: str, value: Value) -> Resource | None:
    known = "value" in value
    told = (
        {"valueQuantity": _amount(value["value"], page.tables.contract.fields[field].unit or ACTIVITY_UNIT)}
        if known
        else _no_value(value)
    )
    if told is not None and field == "anthro.weight":
        told |= _weighed(page, "")
        if _is_of_weight(page, "anthro.weight_method"):
            method = page.told.get("anthro.weight_method")
            if isinstance(method, str):
                told["method"] = page.tables.concept("anthro.weight_method", method)
            elif why := ABSENT_CONCEPT.get(page.told.state("anthro.weight_method")):
                told["method"] = why
    return told


def _weighed(page: Page, otherwise: str) -> Resource:
    """When the weight was taken. Whoever does not know or say it did not weigh when they filled in the form."""
    if _is_of_weight(page, "anthro.weight_measured_at"):
        if weighed := page.told.get("anthro.weight_measured_at"):
            return {"effectiveDateTime": weighed}
        if page.told.state("anthro.weight_measured_at") in ABSENT:
            return {"_effectiveDateTime": ABSENT_ELEMENT[page.told.state("anthro.weight_measured_at")]}
    return {"effectiveDateTime": otherwise} if otherwise else {}


def _is_of_weight(page: Page, field: str) -> bool:
    """Whether it was said of the weight that stands: with it, since, or before in what that corrects. A check-in does
    not ask how somebody was weighed, and the intake's answer is of another weight."""
    weight_id, event_id = page.told.sources["anthro.weight"], page.told.sources.get(field)
    if event_id is None or event_id == weight_id:  # as nearly always
        return True
    told = {report.event_id: report for report in page.told.submissions}
    weight, said = told[weight_id], told[event_id]
    return said.order > weight.order or (weight.status == "amended" and weight.source == said.source)


def _pressure(page: Page, field: str, value: Value) -> Resource | None:
    """Two numbers become components; a range stays the word it was: a number made of it would be invented."""
    if "value" not in value:
        return _no_value(value)
    told = value["value"]
    sides = [(code, n if _is_number(n := part(told, *names)) else None) for code, names in _SIDES]
    if any(number is not None for _, number in sides):
        return {
            "component": [
                {"code": code, "dataAbsentReason": _NOT_TOLD}
                if number is None
                else {"code": code, "valueQuantity": _amount(number, "mm[Hg]")}
                for code, number in sides
            ]
        }
    word = told if isinstance(told, str) else part(told, "range", "category")
    if not isinstance(word, str) or not clean(word):
        return None
    if word == "unknown":
        return {"dataAbsentReason": _NOT_TOLD}
    return {"valueCodeableConcept": page.tables.concept(field, word)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _coded(page: Page, field: str, value: Value) -> Resource | None:
    if "value" not in value:
        return _no_value(value)
    code = value["value"]
    return None if code in _NOT_APPLICABLE else {"valueCodeableConcept": page.tables.concept(field, code)}


def _date(page: Page, field: str, value: Value) -> Resource | None:
    return {"valueDateTime": value["value"]} if "value" in value else _no_value(value)


_CONTENT: Final[dict[str, Content]] = {
    "quantity": _quantity,
    "integer": _quantity,
    "group": _pressure,
    "tri": _coded,
    "code": _coded,
    "date": _date,
}
"""Type of a field -> how its value is told."""


@kept
def _observed(contract: Contract) -> list[tuple[str, list[Resource], Resource, Content]]:
    """Field, category, code, and how its value is told."""
    found: list[tuple[str, list[Resource], Resource, Content]] = []
    for name, words in _WORDS.items():
        field = contract.fields[name]
        own = OWN_CODES.get(name)
        code = concept(_LOCAL, own, words) if own else loinc(field.loinc or "", words)
        category = _VITAL if name in _VITAL_SIGNS else _SOCIAL
        found.append((name, category, code, _CONTENT[field.type]))
    return found


def _write_bmi(page: Page) -> None:
    """Always computed from height and weight, as the rules compare it; as weak as its inputs."""
    found = bmi(page.told)
    known = found is not None
    if not known and not (_ever_told(page, "anthro.height") and _ever_told(page, "anthro.weight")):
        return
    _, authored = page.origin("anthro.weight")
    told: Resource = {
        "status": "preliminary" if known else "entered-in-error",
        "category": _VITAL,
        "code": _BMI,
        "subject": page.patient,
        "device": ASSEMBLER,
        "derivedFrom": [page.ref("Observation", "anthro.height"), page.ref("Observation", "anthro.weight")],
        **_weighed(page, authored),
    }
    if known:
        told["valueQuantity"] = _amount(found, "kg/m2")
    else:
        told["dataAbsentReason"] = ABSENT_CONCEPT["held"]
    page.add("Observation", "bmi", told)


def _ever_told(page: Page, field: str) -> bool:
    return page.told.get(field) is not None or any("value" in v for v in page.history(field))
