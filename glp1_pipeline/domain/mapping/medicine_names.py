"""Where one medicine ends and the next begins, in a text that people typed.

Here: what joins two, and the words around a name that are none themselves. Not here: the names (codes.csv), and rows.
"""

from __future__ import annotations

import re

from ..contract import fold
from .text import LONG

JOINED = re.compile(
    r"\s(?:and|y|plus|with|con|also)\s|[&+;|\n]|(?<!\d),|,(?!\d)|\s/\s|(?<=[^\W\d]{3})/(?=[^\W\d]{3})", re.IGNORECASE
)
"""What may join two. A comma within a number, `75/25` and `mg/ml` do not."""
FORMS = """
    tablet tablets tab tabs pill pills capsule capsules cap caps softgel softgels gummy gummies drop drops puff puffs
    spray sprays injection injections inj shot shots pen pens vial patch patches cream gel inhaler tableta tabletas
    pastilla pastillas capsula cápsula cápsulas inyeccion inyección
"""
TIMES = """
    day days daily night nights nightly morning mornings evening evenings noon midday afternoon am pm hs bed bedtime
    breakfast lunch dinner supper week weeks weekly month months monthly year years hour hours hr hrs once twice thrice
    time times bid tid qid qd qhs qam qpm half one two three four five six seven eight ten monday tuesday wednesday
    thursday friday saturday sunday mon tue wed thu fri sat sun each every other another cada vez veces dia día dias
    días diario noche noches mañana mañanas manana tarde mediodia mediodía desayuno almuerzo semana semanas mes meses
    hora horas dos tres media
"""
SMALL = """
    a an the my i it its is at in on of for by per to as if or and then again also some more needed prn when while
    with without w c s before after until since from about only just mostly usually sometimes still all both mg mcg
    ug g gr gram grams ml l cc iu unit units u ui unt meq actuat percent dose doses oral po sq sc subq er xr sr ir
    dr xl la cr hcl hydrochloride sodium extended release delayed strength regular human generic brand otc sleep
    meal meals food foods snack water milk juice coffee empty stomach fasting min minutes quarter diet exercise
    nothing else that's that thats no others un una el los las de del al para por si y o comida comidas cena agua
    leche dosis unidades nada más mas otro dieta ejercicio
"""
REASONS = """
    blood pressure heart cholesterol diabetes sugar anxiety depression pain thyroid weight reflux heartburn acid asthma
    allergies allergy migraine migraines headache headaches pcos acne insomnia hypertension kidney kidneys joints back
    mood sleep presion presión azucar azúcar colesterol corazon corazón dolor tiroides ansiedad depresion depresión peso
"""
_FORMS, _TIMES = frozenset(FORMS.split()), frozenset(TIMES.split())
_AROUND = _FORMS | _TIMES | frozenset(SMALL.split())
_REASONS = frozenset(REASONS.split())
_FOR = re.compile(r"(?<!\w)(?:for|para)(?!\w)")
_CONDITION = re.compile(
    r"(?<!\w)(?:insulin[- ]?(?:resist\w*|sensitiv\w*|intoleran\w*)|resisten\w* (?:a |de )?(?:la )?insulina)(?!\w)"
)
"""What carries the name of a medicine, and is an illness: `metformin for insulin resistance` is no insulin."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def names_nothing(piece: str, before: str = "") -> bool:
    """Whether no word of a text may name a medicine: `1 tablet at night`, or `anxiety` behind a `for`. One without a
    name is one all the same: `an inhaler`, `water pills`, `blood pressure pills`."""
    words = _WORD.findall(fold(piece))
    around = _AROUND | _REASONS if _FOR.search(fold(before)) else _AROUND
    if not all(word in around for word in words):
        return False
    is_counted = any(mark.isdigit() for mark in piece) or not _TIMES.isdisjoint(words)
    return _FORMS.isdisjoint(words) or (is_counted and "water" not in words)


def without_illness(folded: str) -> str:
    """A folded text without illnesses that are called after a medicine."""
    return _CONDITION.sub(" ", folded) if "insulin" in folded else folded


def parted(text: str, known: re.Pattern[str]) -> list[str]:
    """The medicines of a text, each with the words around it: `metformin 500 mg morning and night` is one, and a name
    that we do not know is one beside one that we do. A text without any that we know is left whole."""
    if len(text) > LONG or not JOINED.search(text):
        return [text]
    spans = [found.span() for found in known.finditer(text.lower())]
    if not spans:
        return [text]
    cuts = [cut.span() for cut in JOINED.finditer(text)]
    cuts = [cut for cut in cuts if not any(start < cut[1] and cut[0] < end for start, end in spans)]
    pieces: list[str] = []
    start, between = 0, ""
    for left, right in [*cuts, (len(text), len(text))]:
        piece = text[start:left]
        if pieces and (names_nothing(piece, pieces[-1]) or names_nothing(pieces[-1])):
            pieces[-1] += between + piece
        else:
            pieces.append(piece)
        start, between = right, text[left:right]
    return [piece.strip() for piece in pieces]
