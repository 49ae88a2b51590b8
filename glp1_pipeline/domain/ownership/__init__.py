"""Whose word counts: for one field, one stage and one speaker, what holds afterwards and how it was settled.

Here: the words and the rules. Not here: who owns what (ownership.csv), what everybody said before (`voices`), the work
that a conflict makes (`tasks`).
"""

from ..told import Value
from .rules import EXPLAINED, RULES, UNWRITTEN, settle
from .said import Said
from .words import (
    ADDED_UP,
    BLANK,
    COPYING,
    DATED_BY,
    EARLY,
    HELD_FOR_A_PERSON,
    RANKED,
    Case,
    Ruling,
    Word,
    adds,
    fragment_differs,
    holds,
    join,
    rank,
    record_of,
    same,
    verified_record,
    withdrawal,
)

__all__ = [
    "ADDED_UP",
    "BLANK",
    "COPYING",
    "DATED_BY",
    "EARLY",
    "EXPLAINED",
    "HELD_FOR_A_PERSON",
    "RANKED",
    "RULES",
    "UNWRITTEN",
    "Case",
    "Ruling",
    "Said",
    "Value",
    "Word",
    "adds",
    "fragment_differs",
    "holds",
    "join",
    "rank",
    "record_of",
    "same",
    "settle",
    "verified_record",
    "withdrawal",
]
