"""What an event says of a treatment: from a message of ours, or from a FHIR resource, into one fact.

Total: no content makes it raise. What cannot be used is kept with the name of the reason.
Here: the messages `medication.*`, and which FHIR resource says what. Not here: FHIR's own elements (`resources`), which
product a code names (`doses`), and what follows for the patient (`fold`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..contract import Contract
from ..events import Change
from ..events.medication import OVERRIDDEN, RESOURCES
from ..events.refill import SPEAKERS
from ..medication_model import MedicationRules
from .doses import Amount, Named, resolve
from .facts import Fact, Kind
from .overrides import word_on
from .raw import Raw, number, part, text
from .resources import is_ours, of_resource

KIND_OF: Mapping[str, Kind] = {
    "medication.ordered": "ordered",
    "medication.dispensed": "dispensed",
    "medication.shipment_exception": "lost",
    "medication.dose_reported": "taken",
    "medication.paused": "paused",
    "medication.resumed": "resumed",
    "medication.stopped": "stopped",
}
OF_A_DOSE, OF_A_WHOLE_ONE = ("ordered", "planned"), ("ordered", "planned", "dispensed")
"""Kinds that say nothing without a dose; and without mass, concentration and volume, where it is compounded."""
PAST = ("ordered", "dispensed", "taken")
A_DAY = timedelta(days=1)
NOON = timedelta(hours=12)


def told(contract: Contract, change: Change) -> Fact | None:
    """The fact in a change, without its event's id; None where it speaks of no GLP-1 treatment."""
    if change.is_deleted and change.kind in RESOURCES:
        return None if is_ours(change.content) else _taken_back(change)
    if change.kind == OVERRIDDEN:
        said = change.content
        ref, rules, role = said["medication_request_ref"], tuple(said["rules"]), said["role"]
        return word_on(contract, ref, rules, said["reason_code"], role, change.actor, change.seen_at)
    kind = KIND_OF.get(change.kind)
    resource = change.content.get("resource") if kind else change.content
    if kind is None and not (change.system == "ehr" and change.kind in RESOURCES):
        return None
    if isinstance(resource, Mapping):
        ref = f"{resource.get('resourceType')}/{text(resource, 'id') or change.remote_id}"
        raw = of_resource(contract.medication, resource, ref)
        if raw is None:
            return None
        if kind is not None:
            raw.ref = _ref(kind, change.content) or raw.ref
    else:
        raw = _of_message(kind or "listed", change.content)
    return _fact(contract.medication, raw, change)


def _taken_back(change: Change) -> Fact:
    """A resource that was deleted: nothing of what it said stands, whatever that was."""
    seen = change.seen_at.astimezone(UTC)
    kind: Kind = {"MedicationDispense": "dispensed", "MedicationRequest": "ordered"}.get(change.kind, "listed")  # type: ignore[assignment]
    return Fact(kind, seen, seen, ref=f"{change.kind}/{change.remote_id}", status="entered-in-error", source="ehr")


def _of_message(kind: Kind, data: Mapping[str, Any]) -> Raw:
    codes, dose = part(data, "codes"), part(data, "dose")
    quantity = part(data, "quantity")
    at = next(
        (t for key in ("when_handed_over", "taken_at", "effective_at", "authored_at") if (t := data.get(key))), None
    )
    return Raw(
        kind="planned" if kind == "ordered" and data.get("intent") in ("plan", "proposal") else kind,
        ref=_ref(kind, data),
        at=at,
        shipped_at=data.get("shipped_at"),
        named=Named(
            text(data, "product_key"),
            tuple(filter(None, (text(codes, "rxcui"),))),
            tuple(filter(None, (text(codes, "ndc"), text(data, "ndc")))),
            text(data, "text"),
        ),
        amount=Amount(*(number(dose.get(key)) for key in ("mg", "ml", "mg_per_ml", "units"))),
        status=text(data, "status") or "active",
        days=number(data.get("days_supply")),
        refills=data.get("refills"),
        quantity=number(quantity.get("value")),
        unit=text(quantity, "unit"),
        order_ref=text(data, "order_ref"),
        keeps_dose=data.get("keeps_dose") is True,
        replaces=text(data, "replaces"),
        missed=data.get("doses_missed"),
    )


def _fact(rules: MedicationRules, raw: Raw, change: Change) -> Fact | None:
    dose = resolve(rules, raw.named, raw.amount, raw.kind in OF_A_DOSE, raw.kind in OF_A_WHOLE_ONE)
    if not dose.is_glp1 and change.kind not in KIND_OF:
        return None  # another medicine of the chart's; a message of ours that names none is shown to people
    held = "" if raw.kind == "lost" else dose.held
    seen = change.seen_at.astimezone(UTC)
    at, is_estimated = seen, False
    if raw.at is not None:
        at = instant(raw.at) or seen
        held = held or ("" if instant(raw.at) else "time_unreadable")
    elif raw.shipped_at is not None and (shipped := instant(raw.shipped_at)):
        at, is_estimated = shipped + timedelta(days=rules.shipped_after_days), True
    if raw.kind in PAST and at > seen + A_DAY and raw.at is not None:
        at, held = seen, held or "time_unreadable"
    return Fact(
        kind=raw.kind,
        at=at,
        seen_at=seen,
        ref=raw.ref[:255],
        product=dose.product,
        mg=dose.mg,
        mg_per_ml=dose.mg_per_ml,
        ml=dose.ml,
        status="entered-in-error" if change.is_deleted else _status(raw),
        days=raw.days,
        refills=raw.refills if isinstance(raw.refills, int) and not isinstance(raw.refills, bool) else 0,
        quantity=raw.quantity,
        unit=raw.unit.lower()[:20],
        order_ref=raw.order_ref[:255],
        keeps_dose=raw.keeps_dose,
        replaces=raw.replaces if raw.replaces in rules.products else "",
        is_estimated=is_estimated,
        missed=raw.missed if isinstance(raw.missed, int) and 0 <= raw.missed < 1000 else None,
        source=SPEAKERS.get(change.system, change.system),
        held=held,
    )


def _status(raw: Raw) -> str:
    return (HAND_OVER if raw.kind == "dispensed" else STATUS).get(raw.status, "draft")


STATUS = {
    "active": "active", "completed": "over", "not-taken": "over", "on-hold": "on-hold", "stopped": "stopped",
    "cancelled": "stopped", "entered-in-error": "entered-in-error",
}  # fmt: skip
"""FHIR's statuses of orders and statements -> what they mean here; any other is a draft, and says nothing."""
NEVER = "entered-in-error"
HAND_OVER = {
    "active": "active", "completed": "active", "cancelled": NEVER, "declined": NEVER, "stopped": NEVER, NEVER: NEVER
}  # fmt: skip
"""Those of hand-overs: what is being prepared is none yet, and what was called off never was."""


def instant(raw: Any) -> datetime | None:
    """UTC. Of a date alone its noon, which is that day in most of the world."""
    if not isinstance(raw, str):
        return None
    try:
        at = datetime.fromisoformat(raw)
        if not 2000 <= at.year < 2100:
            return None
        if len(raw) == 10:
            return at.replace(tzinfo=UTC) + NOON
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _ref(kind: Kind, data: Mapping[str, Any]) -> str:
    return text(data, "medication_request_ref" if kind in ("ordered", "planned", "stopped") else "dispense_ref")
