"""A desk: what the writers of this package share while one patient is told of.

Here: ids, references, what was said before and what stays of it. Not here: what any resource says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..contract import Contract
from ..fhir import Resource, patient_key, resource_id, response_key
from ..fhir.elements import RESOURCE_SYSTEM, ids_of
from ..refill import Inputs, Snapshot
from ..told import FOLLOWUP

PROPOSAL, ISSUE, AUDIT, REMINDER = "MedicationRequest", "DetectedIssue", "AuditEvent", "CommunicationRequest"
REFILL_SYSTEM = "urn:glp1-pipeline:refill"
ORDER_SYSTEM = "urn:glp1-pipeline:order"
ACTOR_SYSTEM = "urn:glp1-pipeline:actor"
RULE_SYSTEM = "urn:glp1-pipeline:refill-rule"
Role = tuple[str, str]
"""Type of a resource, and what it plays for the patient."""


class Desk:
    """One patient being told of: `out` gathers the resources by Type/id."""

    def __init__(
        self,
        contract: Contract,
        known: Snapshot,
        planned: Mapping[str, str],
        elsewhere: Mapping[str, Mapping[str, str]],
        shown: frozenset[str],
        is_moved: bool,
    ) -> None:
        self.contract, self.known = contract, known
        self.planned, self.elsewhere = planned, elsewhere
        self.shown, self.is_moved = shown, is_moved
        self.out: dict[str, Resource] = {}
        self.patient: Resource = {"reference": patient_key(known.chart.patient_id)}
        self._ids = ids_of(known.chart.patient_id)
        self._in_question: set[str] = set()
        self._left: set[str] = set()
        self._answers = {
            report.event_id: {"reference": response_key(known.chart.patient_id, report.submission_id)}
            for report in known.chart.submissions
            if report.source == FOLLOWUP and not report.is_draft
        }

    def key(self, kind: str, role: str) -> str:
        return f"{kind}/{self._ids(f'{kind}/{role}')}"

    def is_planned(self, kind: str, role: str) -> bool:
        return self.key(kind, role) in self.planned

    def is_elsewhere(self, kind: str, role: str) -> bool:
        """Whether it was said of another record of the patient."""
        return any(f"{kind}/{resource_id(r, f'{kind}/{role}')}" in keys for r, keys in self.elsewhere.items())

    def add(self, kind: str, role: str) -> Resource:
        """Begin the resource that plays `role`."""
        key = self.key(kind, role)
        rid = key.partition("/")[2]
        made: Resource = {"resourceType": kind, "id": rid}
        if kind != AUDIT:  # it has none in FHIR
            made["identifier"] = [{"system": RESOURCE_SYSTEM, "value": rid}]
        self.out[key] = made
        return made

    def roles(self, role_of: Callable[[str, int], Role], of: str, count: int) -> list[Role]:
        """The first so many roles of a thing, and further ones that it had before: what of them is said no more is
        taken back."""
        while self.is_planned(*role_of(of, count + 1)):
            count += 1
        found = [role_of(of, n) for n in range(1, count + 1)]
        self.question(found)
        return found

    def question(self, roles: Iterable[Role]) -> None:
        """What of these was said and is said no more is taken back."""
        self._in_question |= {self.key(*role) for role in roles}

    def leave(self, kind: str, role: str) -> None:
        """It stays as it was said, whatever else."""
        self._left.add(self.key(kind, role))

    def kept(self) -> set[str]:
        """What stays as it was said: all of these kinds, but for what is in question. Of a patient who is others than
        before everything is in question but what is left on purpose."""
        kinds = (f"{PROPOSAL}/", f"{ISSUE}/", f"{REMINDER}/")
        rest = set() if self.is_moved else {key for key in self.planned if key.startswith(kinds)} - self._in_question
        return (rest | self._left) - self.out.keys()

    def answers(self, inputs: Inputs) -> list[Resource]:
        """The written answers of the check-in that a decision rests on."""
        said = {one.get("event_id") for name, one in inputs.items() if name.startswith("checkin.")}
        return [self._answers[event_id] for event_id in sorted(self._answers.keys() & said)]


def practitioner(actor: str) -> Resource:
    """Who did it, as the source named them: a logical reference, since nobody promises that the EHR knows the name."""
    return {"type": "Practitioner", "identifier": {"system": ACTOR_SYSTEM, "value": actor}}
