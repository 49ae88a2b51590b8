"""A request that reached the provider's queue, as a MedicationRequest of intent `proposal`: never an order.

Each time that a request reaches the queue is a proposal of its own, since one that was cancelled does not come back to
life. Here: how one looks. Not here: what is decided (`refill`); an order is written by a provider, in the EHR.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ..contract import Contract
from ..fhir import Resource
from ..fhir.elements import ASSEMBLER, CODE_SYSTEM, RXNORM, UCUM, code_token, instant_utc
from ..medication.resources import OUR_INTENT
from ..refill import Inputs, Made, Refill
from .desk import PROPOSAL, REFILL_SYSTEM, Desk, Role

QUEUE = "provider_queue"
_NEVER_AN_ORDER = "A proposal of the pipeline to a provider, never an order."
_RHYTHM = {1: "once a day", 7: "once a week"}


class Stay(NamedTuple):
    """A request in the provider's queue, from a decision until the next that says otherwise."""

    since: datetime
    made: Made
    """The newest decision of it."""
    is_over: bool
    """Whether the request was decided otherwise since."""


def stays(one: Refill) -> list[Stay]:
    found: list[Stay] = []
    is_queued = False
    for made in one.made:
        if made.decision.outcome == QUEUE:
            since = found.pop().since if is_queued else made.as_of
            found.append(Stay(since, made, False))
        elif is_queued:
            found[-1] = found[-1]._replace(is_over=True)
        is_queued = made.decision.outcome == QUEUE
    return found


def proposal_role(refill_id: str, n: int) -> Role:
    return PROPOSAL, f"refill/{refill_id}" if n == 1 else f"refill/{refill_id}/{n}"


def write_proposals(desk: Desk, one: Refill) -> None:
    found = stays(one)
    for role, stay in zip(desk.roles(proposal_role, one.refill_id, len(found)), found, strict=False):
        _write(desk, desk.add(*role), one, stay)


def _write(desk: Desk, made: Resource, one: Refill, stay: Stay) -> None:
    contract, inputs = desk.contract, stay.made.inputs
    made["identifier"].append({"system": REFILL_SYSTEM, "value": one.refill_id})
    made["status"] = _status(one, stay)
    made["intent"] = OUR_INTENT
    mg = _number(inputs, "dose_mg")
    made["medicationCodeableConcept"] = medicine(contract, one.product, mg)
    made["subject"] = desk.patient
    if answers := desk.answers(inputs):
        made["supportingInformation"] = answers
    made["authoredOn"] = instant_utc(stay.since)
    made["requester"] = ASSEMBLER
    made["note"] = [{"text": _note(contract, stay.made)}]
    if mg is not None:
        made["dosageInstruction"] = [_dosage(desk, one, inputs, mg)]
    if days := _number(inputs, "supply_days"):
        duration = {"value": days, "unit": "days", "system": UCUM, "code": "d"}
        made["dispenseRequest"] = {"expectedSupplyDuration": duration}


def _status(one: Refill, stay: Stay) -> str:
    if stay.is_over:
        return "cancelled"
    if one.is_open:
        return "active"
    return "completed" if one.status in ("approved", "dispensed") else "cancelled"


def medicine(contract: Contract, product: str, mg: float | None) -> Resource:
    """Our own product, and the brand's code of the dose where the ladder has one."""
    steps = contract.dose_ladders.get(product, ())
    code = next((s["rxcui_sbd"] for s in steps if mg is not None and abs(float(s["dose"]) - mg) < 1e-6), "")
    coding = [{"system": RXNORM, "code": code}] if code else []
    coding.append({"system": CODE_SYSTEM + ":product", "code": code_token(product)})
    brand = contract.products.get(product, {}).get("brand") or product
    return {"coding": coding, "text": brand if mg is None else f"{brand} {mg:g} mg"}


def _dosage(desk: Desk, one: Refill, inputs: Inputs, mg: float) -> Resource:
    product = desk.contract.medication.products.get(one.product)
    words = f"{mg:g} mg"
    if product is not None and product.is_compounded:  # without volume and concentration a tenfold error would hide
        words += _volume(desk, inputs)
    if product is not None:
        words += f", {_RHYTHM.get(product.interval_days, f'every {product.interval_days} days')}"
    quantity = {"value": mg, "unit": "mg", "system": UCUM, "code": "mg"}
    return {"text": words, "doseAndRate": [{"doseQuantity": quantity}]}


def _volume(desk: Desk, inputs: Inputs) -> str:
    """Of the order that the dose comes from."""
    ordered = inputs["dose_mg"].get("event_id")
    facts = (fact for course in desk.known.courses for fact in course.orders if fact.event_id == ordered)
    fact = next((fact for fact in facts if fact.ml and fact.mg_per_ml), None)
    return "" if fact is None else f" = {fact.ml:g} mL of {fact.mg_per_ml:g} mg/mL"


def _note(contract: Contract, made: Made) -> str:
    decision, rules = made.decision, contract.refills.by_name
    said = [rules[decision.rule].description]
    if decision.proposal:
        said.append(f"Proposed: {contract.proposals[decision.proposal]}")
    said += [f"Also: {rules[name].description}" for name, _ in decision.also]
    said += [f"Let through by an override: {rules[name].description}" for name, _ in decision.overridden]
    return " ".join((*said, _NEVER_AN_ORDER))


def _number(inputs: Inputs, name: str) -> float | None:
    value = inputs.get(name, {}).get("value")
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
