"""Measured answers: a number and its unit, however they were typed, as one number in the field's unit.

Here: reading units, conversion, the limits of what a body can be. Not here: reading digits (`digits`), whether weight
and height fit each other (`plan`), and thresholds that matter to health (`flags`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..contract import Code, Field, fold
from .codes import Nulls, once, set_of
from .digits import Reading, ascii_digits, readings
from .text import Context, Doc, Shape, as_text, held, known, unmapped

TO_FIELD_UNIT: dict[tuple[str, str], float] = {
    ("kg", "kg"): 1.0,
    ("[lb_av]", "kg"): 0.45359237,
    ("[stone_av]", "kg"): 6.35029318,
    ("g", "kg"): 0.001,
    ("cm", "cm"): 1.0,
    ("m", "cm"): 100.0,
    ("[ft_i]", "cm"): 30.48,
    ("[in_i]", "cm"): 2.54,
    ("/min", "/min"): 1.0,
}
POUND = TO_FIELD_UNIT["[lb_av]", "kg"]
PAIRS = {("[ft_i]", "[in_i]"): (12, "inches_over_11"), ("[stone_av]", "[lb_av]"): (14, "pounds_over_13")}
"""Units told together: how many of the small one make a big one, and the edge of telling more."""
FOLLOWS = {"[ft_i]": "[in_i]", "[stone_av]": "[lb_av]"}
"""The unit of a number without one, after a big unit: 5'11, 12st 7."""
SAME = 0.01
"""One measure in two units differs by no more than this share: people round."""
THING = {"kg": "weight", "cm": "height", "/min": "heart_rate"}
TOKEN = re.compile(r"(\d[\d.,]*(?:[ \u00a0\u202f]\d{3}(?!\d))*(?:[.,]\d+)?)\s*([^\d\s.,&+-][^\d&+,-]*)?")
BRACKETED = re.compile(r"\s*\(([^()]*\d[^()]*)\)")
AGAIN = re.compile(r"(?:(?<=[^\s/=])|^)\s*(?:[/=]|(?:^|\s)or)$")
"""Behind a measure that is told once more in another unit: `180 lb / 81.6 kg`, `180 lb (81.6 kg)`."""
JOINERS = re.compile(r"^[\s,&+.-]*(?:and|y)?[\s,&+.-]*$")
NOT_A_NUMBER = re.compile(r"[^\W\d_]|[\"'\u2018-\u201d\u2032\u2033#]")
PARTS_OF_ONE = {"1/4": ".25", "1/2": ".5", "3/4": ".75", "\u00bc": ".25", "\u00bd": ".5", "\u00be": ".75"}
FRACTION = re.compile(r"(\d)(?: ?(?=[\u00bc-\u00be])| +)([\u00bc-\u00be]|[13]/4(?!\d)|1/2(?!\d))")
"""Halves and quarters behind a whole number: 5'11 1/2, 200\u00bd."""
LONGEST = 64
_QUANTITY = frozenset(("value", "unit", "code"))


