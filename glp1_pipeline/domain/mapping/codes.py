"""Answers that are one of a few: codes, several codes, yes or no; and the four kinds of null.

Here: looking a spelling up, in the field's own set first and then among the nulls. Not here: the spellings
(codes.csv).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..contract import Code, fold
from .text import Context, Doc, Shape, as_text, held, known, noted, null, tidy

CODE_KEYS = ("code", "answer", "value", "status", "display", "text")
"""Where an object that means a code keeps it: our own forms first, then FHIR's Coding."""
WORDS_KEYS = ("text", "note", "comment", "detail", "details")
SEPARATORS = re.compile(r"[,;|\n]")
Nulls = Mapping[str, str]


def nulls_of(codes: Mapping[str, Code]) -> dict[str, str]:
    return {"": "absent", **{spelling: code.code for spelling, code in codes.items()}}


def null_in(raw: Any, nulls: Nulls) -> str | None:
    """The kind of null that an answer is, or None where it is an answer."""
    if raw is None or raw == "" or raw == [] or raw == {}:
        return "absent"
    if isinstance(raw, dict) and len(raw) == 1 and isinstance(kind := raw.get("null"), str):
        return kind if kind in ("unknown", "declined", "not_applicable", "absent") else None
    return nulls.get(fold(tidy(raw)[0])) if isinstance(raw, str) else None


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


def spelled(raw: Any) -> tuple[str | None, str | None, bool]:
    """The folded spellings of a coded answer, best and second best, and whether words stand beside them."""
    if isinstance(raw, dict):
        told = [fold(tidy(text)[0]) for key in CODE_KEYS if (text := as_text(raw.get(key))) is not None]
        words = any(isinstance(raw.get(key), str) and fold(raw[key]) not in told[:1] for key in WORDS_KEYS)
        return (told[0] if told else None), (told[1] if len(told) > 1 else None), words
    text = as_text(raw)
    return (None if text is None else fold(tidy(text)[0])), None, False


def look_up(table: Mapping[str, str], raw: Any) -> tuple[str | None, bool]:
    first, second, words = spelled(raw)
    found = table.get(first) if first is not None else None
    if found is None and second is not None:
        found = table.get(second)
        words = False
    return found, words


def direct(table: Mapping[str, str]) -> dict[str, str]:
    """The table with the usual writings of every spelling, so that a clean answer needs no folding."""
    return {writing: code for s, code in table.items() for writing in (s, s.upper(), s.capitalize())} | dict(table)


def code_shape(codes: Mapping[str, Code], nulls: Nulls) -> Shape:
    table = {spelling: code.code for spelling, code in codes.items()}
    quick = direct(table) | {code.code: code.code for code in codes.values()}
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}

    def slow(raw: Any, _: Context) -> Doc:
        found, words = look_up(table, raw)
        if found is None:
            first, second, _words = spelled(raw)
            kind = own_nulls.get(first or "?") or own_nulls.get(second or "?")
            return null(kind) if kind else held("unmapped_code", raw)
        return known(found, ["text_kept"], raw) if words else known(found)

    unwrap = once(slow, own_nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and (found := quick.get(raw)) is not None:
            return {"value": found}
        return unwrap(raw, context)

    return shape


def yes_no_shape(codes: Mapping[str, Code], nulls: Nulls, yes: Any, no: Any) -> Shape:
    """For three-state questions (yes and no are words) and for boxes (true and false)."""
    table = {spelling: code.code for spelling, code in codes.items()}
    quick = {"yes": yes, "no": no, True: yes, False: no}
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}

    def slow(raw: Any, _: Context) -> Doc:
        found, words = look_up(table, raw)
        if found is None:
            first, second, _words = spelled(raw)
            kind = own_nulls.get(first or "?") or own_nulls.get(second or "?")
            return null(kind) if kind else held("unmapped_code", raw)
        clean = isinstance(raw, bool | dict) or raw in ("yes", "no")
        edges = [] if clean else ["boolean_string"]
        answer = yes if found == "yes" else no
        return known(answer, [*edges, "text_kept"], raw) if words else known(answer, edges)

    unwrap = once(slow, own_nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if (type(raw) is str or type(raw) is bool) and (found := quick.get(raw)) is not None:
            return {"value": found}
        return unwrap(raw, context)

    return shape


def codes_shape(codes: Mapping[str, Code], nulls: Nulls) -> Shape:
    """Several codes, sorted. One that is not known holds the answer: half a list would read as a whole one."""
    table = {spelling: code.code for spelling, code in codes.items()}
    quick = direct(table) | {code.code: code.code for code in codes.values()}
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}

    def slow(raw: Any) -> Doc:
        edges: list[str] = []
        told = raw if isinstance(raw, list) else [raw]
        if isinstance(raw, dict) and raw and all(isinstance(ticked, bool) for ticked in raw.values()):
            told = [name for name, ticked in raw.items() if ticked]  # boxes: an empty one was perhaps never seen
        if len(told) == 1:
            if (kind := null_in(told[0], own_nulls)) is not None:
                return null(kind)
            if isinstance(told[0], str) and look_up(table, told[0])[0] is None and SEPARATORS.search(told[0]):
                told = [part for part in SEPARATORS.split(told[0]) if part.strip()]
                edges.append("list_from_text")
        told = [one for one in told if null_in(one, {"": "absent"}) is None]
        if not told:
            return null("absent")
        found = {look_up(table, one)[0] for one in told}
        if None in found:
            return held("unmapped_code", raw)
        return without_none({code for code in found if code is not None}, edges, raw)

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
