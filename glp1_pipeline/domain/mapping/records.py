"""Answers of several parts: groups, blood pressure, a row of a list.

Here: which part is which, and one document of all parts. Not here: how a part's text is read (`people`, `codes`,
`dates`), lists (`rows`), and consents and files (`papers`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..contract import Field, fold
from .codes import Nulls, once
from .digits import ascii_digits, readings
from .text import Context, Doc, Shape, as_text, held, held_whole, known, noted, null

ALIASES: dict[str, tuple[str, ...]] = {
    "street": ("line1",), "street1": ("line1",), "address1": ("line1",), "line": ("line1",), "street2": ("line2",),
    "address2": ("line2",), "apt": ("line2",), "unit": ("dose_unit", "line2"), "zip": ("postal_code",),
    "zipcode": ("postal_code",), "postal": ("postal_code",), "postalcode": ("postal_code",), "region": ("state",),
    "sys": ("systolic",), "dia": ("diastolic",), "range": ("category",), "rxbin": ("bin",), "rxpcn": ("pcn",),
    "rxgroup": ("group",), "rxgrp": ("group",), "grp": ("group",), "product_key": ("product",),
    "strength": ("dose",), "allergen": ("substance",), "drug": ("name", "substance"), "medication": ("name",),
    "medicine": ("name",), "rxcui": ("rxnorm",), "contenttype": ("content_type",), "mime_type": ("content_type",),
    "hash": ("sha256",), "started": ("started_on",), "start": ("started_on",), "ended": ("ended_on",),
    "end": ("ended_on",), "program": ("name",), "type": ("kind",), "timestamp": ("at",), "ts": ("at",),
    "streetaddress": ("line1",), "addressline1": ("line1",), "addressline2": ("line2",), "locality": ("city",),
    "town": ("city",), "province": ("state",), "stateprovince": ("state",), "administrativearea": ("state",),
}  # fmt: skip
US_POSTAL = re.compile(r"\d{5}(?:-\d{4})?", re.ASCII)
ZERO_STATES = {"CT", "MA", "ME", "NH", "NJ", "RI", "VT", "PR", "VI"}
"""Where a postal code starts with a zero."""
UNITED_STATES = frozenset((
    "us", "usa", "u.s.", "u.s.a.", "united states", "united states of america", "america", "puerto rico", "pr",
    "estados unidos", "ee.uu.", "ee. uu.", "eeuu",
))  # fmt: skip
PO_BOX = re.compile(r"\bp\.?\s*o\.?\s*box\b|\bpost office box\b|\bapartado\b")
PRESSURE = re.compile(r"(\d{2,3})\s*(?:/|over|sobre)\s*(\d{2,3})(?:\s*mm\s*hg)?", re.IGNORECASE)
DOSE = re.compile(r"([.,]?\d[\d.,]*)\s*([^\d\s.,].*)")
SYSTOLIC, DIASTOLIC = (50, 300), (20, 200)
MMHG = frozenset(("mmhg", "mm hg", "mm[hg]", "millimeter of mercury", "millimeters of mercury"))
QUANTITY = frozenset(("value", "unit", "code"))


class Parts:
    """How the parts of one field are found and read."""

    coding = frozenset(("code", "display", "system"))
    """What an answer has that was picked from a code system, as FHIR's Coding."""

    def __init__(self, field: Field, shapes: Mapping[str, Shape]) -> None:
        self.lone, self.shapes = field.lone_part, shapes
        is_of_a_thing = field.type == "list" or "dose" in field.parts
        self.thing = "line1" if field.format == "address" else field.lone_part if is_of_a_thing else ""
        """The part that names what the others are of: a dose without its medicine is nobody's."""
        self.names = {name: name for name in field.parts}
        for alias, targets in ALIASES.items():
            target = next((name for name in targets if name in field.parts), None)
            if target:
                self.names.setdefault(alias, target)
        self.prefix = f"{field.name}."

    def named(self, raw: dict[Any, Any]) -> tuple[dict[str, Any], list[str], bool]:
        """Raw parts by our names, and whether two names of one part disagree. `line` may come as a list, a name may
        stand after the field's own."""
        edges: list[str] = []
        if raw.keys() <= self.shapes.keys() and not isinstance(raw.get("line1"), list):
            return raw, edges, False
        parts: dict[str, Any] = {}
        torn = False
        for key, part in raw.items():
            name = self.names.get(key)
            if name is None:
                folded = fold(str(key)).removeprefix(self.prefix)
                name = self.names.get(folded) or self.names.get(re.sub(r"[ _-]", "", folded))  # `ZIP Code`
            if name is None:
                edges.append("unknown_part")
            elif name in parts and parts[name] not in (None, ""):
                torn = torn or (part not in (None, "") and not alike(part, parts[name]))
            else:
                parts[name] = part
        lines = parts.get("line1")
        if isinstance(lines, list) and "line2" in self.shapes:
            parts["line1"] = lines[0] if lines else None
            if len(lines) > 1 and all(isinstance(line, str) for line in lines):
                torn = torn or parts.get("line2") not in (None, "", ", ".join(lines[1:]))
                parts["line2"] = ", ".join(lines[1:])
        return parts, edges, torn

    def opened(self, raw: Any) -> Any:
        """An answer that was picked from a code system, as the part that it stands for; a code of RxNorm is a part of
        its own."""
        if not isinstance(raw, dict) or not self.lone:
            return raw
        picked = raw.get(self.lone)
        if raw.keys() & {"display", "system"} and self.coding.issuperset(raw):
            picked, raw = raw, {self.lone: raw}
        if isinstance(picked, dict) and "rxnorm" in self.shapes and str(picked.get("system", "")).endswith("/rxnorm"):
            return {"rxnorm": picked.get("code"), **raw}
        return raw

    def lone_of(self, raw: dict[Any, Any]) -> Any:
        """The part that stands for the whole where it is told alone, under whatever name it came."""
        told = raw[self.lone] if self.lone in raw else self.named(raw)[0].get(self.lone or "")
        return told.get("display", told.get("code", told)) if isinstance(told, dict) else told

    def code_of(self, raw: dict[Any, Any]) -> str | None:
        """The code of the part that stands for the whole, where it was picked from a code system."""
        told = raw[self.lone] if self.lone in raw else self.named(raw)[0].get(self.lone or "")
        return code if isinstance(told, dict) and isinstance(code := told.get("code"), str) else None

    def read(self, raw: Any, context: Context) -> Doc:
        raw = self.opened(raw)
        if not isinstance(raw, dict):
            if not self.lone or as_text(raw) is None:
                return held("unexpected_shape", raw)
            raw = {self.lone: raw}
        parts, edges, torn = self.named(raw)
        if torn:
            return held("conflicting_answers", raw)
        value: dict[str, Any] = {}
        kinds: list[str] = []
        for name, part in parts.items():
            doc = self.shapes[name](part, context)
            if "edges" in doc:
                edges += doc["edges"]
            if "value" in doc:
                value[name] = doc["value"]
            elif "held" in doc:
                return self.held_for(parts, raw, edges, context)
            else:
                kinds.append(doc["null"])
        if value and "unknown_part" in edges and self.thing and self.thing not in value:
            return held("unexpected_shape", raw, *edges)  # it was told under a name of no part
        if value:
            return known(value, edges)
        told = [kind for kind in kinds if kind != "absent"]
        return held("unexpected_shape", raw, *edges) if parts == {} and raw else null(told[0] if told else "absent")

    def held_for(self, parts: dict[str, Any], raw: Any, edges: list[str], context: Context) -> Doc:
        """Held for the first part that must be, in the field's own order: that of the form's keys means nothing."""
        docs = [shape(parts[name], context) for name, shape in self.shapes.items() if name in parts]
        found = [edge for doc in docs for edge in doc.get("edges", ())]
        return held_whole(next(doc for doc in docs if "held" in doc), raw, *edges, *found)