class Measure:
    """How one field's quantities are read."""

    def __init__(self, field: Field, codes: Mapping[str, Code], fixed: str | None) -> None:
        self.unit = field.unit or ""
        self.thing = THING.get(self.unit, "quantity")
        self.low = -math.inf if field.low is None else field.low
        self.high = math.inf if field.high is None else field.high
        self.fixed = fixed
        self.is_bare = fixed == self.unit and (self.unit, self.unit) in TO_FIELD_UNIT
        """Whether a number alone is in the field's own unit."""
        self.codes = set_of(codes)
        self.units = {spelling: code.code for spelling, code in codes.items()}
        self.quick = {
            writing: (TO_FIELD_UNIT[code, self.unit], code)
            for spelling, code in self.units.items()
            if (code, self.unit) in TO_FIELD_UNIT and code not in FOLLOWS
            for writing in (spelling, spelling.upper(), spelling.capitalize(), code)
        }

    def quickly(self, raw: Any) -> Doc | None:
        """The clean cases: a number and a unit, told apart; a whole number in the unit that the question names."""
        if type(raw) is int and self.is_bare and 0 <= raw < 1e6 and self.low <= raw <= self.high:
            return {"value": float(raw)}
        if type(raw) is not dict or len(raw) != 2:
            return None
        number, unit = raw.get("value"), raw.get("unit")
        if type(unit) is not str or (type(number) is not int and type(number) is not float):
            return None
        way = self.quick.get(unit)
        if way is None or not -1e6 < number < 1e6:
            return None
        value = round(number * way[0], 2)
        if not self.low <= value <= self.high:
            return None
        if way[1] == self.unit:
            return {"value": value}
        return {"value": value, "raw": f"{number} {unit}", "edges": ["unit_converted"]}

    def shape(self, nulls: Nulls) -> Shape:
        unwrap = once(lambda raw, _: self.read(raw), nulls)

        def shape(raw: Any, context: Context) -> Doc:
            return self.quickly(raw) or unwrap(raw, context)

        return shape

    def read(self, raw: Any) -> Doc:
        if isinstance(raw, bool):
            return held("unreadable_quantity", raw)
        if isinstance(raw, int | float | Decimal):
            return self.bare(as_text(raw) or "", raw, [])
        if isinstance(raw, str):
            return self.read_text(raw, raw)
        return self.read_parts(raw) if isinstance(raw, dict) else held("unexpected_shape", raw)

    def read_parts(self, raw: dict[Any, Any]) -> Doc:
        told = {fold(str(key)): part for key, part in raw.items() if part not in (None, "")}
        if not told:
            return {"null": "absent"}
        if "comparator" in told:  # less than, at least: a limit is no measurement
            return held("comparator", raw)
        if "value" in told:
            number = as_text(told["value"])
            spelled = [told.get("unit"), told.get("code")]
            if is_picked := isinstance(spelled[0], dict):  # from a code system, as FHIR's Coding
                spelled += (spelled[0].get("code"), spelled[0].get("display"))
            units = [fold(unit) for unit in spelled if isinstance(unit, str)]
            if number is None or isinstance(told["value"], bool):
                return held("unreadable_quantity", raw)
            known_units = [self.units[unit] for unit in units if unit in self.units]
            if len({*known_units, *(self.units[key] for key in told if key in self.units)}) > 1:
                return held("conflicting_units", raw)
            if not units:
                return self.read_text(number, raw)
            if not known_units:
                return unmapped(held("unknown_unit", raw), self.codes, *units)
            if isinstance(told["value"], str) and (NOT_A_NUMBER.search(number) or FRACTION.search(number)):
                return self.read_text(number, raw, known_units[0])
            number, edges = ascii_digits(number.strip())
            shown = raw if is_picked else f"{told['value']} {told.get('unit') or told.get('code')}"
            return self.one(number, known_units[0], shown, edges)
        pairs: list[tuple[str, str]] = []
        edges: list[str] = []
        for key, part in told.items():
            number = as_text(self.number_in(part, key))
            if key not in self.units or number is None or isinstance(part, bool):
                return held("unreadable_quantity", raw)
            number, met = ascii_digits(number.strip())
            pairs.append((number, self.units[key]))
            edges += met
        return self.agree(amounts(pairs), raw, edges)

    def number_in(self, part: Any, unit: str) -> Any:
        """The number of a part that tells the very unit again that it stands under, as a quantity of FHIR does."""
        if not isinstance(part, dict) or isinstance(part.get("value"), bool) or not part.keys() <= _QUANTITY:
            return part
        told = {self.units.get(fold(str(word))) for key in ("unit", "code") if (word := part.get(key))}
        return part.get("value") if told == {self.units.get(unit)} else part

    def agree(self, measures: list[list[tuple[str, str]]], raw: Any, edges: list[str]) -> Doc:
        """One measure told in several units: the first, where all mean the same."""
        docs = [self.weigh_up(measure, raw, edges) for measure in measures]
        if len(docs) == 1:
            return docs[0]
        if any("held" in doc for doc in docs):
            return next(doc for doc in docs if "held" in doc)
        told = [doc["value"] for doc in docs]
        if max(told) - min(told) > SAME * max(told):
            return held("conflicting_units", raw, *edges)
        return known(told[0], [*(edge for doc in docs for edge in doc.get("edges", ())), "answered_twice"], raw)

    def read_text(self, text: str, raw: Any, chosen: str = "") -> Doc:
        """A text with its units. `chosen`: the unit that was picked for it, which must be the first one in it."""
        if len(text) > LONGEST:
            return held("unreadable_quantity", raw)
        text, edges = ascii_digits(FRACTION.sub(lambda found: found[1] + PARTS_OF_ONE[found[2]], text))
        text = BRACKETED.sub(r" = \1", text.replace("''", '"')).strip().casefold()
        pairs: list[tuple[str, str]] = []
        measures: list[list[tuple[str, str]]] = [[]]
        end, before = 0, ""
        for token in TOKEN.finditer(text):
            if not JOINERS.match(text[end : token.start()]) or (not pairs and text[: token.start()].strip()):
                return held("unreadable_quantity", raw)
            spelling = " ".join((token[2] or "").split())
            is_told_again = token.end() < len(text) and AGAIN.search(spelling) is not None
            if is_told_again:
                spelling = AGAIN.sub("", spelling)
            if not spelling and before in FOLLOWS:
                unit = FOLLOWS[before]
            elif not spelling:
                unit = ""
            elif spelling.endswith((" and", " y")) and spelling.rpartition(" ")[0] in self.units:
                unit = self.units[spelling.rpartition(" ")[0]]
            elif spelling in self.units or spelling.rstrip(". ") in self.units:
                unit = self.units.get(spelling) or self.units[spelling.rstrip(". ")]
            else:
                return unmapped(held("unknown_unit", raw), self.codes, spelling)
            pairs.append((token[1].rstrip(".,"), unit))
            measures[-1].append(pairs[-1])
            if is_told_again:
                measures.append([])
            end, before = token.end(), "" if is_told_again else unit
        if not pairs or text[end:].strip(" .,"):
            return held("unreadable_quantity", raw)
        if chosen and len(pairs) == 1 and not pairs[0][1]:
            return self.one(pairs[0][0], chosen, raw, edges)
        if chosen and pairs[0][1] != chosen:
            return held("conflicting_units", raw, *edges)
        if len(pairs) == 1 and not pairs[0][1]:
            return self.bare(pairs[0][0], raw, edges)
        return self.agree(measures, raw, edges)

    def bare(self, number: str, raw: Any, edges: list[str]) -> Doc:
        """A number alone means something only where the question fixed its unit."""
        if self.fixed:
            return self.one(number, self.fixed, raw, edges)
        told = readings(number)
        if self.thing == "height" and told and (edge := odd_height(told[0].number)):
            return held("ambiguous_height", raw, edge, *edges)
        return held("missing_unit", raw, *edges)

    def weigh_up(self, pairs: list[tuple[str, str]], raw: Any, edges: list[str]) -> Doc:
        if len(pairs) == 1:
            return self.one(*pairs[0], raw, edges)
        if len(pairs) != 2 or (limit := PAIRS.get((pairs[0][1], pairs[1][1]))) is None:
            return held("unreadable_quantity", raw, *edges)
        (big, big_unit), (small, small_unit) = pairs
        bigs, smalls = readings(big), readings(small)
        if not bigs or not smalls:
            return held("unreadable_quantity", raw, *edges)
        if not bigs[0].number.is_integer():
            return held(f"ambiguous_{self.thing}", raw, *edges)
        if smalls[0].number >= limit[0]:
            return held(f"implausible_{self.thing}", raw, limit[1], *edges)
        total = bigs[0].number * limit[0] + smalls[0].number
        return self.settle([Reading(total, smalls[0].edge)], small_unit, raw, [*edges, *extra(big_unit)])

    def one(self, number: str, unit: str, raw: Any, edges: list[str]) -> Doc:
        told = readings(number)
        if not told:
            return held("unreadable_quantity", raw, *edges)
        if unit == "[ft_i]" and (edge := odd_height(told[0].number)):
            return held("ambiguous_height", raw, edge, *edges)
        return self.settle(told, unit, raw, [*edges, *extra(unit)])

    def settle(self, told: list[Reading], unit: str, raw: Any, edges: list[str]) -> Doc:
        """The one reading that a body allows; none or two are held."""
        factor = TO_FIELD_UNIT.get((unit, self.unit))
        if factor is None:
            return held("unknown_unit", raw, *edges)
        fitting = [r for r in told if self.low <= round(r.number * factor, 2) <= self.high]
        if len(fitting) > 1:
            return held("ambiguous_number", raw, "thousands_separator", *edges)
        if not fitting:
            if unit == "cm" and odd_height(told[0].number) == "height_typed_as_511":
                edges = [*edges, "height_typed_as_511"]
            return held(f"implausible_{self.thing}", raw, *edges, *(["thousands_separator"] if told[1:] else []))
        if unit != self.unit:
            edges = [*edges, "unit_converted"]
        if fitting[0].edge:
            edges = [*edges, fitting[0].edge]
        value = round(fitting[0].number * factor, 2)
        return known(value, edges, raw if edges else None)


def amounts(pairs: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Numbers and units that belong together: feet and their inches, stones and their pounds, all others alone."""
    found, rest = [], list(pairs)
    for big, small in PAIRS:
        whole = [pair for unit in (big, small) for pair in rest if pair[1] == unit]
        if [unit for _, unit in whole] == [big, small]:
            found.append(whole)
            rest = [pair for pair in rest if pair not in whole]
    return found + [[pair] for pair in rest]


def odd_height(number: float) -> str:
    """The edge of a number that looks like feet and inches run together."""
    if number.is_integer() and 3 <= number // 100 <= 8 and number % 100 <= 11:
        return "height_typed_as_511"
    return "height_decimal_feet" if not number.is_integer() and 3 <= number < 9 else ""


def extra(unit: str) -> list[str]:
    return ["stone"] if unit == "[stone_av]" else []
