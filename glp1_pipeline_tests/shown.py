"""One patient and the EHR that hears of them, in memory: what it was told, write by write.

Every write is read strictly, and by two other readers of FHIR. Not here: any expectation of a test, and a real EHR
(`circle`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import fhirkit
import orjson
from fhir.resources.R4B import get_fhir_model_class

from glp1_pipeline.domain.charting import PatientOutcome
from glp1_pipeline.domain.refill import Tick
from glp1_pipeline_tests.fhir_rules import problems, references
from glp1_pipeline_tests.one_patient import Patient

Resource = dict[str, Any]


@dataclass
class Shown(Patient):
    """A patient whose writes arrive."""

    there: dict[str, Resource] = field(default_factory=dict)
    writes: list[dict[str, Resource]] = field(default_factory=list)
    """Of each write what it said, without its provenance."""
    rung: list[Tick] = field(default_factory=list)
    """All moments that the clock reached."""

    def __post_init__(self) -> None:
        self.known.sent = lambda _: self.there

    def ring(self, until: datetime) -> list[Tick]:
        now = super().ring(until)
        self.rung += now
        return now

    def hear(self, *events: dict[str, Any]) -> PatientOutcome:
        outcome = super().hear(*events)
        if outcome.write is not None:
            self.arrive(orjson.loads(outcome.write.body))
        return outcome

    def arrive(self, bundle: Resource) -> None:
        resources = {entry["request"]["url"]: entry["resource"] for entry in bundle["entry"]}
        self.there |= resources
        self.writes.append({key: one for key, one in resources.items() if not key.startswith("Provenance/")})
        for key, resource in resources.items():
            assert problems(resource) == [], key
            assert {*references(resource)} <= self.there.keys(), key
            get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert [issue.path for issue in fhirkit.validate(bundle) if issue.severity == "error"] == []

    def all(self, kind: str) -> list[Resource]:
        """What the EHR holds of a type, in the order in which it was told first."""
        return [one for key, one in self.there.items() if key.startswith(f"{kind}/")]

    def only(self, kind: str) -> Resource:
        (found,) = self.all(kind)
        return found
