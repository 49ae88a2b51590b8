"""A submission as a QuestionnaireResponse: every answer as it was received.

Here: raw answers by question id, mapped or not, known or not. Not here: what they mean (`mapping`). The bytes
themselves are kept with the event; this is the copy that a chart can show, so what FHIR cannot spell is replaced.

Why there is no value is said so that no reader takes it for an answer: a question that was not asked has no item, one
that was left blank has an item without an answer (an untouched box is a blank, and no `false`), and not knowing, not
saying and not applying are the codes that FHIR has for them, beside the words as typed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from ..contract import Contract, Field, fold
from ..events import Submission
from .elements import ABSENT_SYSTEM, SUBMISSION_SYSTEM, Resource, clean, instant_utc, instant_zoned, resource_id

QUESTIONNAIRE: Final = "urn:glp1-pipeline:questionnaire:"
META_URL: Final = "urn:glp1-pipeline:submission-details"

_REASONS: Final = {
    "unknown": "asked-unknown", "declined": "asked-declined", "not_applicable": "not-applicable", "absent": "",
}  # fmt: skip
_BOXED: Final = ("tri", "code", "codes", "list")
"""Types of fields whose question may be shown as boxes to tick; of a lone box (boolean) false is an answer."""
_LONGEST: Final = 40
"""Longer words are no way to say that there is no value."""
_OWN: Final = {"tri": "yes_no", "boolean": "yes_no", "consent": "consent_status"}
"""Code sets that a field of these types has without naming them."""
_INTEGER: Final = 2**31
_DECIMAL: Final = 10**18
_DEEPEST: Final = 6
"""Levels of nesting that become items; what lies deeper is shown as its JSON text."""
_TOO_DEEP: Final = "[nested too deep to show; kept with the event as received]"


def questionnaire_response(contract: Contract, submission: Submission, patient_id: str) -> Resource:
    patient = {"reference": f"Patient/{resource_id(patient_id, 'Patient')}"}
    version = submission.form_version
    response: Resource = {
        "resourceType": "QuestionnaireResponse",
        "id": resource_id(patient_id, f"QuestionnaireResponse/{submission.submission_id}"),
        "identifier": {"system": SUBMISSION_SYSTEM, "value": submission.submission_id},
        "extension": [{"url": META_URL, "extension": _details(submission)}],
        "questionnaire": f"{QUESTIONNAIRE}{submission.form_id}|{version}",
        "status": _status(submission),
        "subject": patient,
        "authored": instant_zoned(submission.authored_at),
        "author": patient,
        "source": patient,
    }
    questions = _questions(contract, version)
    items: list[Resource] = []
    for question, answer in submission.answers.items():
        asked = questions.get(question)
        if asked is None:
            items += _items(question, answer, submission.submission_id, 1)
            continue
        reason = asked.reason(answer)
        if reason is None:
            made = _items(question, answer, submission.submission_id, 1)
        else:
            made = [_without_value(question, reason, answer)]
        for item in made:
            item["text"] = asked.label
        items += made
    if items:
        response["item"] = items
    return response


class _Question(NamedTuple):
    label: str
    reasons: Mapping[str, str]
    """How people say that there is no value, folded -> the reason's code; empty where it was left blank."""
    has_boxes: bool
    """Whether false is an untouched box."""

    def reason(self, raw: Any) -> str | None:
        """Why an answer is none, or None where it is one."""
        if type(raw) is str:
            found = self.reasons.get(raw)
            if found is None and len(raw) <= _LONGEST and not (raw.islower() and raw.isalpha()):
                found = self.reasons.get(fold(raw))
            return found
        if raw is False or (raw == 0 and type(raw) in (int, float)):
            return "" if self.has_boxes else None
        if type(raw) is dict and len(raw) == 1 and type(kind := raw.get("null")) is str:
            return _REASONS.get(kind)
        return None


_last: tuple[Contract, dict[str, dict[str, _Question]]] | None = None


def _questions(contract: Contract, version: str) -> dict[str, _Question]:
    """Question id -> what is known of it, worked out once per contract."""
    global _last
    kept = _last
    if kept is None or kept[0] is not contract:
        kept = _last = (
            contract,
            {
                v: {contract.fields[name].question(v): _question(contract, contract.fields[name]) for name in names}
                for v, names in contract.asked.items()
            },
        )
    return kept[1].get(version, {})


