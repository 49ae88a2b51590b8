"""One resource being read: what every reader of a resource shares.

Here: raw answers made of FHIR elements and given to the field's own reader (`mapping`), so that a phone from the EHR
and one from a form are the same value; codes looked up backwards; whose voice it is. Not here: which element means
which field. Total: a resource of any shape makes nothing raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...contract import Contract
from ...events import Change
from ...fhir.elements import CODE_SYSTEM, HL7, LOINC, RESOURCE_SYSTEM, UCUM
from ...fhir.page import Tables, tables_of
from ...mapping import Problem
from ...mapping.text import Context, Doc, held, unmapped
from ...mapping.told import spelled
from ...ownership import withdrawal
from ..shapes import Said, readers

NULLS: Final = {"asked-unknown": "unknown", "asked-declined": "declined", "UNK": "unknown", "ASKU": "declined"}
"""Why there is no value -> our kind of null. Not here: `error` and the rest, which say nothing of the patient."""
FINAL: Final = frozenset(("final", "amended", "corrected"))
PATIENTS: Final = ("Patient", "RelatedPerson")
PRACTITIONERS: Final = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")


@dataclass(slots=True)
class Reading:
    """What a resource says so far."""

    contract: Contract
    change: Change
    is_taken_back: bool = False
    """Deleted, refuted or entered in error: what it says no longer stands."""
    is_confirmed: bool = True
    """Whether its own status lets it count as verified."""
    values: dict[str, Doc] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def content(self) -> dict[str, Any]:
        return self.change.content

    @property
    def tables(self) -> Tables:
        return tables_of(self.contract)

    def say(self, name: str, raw: Any) -> None:
        """A raw answer to a field, read as the field reads all answers."""
        context = Context(self.change.seen_at, "UTC")
        self.put(name, readers(self.contract)[name](raw, context))

    def put(self, name: str, doc: Doc) -> None:
        """A blank says nothing; of what cannot be read the field and the cause are told."""
        if doc.get("null") == "absent":
            return
        if "held" in doc:
            self.trouble(name, doc["held"])
        self.values[name] = doc

    def hold(self, name: str, cause: str, raw: Any) -> None:
        self.put(name, held(cause, raw))

    def trouble(self, name: str, cause: str) -> None:
        """What one resource of many cannot tell makes the field no less known: only the problem is kept."""
        self.problems.append(Problem(name, cause))

    def absent(self, name: str, reason: str) -> None:
        """Why there is no value, where the patient was asked."""
        if kind := NULLS.get(reason):
            self.put(name, {"null": kind})

    def say_code(self, name: str, concept: Any) -> None:
        """A CodeableConcept as the field's code: ours first, else the one standard code that people signed, else what
        its words are a spelling of."""
        found = self.codes_of(name, concept)
        if len(found) == 1:
            self.put(name, {"value": found.pop()})
            return
        reasons = [text(c.get("code")) for c in codings(concept) if c.get("system") in _REASONS]
        if reasons and reasons[0] in NULLS and not found:
            self.absent(name, reasons[0])
        elif found:
            self.hold(name, "conflicting_codes", concept)
        elif isinstance(concept, dict) and concept:
            words = [w for w in (text(concept.get("text")), *(text(c.get("display")) for c in codings(concept))) if w]
            table = {word: code.code for word, code in self.contract.codes.get(self.set_of(name), {}).items()}
            meant = {code for word in words if (code := spelled(table, word)) is not None}
            if len(meant) == 1:
                self.put(name, {"value": meant.pop()})
            else:
                self.put(name, unmapped(held("unmapped_code", concept), self.set_of(name), *words))

    def codes_of(self, name: str, concept: Any) -> set[str]:
        """Our codes of a field that a concept means."""
        known = self.tables.codes.get(self.set_of(name), {})
        given = codings(concept)
        own = {text(c.get("code")) for c in given if c.get("system") == f"{CODE_SYSTEM}:{self.set_of(name)}"}
        if own:
            return {code for code in own if code in known or self.set_of(name) == name}
        standard = {(text(c.get("system")), text(c.get("code"))) for c in given}
        return {
            code
            for code, entry in known.items()
            if entry.fhir_code and not entry.verify and (entry.fhir_system, entry.fhir_code) in standard
        }

    def set_of(self, name: str) -> str:
        declared = self.contract.fields.get(name)
        return (declared.codes if declared else None) or name

    def finished(self) -> Said:
        voice = "verified" if self.is_confirmed and self._is_of_clinic() else "reported"
        if not self.is_taken_back:
            return Said(self.values, tuple(self.problems), voice)
        return Said({name: withdrawal(doc) for name, doc in self.values.items() if "value" in doc}, (), voice)

    def _is_of_clinic(self) -> bool:
        """Whether a clinician or the EHR itself says it, not the patient. Who changed it last counts first."""
        actor = self.change.actor.partition("/")[0]
        if actor in PRACTITIONERS or actor in PATIENTS:
            return actor in PRACTITIONERS
        who = next((kind for name in _AUTHORS if (kind := kind_of(self.content.get(name)))), "")
        return who not in PATIENTS


_REASONS = (HL7 + "data-absent-reason", HL7 + "v3-NullFlavor")
_AUTHORS = ("asserter", "informationSource", "performer", "recorder", "requester", "author")
"""Elements that say whose word it is, the most telling first."""


def kind_of(reference: Any) -> str:
    """The type that a reference (or the first of several) points to; empty where it does not say."""
    for given in objects(reference if isinstance(reference, list) else [reference]):
        actor = given.get("actor")
        one = actor if isinstance(actor, dict) else given
        told = text(one.get("reference")).split("/_history/")[0].split("/")
        return told[-2] if len(told) > 1 else text(one.get("type"))
    return ""


def text(raw: Any) -> str:
    return raw.strip() if isinstance(raw, str) else ""


def objects(raw: Any) -> list[dict[str, Any]]:
    return [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []


def part(raw: Any, name: str) -> Any:
    return raw.get(name) if isinstance(raw, dict) else None


def codings(concept: Any) -> list[dict[str, Any]]:
    return objects(part(concept, "coding"))


def has_code(concept: Any, system: str, *codes: str) -> bool:
    return any(c.get("system") == system and c.get("code") in codes for c in codings(concept))


def words_of(concept: Any) -> str:
    """What a concept is called."""
    return text(part(concept, "text")) or next((d for c in codings(concept) if (d := text(c.get("display")))), "")


def status_code(concept: Any) -> str:
    """The code of a status that is a concept of HL7's own."""
    told = (text(c.get("code")) for c in codings(concept) if text(c.get("system")).startswith(HL7))
    return next(filter(None, told), "")


