"""Answers that are lists: medicines, allergies; and what group the thing in a row belongs to.

Here: rows, the explicit nothing, grouping by name. Not here: the parts of one row (`records`), and what a group means
for care (`flags`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..contract import Code, fold
from . import medicine_names, not_taken
from .codes import SEPARATORS, UNSURE, Nulls, null_in, set_of
from .medicine_names import without_illness
from .records import Parts
from .text import Context, Doc, Shape, as_text, held, held_whole, known, null, tidy, unescaped, unmapped
from .told import is_untouched, spelled

GLP1 = "glp1"
"""The class of these medicines in codes.csv."""
MOST_ROWS = 500
USUAL = 64
"""So long a text may be to be kept in mind."""
LONGEST_ENTRY = 500
"""So much is said of one entry, and what follows is another: else each remark would be held against all before it, and
one long text would take hours."""
JOINED = re.compile(r"\s(?:and|y|plus)\s|[&+]", re.IGNORECASE)
DENIAL = re.compile(r"(?:no|none|not|nope|never|nothing|without|don'?t|do not|sin|nunca|ning[uú]n[oa]?|nada)(?![\w-])")
"""How a text starts that names no entry, or denies one: `no penicillin`, `none except latex`."""
OF_NO_ENTRY = frozenset(("class", "reason", "indication", "condition", "diagnosis", "purpose", "for", "interactions"))
"""Parts of a row that name what it is for, or against, and no further entry."""
REMARKS = ("notes", "note", "comments", "comment", "details", "description", "manifestation", "symptoms")
"""What forms call the part in which people say what an allergen did to them."""
FILLERS = re.compile(
    r"(?<!\w)(?:allergy|allergies|allergic|to|all|drugs?|medicines?|antibiotics?|al[eé]rgic[oa]|a|and|y|or|la)(?!\w)"
)
"""What people write around the name of an allergen, and that names none."""


class Grouping(NamedTuple):
    """How rows are grouped by name."""

    codes: str
    """The code set that knows the names."""
    names: Collection[str]
    """These names, folded."""
    sort: Callable[[list[dict[str, Any]], list[str]], list[str]]
    """Gives each row its group, and notes by an edge that one has none; returns the names that no code knows."""
    apart: Callable[[str], list[str]]
    """The entries of a text that are joined by a word."""
    denial: Callable[[list[str]], str | None]
    """The first of some folded texts that denies an entry, and that no other makes plain."""
    not_now: Callable[[Any, str, Collection[str], str], bool] | None = None
    """Whether a raw row tells of an entry that is none now; asked with its words, the field's parts, and the day."""
    is_remark: Callable[[str, str], bool] | None = None
    """Whether a text only says more of the entry before it: `metformin, 500 mg, at night`."""
    beside: Callable[[str, dict[Any, Any]], list[tuple[dict[str, Any], str]]] = lambda name, row: []
    """Rows that a risk rule must see and that stand in another part of a raw row than its name, each with the text:
    `{"name": "metformin", "notes": "and Lantus"}`."""
    names_one: Callable[[str], bool] = lambda text: False
    """Whether a text names an entry that we know."""
    whole: Callable[[dict[Any, Any]], dict[Any, Any]] = lambda row: row
    """A raw row with what stands in parts of other names, where that belongs to one of its own."""


