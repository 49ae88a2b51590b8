"""How alike two records are, comparison by comparison, in levels that have a name.

Here: what each level means. Not here: what it is worth (the model) and what it allows (`match`). None: one side does
not know, which is evidence for nothing.
"""

from __future__ import annotations

from datetime import date

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

from .features import Features
from .names import is_undoubled_alike, sound

ALIKE = 0.88
"""Jaro-Winkler from which on two names may be one that was misheard."""
ONE_LIFE = 10
"""Years: two birth dates further apart are a generation, not a slip."""


def levels(a: Features, b: Features) -> dict[str, str | None]:
    """Comparison -> its level."""
    first, last = first_level(a, b), last_level(a, b)
    if is_swapped(a, b):
        first, last = "swapped", None
    return {
        "first": first,
        "last": last,
        "dob": dob_level(a.dob, b.dob),
        "phone": phone_level(a.phone, b.phone),
        "email": email_level(a.email, b.email),
        "address": address_level(a, b),
        "sex": None if not a.sex or not b.sex else "same" if a.sex == b.sex else "differs",
    }


def is_swapped(a: Features, b: Features) -> bool:
    return a.first == b.last and a.last == b.first and a.first != a.last and bool(a.first and a.last)


def first_level(a: Features, b: Features) -> str | None:
    """exact (a second first name may be missing); variant (nickname, preferred name, doubled letter, other order);
    typo (an evident one); similar (may be a typo or a twin: also where second names differ); differs."""
    if not a.given or not b.given:
        return None
    if a.first == b.first:
        return "exact"
    if len(a.given) > 1 and sorted(a.given) == sorted(b.given):
        return "variant"
    level = word_level(a, b)
    if level in ("exact", "variant", "typo"):
        return "similar" if second_names(a, b) == "differs" else level
    return "similar" if any(name in b.given for name in a.given) else level


def word_level(a: Features, b: Features) -> str:
    """Of the first of the first names."""
    x, y = a.given[0], b.given[0]
    if x == y:
        return "exact"
    if is_nickname(a, b, x, y) or is_undoubled_alike(x, y):
        return "variant"
    edits = DamerauLevenshtein.distance(x, y, score_cutoff=2)
    if is_typo(x, y, edits) and (is_transposed(x, y) or is_slip_in_known_name(a, b, x, y)):
        return "typo"
    is_initial = x[0] == y[0] and 1 in (len(x), len(y))
    may_be_one = edits == 1 or is_initial or any(name in b.formal for name in a.formal)
    return "similar" if may_be_one or JaroWinkler.similarity(x, y) >= ALIKE else "differs"


def is_slip_in_known_name(a: Features, b: Features, x: str, y: str) -> bool:
    """One letter turns a name into that of a twin, a brother or a sister (Brendan, Brennan; Amir, Amira). It is a slip
    where one of the two is a known name and the other is not, both sound alike, and not just the ending differs."""
    return bool(a.formal) != bool(b.formal) and sound(x) == sound(y) and x[:-1] not in (y, y[:-1]) and x != y[:-1]


def is_spelled_otherwise(a: Features, b: Features, first: str | None) -> bool:
    """Whether the first names, of this level, are one name but for its letters: Annabel, Anabel; Cathreine."""
    if first != "variant":
        return first == "typo"
    x, y = a.given[0], b.given[0]
    return x != y and is_undoubled_alike(x, y) and not is_nickname(a, b, x, y)


def is_nickname(a: Features, b: Features, x: str, y: str) -> bool:
    if (a.called and a.called in (y, b.first, b.called)) or (b.called and b.called in (x, a.first)):
        return True
    if x in b.formal or y in a.formal:
        return True
    # Two short forms of one name (Bob, Bobby); where either may stand for more (Bert, Al) nobody can tell.
    return len(a.formal) == 1 and a.formal == b.formal


def second_names(a: Features, b: Features) -> str | None:
    """same (a whole word, not an initial), open (an initial, a typo), differs, or None where one has none."""
    if len(a.given) < 2 or len(b.given) < 2:
        return None
    x, y = a.given[1], b.given[1]
    if x == y:
        return "same" if len(x) > 1 else "open"
    if x[0] == y[0] and 1 in (len(x), len(y)):
        return "open"
    return "open" if is_typo(x, y, DamerauLevenshtein.distance(x, y, score_cutoff=2)) else "differs"


