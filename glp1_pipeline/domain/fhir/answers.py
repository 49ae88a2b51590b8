"""A submission, of the intake or of a check-in, as a QuestionnaireResponse: every answer as it was received.

Here: raw answers by question id, mapped or not, known or not. Not here: what they mean (`mapping`). The bytes
themselves are kept with the event; this is the copy that a chart can show, so what FHIR cannot spell is replaced.

Why there is no value is said so that no reader takes it for an answer: a question that was not asked has no item, one
that was left blank has an item without an answer (an untouched box is a blank, and no `false`), and not knowing, not
saying and not applying are the codes that FHIR has for them, beside the words as typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from ..contract import Contract, Field
from ..declared import kept
from ..events import Submission
from ..mapping.told import spelled
from .elements import ABSENT_SYSTEM, SUBMISSION_SYSTEM, Resource, clean, ids_of, instant_utc, instant_zoned
from .writes import dump

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
_GRAPHIC: Final = frozenset(map(chr, range(0x21, 0x7F)))
_NO_LINKS: Final[Mapping[str, str]] = {}
_INTEGER: Final = 2**31
_DECIMAL: Final = 10**18
_DEEPEST: Final = 6
"""Levels of nesting that become items; what lies deeper is shown as its JSON text."""
_TOO_DEEP: Final = "[nested too deep to show; kept with the event as received]"


def questionnaire_response(contract: Contract, submission: Submission, patient_id: str) -> Resource:
    ids = ids_of(patient_id)
    patient = {"reference": f"Patient/{ids('Patient')}"}
    version = submission.form_version
    response: Resource = {
        "resourceType": "QuestionnaireResponse",
        "id": ids(f"QuestionnaireResponse/{submission.submission_id}"),
        "identifier": {"system": SUBMISSION_SYSTEM, "value": submission.submission_id},
        "extension": [{"url": META_URL, "extension": _details(submission)}],
        "questionnaire": f"{QUESTIONNAIRE}{submission.form_id}|{version}",
        "status": _status(submission),
        "subject": patient,
        "authored": instant_zoned(submission.authored_at),
        "author": patient,
        "source": patient,
    }
    questions = _forms(contract).get((submission.form_id, version), {})
    items: list[Resource | orjson.Fragment] = []
    for question, answer in submission.answers.items():
        asked = questions.get(question)
        if asked is None:
            items += _items(_link(question), answer, submission.submission_id, 1)
        elif (type(answer) is str or type(answer) is bool) and (item := asked.ready.get(answer)) is not None:
            items.append(item)
        else:
            items += asked.items(answer, submission.submission_id)
    if items:
        response["item"] = items
    return response


class _Question:
    """What is known of a question. `ready`: the items of the answers that the contract spells, dumped once for all."""

    __slots__ = ("has_boxes", "label", "link", "links", "no_reason", "ready", "reasons")

    def __init__(
        self,
        link_id: str,
        label: str,
        parts: Iterable[str],
        reasons: Mapping[str, str],
        has_boxes: bool,
        spelled: set[str],
    ) -> None:
        self.link, self.label = _link(link_id), label
        self.links = {part: _link(f"{link_id}.{part}") for part in parts}
        self.reasons = reasons
        """How people say that there is no value, folded -> the reason's code; empty where it was left blank."""
        begun = {spelling[:1].lower() for spelling in reasons}
        self.no_reason = frozenset(first for first in _GRAPHIC if first.lower() not in begun)
        """Characters that no such spelling begins with."""
        self.has_boxes = has_boxes
        """Whether false is an untouched box."""
        # Copied, since what orjson returns keeps the 4 kB that it was written into: 80 MB for a contract's answers.
        self.ready: Mapping[str | bool, orjson.Fragment] = {
            answer: orjson.Fragment(bytes(memoryview(dump(self.items(answer, "")[0]))))
            for answer in (True, False, *spelled, *reasons)
        }

    def items(self, raw: Any, submission_id: str) -> list[Resource]:
        kind = type(raw)
        if kind is str and self.is_surely_told(raw) and (text := clean(raw, submission_id)):
            return [{"linkId": self.link, "answer": [{"valueString": text}], "text": self.label}]
        if kind is dict and len(raw) > 2:  # more than the name of a reason, and than a quantity
            parts = _parts(self.link, raw, submission_id, 2, self.links)
            return [{"linkId": self.link, "item": parts, "text": self.label}]
        reason = self.reason(raw)
        if reason is None:
            made = _items(self.link, raw, submission_id, 1, self.links)
        else:
            made = [_without_value(self.link, reason, raw)]
        for item in made:
            item["text"] = self.label
        return made

    def is_surely_told(self, text: str) -> bool:
        """Most dates, numbers and names: they begin as no reason does, and folding leaves that as it is."""
        return text[:1] in self.no_reason and text.isascii()

    def reason(self, raw: Any) -> str | None:
        """Why an answer is none, or None where it is one."""
        kind = type(raw)
        if kind is str:
            return None if self.is_surely_told(raw) or len(raw) > _LONGEST else spelled(self.reasons, raw)
        if kind is dict:
            return _REASONS.get(null) if len(raw) == 1 and type(null := raw.get("null")) is str else None
        if raw is False or (raw == 0 and kind in (int, float)):
            return "" if self.has_boxes else None
        return None