def list_shape(
    parts: Parts, nulls: Nulls, nothing: Mapping[str, Code], boxes: Collection[str], group: Grouping | None
) -> Shape:
    """Rows of parts. Saying that there is none is a value: the empty list. A row that denies something is held: it is
    no entry, and only a person can say what it leaves."""
    nones = {spelling: code.code for spelling, code in nothing.items()}

    def pieces_of(text: str) -> list[str]:
        pieces: list[str] = []
        for piece in filter(str.strip, SEPARATORS.split(unescaped(text))):
            if pieces and len(pieces[-1]) < LONGEST_ENTRY and says_more(piece, pieces[-1]):
                pieces[-1] += f", {piece.strip()}"
            else:
                pieces += group.apart(piece) if group else [piece]
        return pieces

    def says_more(piece: str, before: str) -> bool:
        is_none = spelled(nones, piece) is not None or spelled(nones, before) is not None
        return bool(not is_none and group and group.is_remark and group.is_remark(piece, before))

    def is_none(row: Any, words: str) -> bool:
        """Whether an entry says that there is none. What was picked says so by its code, whatever it shows, unless that
        names an entry: a label may be as long as `I take no medicines`."""
        code = parts.code_of(row) if isinstance(row, dict) else None
        if code not in nones or not (code == "none" or code.isdigit()):  # letters may be a code of anybody's
            return spelled(nones, words) is not None
        return not (group and group.names_one(words))

    def sorted_rows(rows: list[dict[str, Any]], edges: list[str], raw: Any = None) -> Doc:
        strange = group.sort(rows, edges) if group else ()
        doc = known(rows, edges, raw)
        return unmapped(doc, group.codes, *strange) if group and strange else doc

    def read(raw: Any, context: Context) -> Doc:
        edges: list[str] = []
        pieces = pieces_of(raw) if isinstance(raw, str) and spelled(nones, raw) is None else [raw]
        if pieces != [raw]:
            raw_rows: list[Any] = pieces
            edges.append("list_from_text")
        else:
            raw_rows = raw if isinstance(raw, list) else [raw]
        if len(raw_rows) > MOST_ROWS:
            return held("too_many_rows", raw_rows[:MOST_ROWS])
        rows: list[dict[str, Any]] = []
        said_none, kinds, said, not_now = False, [], list[str](), list[str]()
        beside: list[dict[str, Any]] = []
        for row in map(parts.opened, raw_rows):
            row = group.whole(row) if group and isinstance(row, dict) else row
            words = row if isinstance(row, str) else parts.lone_of(row) if isinstance(row, dict) else None
            if group and isinstance(row, dict):
                for hidden, text in group.beside(words if isinstance(words, str) else "", row):
                    beside.append(hidden)
                    said.append(fold(text))
                    not_now += [text] if group.not_now and group.not_now(None, text, (), "") else []
            if isinstance(words, str) and is_none(row, words):
                said_none = True
                continue
            if (kind := null_in(row, nulls)) is not None:
                kinds.append(kind)
                continue
            if row is False or (not isinstance(row, dict) and is_untouched(boxes, as_text(row) or "")):
                kinds.append("absent")
                edges.append("blank_is_not_no")
                continue
            if row is True:
                return held("unexpected_shape", raw, *edges)
            if isinstance(words, str):
                said.append(fold(tidy(words)[0]))
            if group and group.not_now:
                words = words if isinstance(words, str) else ""
                if group.not_now(row, words, parts.names, context.authored_at.date().isoformat()):
                    not_now.append(words if group.not_now(None, words, (), "") else "")
            doc = parts.read(row, context)
            edges += doc.get("edges", ())
            if "held" in doc:
                return held_whole(doc, raw, *edges)
            if "value" in doc:
                rows.append(doc["value"])
        if beside:
            rows += beside
            edges.append("list_from_text")
        if group and (denial := group.denial(said)):
            return unmapped(held("unmapped_code", raw, *edges), set_of(nothing), denial)
        if not_now:
            return unmapped(held("not_taken_now", raw, *edges), set_of(nothing), *not_now)
        unsure = UNSURE.intersection(kinds)
        if unsure and (len(unsure) > 1 or (said_none and not rows)):
            return held("conflicting_answers", raw, *edges)
        if rows:
            if unsure:
                edges.append("unsure_beside_answers")
            if said_none:
                edges.append("exclusive_none")
            return sorted_rows(rows, edges, raw if unsure or said_none else None)
        if said_none:
            return known([], edges)
        told = [kind for kind in kinds if kind != "absent"]
        return null(min(unsure, default=told[0] if told else "absent"), edges)

    clean = frozenset(name for name in group.names if is_clean(name, nones, group)) if group else frozenset[str]()

    def clean_rows(raw: list[Any], context: Context) -> list[dict[str, Any]] | None:
        """The clean case: each row has a name that we know and nothing odd in any part. None where it is another."""
        rows: list[dict[str, Any]] = []
        today = context.authored_at.date().isoformat()
        for row in raw:
            name = row.get(parts.lone) if type(row) is dict else None
            if type(name) is not str or name.lower() not in clean:
                return None
            doc = parts.read(row, context)
            if "value" not in doc or "edges" in doc:
                return None
            if group and ((group.not_now and group.not_now(row, "", parts.names, today)) or group.beside(name, row)):
                return None
            rows.append(doc["value"])
        return rows

    def shape(raw: Any, context: Context) -> Doc:
        if clean and type(raw) is list and 0 < len(raw) <= MOST_ROWS and (rows := clean_rows(raw, context)):
            return sorted_rows(rows, [])
        kind = null_in(raw, nulls)
        return read(raw, context) if kind is None else null(kind)

    return shape


