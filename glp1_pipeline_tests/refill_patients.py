"""Patients before a refill is decided, for tests of its rules: what was told of them, and the decision.

Not here: any expectation; messages (`refills`, `treatments`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from glp1_pipeline.domain.refill import Decision
from glp1_pipeline_tests.one_patient import charted
from glp1_pipeline_tests.refills import checkin, day, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, message, ordered, resource

Events = Sequence[dict[str, Any]]
START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
WINDOW = (datetime(2026, 5, 29, 16, tzinfo=UTC) - BEGAN) / timedelta(days=1)
"""Nine in the morning of day 24 in California: three quarters of 28 days are used, and a week of them is left."""


def nausea(severity: str, persistent: str) -> list[dict[str, str]]:
    return [{"symptom": "nausea", "severity": severity, "persistent": persistent}]


def told(**answers: Any) -> Events:
    """Treatment began, a check-in with these answers, then the request."""
    return [*START, checkin(24, **answers), requested(25)]


def on_insulin() -> Events:
    """Treatment of somebody whose HbA1c the program asks for began, and a check-in."""
    takes: dict[str, Any] = {"med.current_list": [{"name": "insulin glargine"}]}
    return [intake(**takes), *START[1:], checkin(24)]


def result(on: float, version: str = "1", code: str = "4548-4", status: str = "final", **said: Any) -> dict[str, Any]:
    """A laboratory result as it stands in the EHR; all of them one resource."""
    content = {
        "resourceType": "Observation",
        "id": "result",
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": at(on),
        "valueQuantity": {"value": 6.9, "unit": "%"},
        **said,
    }
    return resource(content, 24 + int(version) / 10, version)


def authorized(on: float, until: float, pa_id: str = "first", product: str = "wegovy_inj") -> dict[str, Any]:
    """A payer's approval until the end of a day of the treatment."""
    told = {"pa_id": pa_id, "product_key": product, "outcome": "approved", "valid_to": day(until)}
    event = message("dispensed", on, f"{pa_id}-{on:g}", **told)
    return {**event, "type": "pa.decided", "source": "/pa/payer", "subject": "patient-1"}


def decision(events: Events) -> Decision:
    """The last decision on the newest request."""
    patient = charted([events])
    return max(patient.refills.values(), key=lambda one: one.requested_at).decision


def amended(on: float, **answers: Any) -> dict[str, Any]:
    """The patient corrects the intake; questions may be named without their prefix."""
    first = intake()
    told = {"supersedes": first["data"]["submission_id"], "submission_id": f"amended-{on:g}", "answers": answers}
    told |= {"authored_at": at(on), "received_at": at(on)}
    return {**first, "type": "intake.amended", "id": f"amended-{on:g}", "time": at(on), "data": first["data"] | told}


TREATED = {
    "wegovy_inj": (0.25, {"codes": {"rxcui": "2553506"}}),
    "zepbound_pen": (2.5, {"codes": None}),
    "saxenda": (0.6, {"codes": None}),
    "wegovy_tab": (1.5, {"codes": None}),
    "foundayo": (0.8, {"codes": None}),
    "comp_sema": (0.25, {"codes": None, "dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1}}),
}


def treated(product: str, missed: int) -> Events:
    mg, more = TREATED[product]
    start = [ordered(0, mg, product=product, **more), dispensed(3, mg, product=product, quantity=None, **more)]
    asks = {**requested(25), "data": requested(25)["data"] | {"product_key": product}}
    return [intake(), *start, checkin(24, doses_missed=missed), asks]
