"""The items of a FHIR QuestionnaireResponse as raw answers by question id, as our own form would have sent them.

Here: sections, parts and details, and one answer of each type of FHIR. Not here: the response around them
(`questionnaire`), and what the answers mean (`mapping`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..contract import Contract
from ..declared import kept
from .shapes import Refused

ABSENT_REASON = "data-absent-reason"
NULLS = {
    "asked-unknown": "unknown",
    "unknown": "unknown",
    "asked-declined": "declined",
    "not-applicable": "not_applicable",
}
FLAVORS = {"UNK": "unknown", "ASKU": "unknown", "NA": "not_applicable", **dict.fromkeys(("NASK", "NAV", "MSK", "NI"))}
"""The same in HL7 v3, by FHIR's own map; what says nothing of the answer is a blank."""
NULL_SYSTEMS = {
    "/data-absent-reason": NULLS,
    "/v3-NullFlavor": FLAVORS,
    "/v2-0532": FLAVORS,
    "urn:oid:2.16.840.1.113883.5.1008": FLAVORS,
}
"""How the system of a coding ends, whose codes say why there is no answer."""
RXNORM = "/rxnorm"
CODED = ("code", "codes", "tri", "boolean", "consent")
DEEPEST = 12


class Questions(NamedTuple):
    """What the door must know of the questions of all form versions: a draft may be finished on another."""

    ids: frozenset[str]
    """Their ids, and the names of fields."""
    main: Mapping[str, str]
    """Question -> the part that an answer itself stands for, where details may stand below it."""
    wholes: frozenset[str]
    """Questions of parts, each told once: a part says by its id whose it is, wherever it stands."""

    def whole_of(self, link: str) -> str | None:
        """The question that an item is a part of, by its id."""
        while link := link.rpartition(".")[0]:
            if link in self.wholes:
                return link
        return None


@kept
def questions_of(contract: Contract) -> Questions:
    ids, main, wholes = set(contract.fields), dict[str, str](), set[str]()
    for field in contract.fields.values():
        asked = {field.question(v) for v in contract.form_versions if field.asked_in(v)} | {field.name}
        ids |= asked
        if part := field.lone_part or ("value" if field.type in CODED else ""):
            main |= dict.fromkeys(asked, part)
        if field.type in ("group", "consent", "quantity"):
            wholes |= asked
    return Questions(frozenset(ids), main, frozenset(wholes))