def is_clean(name: str, nones: Mapping[str, str], group: Grouping) -> bool:
    """Whether a name that we know can only be read as that name."""
    is_one = name.isascii() and spelled(nones, name) is None
    return is_one and not (group.not_now and group.not_now(None, name, (), ""))


def medicines(classes: Mapping[str, Code], glp1: Collection[str], risky: Mapping[str, str]) -> Grouping:
    """Rows get the class that our table gives; a patient's own word for it does not count. What is named beside a
    medicine that we know is a row of its own: the first name would hide the others. `glp1`: RxNorm numbers of the
    products with a GLP-1, which tell so whatever stands beside them. `risky`: names that risk rules look for, and the
    class that each stands for."""
    table, anywhere = searched(classes)

    def sort(rows: list[dict[str, Any]], edges: list[str]) -> list[str]:
        strange: list[str] = []
        for row in rows[:]:
            name = str(row.get("name", ""))
            if row.get("rxnorm") or name.lower() in table:
                continue
            pieces = medicine_names.parted(name, anywhere)
            if len(pieces) > 1:
                edges.append("list_from_text")
                main = next((piece for piece in pieces if anywhere.search(fold(piece))), pieces[0])
                pieces.remove(main)
                rows += [{"name": piece} for piece in pieces]
                if row.keys() == {"name"}:
                    row["name"] = main  # beside a dose it stays as typed: nobody knows whose dose it is
        for row in rows[:]:
            if (name := str(row.get("name", ""))).lower() not in table:
                behind = names_behind(fold(name))
                rows += [{"name": hidden} for hidden in behind]
                edges += ["list_from_text"] if behind else []
        for row in rows:
            row.pop("class", None)
            folded = fold(str(row.get("name", "")))
            found = GLP1 if row.get("rxnorm") in glp1 else table.get(folded)
            if found is None and (first := anywhere.search(without_illness(folded))):  # `Lantus SoloStar 20 units`
                found = table[first[0]]
            if found:
                row["class"] = found
            else:
                edges.append("autocorrected_medicine")
                strange.append(folded)
        return strange

    def names_behind(name: str) -> list[str]:
        """Known names behind the first that are of another class and joined by nothing: `metformin insulin`."""
        first: dict[str, str] = {}
        for found in () if name in table else anywhere.finditer(without_illness(name)):
            first.setdefault(table[found[0]], found[0])
        return [*first.values()][1:]

    def denial(told: list[str]) -> str | None:
        return next((text for text in told if DENIAL.match(text) and text not in table), None)

    def apart(text: str) -> list[str]:
        return medicine_names.parted(text, anywhere)

    named = names_in({**risky} | {name: code for name, code in table.items() if code in {*risky.values()}})

    def beside(name: str, row: dict[Any, Any]) -> list[tuple[dict[str, Any], str]]:
        found = [(code, one, text) for text in texts_beside(name, row) for code, one in named(text).items()]
        if not found:  # as nearly always
            return []
        first = {code: (one, text) for code, one, text in reversed(found) if code not in named(name)}
        return [({"name": one}, text) for one, text in first.values()]

    is_remark = medicine_names.names_nothing
    return Grouping(set_of(classes), table, sort, apart, denial, not_taken.told, is_remark, beside, one_of(anywhere))


