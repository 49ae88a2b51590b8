"""Names, contact points and numbers that look like text: one shape per format.

Here: what may be mended without a guess (spaces, a zero that a number input ate, a phone's punctuation). Not here:
whether two people are one (`identity`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from ..contract import fold
from ..zones import zone_named
from .codes import Nulls, null_in, once
from .digits import ascii_digits
from .text import LONG, Context, Doc, Shape, as_text, bare, held, is_plain, known, noted, null, tidy
from .told import CLOSING

NANP = re.compile(r"(?:\+?1)?([2-9]\d{2}[2-9]\d{6})")
LONG_DISTANCE = re.compile(r"\+1[2-9]\d{9}")
EXTENSION = re.compile(r"[\s,;(]*(?:ext\.?|extension|x|#|;ext=)\s*(\d{1,6})\)?$", re.IGNORECASE)
SECOND_NUMBER = re.compile(r"[,;].*\d{7}")
"""Behind a comma stands an extension, and never as many digits as this: two numbers are no one's to choose from."""
PHONE_MARKS = re.compile(r"[\s().\-\u2010-\u2015/\u00a0]")
_LABEL = r"[^\W_][^@\s<>()\[\]{}.,;:!?\"'\u2019/\\&=%+*#]*"
EMAIL = re.compile(rf"[^@\s<>,;:\"]+@{_LABEL}(?:\.{_LABEL})+")
NAME = re.compile(r"[A-Za-z](?:[A-Za-z]|[ .'-](?=[A-Za-z.]))*\.?")
"""Names with nothing to mend; all others are looked at more closely."""
EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
BREAKS = re.compile(r"\s*[\t-\r\x85\u2028\u2029]\s*")
"""What parts lines and cells: no name has two, but what was pasted has."""
LONGEST_NAME = 100
PADDED = {"zip": (5, "zip_leading_zero"), "bin": (6, "bin_leading_zero"), "ncpdp": (7, "ncpdp_leading_zero")}
LEADS = {"zip": 3, "bin": 4, "ncpdp": 5}
"""Fewer digits than this were never the whole number less its zeros."""

Reader = Callable[[str, Any], Doc]


def text_shape(nulls: Nulls) -> Shape:
    """Free text, kept whole. A number is taken as text and noted, for its leading zeros may be gone."""
    return typed(read_words, nulls)


def read_words(text: str, raw: Any) -> Doc:
    kept, edges = tidy(text)
    if not isinstance(raw, str):
        edges.append("number_as_text")
    if len(kept) > LONG:
        edges.append("very_long_text")
    if not kept.isascii() and EMOJI.search(kept):
        edges.append("emoji")
    return known(kept, edges) if kept else {"null": "absent"}


def name_shape() -> Shape:
    """A name. Only a blank is none: there are people called Null, Na and None. With its stroke, `N/A` is no name."""
    return typed(read_name, {"": "absent"})


def read_name(text: str, raw: Any) -> Doc:
    text, breaks = BREAKS.subn(" ", text.strip())
    doc = read_words(text, raw)
    name = doc.get("value", "")
    if not any(letter.isalpha() for letter in name) or fold(name).rstrip(CLOSING) == "n/a":
        return held("unreadable_name", raw) if name else doc
    edges = ["control_removed"] if breaks else []
    return noted(doc, [*edges, "very_long_text"] if len(name) > LONGEST_NAME else edges)


def typed(read: Reader, nulls: Nulls) -> Shape:
    def slow(raw: Any, _: Context) -> Doc:
        told = shown(raw) if isinstance(raw, dict) else raw
        text = as_text(told)
        if text and isinstance(raw, dict) and isinstance(unit := raw.get("unit"), str):
            text = f"{text} {unit}"  # a dose without its unit would be another dose
        if text is None or isinstance(raw, bool):
            return held("unexpected_shape", raw)
        if told is not raw and isinstance(told, str):  # a text, or a coding's, in an object
            return read(text, text) if (kind := null_in(told, nulls)) is None else null(kind)
        return read(text, raw)

    unwrap = once(slow, nulls)
    plain = read in (read_words, read_name)
    quick = NAME.fullmatch if read is read_name else is_plain

    def shape(raw: Any, context: Context) -> Doc:
        if plain and type(raw) is str and len(raw) <= LONGEST_NAME and quick(raw) and is_told(raw):
            return {"value": raw}
        return unwrap(raw, context)

    def is_told(text: str) -> bool:
        """Whether it surely is no null: `n/a.` is no other answer than `n/a`."""
        return text[-1] not in CLOSING and "  " not in text and text.lower() not in nulls

    return shape


