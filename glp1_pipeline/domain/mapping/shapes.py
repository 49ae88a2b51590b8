"""The shape of each field: which reader its answers get, from what the contract says of it.

Here: the choice alone. Not here: the readers (the modules beside), and what needs several answers (`plan`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..contract import Code, Contract, Field
from . import codes, dates, papers, people, quantities, records, rows
from .text import Shape


def shape_of(contract: Contract, field: Field, version: str) -> Shape:
    sets = contract.codes
    nulls = codes.nulls_of(sets["null_answers"])
    if field.may_be_none:
        nulls = dict.fromkeys(sets["no_entries"], "not_applicable") | nulls
    own = sets[field.codes] if field.codes else {}
    boxes = sets["unticked_boxes"]
    match field.type:
        case "code":
            return codes.code_shape(own, nulls, boxes)
        case "codes":
            return codes.codes_shape(own, nulls, boxes)
        case "tri":
            denials = sets["no_entries"] if field.name == "allergy.any" else ()
            return codes.yes_no_shape(sets["yes_no"], nulls, "yes", "no", boxes, denials)
        case "boolean":
            return codes.yes_no_shape(sets["yes_no"], nulls, True, False)
        case "quantity":
            return quantities.Measure(field, own, field.units.get(version)).shape(nulls)
        case "date":
            return dates.date_shape(field.format, nulls)
        case "instant":
            return dates.instant_shape(nulls)
        case "integer":
            return records.number_shape(nulls, field.low, field.high, whole=True)
        case "consent":
            return papers.consent_shape(sets["consent_status"], nulls, needs_version=field.required != "no")
        case "group" | "list" | "attachment":
            return shape_of_parts(contract, field, nulls)
        case "string" | "text":
            return text_shape(contract, field.format, nulls)


def codes_of(contract: Contract, name: str) -> Mapping[str, Code]:
    """A code set; that of products with the RxNorm numbers that name one of them alone."""
    own = contract.codes[name]
    if name != "glp1_products":
        return own
    products = {code.code: code for code in own.values()}
    branded = (drug for drug in contract.medication.codes.values() if drug.kind == "SBD" and len(drug.products) == 1)
    return {drug.rxcui: products[key] for drug in branded for key in drug.products if key in products} | {**own}


def shape_of_parts(contract: Contract, field: Field, nulls: codes.Nulls) -> Shape:
    sets = contract.codes
    shapes = {
        part: codes.code_shape(codes_of(contract, field.part_codes[part]), nulls, sets["unticked_boxes"])
        if part in field.part_codes
        else text_shape(contract, field.part_formats.get(part, ""), nulls)
        for part in field.parts
    }
    parts = records.Parts(field, shapes)
    if field.type == "attachment":
        return papers.attachment_shape(parts, nulls)
    if field.type == "list":
        numbers = contract.medication.codes.keys()
        groups = contract.medication.medicine_groups
        classes = {row.group: row.medicine_class for row in groups if row.medicine_class}
        risky = {word: classes[row.group] for row in groups if row.group in classes for word in row.words}
        named = rows.medicines(sets["medicines"], numbers, risky) if field.format == "medicines" else None
        if field.name == "allergy.list":
            named = rows.allergens(sets["allergens"])
        listed = rows.list_shape(parts, nulls, sets["no_entries"], sets["unticked_boxes"], named)
        return papers.cards_shape(listed) if "sha256" in field.parts else listed
    if field.format == "blood_pressure":
        return records.pressure_shape(parts, nulls)
    return records.group_shape(parts, nulls, records.finish_address if field.format == "address" else None)


def text_shape(contract: Contract, form: str, nulls: codes.Nulls) -> Shape:
    match form:
        case "name":
            return people.name_shape()
        case "phone":
            return people.phone_shape(nulls)
        case "email":
            typos = {spelling: code.code for spelling, code in contract.codes["email_domain_typos"].items()}
            return people.email_shape(nulls, typos)
        case "timezone":
            return people.zone_shape(nulls)
        case "zip" | "bin" | "ncpdp":
            return people.padded_shape(form, nulls)
        case "integer" | "number":
            return records.number_shape(nulls, 0 if form == "number" else None, None, whole=form == "integer")
        case "date":
            return dates.date_shape("", nulls)
        case _:
            return people.text_shape(nulls)