def alike(one: Any, other: Any) -> bool:
    first, second = as_text(one), as_text(other)
    return one == other if first is None or second is None else fold(first) == fold(second)


def group_shape(parts: Parts, nulls: Nulls, finish: Callable[[Doc, Any], Doc] | None) -> Shape:
    def read(raw: Any, context: Context) -> Doc:
        if isinstance(raw, dict) and "dose" in parts.shapes:
            raw = with_dose_unit(raw)
        doc = parts.read(raw, context)
        return finish(doc, raw) if finish and "value" in doc else doc

    return once(read, nulls)


def with_dose_unit(raw: dict[Any, Any]) -> dict[Any, Any]:
    """`0.5 mg` as the dose, typed or as a quantity, is a dose and its unit."""
    name = "dose" if "dose" in raw else "strength"
    dose = raw.get(name)
    if "dose_unit" in raw or "unit" in raw:
        return raw
    if isinstance(dose, str) and (found := DOSE.fullmatch(dose.strip())):
        return {**raw, name: found[1], "dose_unit": found[2]}
    if isinstance(dose, dict) and "value" in dose and QUANTITY.issuperset(dose):
        units = {"code": dose.get("code"), "display": dose.get("unit")}
        return {**raw, name: dose["value"], "dose_unit": units if dose.get("code") else dose.get("unit")}
    return raw


