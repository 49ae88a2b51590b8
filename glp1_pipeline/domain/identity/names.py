"""Names as they are compared: without accents, marks, titles and case; parts, suffix and sound kept apart.

Here: one name at a time. Not here: how alike two names are (`levels`).
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

LONGEST = 120
"""Characters of a name that are looked at; more of them tell nobody apart."""
APOSTROPHES = re.compile("['\u2019\u2018\u02bc\u02bb`\u00b4\u2032\u200b\u200c\u200d\u2060\ufeff\u00ad]")
NOT_WORD = re.compile(r"[^a-z0-9]+")
LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i", "ħ": "h", "ŋ": "n"}
)
"""Letters that Unicode does not take apart."""
SUFFIXES = {
    "jr": "2", "junior": "2", "jnr": "2", "ii": "2", "2nd": "2", "sr": "1", "senior": "1", "snr": "1",
    "iii": "3", "3rd": "3", "iv": "4", "4th": "4",
}  # fmt: skip
TITLES = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "sr", "sra", "srta", "md", "phd", "rn", "esq", "dds"})
PARTICLES = frozenset(
    {
        "de", "del", "della", "di", "da", "do", "dos", "das", "du", "la", "las", "le", "los", "van", "von", "der",
        "den", "ter", "ten", "zu", "zum", "y", "e", "el", "al", "bin", "ibn", "ben", "bint", "mac", "mc", "o", "st",
        "san", "santa",
    }
)  # fmt: skip
SOUNDS = {
    letter: digit
    for digit, group in {"1": "bfpv", "2": "cgjkqsxz", "3": "dt", "4": "l", "5": "mn", "6": "r"}.items()
    for letter in group
}


def plain(text: str) -> str:
    """Lower case, no diacritics, no apostrophes, words parted by one space. Applied twice it changes nothing."""
    text = text[:LONGEST]
    if not text.isascii():
        text = bare(APOSTROPHES.sub("", text))  # before: a lone accent would come apart into a blank and a mark
        return " ".join("".join(c if is_letter(c) else " " for c in text).split())[:LONGEST].strip()
    if text.isalnum():  # one word, as most are
        return text.lower()
    return NOT_WORD.sub(" ", text.lower().replace("'", "").replace("`", "")).strip()


def bare(text: str) -> str:
    """Without case and diacritics."""
    for _ in range(2):  # folding case may bring marks that folding width has to take apart again
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(LETTERS)
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text


def is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def given_name(text: str) -> tuple[tuple[str, ...], str]:
    """Parts of a first name, and a suffix that was typed into it."""
    parts = plain(text).split()
    if len(parts) > 1 and parts[0] in TITLES:
        parts = parts[1:]
    return without_suffix(parts)


def family_name(text: str) -> tuple[tuple[str, ...], str]:
    """Parts of a last name, and the suffix that followed it."""
    return without_suffix(plain(text).split())


def without_suffix(parts: list[str]) -> tuple[tuple[str, ...], str]:
    suffix = ""
    while len(parts) > 1 and (parts[-1] in SUFFIXES or parts[-1] in TITLES):
        suffix = SUFFIXES.get(parts[-1], suffix)
        parts = parts[:-1]
    return tuple(parts), suffix


def surnames(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a last name that tell people apart: no particles."""
    return tuple(part for part in parts if part not in PARTICLES and len(part) > 1) or parts


def undoubled(name: str) -> str:
    """Doubled letters taken once: Phillip and Philip."""
    return "".join(letter for letter, _ in groupby(name))


def is_undoubled_alike(x: str, y: str) -> bool:
    """Whether two names are one but for doubled letters. Their ends tell most apart."""
    return x[:1] == y[:1] and x[-1:] == y[-1:] and undoubled(x) == undoubled(y)


def sound(name: str) -> str:
    """Soundex: the first letter and three digits. A name in another script is its first four letters."""
    if not name.isascii():
        return name[:4]
    digits, last = "", SOUNDS.get(name[:1], "")
    for letter in name[1:]:
        digit = SOUNDS.get(letter, "")
        if digit and digit != last:
            digits += digit
            if len(digits) == 3:
                break
        if letter not in "hw":
            last = digit
    return name[:1] + digits.ljust(3, "0")
