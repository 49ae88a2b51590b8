"""Which of the medicine groups that matter to a GLP-1 prescriber a medicine's name belongs to.

Here: the look-up of a medicine list in what is declared (contracts/medicine_groups.csv). Not here: what a group means
for the patient (`answers`), and full drug coding (the mapping holds what it cannot name).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..contract import fold
from ..declared import kept
from ..mapping.medicine_names import without_illness
from ..medication_model import MedicationRules

GLP1 = "glp1"
INSULIN = "insulin"
SULFONYLUREA = "sulfonylurea"
NARROW_INDEX = "narrow_index"
CONTRACEPTIVE = "contraceptive"
CYP3A4 = "cyp3a4"
LEVOTHYROXINE = "levothyroxine"
PROKINETIC = "prokinetic"

GROUPS = frozenset((GLP1, INSULIN, SULFONYLUREA, NARROW_INDEX, CONTRACEPTIVE, CYP3A4, LEVOTHYROXINE, PROKINETIC))
"""The groups that rules ask for by name: each must be declared."""
_REMEMBERED = 64
"""So long a name may be to be kept in mind: patients name the same medicines over and over, in few words."""
_TOKEN = re.compile(r"[^\W\d_]+")


class MedicineNames:
    """The declared groups, ready to be looked up."""

    def __init__(self, rules: MedicationRules) -> None:
        self._words: dict[str, set[str]] = {}
        self._phrases: dict[str, str] = {}
        self._unless: dict[str, frozenset[str]] = {}
        self._by_rxcui: dict[str, tuple[str, ...]] = {n: (GLP1, code.ingredient) for n, code in rules.codes.items()}
        self._by_class: dict[str, str] = {}
        for row in rules.medicine_groups:
            own = (row.group, row.ingredient) if row.ingredient else (row.group,)
            for word in row.words:
                self._words.setdefault(word, set()).update(own)
            self._phrases.update(dict.fromkeys(row.phrases, row.group))
            if row.unless:
                self._unless[row.group] = frozenset(row.unless)
            self._by_rxcui.update(dict.fromkeys(row.rxcui, own))
            if row.medicine_class:
                self._by_class[row.medicine_class] = row.group
        self._ingredients = tuple(row.ingredient for row in rules.medicine_groups if row.ingredient)
        self._usual = lru_cache(maxsize=1024)(self._look_up)

    def groups_of(self, text: str) -> frozenset[str]:
        """Groups of one medicine as it is written: `Lantus SoloStar 100 u/mL` is insulin."""
        return self._usual(text) if len(text) <= _REMEMBERED else self._look_up(text)

    def _look_up(self, text: str) -> frozenset[str]:
        tokens = _TOKEN.findall(without_illness(text.casefold()))
        if not text.isascii():  # wide letters, say; and not folded alone, for that makes two letters of a trade mark
            tokens += _TOKEN.findall(without_illness(fold(text)))
        found: set[str] = set()
        for token in tokens:
            found |= self._words.get(token, set())
        folded = " ".join(tokens)
        found |= {group for phrase, group in self._phrases.items() if phrase in folded}
        return frozenset(found - {group for group, words in self._unless.items() if not words.isdisjoint(tokens)})

    def groups_in(self, rows: Any) -> frozenset[str]:
        """Groups of a list of medicines or allergens, by name, RxNorm code and class, of allergens the code that our
        table gave: any of them is enough."""
        found: set[str] = set()
        for row in rows if isinstance(rows, list | tuple) else ():
            if not isinstance(row, Mapping):
                continue
            for part in ("name", "substance"):
                if isinstance(name := row.get(part), str):
                    found |= self.groups_of(name)
                    found.update(self._by_rxcui.get(name, ()))  # an allergen that was told by its number alone
            found.update(self._by_rxcui.get(str(row.get("rxnorm", row.get("rxcui"))), ()))
            if group := self._by_class.get(str(row.get("class"))):
                found.add(group)
            if "code" in row and (group := self._by_class.get(str(row["code"]))):
                found.add(group)
        return frozenset(found)

    def ingredient_of(self, text: str) -> str | None:
        """The GLP-1 ingredient that a name or product key speaks of."""
        found = self.groups_of(text.replace("_", " "))
        return next((name for name in self._ingredients if name in found), None)


@kept
def medicine_names(rules: MedicationRules) -> MedicineNames:
    return MedicineNames(rules)