def is_loinc(concept: Any, code: str | None) -> bool:
    return code is not None and has_code(concept, LOINC, code)


def measured(quantity: Any) -> Any:
    """A Quantity as a form would send it; of another system of units the name of the unit alone counts."""
    if not isinstance(quantity, dict):
        return quantity
    is_ucum = quantity.get("system") in (UCUM, None)
    unit = text(quantity.get("code")) if is_ucum else ""
    raw: dict[str, Any] = {"value": quantity.get("value"), "unit": unit or text(quantity.get("unit"))}
    if quantity.get("comparator"):
        raw["comparator"] = quantity["comparator"]
    return {k: v for k, v in raw.items() if v not in (None, "")}


def is_ours(resource: Mapping[str, Any]) -> bool:
    """Whether we made the resource: it carries our identifier."""
    given = resource.get("identifier")
    return any(one.get("system") == RESOURCE_SYSTEM for one in objects(given if isinstance(given, list) else [given]))


def absent_reason(element: Any) -> str:
    """Why a primitive has no value, from its `_element`."""
    for one in objects(part(element, "extension")):
        if text(one.get("url")).endswith("/data-absent-reason"):
            return text(one.get("valueCode"))
    return ""


def first_of(rows: Iterable[dict[str, Any]], *uses: str) -> dict[str, Any] | None:
    """The row of the first of these uses that there is; `""` is a row that names none."""
    listed = [row for row in rows if text(row.get("use")) != "old"]
    for use in uses:
        if chosen := [row for row in listed if text(row.get("use")) == use]:
            return min(chosen, key=_rank)
    return None


def _rank(row: dict[str, Any]) -> int:
    rank = row.get("rank")
    return rank if isinstance(rank, int) and not isinstance(rank, bool) else 99
