"""Numbers as people and phones write them: digits of any script, commas and points of any country.

Here: all numbers that a text may mean. Not here: units, and which of the numbers a body allows (`quantities`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from .text import bare

PRIMES: dict[int, str] = {ord(mark): "'" for mark in "\u2018\u2019\u2032\xb4`"}
PRIMES |= {ord(mark): '"' for mark in "\u201c\u201d\u2033"}
"""What phones make of the marks of feet and inches."""
MARKS: dict[int, str] = PRIMES | {0x066B: ".", 0x066C: ","}
"""Those, and the decimal and thousands marks of Arabic."""
GROUPED = re.compile(r"\d{1,3}(?:[., \u00a0\u202f]\d{3})+(?:[.,]\d+)?")


class Reading(NamedTuple):
    number: float
    edge: str = ""


def readings(text: str) -> list[Reading]:
    """All numbers that a text may mean: `82,5` is one, `1.750` is two, `5.5.5` is none."""
    if text.isdigit():
        return [Reading(float(text))] if len(text) < 16 else []
    if re.fullmatch(r"\d*[.,]\d+", text) and len(text) < 24:
        whole, mark, part = re.split(r"([.,])", text)
        whole = whole or "0"
        decimal = Reading(float(f"{whole}.{part}"), "comma_decimal" if mark == "," else "")
        if len(part) == 3 and 1 <= len(whole) <= 3 and whole != "0":
            return [decimal, Reading(float(whole + part), "thousands_separator")]
        return [decimal]
    if GROUPED.fullmatch(text) and len(text) < 24:
        marks = re.findall(r"[^\d]", text)
        tail = marks[-1] if len(set(marks)) > 1 and marks[-1] in ".," else ""
        whole, _, part = text.rpartition(tail) if tail else (text, "", "0")
        if len(set(marks[:-1] if tail else marks)) <= 1:
            return [Reading(float(re.sub(r"\D", "", whole) + "." + part), "thousands_separator")]
    return []


def ascii_digits(text: str) -> tuple[str, list[str]]:
    """Digits of every script as 0 to 9, marks of feet and inches as ' and ", compatibility form, nothing invisible."""
    text, edges = bare(text)
    text = unicodedata.normalize("NFKC", text.translate(MARKS)).translate(PRIMES)
    if any(letter.isdecimal() and not letter.isascii() for letter in text):
        text = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)
        edges = [*edges, "non_ascii_digits"]
    return text, edges
