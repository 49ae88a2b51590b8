"""Same, review or different: the weight of all levels, and the guards that no weight overrules.

Here: the decision about one pair. Not here: what follows for groups of records (`group`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ..identity_model import IdentityModel
from .features import Features
from .levels import (
    ONE_LIFE,
    dob_level,
    first_level,
    is_spelled_otherwise,
    is_swapped,
    levels,
    second_names,
    years_apart,
)

Outcome = Literal["same", "review", "different"]
HARD = frozenset({"twins", "parent_and_child", "sex_differs", "suffix_differs", "another_person"})
"""Guards that contradict: such a pair is not joined through a third record, either."""
GOOD_FIRST = frozenset({"exact", "variant", "typo", "swapped"})
GOOD_LAST = frozenset({"exact", "part", "typo"})


@dataclass(frozen=True, slots=True)
class Match:
    outcome: Outcome
    weight: float
    """log2 of the odds that the two are one person, guards left aside."""
    agreements: tuple[str, ...]
    """`comparison:level` of everything that both sides know."""
    guards: tuple[str, ...]
    """Why this is not joined without a person, whatever it weighs."""

    @property
    def contradicts(self) -> bool:
        """Something says that these are two people."""
        return not HARD.isdisjoint(self.guards)


def compare(model: IdentityModel, a: Features, b: Features) -> Match:
    """The same for (a, b) and (b, a)."""
    found = levels(a, b)
    agreements = tuple(f"{name}:{level}" for name, level in found.items() if level)
    worth = model.weights
    weight = model.prior + sum(worth[agreement] for agreement in agreements)
    guards = tuple(guards_of(a, b, found))
    if not guards and weight >= model.same:
        outcome: Outcome = "same"
    elif "another_person" in guards or weight < model.review:
        outcome = "different"
    else:
        outcome = "review"
    return Match(outcome, round(weight, 3), agreements, guards)


def is_another_person(a: Features, b: Features) -> bool:
    """Whether neither the first name nor the birth date agrees: then `compare` says `different`, whatever else is
    alike. Most who share a key are such, and this is a third of the work."""
    return dob_level(a.dob, b.dob) in (None, "differs") and first_level(a, b) == "differs" and not is_swapped(a, b)


def contradictions(model: IdentityModel, people: Mapping[str, Features]) -> set[tuple[str, str]]:
    """Pairs (smaller id first) of these records that the model holds to be two people: for `group`."""
    pairs = combinations(sorted(people), 2)
    return {(a, b) for a, b in pairs if compare(model, people[a], people[b]).contradicts}


def guards_of(a: Features, b: Features, found: dict[str, str | None]) -> list[str]:
    """
    another_person     neither the first name nor the birth date agrees: a household, whatever it shares
    twins              birth date and last name agree, the first names (or the second ones) do not
    parent_and_child   born more than ten years apart
    no_birth_date      one side has none
    birth_date_differs neither equal nor one slip away
    names_differ       a name is missing, or no more than similar
    sex_differs, suffix_differs
    uncorroborated     names and birth date may agree; no phone, e-mail, home (or its ZIP code) or second name does
    half_corroborated  one does, and another speaks against it or is known to one side alone
    slips              two of first name, last name and birth date are nearly the same, and less than two corroborate
    names_slip         the last name is the same in part and less than two corroborate, or the first name is misspelt
                       and no phone, e-mail or street agrees
    names_alike        the first names differ in letters alone, and each is a name (Christian, Christina) or may be one
                       (Taina, Tiana), or a phone, an e-mail or a street speaks against it: twins share a home
    """
    first, last, dob = found["first"], found["last"], found["dob"]
    guards: list[str] = []
    good_last = last in GOOD_LAST or first == "swapped"
    if first == "differs" and dob in (None, "differs"):
        guards.append("another_person")
    if first in ("similar", "differs") and good_last and dob in ("exact", "slip"):
        guards.append("twins")
    elif first not in GOOD_FIRST or not good_last:
        guards.append("names_differ")
    if dob is None:
        guards.append("no_birth_date")
    elif years_apart(a.dob, b.dob) > ONE_LIFE:
        guards.append("parent_and_child")
    elif dob not in ("exact", "slip"):
        guards.append("birth_date_differs")
    if found["sex"] == "differs":
        guards.append("sex_differs")
    if a.suffix and b.suffix and a.suffix != b.suffix:
        guards.append("suffix_differs")
    return guards + corroboration(a, b, found)


def corroboration(a: Features, b: Features, found: dict[str, str | None]) -> list[str]:
    """What has to come to names and birth date: two that agree, or one where neither side tells anything else."""
    phone, email, address = found["phone"], found["email"], found["address"]
    at_home = address in ("home", "close", "zip")
    agree = (phone == "exact") + (email == "exact") + at_home + (second_names(a, b) == "same")
    against = phone == "differs" or email == "differs" or (bool(a.street and b.street) and not at_home)
    known = [(bool(f.phone), bool(f.email), bool(f.street or f.zip)) for f in (a, b)]
    one_sided = known[0] != known[1]
    slips = (found["first"] in ("typo", "swapped")) + (found["last"] == "typo") + (found["dob"] == "slip")
    guards = []
    if not agree:
        guards.append("uncorroborated")
    elif agree == 1 and (against or one_sided):
        guards.append("half_corroborated")
    if slips > 1 and agree < 2:
        guards.append("slips")
    is_strong = "exact" in (phone, email) or address in ("home", "close")
    if (found["last"] == "part" and agree < 2) or (found["first"] == "typo" and not is_strong):
        guards.append("names_slip")
    names_known = bool(a.formal) + bool(b.formal)
    may_be_two = names_known == 2 or (found["first"] == "typo" and not names_known)
    if is_spelled_otherwise(a, b, found["first"]) and (against or may_be_two):
        guards.append("names_alike")
    return guards
