"""FHIR R4 QuestionnaireResponse as an intake event: its items become the same raw answers that the form sends.

Here: reading the resource. Not here: writing one (`fhir.answers`), and what the answers mean (`mapping`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..contract import Contract
from .envelope import AMENDED, SUBMITTED
from .refill import CHECKIN
from .shapes import Event, Refused, Submission, check_form, read_duration, read_time, read_token, read_word

STATUSES = ("completed", "amended", "in-progress")
ABSENT_REASON = "data-absent-reason"
NULLS = {
    "asked-unknown": "unknown",
    "unknown": "unknown",
    "asked-declined": "declined",
    "not-applicable": "not_applicable",
}
DEEPEST = 12
SOURCE = "urn:fhir:QuestionnaireResponse"
"""Source of events whose identifier has no system."""


def parse_questionnaire_response(resource: dict[str, Any], contract: Contract) -> tuple[Event, Submission]:
    submission = questionnaire_response_to_submission(resource, contract)
    system = resource["identifier"].get("system")
    source = SOURCE if system is None else read_token(system, "identifier.system", "wrong_shape")
    subject = inner(inner(resource, "subject"), "identifier").get("value")
    event = Event(
        source=source,
        source_id=source_id(resource, submission),
        type=_type(contract, submission),
        subject=read_token(subject, "subject.identifier.value", "missing_subject"),
        occurred_at=submission.authored_at,
        version=submission.form_version,
    )
    return event, submission


def _type(contract: Contract, submission: Submission) -> str:
    if submission.form_id == contract.checkin.form_id:
        return CHECKIN
    return AMENDED if submission.status == "amended" else SUBMITTED


def questionnaire_response_to_submission(resource: dict[str, Any], contract: Contract) -> Submission:
    """Its answers by question id, as the form itself would have sent them; raises Refused."""
    canonical = resource.get("questionnaire")
    address, _, version = canonical.partition("|") if isinstance(canonical, str) else ("", "", "")
    form_id = address.replace(":", "/").rpartition("/")[2]
    is_checkin = form_id == contract.checkin.form_id
    check_form(contract, form_id, version, ("questionnaire", "questionnaire"), is_checkin)
    status = resource.get("status")
    if status not in STATUSES:
        raise Refused("unknown_status", f"`status` must be one of {', '.join(STATUSES)}")
    identifier = read_token(inner(resource, "identifier").get("value"), "identifier.value", "missing_submission_id")
    answers = Items(contract).read(resource.get("item"))
    details = flat(resource.get("extension"))
    zone = details.get("timezone") or answers.get("demo.timezone")
    received = inner(resource, "meta").get("lastUpdated", details.get("receivedat"))
    supersedes = details.get("supersedes", identifier) if status == "amended" else None
    return Submission(
        submission_id=f"{identifier}:{fingerprint(resource)}" if status == "amended" else identifier,
        form_id=form_id,
        form_version=version,
        status=status,
        authored_at=read_time(resource.get("authored"), "authored"),
        received_at=None if received is None else read_time(received, "meta.lastUpdated"),
        time_zone=zone if isinstance(zone, str) and len(zone) <= 64 and zone.isascii() and zone.isprintable() else "",
        channel=read_word(details.get("channel"), "channel") or "fhir",
        locale=read_word(resource.get("language", details.get("locale")), "language"),
        ab_variant=read_word(details.get("abvariant"), "abVariant"),
        duration_s=read_duration(details.get("durationseconds")),
        supersedes=None if supersedes is None else read_token(supersedes, "supersedes", "missing_supersedes"),
        answers=answers,
    )


def source_id(resource: dict[str, Any], submission: Submission) -> str:
    """An amendment keeps its response's identifier, so its content must tell one amendment from the next."""
    identifier = resource["identifier"]["value"]
    tail = f":{fingerprint(resource)}" if submission.status == "amended" else ""
    return read_token(f"{identifier}:{submission.status}{tail}", "identifier.value", "missing_submission_id")


