"""A page: what the writers of resources share while one chart is turned into FHIR.

Here: tables worked out once per contract, the ids of the patient at hand, where each field's answer came from.
Not here: what any resource says.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..chart import Chart, Value
from ..contract import Code, Contract, HistoryAnswer
from ..declared import kept
from .elements import CODE_SYSTEM, LOINC, RESOURCE_SYSTEM, SNOMED, Resource, code_token, ids_of, instant_utc

COMORBIDITIES = "comorbidities"
"""The code set that a condition's code may be borrowed from."""
_KEPT = 10_000
"""Concepts kept for the next chart: all declared ones many times over, and no end of memory for others."""


class Tables:
    """What a contract says, in the form that resources need it."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.codes: dict[str, dict[str, Code]] = {}
        for name, spellings in contract.codes.items():
            by_code = self.codes.setdefault(name, {})
            for entry in spellings.values():
                if entry.code not in by_code or (entry.fhir_code and not by_code[entry.code].fhir_code):
                    by_code[entry.code] = entry
        self.consents = tuple(name for name, field in contract.fields.items() if field.type == "consent")
        self.history = [
            (kind, field, {a: said for a, said in answers.items() if said.resource == kind})
            for kind in ("Condition", "Procedure")
            for field, answers in contract.history.items()
            if any(said.resource == kind for said in answers.values())
        ]
        """What answers become, by field."""
        self._concepts: dict[tuple[str, str], Resource] = {}

    def concept(self, field: str, code: str, said: HistoryAnswer | None = None) -> Resource:
        """A field's code: ours always, the standard one where people declared it.

        That is the one of the field's code set, else of the comorbidity that is the same as what was `said`, else its.
        """
        key = (field, code)
        found = self._concepts.get(key)
        if found is None:
            found = self._concept(field, code, said)
            if len(self._concepts) < _KEPT:
                self._concepts[key] = found
        return found

    def _concept(self, field: str, code: str, said: HistoryAnswer | None) -> Resource:
        declared = self.contract.fields.get(field)
        set_name = (declared.codes if declared else None) or field
        entry = self.codes.get(set_name, {}).get(code)
        if said and said.comorbidity and not (entry and entry.fhir_code):
            entry = self.codes.get(COMORBIDITIES, {}).get(said.comorbidity)
        coding: list[Resource] = []
        is_wider = said is not None and said.equivalence == "narrower"
        if entry and not is_wider and not entry.verify and entry.fhir_code and entry.fhir_system:
            # A code still to be verified is left out: our own code and words say it until people sign the standard one.
            coding.append({"system": entry.fhir_system, "code": entry.fhir_code})
        elif said and said.snomed:
            coding.append({"system": SNOMED, "code": said.snomed})
        coding.append({"system": f"{CODE_SYSTEM}:{set_name}", "code": code_token(code)})
        label = declared.label if declared else field
        words = (said.text if said else "") or (entry.display if entry else "")
        return {"coding": coding, "text": words or f"{label}: {code}"}


@kept
def tables_of(contract: Contract) -> Tables:
    return Tables(contract)


class Page:
    """One chart being written: `out` gathers the resources by Type/id. `chart` is what holds, `told` what the patient
    said: all that is written as reported is made of `told`."""

    __slots__ = ("_ids", "_origins", "chart", "out", "patient", "patient_id", "received", "tables", "told")

    def __init__(self, contract: Contract, chart: Chart, told: Chart) -> None:
        self.tables = tables_of(contract)
        self.chart = chart
        self.told = told
        self.patient_id = chart.patient_id
        self._ids = ids_of(chart.patient_id)
        self.patient: Resource = {"reference": f"Patient/{self._ids('Patient')}"}
        self.out: dict[str, Resource] = {}
        self.received: dict[str, datetime] = {}
        self._origins: dict[str, tuple[Resource | None, str]] = {}
        for report in chart.submissions:
            self.received[report.event_id] = report.received_at
            # The answers of a draft are not written, and another system sent none: nothing may point to them.
            answers = None
            if report.is_submitted:
                answers = self.ref("QuestionnaireResponse", report.submission_id)
            self._origins[report.event_id] = (answers, instant_utc(report.authored_at))

    def origin(self, field: str) -> tuple[Resource | None, str]:
        """The written answers that a told value came from, and when the patient gave them."""
        return self._origins[self.told.sources[field]]

    def received_at(self, field: str) -> datetime | None:
        """When a field's answer came in; None where nobody answered."""
        source = self.chart.sources.get(field)
        return None if source is None or self.chart.state(field) == "absent" else self.received[source]

    def add(self, kind: str, role: str, told: Resource) -> None:
        """Write the resource that plays `role`: what it tells becomes one, with a type and an identity."""
        rid = self._ids(f"{kind}/{role}")
        told["resourceType"] = kind
        told["id"] = rid
        told["identifier"] = [{"system": RESOURCE_SYSTEM, "value": rid}]
        self.out[f"{kind}/{rid}"] = told

    def ref(self, kind: str, role: str) -> Resource:
        return {"reference": f"{kind}/{self._ids(f'{kind}/{role}')}"}

    def history(self, field: str) -> list[Value]:
        """What earlier submissions said of a field, newest first: the source of retractions."""
        return self.told.former.get(field, [])[::-1]


def loinc(code: str, text: str) -> Resource:
    return {"coding": [{"system": LOINC, "code": code}], "text": text}


def part(value: Any, *names: str) -> Any:
    """The first of several spellings of a group's part."""
    if isinstance(value, dict):
        for name in names:
            if (found := value.get(name)) not in (None, ""):
                return found
    return None