def shown(raw: dict[Any, Any]) -> Any:
    """What an object with one text in it says; of a coding without a label its code."""
    return next((raw[key] for key in ("value", "text", "display", "code") if key in raw), None)


def phone_shape(nulls: Nulls) -> Shape:
    def read(text: str, raw: Any) -> Doc:
        kept, edges = bare(text)
        number = e164(kept)
        if number is None:
            return held("unreadable_phone", raw, *edges)
        if not isinstance(raw, str):
            edges.append("number_as_text")
        return known(number) if number == raw else known(number, [*edges, "phone_format"], raw)

    unwrap = typed(read, nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and is_e164(raw):
            return {"value": raw}
        return unwrap(raw, context)

    return shape


def is_e164(text: str) -> bool:
    """Whether it is a number of the US, written as we write them."""
    return len(text) == 12 and text[:2] == "+1" and text.isascii() and NANP.fullmatch(text) is not None


def e164(text: str) -> str | None:
    """A phone in E.164 with `;ext=`, read in the US where no country is told; None where it cannot be one."""
    if is_e164(text):
        return text
    if len(text) > LONGEST_NAME:
        return None
    if not text.isascii():
        text = "".join(letter if letter.isascii() or not letter.isdecimal() else str(int(letter)) for letter in text)
    extension = EXTENSION.search(text)
    digits = PHONE_MARKS.sub("", text[: extension.start()] if extension else text)
    tail = f";ext={extension[1]}" if extension else ""
    if SECOND_NUMBER.search(text):
        return None
    if found := NANP.fullmatch(digits):
        return f"+1{found[1]}{tail}"
    import phonenumbers  # only foreign numbers need it, and it is slow to import

    try:
        number = phonenumbers.parse(digits, "US")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    told = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if number.country_code == 1 and not LONG_DISTANCE.fullmatch(told):  # seven digits, say: they lack the area
        return None
    return told + (tail or (f";ext={number.extension}" if number.extension else ""))


def email_shape(nulls: Nulls, typos: Mapping[str, str]) -> Shape:
    def read(text: str, raw: Any) -> Doc:
        kept, edges = bare(text)
        kept = unicodedata.normalize("NFKC", kept).rstrip(" .,;")  # keyboards end a line with a full stop
        if len(kept) > 254 or not EMAIL.fullmatch(kept):
            return held("unreadable_email", raw, *edges)
        local, _, domain = kept.rpartition("@")
        if domain != domain.lower():
            edges.append("email_case")
        if domain.lower() in typos:
            edges.append("email_typo")
        return known(f"{local}@{domain.lower()}", edges)

    unwrap = typed(read, nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and len(raw) <= LONGEST_NAME and raw.isascii() and EMAIL.fullmatch(raw):
            folded = raw.lower()
            domain = folded.rpartition("@")[2]
            if raw.endswith(domain) and domain not in typos and folded not in nulls and raw.isprintable():
                return {"value": raw}
        return unwrap(raw, context)

    return shape


def padded_shape(kind: str, nulls: Nulls) -> Shape:
    """Numbers of a fixed length: BIN, NCPDP and ZIP. A zero that went missing is put back, and noted."""
    size, edge = PADDED[kind]

    def read(text: str, raw: Any) -> Doc:
        kept, edges = ascii_digits(text)
        digits = re.sub(r"[\s-]", "", kept)
        if kind == "zip":
            if re.fullmatch(r"\d{9}", digits, re.ASCII):
                return known(f"{digits[:5]}-{digits[5:]}", edges)
            if not re.fullmatch(r"[\d\s-]+", kept, re.ASCII):
                return known(kept, edges) if kept else {"null": "absent"}  # another country's
        longest = 8 if kind == "bin" else size
        if not re.fullmatch(r"\d+", digits, re.ASCII) or not LEADS[kind] <= len(digits) <= longest:
            return held(f"unreadable_{kind}", raw, *edges)
        return known(digits.zfill(size), [*edges, edge] if len(digits) < size else edges)

    def unwrapped(raw: Any, context: Context) -> Doc:
        if type(raw) is str and len(raw) == size and raw.isascii() and raw.isdigit():
            return {"value": raw}
        if isinstance(raw, dict):
            raw = next((raw[key] for key in (kind, "code", "id", "value") if key in raw), raw)
        return inner(raw, context)

    inner = typed(read, nulls)
    return unwrapped


def zone_shape(nulls: Nulls) -> Shape:
    def read(text: str, raw: Any) -> Doc:
        kept = text.strip()
        return known(kept) if len(kept) <= LONGEST_NAME and zone_named(kept) else held("unknown_time_zone", raw)

    unwrap = typed(read, nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and len(raw) <= LONGEST_NAME and zone_named(raw):
            return {"value": raw}
        return unwrap(raw, context)

    return shape
