"""The shape of the signed model: what agreement is worth, from which weight on, and what fillers mean nothing.

Here: frozen data of `contracts/identity.yaml` and `contracts/nicknames.csv`, and look-ups on it. Not here: reading
files (`contracts`), and what counts as agreement (`levels`).
"""

from __future__ import annotations

from functools import cached_property
from math import log2

from pydantic import model_validator

from .declared import Declared

LEVELS: dict[str, tuple[str, ...]] = {
    "first": ("exact", "variant", "typo", "swapped", "similar", "differs"),
    "last": ("exact", "part", "typo", "similar", "differs"),
    "dob": ("exact", "slip", "part", "differs"),
    "phone": ("exact", "close", "differs"),
    "email": ("exact", "close", "differs"),
    "address": ("home", "close", "zip", "city", "state", "differs"),
    "sex": ("same", "differs"),
}
"""Every comparison with its levels, the strongest first; what they mean is told in `levels`."""


class Level(Declared):
    """How often a level is seen among pairs of one person (m) and among pairs of two (u)."""

    m: float
    u: float


class Fillers(Declared):
    """What people type where they have nothing to say: never evidence. In the normalised form."""

    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    mailboxes: frozenset[str] = frozenset()
    """Parts before the @ that say `none` at any provider."""
    zips: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()


class IdentityModel(Declared):
    version: str
    trained_with: str
    trained_on: str
    verify: str | None = None
    """Set until a person has signed the figures."""
    prior: float
    """log2 of the odds that a candidate is the newcomer, before anything is compared."""
    same: float
    """Weight (log2 of odds) from which on a pair may be joined without a person, if no guard forbids it."""
    review: float
    """Weight from which on a person is asked."""
    floor: float
    """No m and no u is taken to be less: what training never saw is rare, not impossible."""
    comparisons: dict[str, dict[str, Level]]
    fillers: Fillers = Fillers()
    nicknames: dict[str, tuple[str, ...]] = {}
    """Given name -> its short forms."""

    @model_validator(mode="after")
    def knows_every_level(self) -> IdentityModel:
        for name, levels in LEVELS.items():
            if set(self.comparisons.get(name, ())) != set(levels):
                raise ValueError(f"comparison `{name}` needs exactly the levels {', '.join(levels)}")
        if set(self.comparisons) != set(LEVELS):
            raise ValueError(f"the comparisons are {', '.join(LEVELS)}")
        if not self.prior < self.review < self.same:
            raise ValueError("prior < review < same does not hold")
        return self

    @cached_property
    def weights(self) -> dict[str, float]:
        """`comparison:level` -> log2 of its Bayes factor."""
        return {
            f"{name}:{level}": log2(max(figure.m, self.floor) / max(figure.u, self.floor))
            for name, levels in self.comparisons.items()
            for level, figure in levels.items()
        }

    @cached_property
    def formal_names(self) -> dict[str, frozenset[str]]:
        """Any known given name -> the formal names that it may stand for (a formal name stands for itself)."""
        found: dict[str, set[str]] = {}
        for formal, shorts in self.nicknames.items():
            for name in (formal, *shorts):
                found.setdefault(name, set()).add(formal)
        return {name: frozenset(formals) for name, formals in found.items()}
