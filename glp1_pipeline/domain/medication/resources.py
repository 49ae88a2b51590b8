"""FHIR R4 MedicationRequest, MedicationStatement and MedicationDispense as the parts of a message about a medicine.

Statements that we wrote ourselves are no medication list of the EHR's: they say what the intake said. Our proposals are
no order and no plan of anybody's; what carries our identifier and is an order somebody made of one.
Here: which element holds what. Not here: what it means (`reading`, `doses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..fhir.elements import CODE_SYSTEM, RESOURCE_SYSTEM, RXNORM
from ..flags.medicines import GLP1, medicine_names
from ..medication_model import MedicationRules
from .doses import Amount, Named
from .facts import Kind
from .raw import Raw, number, part, text

NDC = "http://hl7.org/fhir/sid/ndc"
PRODUCT = CODE_SYSTEM + ":product"
OUR_INTENT = "proposal"
_PLANS, _ORDERS = ("plan", "proposal"), ("order", "original-order", "instance-order")
_UNITS: Mapping[str, tuple[str, int]] = {
    "mg": ("mg", 1), "ug": ("mg", 1000), "mcg": ("mg", 1000), "ml": ("ml", 1), "[iu]": ("units", 1),
    "unit": ("units", 1), "units": ("units", 1),
}  # fmt: skip
"""A unit of doses -> what it is counted in here, and how many of it make one."""
_DAYS = {"d": 1, "day": 1, "days": 1, "wk": 7, "week": 7, "weeks": 7}


def of_resource(rules: MedicationRules, resource: Mapping[str, Any], ref: str) -> Raw | None:
    """None where it is no order, statement or hand-over of anybody's but ours."""
    kind = _kind(resource)
    if kind is None or is_ours(resource):
        return None
    medicine = _medicine(resource)
    dosages = _objects(resource.get("dosage" if kind == "listed" else "dosageInstruction"))
    supply = part(resource, "dispenseRequest")
    quantity = part(resource, "quantity")
    return Raw(
        kind=kind,
        ref=ref,
        at=_first(resource, _TIMES[kind]),
        shipped_at=resource.get("whenPrepared") if kind == "dispensed" else None,
        named=_named(medicine),
        amount=_amount(rules, dosages, medicine),
        status=str(resource.get("status", "")),
        days=_days(part(resource, "daysSupply")) or _days(part(supply, "expectedSupplyDuration")),
        refills=supply.get("numberOfRepeatsAllowed"),
        quantity=number(quantity.get("value")),
        unit=text(quantity, "unit") or text(quantity, "code"),
        order_ref=next((text(one, "reference") for one in _objects(resource.get("authorizingPrescription"))), ""),
        keeps_dose=any(c.get("code") == "maintenance" for c in _codings(resource.get("courseOfTherapyType"))),
    )


_TIMES: Mapping[Kind, tuple[str, ...]] = {
    "ordered": ("authoredOn",),
    "planned": ("authoredOn",),
    "listed": ("dateAsserted", "effectiveDateTime"),
    "dispensed": ("whenHandedOver",),
}


def _kind(resource: Mapping[str, Any]) -> Kind | None:
    match resource.get("resourceType"):
        case "MedicationRequest" if resource.get("doNotPerform") is not True:
            intent = resource.get("intent")
            return "planned" if intent in _PLANS else "ordered" if intent in _ORDERS else None
        case "MedicationStatement":
            return "listed"
        case "MedicationDispense":
            return "dispensed"
    return None


def is_ours(resource: Mapping[str, Any]) -> bool:
    """Whether we wrote it, and it says what we wrote: we never order."""
    carries_ours = any(one.get("system") == RESOURCE_SYSTEM for one in _objects(resource.get("identifier")))
    is_request = resource.get("resourceType") == "MedicationRequest"
    return carries_ours and (not is_request or resource.get("intent") == OUR_INTENT)


def _medicine(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Medication that it brings along, or one made of its concept."""
    reference = text(part(resource, "medicationReference"), "reference")
    for inside in _objects(resource.get("contained")):
        if reference == f"#{inside.get('id')}":
            return inside
    concept = resource.get("medicationCodeableConcept")
    if isinstance(concept, Mapping):
        return {"code": concept}
    return {"code": {"text": text(part(resource, "medicationReference"), "display")}}


def _named(medicine: Mapping[str, Any]) -> Named:
    concept = medicine.get("code")
    codings = [(c.get("system"), text(c, "code")) for c in _codings(concept)]
    texts = [text(part(medicine, "code"), "text"), *(text(c, "display") for c in _codings(concept))]
    return Named(
        next((code for system, code in codings if system == PRODUCT), ""),
        tuple(code for system, code in codings if system == RXNORM),
        tuple(code for system, code in codings if system == NDC),
        " ".join(filter(None, texts)),
    )


def _amount(rules: MedicationRules, dosages: list[Mapping[str, Any]], medicine: Mapping[str, Any]) -> Amount:
    """Doses by their unit, and the concentration of what is dosed. Of a plan of several steps the first."""
    found: dict[str, float | None] = {}
    for dosage in sorted(dosages, key=_place)[:1]:
        for rate in _objects(dosage.get("doseAndRate")):
            quantity = part(rate, "doseQuantity")
            name, per = _UNITS.get(_unit(quantity), ("", 1))
            value = number(quantity.get("value"))
            if name:
                found.setdefault(name, None if value is None else value / per)
    dosed = _dosed(rules, _objects(medicine.get("ingredient")))
    if dosed is not None:
        strength = part(dosed, "strength")
        above, below = part(strength, "numerator"), part(strength, "denominator")
        mass, volume = number(above.get("value")), number(below.get("value"))
        (name, per), of = _UNITS.get(_unit(above), ("", 1)), _unit(below)
        if mass and volume and (name, of) == ("mg", "ml"):
            found["mg_per_ml"] = mass / per / volume
    return Amount(**found)


def _unit(quantity: Mapping[str, Any]) -> str:
    return (text(quantity, "code") or text(quantity, "unit")).lower()


def _place(dosage: Mapping[str, Any]) -> float:
    """Where a dosage stands among several; one without a place keeps its own."""
    return number(dosage.get("sequence")) or 0


def _dosed(rules: MedicationRules, ingredients: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The ingredient that the dose is one of: the only one, else the only GLP-1. A compounded vial may hold vitamin B12
    besides: read by its strength, a dose five times too high would agree with itself."""
    if len(ingredients) == 1:
        return ingredients[0]
    own = [one for one in ingredients if _is_glp1(rules, one)]
    return own[0] if len(own) == 1 else None


def _is_glp1(rules: MedicationRules, ingredient: Mapping[str, Any]) -> bool:
    named = _named({"code": ingredient.get("itemCodeableConcept")})
    shown = text(part(ingredient, "itemReference"), "display")
    rows = [{"name": f"{named.text} {shown}"}, *({"rxnorm": code} for code in named.rxcuis)]
    return GLP1 in medicine_names(rules).groups_in(rows)


def _days(quantity: Mapping[str, Any]) -> float | None:
    value, unit = number(quantity.get("value")), text(quantity, "code") or text(quantity, "unit") or "d"
    return None if value is None or unit not in _DAYS else value * _DAYS[unit]


def _first(resource: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((resource[name] for name in names if resource.get(name)), None)


def _codings(concept: Any) -> list[Mapping[str, Any]]:
    return _objects(concept.get("coding")) if isinstance(concept, Mapping) else []


def _objects(raw: Any) -> list[Mapping[str, Any]]:
    return [one for one in raw if isinstance(one, Mapping)] if isinstance(raw, list) else []
