"""Phones, e-mail and homes as they are compared: one spelling for one thing, fillers taken out.

Here: one contact point at a time. Not here: how alike two are (`levels`).
"""

from __future__ import annotations

import re

from ..identity_model import Fillers
from ..mapping.people import e164
from .names import plain

DOTLESS = frozenset({"gmail.com", "googlemail.com"})
"""Providers for which a dot in the mailbox is nothing."""
LONGEST = 200
STREET_WORDS = {
    "street": "st", "str": "st", "avenue": "ave", "av": "ave", "avn": "ave", "boulevard": "blvd", "boul": "blvd",
    "road": "rd", "drive": "dr", "drv": "dr", "lane": "ln", "court": "ct", "crt": "ct", "circle": "cir", "circ": "cir",
    "place": "pl", "square": "sq", "terrace": "ter", "terr": "ter", "parkway": "pkwy", "pky": "pkwy", "highway": "hwy",
    "trail": "trl", "crescent": "cres", "close": "cl", "way": "wy", "plaza": "plz", "point": "pt", "mount": "mt",
    "heights": "hts", "turnpike": "tpke", "expressway": "expy", "freeway": "fwy", "alley": "aly", "crossing": "xing",
    "north": "n", "south": "s", "east": "e", "west": "w", "northeast": "ne", "northwest": "nw", "southeast": "se",
    "southwest": "sw", "saint": "st", "fort": "ft", "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th",
    "fifth": "5th", "sixth": "6th", "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th",
}  # fmt: skip
UNITS = frozenset(
    {
        "apt", "apartment", "unit", "suite", "ste", "rm", "room", "fl", "floor", "bldg", "building", "lot", "trlr",
        "trailer", "spc", "space", "no", "num",
    }
)  # fmt: skip
POST_BOX = re.compile(r"\bp(?:ost)? ?o(?:ffice)? ?box (\w+)")


def phone_key(text: str, fillers: Fillers) -> str:
    """E.164 without extension; empty where it is no number or a filler."""
    number = (e164(text) or "").partition(";")[0]
    digits = number[1:]
    return "" if number in fillers.phones or len(set(digits[-7:])) <= 1 else number


def email_key(text: str, fillers: Fillers) -> str:
    """Lower case, without a plus tag, and without dots where the provider ignores them."""
    mailbox, at, provider = text[:LONGEST].strip().lower().rpartition("@")
    mailbox = mailbox.partition("+")[0]
    if provider in DOTLESS:
        mailbox, provider = mailbox.replace(".", ""), "gmail.com"
    key = f"{mailbox}@{provider}"
    if not (at and mailbox and provider and key.isprintable()) or mailbox in fillers.mailboxes or key in fillers.emails:
        return ""
    return key


def street_key(line1: str, line2: str) -> tuple[str, str, str]:
    """House number, street and unit: `("48", "leslie pl", "2b")`; each may be empty. Of the second line the unit
    counts; a house or an estate that is named there does not, unless the first line has no number."""
    number, street, unit = parse_street(line1)
    if not line2:
        return number, street, unit
    other_number, other_street, other_unit = parse_street(line2)
    if not number and other_number and other_street:
        number, street = other_number, other_street
    return number, street, unit or other_unit


def parse_street(line: str) -> tuple[str, str, str]:
    words = plain(line[:LONGEST].replace("#", " unit ")).split()
    if box := POST_BOX.search(" ".join(words)):
        return box[1], "po box", ""
    number, street, unit = "", [], ""
    at = 0
    while at < len(words):
        word = words[at]
        if word in UNITS and (street or not number):
            while at < len(words) and words[at] in UNITS:
                at += 1
            unit = words[at] if at < len(words) else ""
        elif not number and not street and word[0].isdigit() and at + 1 < len(words):
            number = word
        else:
            street.append(STREET_WORDS.get(word, word))
        at += 1
    return number, " ".join(street), unit


def zip_key(text: str, fillers: Fillers) -> str:
    """Five digits of a ZIP code; another country's code as it is."""
    code = plain(text).replace(" ", "")
    if len(code) == 9 and code.isdigit():
        code = code[:5]
    return "" if code in fillers.zips else code[:10]
