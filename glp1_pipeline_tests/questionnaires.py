"""Answers as FHIR QuestionnaireResponses, as other producers than the pipeline send them: for tests.

Independent of the pipeline's own encoder (`domain.fhir.answers`): answers each in the value[x] that fits it, groups as
items of items, rows as items that repeat. Not here: any expectation.
"""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

from hypothesis import strategies as st

from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
FORM = CONTRACT.form_id
REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
REASONS = {"unknown": "asked-unknown", "declined": "asked-declined", "not_applicable": "not-applicable"}
UCUM = "http://unitsofmeasure.org"
AUTHORED = "2026-11-22T10:00:00-06:00"


class Encoder:
    """Our raw answers as items; `choose` picks among the ways that FHIR leaves open."""

    def __init__(self, choose: st.DataObject | None = None) -> None:
        self.choose = choose

    def one_of(self, *ways: Any) -> Any:
        return ways[0] if self.choose is None else self.choose.draw(st.sampled_from(ways))

    def response(
        self, answers: dict[str, Any], version: str, status: str = "completed", form: str = FORM
    ) -> dict[str, Any]:
        items = [item for question, raw in answers.items() for item in self.items(question, raw, kind_of(question))]
        if items and self.one_of(False, True):  # as pages of the form
            cut = len(items) // 2
            name = self.one_of("page-", "1.", "hx.page.")
            pages = [
                {"linkId": f"{name}{n}", "item": page} for n, page in enumerate((items[:cut], items[cut:])) if page
            ]
            items = [{"linkId": self.one_of("form", "1", "hx"), "item": pages}] if self.one_of(False, True) else pages
        details = [
            {"url": "timeZone", "valueString": "America/Chicago"},
            {"url": "receivedAt", "valueDateTime": "2026-11-22T16:00:01Z"},
            {"url": "durationSeconds", "valueInteger": 412},
            {"url": "abVariant", "valueString": "A"},
        ]
        return {
            "resourceType": "QuestionnaireResponse",
            "identifier": {"value": "6a4f2f0e-0000-4000-8000-000000000001"},
            "extension": [{"url": "urn:glp1-pipeline:submission-details", "extension": details}],
            "questionnaire": f"urn:glp1-pipeline:questionnaire:{form}|{version}",
            "status": status,
            "subject": {"identifier": {"value": "canary-account"}},
            "authored": AUTHORED,
            "item": items,
        }

    def items(self, link: str, raw: Any, kind: str) -> list[dict[str, Any]]:
        rows = raw if isinstance(raw, list) else [raw]
        if any(isinstance(row, dict) and not self.is_scalar(row, kind) for row in rows):
            made = []
            for row in rows:
                if isinstance(row, dict) and self.stands_above(link, row) and self.one_of(False, True):
                    main = MAIN[link]
                    below = [
                        part
                        for key, told in row.items()
                        if key != main
                        for part in self.items(f"{link}.{key}", told, "")
                    ]
                    made.append(
                        {"linkId": link, "answer": [self.answer(row[main], "") | ({"item": below} if below else {})]}
                    )
                elif isinstance(row, dict) and not self.is_scalar(row, kind):
                    parts = [part for key, told in row.items() for part in self.items(f"{link}.{key}", told, "")]
                    made.append({"linkId": link, "item": parts} if parts else {"linkId": link})
                else:
                    made.append({"linkId": link, "answer": [self.answer(row, kind)]})
            return made
        answers = [self.answer(row, kind) for row in rows if row is not None]
        return [{"linkId": link, "answer": answers} if answers else {"linkId": link}]

    def stands_above(self, link: str, row: dict[str, Any]) -> bool:
        """Whether one part can be the answer, with the others below it."""
        return isinstance(row.get(MAIN.get(link, "")), str)

    def is_scalar(self, row: dict[str, Any], kind: str) -> bool:
        """What one value[x] can hold."""
        return row.keys() == {"null"} or row.keys() == {"value", "unit"} or kind == "attachment"

    def answer(self, raw: Any, kind: str) -> dict[str, Any]:
        if isinstance(raw, dict):
            return self.structured(raw)
        if isinstance(raw, bool):
            return {"valueBoolean": raw}
        if isinstance(raw, int):
            return {self.one_of("valueInteger", "valueDecimal"): raw}
        if isinstance(raw, float):
            return {"valueDecimal": raw}
        if kind == "date" and is_iso_date(raw):
            return {"valueDate": raw}
        if kind == "instant":
            return {self.one_of("valueDateTime", "valueString"): raw}
        if kind in ("code", "codes", "tri", "consent") and self.one_of(True, False):
            coding = {"system": "urn:canary:answers", "code": raw}
            labels = ({"display": raw}, coding | {"display": raw}, coding | {"display": raw.upper()})
            return {"valueCoding": self.one_of(coding, *labels)}
        return {"valueString": raw}

    def structured(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "null" in raw:
            why = [{"url": REASON, "valueCode": REASONS[raw["null"]]}]
            coding = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": why[0]["valueCode"]}
            ways = ({"extension": why}, {"_valueString": {"extension": why}}, {"valueCoding": coding})
            return self.one_of(*ways, {"valueCoding": coding | {"display": "as they put it"}})
        if "unit" in raw:
            quantity = {"value": raw["value"], "unit": raw["unit"]}
            coded = {"value": raw["value"], "system": UCUM, "code": raw["unit"]}
            return {"valueQuantity": self.one_of(quantity, quantity | coded, coded)}
        named = {"content_type": "contentType", "url": "url"}
        file = {named[key]: part for key, part in raw.items() if key in named}
        file["hash"] = base64.b64encode(bytes.fromhex(raw["sha256"])).decode()
        return {"valueAttachment": file}


MAIN = {
    link: field.lone_part or "status"
    for field in CONTRACT.fields.values()
    for link in (field.name, *field.questions.values())
    if field.lone_part or field.type == "consent"
}
"""Question -> the part that an answer to it is, where the others stand below it."""


def is_iso_date(raw: str) -> bool:
    try:
        return date.fromisoformat(raw).isoformat() == raw
    except ValueError:
        return False


def kind_of(question: str) -> str:
    return next((f.type for v in CONTRACT.form_versions for f in CONTRACT.fields.values()
                 if question in (f.name, f.question(v))), "")  # fmt: skip
