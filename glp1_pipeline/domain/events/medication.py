"""Events about a treatment: what was ordered, handed over, taken, held and stopped, by whom; and a refused order that a
provider lets through.

Here: whose it is, that what may stand in a log is a token, and whether whoever overrides may. Not here: the envelope
(`envelope`), and what product and dose it tells of (`domain.medication`): that is the contract's to say, so a replay
after a correction reads it anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..contract import Contract
from .changes import read_actor, read_identifiers, read_record
from .overriding import are_names, read_reason
from .shapes import Change, Refused, read_token

PREFIX = "medication."
OVERRIDDEN = "medication.order_overridden"
SYSTEMS = {"intake": "intake-account", "ehr": "ehr", "pharmacy": "pharmacy"}
"""Emitter -> system of the identifier that it knows the person by; the portal's is the account of the intake form."""
RESOURCES = ("MedicationRequest", "MedicationStatement", "MedicationDispense")
REFERENCES = ("medication_request_ref", "dispense_ref", "product_key", "reason_code", "reason", "taken_at", "role")


def is_medication(kind: str) -> bool:
    return kind.startswith(PREFIX)


def read_medication(contract: Contract, kind: str, data: dict[str, Any], event_id: str, seen_at: datetime) -> Change:
    for key in contract.event_types[kind].data:
        if key in REFERENCES:
            read_token(data.get(key), f"data.{key}", "wrong_shape")
    resource = data.get("resource")
    if resource is not None and not (isinstance(resource, dict) and resource.get("resourceType") in RESOURCES):
        raise Refused("wrong_shape", f"`data.resource` must be one of {', '.join(RESOURCES)}, or be left out")
    if kind == OVERRIDDEN:
        check_order_override(contract, data)
    record_id = data.get("record_id")
    return Change(
        system=SYSTEMS[contract.event_types[kind].emitter],
        kind=kind,
        remote_id=event_id,
        version="1",
        is_deleted=False,
        seen_at=seen_at,
        content=data,
        record_id=None if record_id is None else read_record(record_id, "data.record_id"),
        actor=read_actor(data),
        identifiers=read_identifiers(data.get("identifiers")),
    )


def check_order_override(contract: Contract, data: dict[str, Any]) -> None:
    """Raises Refused for an override of a refused order that nobody, or nobody of this role, may make."""
    reason, rules = read_reason(contract, data), contract.medication
    if data["role"] not in rules.overrides.roles:
        raise Refused("not_allowed", f"a refused order is let through by {', '.join(rules.overrides.roles)} alone")
    if not read_actor(data):
        raise Refused("wrong_shape", "`data.actor` must say who decided")
    if not are_names(data["rules"]) or not data["rules"]:
        raise Refused("wrong_shape", "`data.rules` must be a list of names")
    for name in data["rules"]:
        rule = rules.findings.get(name)
        if rule is None or rule.kind != "move":
            raise Refused(
                "wrong_shape", "`data.rules` must name rules of contracts/medication.yaml that refuse an order"
            )
        if reason.reason_class not in rule.overridden_by:
            whose = ", ".join(rule.overridden_by) or "nobody"
            raise Refused("not_allowed", f"rule {name} may be overridden for reasons of class: {whose}")