def is_typo(x: str, y: str, edits: int) -> bool:
    """One edit, or two in a long name."""
    shorter = min(len(x), len(y))
    return (edits == 1 and shorter >= 4) or (edits == 2 and shorter >= 8)


def is_transposed(x: str, y: str) -> bool:
    """Two letters that stand beside each other were typed in the other order, in a name too long for two names."""
    return len(x) == len(y) > 4 and sorted(x) == sorted(y)


def last_level(a: Features, b: Features) -> str | None:
    """exact; part (of a double name); typo; similar; differs."""
    x, y = a.last, b.last
    if not x or not y:
        return None
    if x == y:
        return "exact"
    if any(len(part) > 2 and part in b.surnames for part in a.surnames):
        return "part"
    edits = DamerauLevenshtein.distance(x, y, score_cutoff=2)
    if is_typo(x, y, edits) or is_undoubled_alike(x, y):
        return "typo"
    return "similar" if edits == 1 or JaroWinkler.similarity(x, y) >= ALIKE else "differs"


def dob_level(x: str, y: str) -> str | None:
    """exact; slip (day and month swapped, one digit, two digits swapped, one day off); part (two of year, month and
    day); differs."""
    if not x or not y:
        return None
    if x == y:
        return "exact"
    if years_apart(x, y) <= ONE_LIFE and (
        (x[:4] == y[:4] and x[4:6] == y[6:] and x[6:] == y[4:6])
        or DamerauLevenshtein.distance(x, y, score_cutoff=1) == 1
        or is_next_day(x, y)
    ):
        return "slip"
    return "part" if (x[:4] == y[:4]) + (x[4:6] == y[4:6]) + (x[6:] == y[6:]) > 1 else "differs"


def years_apart(x: str, y: str) -> int:
    """Full years between two dates of eight digits."""
    earlier, later = sorted((x, y))
    return (int(later) - int(earlier)) // 10000


def is_next_day(x: str, y: str) -> bool:
    if x[:3] != y[:3]:
        return False
    try:
        days = [date(int(d[:4]), int(d[4:6]), int(d[6:])) for d in (x, y)]
    except ValueError:
        return False
    return abs((days[0] - days[1]).days) == 1


def phone_level(x: str, y: str) -> str | None:
    """exact; close (another area code, one digit); differs."""
    if not x or not y:
        return None
    if x == y:
        return "exact"
    return "close" if x[-7:] == y[-7:] or DamerauLevenshtein.distance(x, y, score_cutoff=1) == 1 else "differs"


def email_level(x: str, y: str) -> str | None:
    """exact; close (another provider, one letter); differs."""
    if not x or not y:
        return None
    if x == y:
        return "exact"
    if x.partition("@")[0] == y.partition("@")[0] and x.index("@") > 5:
        return "close"
    return "close" if DamerauLevenshtein.distance(x, y, score_cutoff=1) == 1 else "differs"


def address_level(a: Features, b: Features) -> str | None:
    """home (number and street, which may be misspelt; not in another town); close (the same street of one town with
    another number, or the same building with another unit); zip; city; state; differs."""
    same_zip = a.zip == b.zip if a.zip and b.zip else None
    same_city = a.city == b.city if a.city and b.city else None
    in_town = None if same_zip is None and same_city is None else bool(same_zip or same_city)
    if a.street and b.street and in_town is not False:
        same_street = a.street == b.street or bool(in_town and is_misspelt(a.street, b.street))
        if same_street and a.number and a.number == b.number:
            return "close" if a.unit and b.unit and a.unit != b.unit else "home"
        if same_street and in_town:
            return "close"
    if same_zip:
        return "zip"
    if same_city and a.state == b.state:
        return "city"
    if a.state and b.state:
        return "state" if a.state == b.state else "differs"
    return None if in_town is None else "differs"


def is_misspelt(x: str, y: str) -> bool:
    return DamerauLevenshtein.distance(x, y, score_cutoff=2) <= min(2, (len(x) + len(y)) // 8)
