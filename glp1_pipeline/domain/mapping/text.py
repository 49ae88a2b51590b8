"""Text that can be kept, and answers that can be kept as typed.

Here: what cannot be stored or seen is replaced or removed, and named; raw answers made safe for JSON and Postgres; the
value documents. Not here: what a text means.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..contract import fold

Doc = dict[str, Any]

ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff\u00ad\u3164\uffa0]")
"""What nobody sees, blank letters among it. Joiners (U+200C, U+200D) are not: Persian and emoji need them."""
DIRECTIONS = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
"""Marks of direction. Prose may need them inside; phones put them around numbers and words that are pasted."""
OUTER = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200e\u200f\u061c"
"""What is nothing at the ends of a text."""
CONTROLS = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
"""What a web page writes in place of a letter: `O&#39;Brien`. The mark at its end must stand: `AT&T` has none."""
SURROGATES = re.compile("[\ud800-\udfff]")
LONG = 4000
LONGEST_SPELLING = 100
DEEPEST = 24
EXACT = 2**53
"""Beyond it a JSON number is not the same everywhere."""


@dataclass(slots=True)
class Context:
    """What an answer alone does not say: when and where it was given."""

    authored_at: datetime
    time_zone: str
    received_at: datetime | None = None
    given_by: datetime = field(init=False)
    """By when it was given: a form that was begun long ago may be finished later, and not after it came."""

    def __post_init__(self) -> None:
        self.given_by = max(self.authored_at, self.received_at or self.authored_at)


Shape = Callable[[Any, Context], Doc]
"""From a raw answer to its value document; total: no answer makes it raise."""


def is_plain(text: str) -> bool:
    """Whether nothing can be wrong with it: most answers, at the price of three looks."""
    return text.isascii() and text.isprintable() and text[:1] not in ("", " ") and text[-1] != " " and "&" not in text


def unescaped(text: str) -> str:
    """The text with the letters that HTML's entities stand for: a form escaped what it should have sent as typed."""
    return ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def tidy(text: str) -> tuple[str, list[str]]:
    """The text as it is kept, and the edges met."""
    edges: list[str] = []
    if (plain := unescaped(text)) != text:
        text, edges = plain, ["html_entities"]
    if text.isascii() and text.isprintable():
        return text.strip(), edges
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
        edges.append("nul_replaced")
    if SURROGATES.search(text):
        text = SURROGATES.sub("\ufffd", text)
        edges.append("surrogate_replaced")
    if CONTROLS.search(text):
        text = CONTROLS.sub("", text)
        edges.append("control_removed")
    if ZERO_WIDTH.search(text):
        text = ZERO_WIDTH.sub("", text)
        edges.append("invisible_characters")
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        edges.append("decomposed_letters")
    kept = text.strip(OUTER)
    if kept != text.strip():
        edges.append("invisible_characters")
    return kept, edges


def bare(text: str) -> tuple[str, list[str]]:
    """The same of what is no prose: numbers, codes, addresses of mail. Marks of direction go wherever they stand."""
    kept = text if text.isascii() else DIRECTIONS.sub("", text)
    tidied, edges = tidy(kept)
    return tidied, edges if kept == text else [*edges, "invisible_characters"]


def storable(raw: Any, depth: int = 0) -> Any:
    """A raw answer as JSON that every store can hold: no NUL, no half characters, no endless depth or digits."""
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        return raw if raw.isascii() and "\x00" not in raw else SURROGATES.sub("\ufffd", raw.replace("\x00", "\ufffd"))
    if isinstance(raw, int):
        return raw if -EXACT < raw < EXACT else f"integer of {raw.bit_length()} bits"
    if isinstance(raw, float):
        return raw if math.isfinite(raw) else "not a finite number"
    if isinstance(raw, Decimal):
        return storable(float(raw))
    if depth >= DEEPEST:
        return "nested too deep to keep here"
    if isinstance(raw, dict):
        return {storable(str(key)): storable(inner, depth + 1) for key, inner in raw.items()}
    if isinstance(raw, list | tuple):
        return [storable(inner, depth + 1) for inner in raw]
    return f"a {type(raw).__name__}"


def known(value: Any, edges: Iterable[str] = (), raw: Any = None) -> Doc:
    doc: Doc = {"value": value}
    if raw is not None:
        doc["raw"] = storable(raw)
    return noted(doc, edges) if edges else doc


def null(kind: str, edges: Iterable[str] = ()) -> Doc:
    return noted({"null": kind}, edges) if edges else {"null": kind}


def held(cause: str, raw: Any, *edges: str) -> Doc:
    return noted({"held": cause, "raw": storable(raw)}, edges)


def unmapped(doc: Doc, codes: str, *spellings: str) -> Doc:
    """The document with the spellings that a code set does not know, folded as those in codes.csv are."""
    told = {short(fold(bare(spelling)[0])) for spelling in spellings}
    if told := sorted(told - {""}):
        doc["unmapped"] = {codes: told}
    return doc


def short(spelling: str) -> str:
    return spelling if len(spelling) <= LONGEST_SPELLING else f"{spelling[:LONGEST_SPELLING]}…"


def held_whole(part: Doc, raw: Any, *edges: str) -> Doc:
    """A whole answer held for what one part of it was held for."""
    doc = held(part["held"], raw, *edges)
    if "unmapped" in part:
        doc["unmapped"] = part["unmapped"]
    return doc


def noted(doc: Doc, edges: Iterable[str]) -> Doc:
    """The document with further edges, each once, in a fixed order."""
    if names := {*doc.get("edges", ()), *edges}:
        doc["edges"] = sorted(names)
    return doc


def as_text(raw: Any) -> str | None:
    """A scalar answer as text, or None where it is no scalar. A number of whole value has no point."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, int):
        return str(raw) if -EXACT < raw < EXACT else None
    if isinstance(raw, float | Decimal):
        number = float(raw)
        if not math.isfinite(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < EXACT else repr(number)
    return None