def in_mmhg(part: Any) -> Any:
    """The number of a pressure that tells its own unit, where it is the usual one."""
    if isinstance(part, dict) and "value" in part and QUANTITY.issuperset(part):
        units = {fold(str(unit)) for key in ("unit", "code") if (unit := part.get(key))}
        return part["value"] if units <= MMHG else part
    return part


def finish_address(doc: Doc, raw: Any) -> Doc:
    value, edges = doc["value"], doc.get("edges", [])
    is_ours = fold(value.get("country", "us")) in UNITED_STATES
    if "zip_leading_zero" in edges and not (is_ours and value.get("state", "MA") in ZERO_STATES):
        return held("unreadable_zip", raw, *edges)
    if "state" in value and not US_POSTAL.fullmatch(value.get("postal_code", "00000")):  # letters are another country's
        return held("unreadable_zip", raw, *edges)
    lines = f"{value.get('line1', '')};{value.get('line2', '')}"  # no box is told in two lines
    return noted(doc, ["po_box"]) if PO_BOX.search(lines.lower()) else doc


def number_shape(nulls: Nulls, low: float | None, high: float | None, whole: bool) -> Shape:
    low, high = (-1e9 if low is None else low), (1e9 if high is None else high)

    def read(raw: Any, _: Context) -> Doc:
        text = as_text(raw)
        if text is None or isinstance(raw, bool):
            return held("unreadable_number", raw)
        text, edges = ascii_digits(text.strip())
        told = [r for r in readings(text) if low <= r.number <= high and (r.number.is_integer() or not whole)]
        if len(told) != 1:
            cause = "ambiguous_number" if told else "implausible_number" if readings(text) else "unreadable_number"
            return held(cause, raw, *edges)
        number = told[0].number
        edges += filter(None, [told[0].edge])
        return known(int(number) if whole else number, edges, raw if edges else None)

    unwrap = once(read, nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is int and low <= raw <= high:
            return {"value": raw if whole else float(raw)}
        return unwrap(raw, context)

    return shape


def pressure_shape(parts: Parts, nulls: Nulls) -> Shape:
    """Two numbers, or a named range: a range never becomes a number."""

    def read(raw: Any, context: Context) -> Doc:
        given = raw
        if isinstance(raw, str) and (found := PRESSURE.fullmatch(ascii_digits(raw)[0].strip())):
            given = {"systolic": int(found[1]), "diastolic": int(found[2])}
        elif isinstance(raw, dict) and any(isinstance(part, dict) for part in raw.values()):
            given = {name: in_mmhg(part) for name, part in raw.items()}
        doc = parts.read(given, context)
        value = doc.get("value")
        if value is None:
            return doc if "null" in doc else held_whole(doc, raw, *doc.get("edges", ()))
        upper, lower = value.get("systolic"), value.get("diastolic")
        if upper is None and lower is None:
            return doc
        if upper is None or lower is None:
            return held("half_blood_pressure", raw, *doc.get("edges", ()))
        fits = SYSTOLIC[0] <= upper <= SYSTOLIC[1] and DIASTOLIC[0] <= lower <= DIASTOLIC[1] and lower < upper
        return doc if fits else held("implausible_blood_pressure", raw, *doc.get("edges", ()))

    return once(read, nulls)
