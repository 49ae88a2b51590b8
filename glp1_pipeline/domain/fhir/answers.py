"""A submission as a QuestionnaireResponse: every answer as it was received.

Here: raw answers by question id, mapped or not, known or not. Not here: what they mean (`mapping`). The bytes
themselves are kept with the event; this is the copy that a chart can show, so what FHIR cannot spell is replaced.
"""

from __future__ import annotations

import math
from typing import Any, Final

import orjson

from ..contract import Contract
from ..events import Submission
from .elements import SUBMISSION_SYSTEM, Resource, clean, instant_utc, instant_zoned, resource_id

QUESTIONNAIRE: Final = "urn:glp1-pipeline:questionnaire:"
META_URL: Final = "urn:glp1-pipeline:submission-details"

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
    labels = _labels(contract, version)
    items: list[Resource] = []
    for question, answer in submission.answers.items():
        made = _items(question, answer, submission.submission_id, 1)
        if (label := labels.get(question)) is not None:
            for item in made:
                item["text"] = label
        items += made
    if items:
        response["item"] = items
    return response


_last: tuple[Contract, dict[str, dict[str, str]]] | None = None


def _labels(contract: Contract, version: str) -> dict[str, str]:
    """Question id -> what the field is called, worked out once per contract."""
    global _last
    kept = _last
    if kept is None or kept[0] is not contract:
        kept = _last = (
            contract,
            {
                v: {contract.fields[name].question(v): contract.fields[name].label for name in names}
                for v, names in contract.asked.items()
            },
        )
    return kept[1].get(version, {})


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
