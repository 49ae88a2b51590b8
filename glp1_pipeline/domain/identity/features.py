"""What of a record is compared, in one small frozen thing that can be kept as JSON.

Here: canonical values of the chart's fields into normalised parts. Not here: comparing them (`levels`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..identity_model import IdentityModel
from .contacts import email_key, phone_key, street_key, zip_key
from .names import family_name, given_name, plain, surnames

DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
SEXES = {"female": "f", "male": "m"}


class Features(NamedTuple):
    """Every part may be empty: then it is not known. PHI: never to be shown."""

    first: str = ""
    """First name in one word."""
    given: tuple[str, ...] = ()
    """Its parts."""
    called: str = ""
    """Preferred name in one word."""
    formal: tuple[str, ...] = ()
    """Formal names that the first name may stand for; empty where it is not a known name."""
    last: str = ""
    surnames: tuple[str, ...] = ()
    """Parts of the last name, no particles."""
    suffix: str = ""
    dob: str = ""
    """Eight digits, year first."""
    sex: str = ""
    phone: str = ""
    email: str = ""
    number: str = ""
    street: str = ""
    unit: str = ""
    city: str = ""
    zip: str = ""
    state: str = ""

    def to_doc(self) -> dict[str, Any]:
        """As JSON, without what is empty."""
        told = zip(self._fields, self, strict=True)
        return {name: list(part) if isinstance(part, tuple) else part for name, part in told if part}

    @classmethod
    def from_doc(cls, doc: Mapping[str, Any]) -> Features:
        """Back from JSON; what another version of the program knew besides is passed over."""
        known = map(doc.get, cls._fields, NOTHING)
        return cls._make([tuple(part) if isinstance(part, list) else part for part in known])


NOTHING = Features()


def features(model: IdentityModel, values: Mapping[str, Any]) -> Features:
    """Of the canonical values by field name (`demo.legal_first` and so on); other fields are passed over."""
    given, suffix_there = given_name(text(values, "demo.legal_first"))
    family, suffix = family_name(text(values, "demo.legal_last"))
    called = plain(text(values, "demo.preferred_name")).replace(" ", "")
    first = "".join(given)
    address = values.get("demo.address")
    home: Mapping[str, Any] = address if isinstance(address, Mapping) else {}
    number, street, unit = street_key(text(home, "line1"), text(home, "line2"))
    formal = {name for word in (first, *given[:1]) for name in model.formal_names.get(word, ())}
    return Features(
        first=first,
        given=given,
        called=called,
        formal=tuple(sorted(formal)),
        last="".join(family),
        surnames=surnames(family),
        suffix=suffix or suffix_there,
        dob=birth_date(text(values, "demo.dob"), model),
        sex=SEXES.get(text(values, "demo.sex_at_birth").lower(), ""),
        phone=phone_key(text(values, "demo.mobile"), model.fillers),
        email=email_key(text(values, "demo.email"), model.fillers),
        number=number,
        street=street,
        unit=unit,
        city=plain(text(home, "city")),
        zip=zip_key(text(home, "postal_code"), model.fillers),
        state=plain(text(home, "state") or text(values, "demo.state_residence")),
    )


def text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "" if value is None else value if isinstance(value, str) else str(value)


def birth_date(told: str, model: IdentityModel) -> str:
    found = DATE.match(told)
    return "".join(found.groups()) if found and found[0] not in model.fillers.birth_dates else ""
