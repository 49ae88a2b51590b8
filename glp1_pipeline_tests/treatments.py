"""Messages about treatments, as EHR, pharmacy and portal send them: for tests.

Not here: any expectation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 5, 5, 15, tzinfo=UTC)
SBD = {0.25: "2553506", 0.5: "2553603", 1.0: "2553803", 1.7: "2553903", 2.4: "2554104"}
EMITTERS = {"dispensed": "pharmacy", "shipment_exception": "pharmacy", "dose_reported": "intake"}


def at(day: float) -> str:
    return (BEGAN + timedelta(days=day)).isoformat()


def message(kind: str, day: float, name: str, account: str = "canary-0000001", **data: Any) -> dict[str, Any]:
    """A CloudEvent `medication.<kind>` of that day of the treatment, by whoever sends such."""
    emitter = EMITTERS.get(kind, "ehr")
    source, subject = {
        "intake": ("/intake/web", account),
        "ehr": ("/ehr/clinic", f"Patient/{account}"),
        "pharmacy": ("/pharmacy/mail-order", f"rx-{account}"),
    }[emitter]
    return {
        "specversion": "1.0",
        "type": f"medication.{kind}",
        "source": source,
        "id": f"{account}/{name}",
        "subject": subject,
        "time": at(day),
        "data": {"identifiers": [{"system": "intake-account:/intake/web", "value": account}], **data},
    }


def ordered(day: float, mg: float, name: str = "", product: str = "wegovy_inj", **more: Any) -> dict[str, Any]:
    name = name or f"order-{day:g}-{mg:g}"
    codes = {"codes": {"rxcui": SBD[mg]}} if product == "wegovy_inj" and mg in SBD else {}
    told = {"medication_request_ref": name, "product_key": product, "dose": {"mg": mg}, "authored_at": at(day), **codes}
    return message("ordered", day, name, **{**told, **more})


def dispensed(day: float, mg: float, name: str = "", product: str = "wegovy_inj", **more: Any) -> dict[str, Any]:
    name = name or f"dispense-{day:g}-{mg:g}"
    told = {
        "dispense_ref": name,
        "product_key": product,
        "dose": {"mg": mg},
        "quantity": {"value": 4, "unit": "pen"},
        "days_supply": 28,
        "when_handed_over": at(day),
    }
    return message("dispensed", day, name, **{**told, **more})


def taken(day: float, mg: float, product: str = "wegovy_inj", **more: Any) -> dict[str, Any]:
    told = {"product_key": product, "dose": {"mg": mg}, "taken_at": at(day), **more}
    return message("dose_reported", day, f"taken-{day:g}-{mg:g}-{product}", **told)


def said(kind: str, day: float, product: str = "wegovy_inj", **more: Any) -> dict[str, Any]:
    """paused, resumed or stopped."""
    told = {"product_key": product, "reason_code": "tolerability", **more}
    return message(kind, day, f"{kind}-{day:g}-{product}", **told)


def let_through(day: float, order: str, *rules: str, **more: Any) -> dict[str, Any]:
    """A provider's override of a refused order."""
    told = {
        "medication_request_ref": order,
        "rules": list(rules),
        "reason_code": "PRIOR_THERAPY_DOCUMENTED",
        "text": "records of the former clinic show the dose",
        "actor": "provider-7",
        "role": "provider",
        **more,
    }
    return message("order_overridden", day, f"let-{day:g}-{order}-{'-'.join(rules)}", **told)


def resource(content: dict[str, Any], day: float, version: str = "1") -> dict[str, Any]:
    """What the EHR tells of one of its own resources, in a version."""
    kind, remote_id = content["resourceType"], content["id"]
    data = {"resource_type": kind, "resource_id": remote_id, "version": version, "resource": content}
    name = f"{kind}/{remote_id}/_history/{version}"
    return {**message("ordered", day, name), "type": "chart.updated", "data": data}


def request(mg: float, status: str = "active", **more: Any) -> dict[str, Any]:
    """An order as it stands in the EHR."""
    quantity = {"value": mg, "system": "http://unitsofmeasure.org", "code": "mg"}
    return {
        "resourceType": "MedicationRequest",
        "id": "rx1",
        "status": status,
        "intent": "order",
        "authoredOn": at(0),
        "medicationCodeableConcept": {"coding": [{"system": "urn:glp1-pipeline:code:product", "code": "wegovy_inj"}]},
        "dosageInstruction": [{"doseAndRate": [{"doseQuantity": quantity}]}],
        **more,
    }