class Items:
    """The items of a response as raw answers by question. An item is a question, a part or a detail of one (its id
    begins with the question's), or a section of the form, whatever its id."""

    def __init__(self, contract: Contract) -> None:
        self.questions = questions_of(contract)
        self.found: dict[str, list[Any]] = {}
        self.loose: dict[str, dict[str, Any]] = {}
        """Parts that do not stand in their question."""

    def read(self, items: Any) -> dict[str, Any]:
        self.visit(items, 0)
        for link, parts in self.loose.items():
            told = self.found.setdefault(link, [])
            told[:] = [self.detailed(link, told[0], parts)] if len(told) == 1 else [*told, parts]
        return {link: told[0] if len(told) == 1 else told for link, told in self.found.items()}

    def visit(self, items: Any, depth: int) -> None:
        for link, item in self.linked(items, depth):
            nested, answers = item.get("item") or [], answers_of(item)
            if link in self.questions.ids:
                self.found.setdefault(link, []).extend(self.told(link, item, depth))
            elif answers and (whole := self.questions.whole_of(link)):
                self.gather((whole,), [item], self.loose.setdefault(whole, {}), depth)
            elif answers:
                self.found.setdefault(link, []).extend(map(raw_answer, answers))
                for below in (nested, *(answer.get("item") for answer in answers)):
                    self.visit(below, depth + 1)
            elif self.is_section(link, nested, depth + 1):
                self.visit(nested, depth + 1)
            elif any(answers_of(child) for _, child in self.under(nested, depth + 1)):
                self.found.setdefault(link, []).append(self.gather((link,), nested, {}, depth + 1))

    def linked(self, items: Any, depth: int) -> list[tuple[str, dict[str, Any]]]:
        if items is None:
            return []
        if not isinstance(items, list) or depth > DEEPEST:
            raise Refused("wrong_shape", f"`item` must be a list, nested at most {DEEPEST} deep")
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get("linkId"), str):
                raise Refused("wrong_shape", "every `item` must be an object with a `linkId`")
        return [(item["linkId"], item) for item in items]

    def under(self, items: Any, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """These items and all that stand in them or below their answers."""
        for link, item in self.linked(items, depth):
            yield link, item
            for below in (item.get("item"), *(answer.get("item") for answer in answers_of(item))):
                yield from self.under(below, depth + 1)

    def is_section(self, link: str, nested: Any, depth: int) -> bool:
        """Whether an unknown item without an answer is a section, not an unknown question of parts: questions stand in
        it, or items that do not carry its name."""
        ids, whole_of = self.questions.ids, self.questions.whole_of
        return any(child in ids or whole_of(child) for child, _ in self.under(nested, depth)) or not all(
            child.startswith(f"{link}.") for child, _ in self.linked(nested, depth)
        )

    def told(self, link: str, item: dict[str, Any], depth: int) -> list[Any]:
        """Raw answers of one question; one that was left blank is None, one with a reason is that null."""
        nested, answers = item.get("item") or [], answers_of(item)
        if not answers:
            return [self.gather((link,), nested, {}, depth + 1) or None] if nested else [reason(item)]
        told = []
        for answer in answers:
            details: dict[str, Any] = {}
            for below in (answer.get("item"), nested if answer is answers[0] else None):
                self.read_below(link, below, details, depth + 1)
            told.append(self.detailed(link, raw_answer(answer), details))
        return told

    def read_below(self, link: str, items: Any, details: dict[str, Any], depth: int) -> None:
        """What stands below an answer: details of it, by their id, and further questions."""
        for child, item in self.linked(items, depth):
            if child.startswith(f"{link}.") and link in self.questions.main:
                self.gather((link,), [item], details, depth)
            else:
                self.visit([item], depth)

    def detailed(self, link: str, raw: Any, details: dict[str, Any]) -> Any:
        """An answer with its details as one object."""
        if not details:
            return raw
        main = self.questions.main.get(link, "value")
        if main == "value" and isinstance(raw, dict):
            return {**raw, **details}
        return {**details, main: raw if main not in details else [raw, details[main]]}

    def gather(self, prefixes: tuple[str, ...], items: Any, found: dict[str, Any], depth: int) -> dict[str, Any]:
        """The parts of a question among these items, without the question's id before theirs; the nearest of `prefixes`
        first, the question itself last. A question that stands among them is none of its parts."""
        question = prefixes[-1]
        for child, item in self.linked(items, depth):
            if child in self.questions.ids and "." in child and not child.startswith(f"{question}."):
                self.visit([item], depth)
                continue
            name = next((child.removeprefix(f"{p}.") for p in prefixes if child.startswith(f"{p}.")), child)
            nested, answers = item.get("item"), answers_of(item)
            if nested and not answers:
                links = [link for link, _ in self.linked(nested, depth + 1)]
                if any(link.startswith(f"{question}.") and not link.startswith(f"{child}.") for link in links):
                    self.gather(prefixes, nested, found, depth + 1)  # parts on a page of their own
                    continue
                raw: Any = self.gather((child,), nested, {}, depth + 1)
            else:
                told = [raw_answer(answer) for answer in answers] or [reason(item)]
                raw = told[0] if len(told) == 1 else told
            if name in found:
                before = found[name] if isinstance(found[name], list) else [found[name]]
                raw = [*before, *(raw if isinstance(raw, list) else [raw])]
            found[name] = raw
            for below in ((nested if answers else None), *(answer.get("item") for answer in answers)):
                self.gather((child, *prefixes), below, found, depth + 1)
        return found


def answers_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    answers = item.get("answer")
    if answers is None:
        return []
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise Refused("wrong_shape", "`answer` must be a list of objects")
    return answers


def raw_answer(answer: dict[str, Any]) -> Any:
    kinds = [key for key in answer if key.startswith("value") and key != "value"]
    if len(kinds) > 1:  # no FHIR, and nobody can say which of them holds
        return [raw_answer({kind: answer[kind]}) for kind in kinds]
    if not kinds:
        return reason(answer)
    kind, told = kinds[0], answer[kinds[0]]
    if kind == "valueCoding" and isinstance(told, dict):
        return raw_coding(told)
    if kind == "valueQuantity" and isinstance(told, dict):
        return raw_quantity(told)
    return told


def raw_coding(told: dict[str, Any]) -> Any:
    system, code, display = str(told.get("system", "")), told.get("code"), told.get("display")
    nulls = next((nulls for end, nulls in NULL_SYSTEMS.items() if system.endswith(end)), None)
    if code is None and display is None:
        return reason(told)
    if nulls is not None and isinstance(code, str) and (code in nulls or nulls is NULLS):
        return None if (null := nulls.get(code)) is None else {"null": null}
    if code is None:
        return display
    coding = {"code": code} if display in (None, code) else {"code": code, "display": display}
    if system.endswith(RXNORM):  # the number of a medicine says which it is, whatever is shown beside it
        return {**coding, "system": system}
    return coding if "display" in coding else code


def raw_quantity(told: dict[str, Any]) -> Any:
    if told.get("value") is None:
        return reason(told)
    unit, code = told.get("unit"), told.get("code")
    quantity = {"value": told["value"], "unit": code if unit is None else unit}
    if code is not None and unit is not None and code != unit:
        quantity["code"] = code
    return quantity if told.get("comparator") is None else {**quantity, "comparator": told["comparator"]}


def reason(element: dict[str, Any]) -> Any:
    """The null that a data-absent-reason stands for, in whichever element its extension was put."""
    for holder in (element, *(value for key, value in element.items() if key.startswith("_"))):
        why = flat(holder.get("extension")).get(ABSENT_REASON.replace("-", "")) if isinstance(holder, dict) else None
        if isinstance(why, str) and why in NULLS:
            return {"null": NULLS[why]}
    return None


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
