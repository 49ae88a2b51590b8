"""Messages about check-ins and refills, as portal, pharmacy and EHR send them: for tests.

Not here: any expectation; what is told of treatments (`treatments`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from glp1_pipeline_tests.sample_inputs import clean_submission
from glp1_pipeline_tests.treatments import BEGAN, at, message

SYMPTOMS = (
    "severe_abdominal_pain", "vomiting_24h", "jaundice", "allergic_reaction", "neck_mass", "vision_change", "suicidal",
)  # fmt: skip
WHOLE: dict[str, Any] = {
    "anthro.weight": {"value": 104.0, "unit": "kg"},
    "checkin.doses_taken": 4,
    "checkin.doses_missed": 0,
    "checkin.side_effects": "none",
    **{f"checkin.{symptom}": "no" for symptom in SYMPTOMS},
    "checkin.new_conditions": "none",
    "checkin.new_medicines": "none",
    "checkin.surgery_planned": "no",
    "checkin.address_unchanged": "yes",
    "checkin.wants": "same_dose",
    "preg.status": "no",
}
"""A check-in that tells all that a refill asks for and nothing that stands against it, but for its days."""


def day(number: float) -> str:
    return (BEGAN + timedelta(days=number)).date().isoformat()


def checkin(on: float, name: str = "", account: str = "canary-0000001", **answers: Any) -> dict[str, Any]:
    """A whole check-in of that day; an answer given as None is left out. Questions may be named without their prefix."""
    told = {**WHOLE, "anthro.weight_measured_at": day(on), "checkin.last_dose_on": day(on - 2)}
    for question, answer in answers.items():
        known = {"weight": "anthro.weight", "weighed_on": "anthro.weight_measured_at", "pregnant": "preg.status"}
        told[known.get(question, f"checkin.{question}")] = answer
    name = name or f"checkin-{on:g}"
    event = message("dose_reported", on, name, account)
    data = {
        "submission_id": f"{account}-{name}",
        "form_id": "glp1-checkin",
        "form_version": "1.0.0",
        "authored_at": at(on),
        "time_zone": "America/Chicago",
        "channel": "app",
        "answers": {question: answer for question, answer in told.items() if answer is not None},
    }
    return {**event, "type": "followup.completed", "data": data}


def requested(on: float, name: str = "", account: str = "canary-0000001", **more: Any) -> dict[str, Any]:
    name = name or f"request-{on:g}"
    event = message("dose_reported", on, name, account, refill_id=name, product_key="wegovy_inj", **more)
    return {**event, "type": "refill.requested"}


def by_provider(kind: str, on: float, name: str = "", account: str = "canary-0000001", **data: Any) -> dict[str, Any]:
    """refill.approved, refill.denied, refill.overridden, flag.resolved."""
    event = message("ordered", on, name or f"{kind}-{on:g}", account, **data)
    return {**event, "type": kind}


def overridden(on: float, refill_id: str, rules: list[str], days: float = 30, **more: Any) -> dict[str, Any]:
    told = {
        "refill_id": refill_id,
        "rules": rules,
        "reason_code": "ASSESSED_PATIENT",
        "text": "seen by video, belly soft, eating well",
        "expires_at": at(on + days),
        "actor": "provider-7",
        "role": "provider",
        **more,
    }
    return by_provider("refill.overridden", on, **told)


def intake(account: str = "canary-0000001", **overrides: Any) -> dict[str, Any]:
    """The intake of a patient whose treatment begins some days later: past the gate, without a flag."""
    n = int(account.rpartition("-")[2])
    return clean_submission(
        n,
        **{
            "subject": account,
            "time": at(-10),
            "authored_at": at(-10),
            "received_at": at(-10),
            "time_zone": "America/Chicago",
            "anthro.weight": {"value": 106.0, "unit": "kg"},
            "anthro.weight_measured_at": day(-12),
            **overrides,
        },
    )