@kept
def _forms(contract: Contract) -> dict[tuple[str, str], dict[str, _Question]]:
    """The questions of the intake form's versions, and of the check-in's: those are called as their fields."""
    fields = contract.fields
    found = {
        (contract.form_id, version): {
            (link := fields[name].question(version)): _question(contract, fields[name], link) for name in names
        }
        for version, names in contract.asked.items()
    }
    checkin = {name: _question(contract, fields[name], name) for name in contract.asked_in_checkin}
    return found | {(contract.checkin.form_id, version): checkin for version in contract.checkin.versions}


def _question(contract: Contract, field: Field, link_id: str) -> _Question:
    if field.format == "name":  # there are people called Null, Na and None
        return _Question(link_id, field.label, (), {}, False, set())
    has_boxes = field.type in _BOXED or field.lone_part in field.part_codes
    boxes = contract.codes["unticked_boxes"].keys() if has_boxes else set()
    codes = contract.codes.get(_OWN.get(field.type) or field.codes or "", {})
    own = codes.keys() - boxes if field.type == "tri" else codes.keys()
    nulls = {spelling: _REASONS[code.code] for spelling, code in contract.codes["null_answers"].items()}
    if field.may_be_none:
        nulls = dict.fromkeys(contract.codes["no_entries"], _REASONS["not_applicable"]) | nulls
    reasons = {spelling: why for spelling, why in (nulls | dict.fromkeys(boxes, "")).items() if spelling not in own}
    spelled = {*codes, *(code.code for code in codes.values())}
    return _Question(link_id, field.label, field.parts, reasons, has_boxes, spelled)


def _link(link_id: str) -> str:
    return clean(link_id) or "[blank question id]"


def _without_value(link_id: str, reason: str, raw: Any) -> Resource:
    item: Resource = {"linkId": link_id}
    if reason:
        why = {"system": ABSENT_SYSTEM, "code": reason}
        item["answer"] = [{"valueCoding": why | {"display": clean(raw)} if type(raw) is str else why}]
    return item


def _status(submission: Submission) -> str:
    if submission.status == "in-progress":
        return "in-progress"
    return "amended" if submission.supersedes else submission.status


def _details(submission: Submission) -> list[Resource]:
    texts = (
        ("timeZone", submission.time_zone),
        ("channel", submission.channel),
        ("locale", submission.locale),
        ("abVariant", submission.ab_variant),
        ("supersedes", submission.supersedes),
    )
    details: list[Resource] = [
        {"url": name, "valueString": text} for name, raw in texts if raw and (text := clean(raw))
    ]
    if submission.received_at is not None:
        details.append({"url": "receivedAt", "valueDateTime": instant_utc(submission.received_at)})
    if submission.duration_s is not None and abs(submission.duration_s) < _INTEGER:
        details.append({"url": "durationSeconds", "valueInteger": submission.duration_s})
    return details


def _items(
    name: str, answer: Any, submission_id: str, depth: int, links: Mapping[str, str] = _NO_LINKS
) -> list[Resource]:
    """The items of one question: a list of groups repeats the item, and no item has both answers and items (qrs-1).

    `links`: the links of the parts that the contract names.
    """
    kind = type(answer)
    if kind is not dict and kind is not list:
        told = _scalar(answer, submission_id)
        return [{"linkId": name, "answer": [told]}] if told else [{"linkId": name}]
    answers: list[Resource] = []
    groups: list[Resource] = []
    for row in answer if kind is list else (answer,):
        inner = type(row)
        if inner is not dict and inner is not list:
            if told := _scalar(row, submission_id):
                answers.append(told)
        elif not row:
            continue
        elif depth >= _DEEPEST:
            answers.append({"valueString": _as_text(row, submission_id)})
        elif inner is list:
            groups.append({"linkId": name, "item": _items(_link(f"{name}.row"), row, submission_id, depth + 1)})
        elif (quantity := _quantity(row)) is not None:
            answers.append({"valueQuantity": quantity})
        else:
            groups.append({"linkId": name, "item": _parts(name, row, submission_id, depth + 1, links)})
    if answers:
        return [{"linkId": name, "answer": answers}, *groups]
    return groups or [{"linkId": name}]


def _parts(name: str, row: dict[str, Any], submission_id: str, depth: int, links: Mapping[str, str]) -> list[Resource]:
    inner: list[Resource] = []
    for key, told in row.items():
        link = links.get(key) or _link(f"{name}.{key}")
        if type(told) is str and (text := clean(told, submission_id)):  # most parts
            inner.append({"linkId": link, "answer": [{"valueString": text}]})
        else:
            inner += _items(link, told, submission_id, depth)
    return inner


def _quantity(row: dict[str, Any]) -> Resource | None:
    """A number with its unit as typed; anything else stays a group, for it is no quantity before it is mapped."""
    if len(row) != 2 or "value" not in row or "unit" not in row:
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
