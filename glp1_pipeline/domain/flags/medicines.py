"""Which of the medicine groups that matter to a GLP-1 prescriber a medicine's name belongs to.

Here: a small table of ingredient and brand words, and the look-up of a medicine list in it. Not here: what a group
means for the patient (`answers`), and full drug coding (the mapping holds what it cannot name).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

GLP1 = "glp1"
INSULIN = "insulin"
SULFONYLUREA = "sulfonylurea"
NARROW_INDEX = "narrow_index"
CONTRACEPTIVE = "contraceptive"
CYP3A4 = "cyp3a4"
LEVOTHYROXINE = "levothyroxine"
PROKINETIC = "prokinetic"

INGREDIENTS: dict[str, str] = {
    "semaglutide": "semaglutide ozempic wegovy rybelsus",
    "tirzepatide": "tirzepatide mounjaro zepbound",
    "liraglutide": "liraglutide victoza saxenda xultophy",
    "dulaglutide": "dulaglutide trulicity",
    "exenatide": "exenatide byetta bydureon",
    "lixisenatide": "lixisenatide adlyxin soliqua",
    "orforglipron": "orforglipron foundayo",
}
"""GLP-1 ingredient -> the words it goes by."""

_GROUPS: dict[str, str] = {
    INSULIN: (
        "insulin glargine lispro aspart degludec detemir glulisine lantus basaglar toujeo semglee rezvoglar humalog "
        "admelog lyumjev novolog fiasp tresiba levemir apidra humulin novolin afrezza xultophy soliqua"
    ),
    SULFONYLUREA: (
        "glipizide glyburide glibenclamide glimepiride gliclazide tolbutamide tolazamide chlorpropamide repaglinide "
        "nateglinide glucotrol amaryl diabeta glynase micronase glucovance prandin starlix duetact"
    ),
    NARROW_INDEX: "warfarin coumadin jantoven digoxin lanoxin lithium lithobid phenytoin dilantin tacrolimus sirolimus",
    CONTRACEPTIVE: (
        "ethinyl ethinylestradiol norethindrone drospirenone norgestimate norgestrel desogestrel levonorgestrel yaz "
        "yasmin slynd opill sprintec loestrin junel microgestin aviane seasonique natazia apri cryselle estarylla"
    ),
    CYP3A4: (
        "ketoconazole itraconazole posaconazole voriconazole clarithromycin telithromycin ritonavir cobicistat "
        "nefazodone paxlovid nirmatrelvir rifampin rifampicin rifapentine carbamazepine tegretol phenytoin dilantin "
        "phenobarbital primidone apalutamide enzalutamide mitotane hypericum wort cyclosporine ciclosporin gemfibrozil"
    ),
    LEVOTHYROXINE: "levothyroxine synthroid levoxyl unithroid euthyrox tirosint",
    PROKINETIC: "metoclopramide reglan domperidone prucalopride motegrity",
}
_CLASSES: dict[str, str] = {
    "glp1": GLP1,
    "insulin": INSULIN,
    "sulfonylurea": SULFONYLUREA,
    "warfarin": NARROW_INDEX,
    "oral_contraceptive": CONTRACEPTIVE,
    "cyp3a4_strong": CYP3A4,
    "levothyroxine": LEVOTHYROXINE,
    "prokinetic": PROKINETIC,
}
"""Codes of set `medicines`, where the mapping knew the medicine."""
_PHRASES = {"birth control pill": CONTRACEPTIVE, "the pill": CONTRACEPTIVE, "oral contraceptive": CONTRACEPTIVE}
_NOT_ORAL = frozenset({"iud", "iu", "intrauterine", "patch", "ring", "implant", "mirena", "kyleena", "vaginal"})
_RXCUI: dict[str, tuple[str, ...]] = {
    "1991302": (GLP1, "semaglutide"),
    "2601723": (GLP1, "tirzepatide"),
    "475968": (GLP1, "liraglutide"),
    "11289": (NARROW_INDEX,),
    "10582": (LEVOTHYROXINE,),
}

_WORDS: dict[str, set[str]] = {}
for _group, _words in _GROUPS.items():
    for _word in _words.split():
        _WORDS.setdefault(_word, set()).add(_group)
for _ingredient, _words in INGREDIENTS.items():
    for _word in _words.split():
        _WORDS.setdefault(_word, set()).update((GLP1, _ingredient))

_REMEMBERED = 64
"""So long a name may be to be kept in mind: patients name the same medicines over and over, in few words."""
_TOKEN = re.compile(r"[^\W\d_]+")


def groups_of(text: str) -> frozenset[str]:
    """Groups of one medicine as it is written: `Lantus SoloStar 100 u/mL` is insulin."""
    return _groups_of(text) if len(text) <= _REMEMBERED else _groups_of.__wrapped__(text)


@lru_cache(maxsize=1024)
def _groups_of(text: str) -> frozenset[str]:
    tokens = _TOKEN.findall(text.casefold())
    found: set[str] = set()
    for token in tokens:
        found |= _WORDS.get(token, set())
    folded = " ".join(tokens)
    found |= {group for phrase, group in _PHRASES.items() if phrase in folded}
    if not _NOT_ORAL.isdisjoint(tokens):
        found.discard(CONTRACEPTIVE)
    return frozenset(found)


def groups_in(rows: Any) -> frozenset[str]:
    """Groups of a list of medicines or allergens, by name, RxNorm code and class: any of them is enough."""
    found: set[str] = set()
    for row in rows if isinstance(rows, list | tuple) else ():
        if not isinstance(row, Mapping):
            continue
        for part in ("name", "substance"):
            if isinstance(name := row.get(part), str):
                found |= groups_of(name)
                found.update(_RXCUI.get(name, ()))  # an allergen that was told by its number alone
        found.update(_RXCUI.get(str(row.get("rxnorm", row.get("rxcui"))), ()))
        if group := _CLASSES.get(str(row.get("class"))):
            found.add(group)
    return frozenset(found)


def ingredient_of(text: str) -> str | None:
    """The GLP-1 ingredient that a name or product key speaks of."""
    found = groups_of(text.replace("_", " "))
    return next((name for name in INGREDIENTS if name in found), None)