def _question(contract: Contract, field: Field) -> _Question:
    if field.format == "name":  # there are people called Null, Na and None
        return _Question(field.label, {}, False)
    has_boxes = field.type in _BOXED or field.lone_part in field.part_codes
    boxes = contract.codes["unticked_boxes"].keys() if has_boxes else set()
    own = contract.codes.get(_OWN.get(field.type) or field.codes or "", {}).keys()
    if field.type == "tri":
        own = own - boxes
    nulls = {spelling: _REASONS[code.code] for spelling, code in contract.codes["null_answers"].items()}
    reasons = {spelling: why for spelling, why in (nulls | dict.fromkeys(boxes, "")).items() if spelling not in own}
    return _Question(field.label, reasons, has_boxes)


def _without_value(link_id: str, reason: str, raw: Any) -> Resource:
    item: Resource = {"linkId": clean(link_id) or "[blank question id]"}
    if reason:
        why = {"system": ABSENT_SYSTEM, "code": reason}
        item["answer"] = [{"valueCoding": why | {"display": clean(raw)} if type(raw) is str else why}]
    return item


def _status(submission: Submission) -> str:
    if submission.status == "in-progress":
        return "in-progress"
    return "amended" if submission.supersedes else submission.status


def _details(submission: Submission) -> list[Resource]:
    texts = {
        "timeZone": submission.time_zone,
        "channel": submission.channel,
        "locale": submission.locale,
        "abVariant": submission.ab_variant,
        "supersedes": submission.supersedes,
    }
    details: list[Resource] = [
        {"url": name, "valueString": text} for name, raw in texts.items() if raw and (text := clean(raw))
    ]
    if submission.received_at is not None:
        details.append({"url": "receivedAt", "valueDateTime": instant_utc(submission.received_at)})
    if submission.duration_s is not None and abs(submission.duration_s) < _INTEGER:
        details.append({"url": "durationSeconds", "valueInteger": submission.duration_s})
    return details


def _items(link_id: str, answer: Any, submission_id: str, depth: int) -> list[Resource]:
    """The items of one question: a list of groups repeats the item, and no item has both answers and items (qrs-1)."""
    name = clean(link_id) or "[blank question id]"
    if not isinstance(answer, dict | list):
        told = _scalar(answer, submission_id)
        return [{"linkId": name, "answer": [told]}] if told else [{"linkId": name}]
    answers: list[Resource] = []
    groups: list[Resource] = []
    for row in answer if isinstance(answer, list) else (answer,):
        if not isinstance(row, dict | list):
            if told := _scalar(row, submission_id):
                answers.append(told)
        elif not row:
            continue
        elif depth >= _DEEPEST:
            answers.append({"valueString": _as_text(row, submission_id)})
        elif isinstance(row, list):
            groups.append({"linkId": name, "item": _items(f"{name}.row", row, submission_id, depth + 1)})
        elif (quantity := _quantity(row)) is not None:
            answers.append({"valueQuantity": quantity})
        else:
            inner: list[Resource] = []
            for key, told in row.items():
                inner += _items(f"{name}.{key}", told, submission_id, depth + 1)
            groups.append({"linkId": name, "item": inner})
    if answers:
        return [{"linkId": name, "answer": answers}, *groups]
    return groups or [{"linkId": name}]


def _quantity(row: dict[str, Any]) -> Resource | None:
    """A number with its unit as typed; anything else stays a group, for it is no quantity before it is mapped."""
    if row.keys() != {"value", "unit"}:
        return None
    value, unit = row["value"], row["unit"]
    if type(value) not in (int, float) or not isinstance(unit, str) or not clean(unit):
        return None
    return {"value": value, "unit": clean(unit)} if math.isfinite(value) and abs(value) < _DECIMAL else None


def _scalar(row: Any, submission_id: str) -> Resource | None:
    """None for what was left blank: the question is listed, without an answer."""
    if isinstance(row, str):
        return {"valueString": text} if (text := clean(row, submission_id)) else None
    if isinstance(row, bool):
        return {"valueBoolean": row}
    if isinstance(row, int):
        if abs(row) < _INTEGER:
            return {"valueInteger": row}
        return {"valueDecimal": row} if abs(row) < _DECIMAL else {"valueString": str(row)}
    if isinstance(row, float):
        return {"valueDecimal": row} if math.isfinite(row) else {"valueString": str(row)}
    return None


def _as_text(row: Any, submission_id: str) -> str:
    try:
        return clean(orjson.dumps(row).decode(), submission_id) or _TOO_DEEP
    except (orjson.JSONEncodeError, RecursionError):
        return _TOO_DEEP