def allergens(codes: Mapping[str, Code]) -> Grouping:
    """Rows get a `code` where our table knows every word of the allergen: half of a name may hide another."""
    table, anywhere = searched(codes)

    def sort(rows: list[dict[str, Any]], edges: list[str]) -> list[str]:
        strange: list[str] = []
        for row in rows:
            row.pop("code", None)
            folded = fold(str(row.get("substance", "")))
            found = {table[known_word[0]] for known_word in anywhere.finditer(folded)}
            rest = FILLERS.sub("", anywhere.sub("", folded))
            if len(found) == 1 and not re.search(r"\w", rest):
                row["code"] = found.pop()
            else:
                edges.append("unmapped_allergen")
                strange.append(folded)
        return strange

    def denial(told: list[str]) -> str | None:
        """None where an allergen is named: it stays in sight. `None except Wegovy`."""
        return None if any(map(anywhere.search, told)) else next(filter(DENIAL.match, told), None)

    named = names_in({name: code for name, code in table.items() if code == GLP1})

    def beside(name: str, row: dict[Any, Any]) -> list[tuple[dict[str, Any], str]]:
        if named(name):
            return []
        told = ((one, text) for text in texts_beside(name, row) for one in named(text).values())
        one, text = next(((one, text) for one, text in told if not DENIAL.match(fold(text))), ("", ""))
        hidden = {"substance": one} | ({} if fold(text) == one else {"reaction": text})
        return [(hidden, text)] if one else []

    def whole(row: dict[Any, Any]) -> dict[Any, Any]:
        told = row.get("reaction")
        reactions = [*(told if isinstance(told, list) else [told]), *(row.get(name) for name in REMARKS)]
        texts = [text_of(part) for part in reactions if part not in (None, "", [])]
        if len(texts) < 1 + (texts[:1] == [told]) or not all(isinstance(text, str) for text in texts):
            return row
        return {name: part for name, part in row.items() if name not in REMARKS} | {"reaction": "; ".join(texts)}

    apart, names_one = joined(table, anywhere), one_of(anywhere)
    return Grouping(set_of(codes), table, sort, apart, denial, beside=beside, names_one=names_one, whole=whole)


def one_of(anywhere: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: anywhere.search(fold(text)) is not None


def text_of(part: Any) -> Any:
    """What an answer that was picked from a code system shows."""
    return part.get("display", part.get("text", part)) if isinstance(part, dict) else part


def texts_beside(name: str, row: dict[Any, Any]) -> list[str]:
    """What is written in the other parts of a raw row, as far as it may name an entry."""
    texts: list[str] = []
    for key, part in row.items():
        if part == name or str(key).lower() in OF_NO_ENTRY:
            continue
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, list):
            texts += [text for text in part if isinstance(text, str)]
    return texts


def names_in(codes: Mapping[str, str]) -> Callable[[str], dict[str, str]]:
    """Finds these names in a text: code -> the first name of it. Doses are told over and over, in few words."""
    anywhere = anyone_of(codes)

    def look(text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in anywhere.finditer(without_illness(fold(unescaped(text)))):
            found.setdefault(codes[name[0]], name[0])
        return found

    usual = lru_cache(maxsize=1024)(look)
    return lambda text: usual(text) if len(text) <= USUAL else look(text)


def searched(codes: Mapping[str, Code]) -> tuple[dict[str, str], re.Pattern[str]]:
    """The spellings, and what finds the longest of them in a text."""
    table = {spelling: code.code for spelling, code in codes.items()}
    return table, anyone_of(table)


def anyone_of(names: Collection[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")


def joined(table: Mapping[str, str], anywhere: re.Pattern[str]) -> Callable[[str], list[str]]:
    """Parts a text at `and`, where each piece names something that we know: the first name would hide the others."""

    def apart(text: str) -> list[str]:
        pieces = [text] if fold(text) in table else [piece.strip() for piece in JOINED.split(text)]
        return pieces if all(anywhere.search(fold(piece)) for piece in pieces) else [text]

    return apart
