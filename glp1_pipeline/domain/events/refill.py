"""Events about check-ins, refills and flags: what was asked for, decided, overridden and resolved, until when a payer
authorized it, and what the patient's own clock reached.

Here: whose it is, that what may stand in a log is a token, and whether whoever overrides may. Not here: the envelope
(`envelope`), the answers of a check-in (`followup.reading`), and what follows for a refill (`domain.refill`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ..contract import PIPELINE, Contract
from ..refill_model import ADDRESS_CHANGED
from .changes import read_actor, read_identifiers, read_record
from .overriding import are_names, read_reason
from .shapes import Change, Refused, read_day, read_time, read_token

CHECKIN = "followup.completed"
SPEAKERS = {"intake-account": "portal"}
"""System of an identifier -> who speaks, where it is another. Not `intake`: that is who submits the form."""
SYSTEMS = {"intake": "intake-account"}
"""Emitter -> system of the identifier that it knows the person by, where that is not its own name."""
AUTHORIZATION = "pa."
RESOLUTIONS = ("refuted", "confirmed")
TOKENS = (
    "refill_id", "product_key", "reason_code", "flag_id", "of", "name", "role", "medication_request_ref", "pa_id",
    "outcome", "valid_to",
)  # fmt: skip
APPROVED = ("approved", "partial")
"""Outcomes of a prior authorization that a treatment goes on by."""
BY_FLAG = ("red_flag", "red_symptom", "administrative")
"""Rules that hold for flags: an override names those that it means, so that a later one is not let through."""


def is_refill(kind: str) -> bool:
    return kind.startswith(("refill.", "flag.", AUTHORIZATION)) or (kind.startswith("followup.") and kind != CHECKIN)


def read_refill(
    contract: Contract, kind: str, source: str, data: dict[str, Any], event_id: str, seen_at: datetime
) -> Change:
    for key in TOKENS:
        if data.get(key) is not None:
            read_token(data[key], f"data.{key}", "wrong_shape")
    system = contract.event_types[kind].emitter_of(source)
    if system == PIPELINE:
        read_time(data["at"], "data.at")
    if kind == "refill.overridden":
        check_override(contract, data, seen_at)
    if kind == "flag.resolved":
        check_resolution(contract, data)
    if kind.startswith(AUTHORIZATION):
        check_authorization(contract, data)
    record_id = data.get("record_id")
    return Change(
        system=SYSTEMS.get(system, system),
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


def check_resolution(contract: Contract, data: dict[str, Any]) -> None:
    if data["flag_id"] not in contract.flags:
        raise Refused("wrong_shape", "`data.flag_id` must name a flag of contracts/flags.csv")
    if data["resolution"] not in RESOLUTIONS:
        raise Refused("wrong_shape", f"`data.resolution` must be one of {', '.join(RESOLUTIONS)}")


def check_authorization(contract: Contract, data: dict[str, Any]) -> None:
    if contract.medication.family_of(data["product_key"]) is None:
        raise Refused("wrong_shape", "`data.product_key` must name a product of contracts/products.csv")
    if data["outcome"] not in APPROVED:
        raise Refused("wrong_shape", f"`data.outcome` must be {' or '.join(APPROVED)}: no other is read yet")
    read_day(data["valid_to"], "data.valid_to")


def check_override(contract: Contract, data: dict[str, Any], said_at: datetime) -> None:
    """Raises Refused for an override that nobody, or nobody of this role, may make."""
    reason = read_reason(contract, data)
    expires_at = read_time(data["expires_at"], "data.expires_at")
    if not said_at < expires_at <= said_at + timedelta(days=reason.max_days):
        raise Refused("not_allowed", f"`data.expires_at` must be within {reason.max_days} days, for this reason")
    names, flags = data["rules"], data.get("flags", [])
    if not are_names(names) or not names or not are_names(flags):
        raise Refused("wrong_shape", "`data.rules` and `data.flags` must be lists of names")
    for name in names:
        rule = contract.refills.by_name.get(name)
        if rule is None:
            raise Refused("wrong_shape", "`data.rules` must name rules of contracts/refills.yaml")
        if reason.reason_class not in rule.overridden_by:
            whose = ", ".join(rule.overridden_by) or "nobody"
            raise Refused("not_allowed", f"rule {name} may be overridden for reasons of class: {whose}")
        if name in BY_FLAG and not flags:
            raise Refused("wrong_shape", f"rule {name} holds for flags: `data.flags` must name those that are meant")
    for flag in flags:
        if flag not in contract.flags and flag != ADDRESS_CHANGED:
            raise Refused("wrong_shape", f"`data.flags` must name flags of contracts/flags.csv, or {ADDRESS_CHANGED}")
        if is_closed(contract, flag):
            raise Refused("not_allowed", f"nobody may override {flag}: a provider may only refute it (flag.resolved)")


def is_closed(contract: Contract, flag: str) -> bool:
    """Whether nobody may override a flag: refills.yaml names it, or its own row says so."""
    if flag == ADDRESS_CHANGED:
        return False
    return flag in contract.refills.never_overridden or contract.flags[flag].override.startswith("none")