def fingerprint(resource: dict[str, Any]) -> str:
    told = json.dumps([resource.get("authored"), resource.get("item")], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def inner(resource: dict[str, Any], key: str) -> dict[str, Any]:
    found = resource.get(key)
    return found if isinstance(found, dict) else {}


def flat(extensions: Any, depth: int = 0) -> dict[str, Any]:
    """Extensions, nested ones too, as the last part of their address in small letters -> value."""
    found: dict[str, Any] = {}
    for extension in extensions if isinstance(extensions, list) and depth < DEEPEST else ():
        if not isinstance(extension, dict) or not isinstance(url := extension.get("url"), str):
            continue
        name = url.replace(":", "/").rpartition("/")[2].replace("-", "").replace("_", "").lower()
        value = next((value for key, value in extension.items() if key.startswith("value")), None)
        if value is not None:
            found.setdefault(name, value)
        found |= {k: v for k, v in flat(extension.get("extension"), depth + 1).items() if k not in found}
    return found


def questions_of(contract: Contract) -> frozenset[str]:
    """The ids of all questions of all versions, and the names of fields; worked out once per contract."""
    global _last
    kept = _last
    if kept is None or kept[0] is not contract:
        fields = contract.fields.values()
        asked = {field.question(v) for field in fields for v in contract.form_versions if field.asked_in(v)}
        kept = _last = (contract, frozenset(asked | contract.fields.keys()))
    return kept[1]


_last: tuple[Contract, frozenset[str]] | None = None


class Items:
    """The items of a response, read against the questions of all form versions: a draft may be finished on another."""

    def __init__(self, contract: Contract) -> None:
        self.questions = questions_of(contract)
        self.found: dict[str, list[Any]] = {}

    def read(self, items: Any) -> dict[str, Any]:
        self.visit(items, 0)
        return {link: told[0] if len(told) == 1 else told for link, told in self.found.items()}

    def visit(self, items: Any, depth: int) -> None:
        for link, item in self.linked(items, depth):
            nested, answers = item.get("item"), item.get("answer")
            if nested and link not in self.questions and not self.is_group(link, nested):
                self.visit(nested, depth + 1)  # a section of the form
            elif nested:
                self.found.setdefault(link, []).append(self.parts(link, nested, depth + 1))
            elif answers or link in self.questions:
                told = self.told(item)
                self.found.setdefault(link, []).extend(told)
            for answer in answers if isinstance(answers, list) else ():
                if isinstance(answer, dict) and answer.get("item"):
                    self.visit(answer["item"], depth + 1)

    def linked(self, items: Any, depth: int) -> list[tuple[str, dict[str, Any]]]:
        if items is None:
            return []
        if not isinstance(items, list) or depth > DEEPEST:
            raise Refused("wrong_shape", f"`item` must be a list, nested at most {DEEPEST} deep")
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get("linkId"), str):
                raise Refused("wrong_shape", "every `item` must be an object with a `linkId`")
        return [(item["linkId"], item) for item in items]

    def is_group(self, link: str, nested: Any) -> bool:
        """Whether an unknown item is a question of parts: they carry its name and are no questions themselves."""
        children = [child for child, _ in self.linked(nested, 0)]
        return all(child.startswith(f"{link}.") and child not in self.questions for child in children)

    def parts(self, link: str, nested: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for child, item in self.linked(nested, depth):
            name = child.removeprefix(f"{link}.")
            if item.get("item"):
                raw: Any = self.parts(child, item["item"], depth + 1)
            else:
                told = self.told(item)
                raw = told[0] if len(told) == 1 else told
            found[name] = raw if name not in found else [found[name], raw]
        return found

    def told(self, item: dict[str, Any]) -> list[Any]:
        """Raw answers of one item; one that was left blank is None, one with a reason is that null."""
        answers = item.get("answer")
        if answers is None:
            return [reason(item)]
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise Refused("wrong_shape", "`answer` must be a list of objects")
        return [raw_answer(answer) for answer in answers] or [reason(item)]


def raw_answer(answer: dict[str, Any]) -> Any:
    kind = next((key for key in answer if key.startswith("value") and key != "value"), None)
    if kind is None:
        return reason(answer)
    told = answer[kind]
    if kind == "valueCoding" and isinstance(told, dict):
        code, display = told.get("code"), told.get("display")
        if str(told.get("system", "")).endswith(f"/{ABSENT_REASON}") and isinstance(code, str) and code in NULLS:
            return {"null": NULLS[code]}
        if code is None or display is None or code == display:
            return display if code is None else code
        return {"code": code, "display": display}
    if kind == "valueQuantity" and isinstance(told, dict):
        unit, code = told.get("unit"), told.get("code")
        quantity = {"value": told.get("value"), "unit": code if unit is None else unit}
        if code is not None and unit is not None and code != unit:
            quantity["code"] = code
        return quantity if told.get("comparator") is None else {**quantity, "comparator": told["comparator"]}
    return told


def reason(element: dict[str, Any]) -> Any:
    """The null that a data-absent-reason stands for, in whichever element its extension was put."""
    for holder in (element, *(value for key, value in element.items() if key.startswith("_value"))):
        why = flat(holder.get("extension")).get(ABSENT_REASON.replace("-", "")) if isinstance(holder, dict) else None
        if isinstance(why, str) and why in NULLS:
            return {"null": NULLS[why]}
    return None
