"""Medicines and allergies as the patient reported them.

Here: GLP-1 use, current medicines, earlier weight-loss medicines, allergies. A name that nobody mapped stays a text.
Not here: orders and dispenses, and contraception, which stays in the answers (a flag reads it).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, Final

from ..chart import Value
from .elements import (
    ABSENT,
    ABSENT_CONCEPT,
    ABSENT_ELEMENT,
    CODE_SYSTEM,
    HL7,
    RXNORM,
    SNOMED,
    Resource,
    clean,
    code_token,
    concept,
    resource_id,
)
from .history import told_codes
from .page import Page, part

_ALLERGY_ACTIVE: Final = concept(HL7 + "allergyintolerance-clinical", "active")
_UNCONFIRMED: Final = concept(HL7 + "allergyintolerance-verification", "unconfirmed")
_ERROR: Final = concept(HL7 + "allergyintolerance-verification", "entered-in-error")
_NO_ALLERGY: Final = concept(SNOMED, "716186003", "No allergies, as told")
_UNNAMED: Final = {"text": "Has a drug allergy, substance not named"}
_SEVERITIES: Final = frozenset(("mild", "moderate", "severe"))
_UNTOLD: Final = {"text": "Reaction not told"}
_GLP1_STATUS: Final = {"current": "active"}
_UNNAMED_GLP1: Final = {"text": "A GLP-1 medicine, product not named"}

_ALLERGEN: Final = ("substance", "allergen", "name", "drug")
_MEDICINE: Final = ("name", "drug", "medication", "product")

Rows = list[tuple[str, dict[str, Any]]]


def write_medicines(page: Page) -> None:
    values = page.told.values
    if "med.glp1_history" in values:
        _write_glp1(page, "med.glp1_history")
    if "med.current_list" in values:
        _write_rows(page, "MedicationStatement", "med.current_list", _MEDICINE, _medicine)
    if "med.prior_weight_loss" in values:
        _write_prior(page, "med.prior_weight_loss")


def write_allergies(page: Page) -> None:
    values = page.told.values
    if "allergy.list" in values:
        _write_rows(page, "AllergyIntolerance", "allergy.list", _ALLERGEN, _listed_allergy)
    if "allergy.any" in values:
        _write_any_allergy(page)


def allergy_keys(patient_id: str, value: Value) -> set[str]:
    """Where the rows of an allergy list lie among the resources."""
    roles = (f"AllergyIntolerance/allergy.list/{key}" for key, _ in _rows(value, _ALLERGEN))
    return {f"AllergyIntolerance/{resource_id(patient_id, role)}" for role in roles}


def _rows(value: Value, names: tuple[str, ...]) -> Rows:
    """The rows of a list by a key that outlives spelling and order; a name told twice counts up."""
    told = value.get("value")
    rows: Rows = []
    seen: dict[str, int] = {}
    for row in told if isinstance(told, list) else ():
        if isinstance(row, str):
            row = {names[0]: row}
        name = part(row, *names)
        if not isinstance(name, str) or not clean(name):
            continue
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        seen[key] = times = seen.get(key, 0) + 1
        rows.append((key if times == 1 else f"{key}#{times}", row))
    return rows


def _write_rows(
    page: Page,
    kind: str,
    field: str,
    names: tuple[str, ...],
    tell: Callable[[Page, str, dict[str, Any], bool], Resource],
) -> None:
    done: set[str] = set()
    for key, row in _rows(page.told.values[field], names):
        done.add(key)
        page.add(kind, f"{field}/{key}", tell(page, field, row, False))
    for former in page.history(field):
        for key, row in _rows(former, names):
            if key not in done:
                done.add(key)
                page.add(kind, f"{field}/{key}", tell(page, field, row, True))


def _text(row: Any, *names: str) -> str:
    found = part(row, *names)
    return clean(found) if isinstance(found, str) else clean(str(found)) if found is not None else ""


def _named(row: dict[str, Any], names: tuple[str, ...]) -> Resource:
    rxcui = part(row, "rxcui", "rxnorm", "code")
    named: Resource = {"text": _text(row, *names)}
    if rxcui is not None and str(rxcui).isascii() and str(rxcui).isdigit():
        named["coding"] = [{"system": RXNORM, "code": str(rxcui)}]
    return named


def _statement(page: Page, field: str, status: str, medicine: Resource) -> Resource:
    answers, authored = page.origin(field)
    told: Resource = {
        "status": status,
        "medicationCodeableConcept": medicine,
        "subject": page.patient,
        "dateAsserted": authored,
        "informationSource": page.patient,
    }
    if answers:
        told["derivedFrom"] = [answers]
    return told


def _medicine(page: Page, field: str, row: dict[str, Any], retracted: bool) -> Resource:
    told = _statement(page, field, "entered-in-error" if retracted else "active", _named(row, _MEDICINE))
    dosage = " ".join(t for name in ("dose", "strength", "frequency", "route") if (t := _text(row, name)))
    if dosage:
        told["dosage"] = [{"text": dosage}]
    return told


def _write_glp1(page: Page, field: str) -> None:
    chart = page.told
    use = told_codes(chart.values[field])
    status = _GLP1_STATUS.get(use[0], "completed") if use else "entered-in-error"
    if not use and not any(told_codes(former) for former in page.history(field)):
        return
    product = chart.get("med.glp1_product")
    medicine = _UNNAMED_GLP1
    key = product if isinstance(product, str) else part(product, "product", "product_key", "name")
    if isinstance(key, str) and clean(key):
        known = page.tables.contract.products.get(key, {})
        words = known.get("brand") or clean(key)
        medicine = concept(f"{CODE_SYSTEM}:product", code_token(key), words)
    told = _statement(page, field, status, medicine)
    source = chart.get("med.glp1_source")
    if isinstance(source, str):
        told["category"] = page.tables.concept("med.glp1_source", source)
    elif why := ABSENT_CONCEPT.get(chart.state("med.glp1_source")):
        told["category"] = why
    last = chart.get("med.glp1_last_dose")
    if isinstance(last, str):
        if status == "active":
            told["note"] = [{"text": f"Last dose told: {last}"}]
        else:
            told["effectivePeriod"] = {"end": last}
    elif status == "completed" and (state := chart.state("med.glp1_last_dose")) in ABSENT:
        told["effectivePeriod"] = {"_end": ABSENT_ELEMENT[state]}
    if dose := _text(product, "dose"):
        told["dosage"] = [{"text": f"{dose} {_text(product, 'dose_unit')}".strip()}]
    page.add("MedicationStatement", field, told)


def _write_prior(page: Page, field: str) -> None:
    done: set[str] = set()
    for value, status in [(page.told.values[field], "completed")] + [
        (former, "entered-in-error") for former in page.history(field)
    ]:
        for code in told_codes(value):
            if code not in done:
                done.add(code)
                told = _statement(page, field, status, page.tables.concept(field, code))
                page.add("MedicationStatement", f"{field}/{code}", told)


def _allergy(page: Page, field: str, code: Resource, retracted: bool) -> Resource:
    _, authored = page.origin(field)
    told: Resource = {
        "verificationStatus": _ERROR if retracted else _UNCONFIRMED,
        "code": code,
        "patient": page.patient,
        "recordedDate": authored,
        "recorder": page.patient,
        "asserter": page.patient,
    }
    if not retracted:
        told["clinicalStatus"] = _ALLERGY_ACTIVE
    return told


def _listed_allergy(page: Page, field: str, row: dict[str, Any], retracted: bool) -> Resource:
    told = _allergy(page, field, _named(row, _ALLERGEN), retracted)
    reaction, severity = _text(row, "reaction"), _text(row, "severity").lower()
    if reaction or severity in _SEVERITIES:
        episode: Resource = {"manifestation": [{"text": reaction} if reaction else _UNTOLD]}
        if severity in _SEVERITIES:
            episode["severity"] = severity
        told["reaction"] = [episode]
    return told


def _write_any_allergy(page: Page) -> None:
    """Says that there is none, or that there is one nobody named; the list, where there is one, says it better. That
    there is none is taken back where a provider found one: the two beside each other would hide it."""
    field, chart = "allergy.any", page.told
    code = _unlisted(chart.values, field)
    if code is not None:
        found = _rows(page.chart.values.get("allergy.list", {}), _ALLERGEN)
        page.add("AllergyIntolerance", field, _allergy(page, field, code, code is _NO_ALLERGY and bool(found)))
        return
    said = [c for s in chart.counted[::-1] if (c := _answer(s.values, field)) is not None]
    if said and any(_may_have_stood(s.values, field) for s in chart.counted):
        page.add("AllergyIntolerance", field, _allergy(page, field, said[0], True))


def _may_have_stood(values: Any, field: str) -> bool:
    """Whether, before other submissions came, this one let a bare yes or no be written."""
    listed = values.get("allergy.list")
    if listed is None or listed.get("null") == "absent":
        return _answer(values, field) is not None
    return not _rows(listed, _ALLERGEN)


def _answer(values: Any, field: str) -> Resource | None:
    answer = values[field].get("value") if field in values else None
    return {"no": _NO_ALLERGY, "yes": _UNNAMED}.get(answer) if isinstance(answer, str) else None


def _unlisted(values: Any, field: str) -> Resource | None:
    """What to write of the bare answer, where no list says it better."""
    return None if _rows(values.get("allergy.list", {}), _ALLERGEN) else _answer(values, field)
