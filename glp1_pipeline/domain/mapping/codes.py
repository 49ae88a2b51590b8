"""Answers that are one of a few: codes, several codes, yes or no; and the four kinds of null.

Here: looking a spelling up, in the field's own set first and then among the nulls. Not here: the spellings
(codes.csv), and how the parts of one answer agree (`told`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..contract import Code
from .text import Context, Doc, Shape, held, known, noted, null, unescaped, unmapped
from .told import Spellings, Told, spelled, ticks_of

SEPARATORS = re.compile(r"[;|\n]|(?<!\d),|,(?!\d)")
"""What parts a text into entries. A comma between two digits belongs to a number: `1,000 IU`, `0,5 mg`."""
Nulls = Mapping[str, str]
UNSURE = frozenset(("unknown", "declined"))
"""Kinds of null that say something: beside an answer they contradict it, where a blank does not."""


def nulls_of(codes: Mapping[str, Code]) -> dict[str, str]:
    return {"": "absent", **{spelling: code.code for spelling, code in codes.items()}}


def null_in(raw: Any, nulls: Nulls) -> str | None:
    """The kind of null that an answer is, or None where it is an answer."""
    if isinstance(raw, str):
        return spelled(nulls, raw) if raw else "absent"
    if isinstance(raw, dict) and raw:
        kind = raw.get("null") if len(raw) == 1 else None
        return kind if kind in ("unknown", "declined", "not_applicable", "absent") else None
    return "absent" if raw is None or raw == [] or raw == {} else None


def once(shape: Shape, nulls: Nulls) -> Shape:
    """A shape for answers of one value: unwraps lists, takes nulls, and holds what was answered twice, differently."""

    def unwrap(raw: Any, context: Context) -> Doc:
        if isinstance(raw, list):
            if len(raw) > 1:
                docs = [unwrap(one, context) for one in raw[:50]]
                told = [doc for doc in docs if doc.get("null") != "absent"] or docs[:1]
                alike = all(meaning(doc) == meaning(told[0]) for doc in told) and len(raw) <= 50
                return noted(told[0], ["answered_twice"]) if alike else held("conflicting_answers", raw)
            raw = raw[0] if raw else None
            if isinstance(raw, list):
                return held("unexpected_shape", raw)
        kind = null_in(raw, nulls)
        return shape(raw, context) if kind is None else null(kind)

    return unwrap


def meaning(doc: Doc) -> Any:
    """What two documents are compared by: how an answer was typed is no difference."""
    return (doc.get("value"), doc.get("null"), doc.get("raw") if "held" in doc else None)


def set_of(codes: Mapping[str, Code]) -> str:
    return next((code.set for code in codes.values()), "")


def direct(table: Mapping[str, str]) -> dict[str, str]:
    """The table with the usual writings of every spelling, so that a clean answer needs no folding."""
    return {writing: code for s, code in table.items() for writing in (s, s.upper(), s.capitalize())} | dict(table)


def no_code(told: Told, raw: Any, spellings: Spellings) -> Doc | None:
    """The document of an answer that is no code, or None where it is one."""
    if told.torn:
        return held("conflicting_answers", raw)
    if told.unticked:
        return null("absent", ["blank_is_not_no"])
    if told.code is None:
        return null(told.null) if told.null else unmapped_code(spellings, raw)
    return None


def unmapped_code(spellings: Spellings, raw: Any, parts: Iterable[Any] | None = None) -> Doc:
    """Held, with what a code set lacks of it. `parts`: the answers it is made of, where they are several."""
    doc = held("unmapped_code", raw)
    return unmapped(doc, spellings.name, *(word for part in parts or (raw,) for word in spellings.strange(part)))


def words_kept(told: Told, spellings: Spellings) -> list[str]:
    if not told.words:
        return []
    return ["text_kept", "words_beside_no"] if told.code == spellings.denial else ["text_kept"]


def code_shape(codes: Mapping[str, Code], nulls: Nulls, boxes: Collection[str]) -> Shape:
    table = {spelling: code.code for spelling, code in codes.items()}
    quick = direct(table) | {code.code: code.code for code in codes.values()}
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}
    spellings = Spellings(table, own_nulls, boxes, set_of(codes))

    def slow(raw: Any, _: Context) -> Doc:
        told = spellings.read(raw)
        if doc := no_code(told, raw, spellings):
            return doc
        edges = words_kept(told, spellings)
        return known(told.code, edges, raw if edges else None)

    unwrap = once(slow, own_nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and (found := quick.get(raw)) is not None:
            return {"value": found}
        return unwrap(raw, context)

    return shape


def yes_no_shape(
    codes: Mapping[str, Code],
    nulls: Nulls,
    yes: Any,
    no: Any,
    boxes: Collection[str] = (),
    denials: Collection[str] = (),
) -> Shape:
    """For three-state questions (yes and no are words) and boxes (true and false). `denials`: more ways to say no."""
    table = dict.fromkeys(denials, "no") | {s: code.code for s, code in codes.items() if s not in boxes}
    quick = {"yes": yes, "no": no, True: yes} | ({} if boxes else {False: no})
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}
    spellings = Spellings(table, own_nulls, boxes, set_of(codes))

    def slow(raw: Any, _: Context) -> Doc:
        told = spellings.read(raw)
        if doc := no_code(told, raw, spellings):
            return doc
        clean = isinstance(raw, bool | dict) or raw in ("yes", "no")
        words = words_kept(told, spellings)
        return known(yes if told.code == "yes" else no, words if clean else ["boolean_string"], raw if words else None)

    unwrap = once(slow, own_nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if (type(raw) is str or type(raw) is bool) and (found := quick.get(raw)) is not None:
            return {"value": found}
        return unwrap(raw, context)

    return shape


def codes_shape(codes: Mapping[str, Code], nulls: Nulls, boxes: Collection[str]) -> Shape:
    """Several codes, sorted. One that is not known holds the answer: half a list would read as a whole one."""
    table = {spelling: code.code for spelling, code in codes.items()}
    quick = direct(table) | {code.code: code.code for code in codes.values()}
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}
    spellings = Spellings(table, own_nulls, boxes, set_of(codes))

    def slow(raw: Any) -> Doc:
        edges: list[str] = []
        told = raw if isinstance(raw, list) else [raw]
        if isinstance(raw, dict) and (ticks := ticks_of(raw)):
            told = [name for name, is_ticked in ticks.items() if is_ticked]  # an empty one was perhaps never seen
        if len(told) == 1:
            if (kind := null_in(told[0], own_nulls)) is not None:
                return null(kind)
            if isinstance(told[0], str) and spellings.read(told[0]).code is None and SEPARATORS.search(told[0]):
                told = [part for part in SEPARATORS.split(unescaped(told[0])) if part.strip()]
                edges.append("list_from_text")
        read = [spellings.read(one) for one in told if null_in(one, {"": "absent"}) is None]
        kinds = {one.null for one in read if one.null is not None} - {"absent"}
        unsure = kinds & UNSURE
        if any(one.torn for one in read):
            return held("conflicting_answers", raw)
        found = {one.code for one in read if not one.unticked and one.null is None}
        edges += {"blank_is_not_no" for one in read if one.unticked}
        if None in found:
            return unmapped_code(spellings, raw, told)
        if not found:
            if len(unsure) > 1:
                return held("conflicting_answers", raw)
            return null(min(unsure or kinds, default="absent"), edges)
        if unsure:
            if found == {"none"}:
                return held("conflicting_answers", raw)
            edges.append("unsure_beside_answers")
        words = ["text_kept"] if any(one.words for one in read) else []
        doc = without_none({code for code in found if code is not None}, edges, raw)
        if words and "none" in found and len(found) == 1:
            words.append("words_beside_no")
        return doc if not (words or unsure) else known(doc["value"], [*doc.get("edges", ()), *words], raw)

    def shape(raw: Any, _: Context) -> Doc:
        if type(raw) is list and raw:
            found = {quick.get(one) if type(one) is str else None for one in raw}
            if None not in found and ("none" not in found or len(found) == 1):
                return {"value": sorted(found)}  # type: ignore[type-var]
        return slow(raw)

    return shape


def without_none(found: set[str], edges: list[str], raw: Any) -> Doc:
    if "none" in found and len(found) > 1:
        return known(sorted(found - {"none"}), [*edges, "exclusive_none"], raw)
    return known(sorted(found), edges)
