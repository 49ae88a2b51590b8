"""What the parts of a coded answer say: its code, words beside it, a box that nobody ticked.

Here: parts that contradict each other, and what an untouched box looks like. Not here: the spellings (codes.csv), and
the value documents (`codes`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..contract import fold
from .text import as_text, bare

CODE_KEYS = ("code", "answer", "value", "status", "display", "text")
"""Where an object that means a code keeps it: our own forms first, then FHIR's Coding."""
LABELS = ("code", "answer", "value", "status", "display")
TECHNICAL = frozenset(
    {"system", "version", "id", "linkId", "userSelected", "question", "label", "type", "at", "ts", "timestamp"}
)
"""What forms put beside an answer and no person wrote."""


TICKS: Mapping[str, bool] = MappingProxyType(
    {"yes": True, "y": True, "true": True, "s\u00ed": True, "si": True, "no": False, "n": False, "false": False}
)
"""How one box of several says whether it is ticked, where it does not say so by true and false."""
CLOSING = " .!,"
"""What people and keyboards put after a word, and that changes nothing of it."""


def spelled(table: Mapping[str, str], text: str) -> str | None:
    """What a spelling means, as it is written or without the full stop behind it."""
    if (found := table.get(text)) is not None:
        return found  # the tables are folded already
    folded = fold(bare(text)[0])
    found = table.get(folded)
    if found is None and (word := folded.rstrip(CLOSING)) and word != folded:
        return table.get(word, table.get(f"{word}."))  # `D.C.` has one of its own
    return found


def ticks_of(raw: dict[Any, Any]) -> dict[Any, bool] | None:
    """Boxes by their names, and which of them are ticked; None where an object is none of boxes."""
    if raw.keys() & set(CODE_KEYS):
        return None
    ticks = {key: tick for key, part in raw.items() if (tick := ticked(part)) is not None}
    return ticks if ticks and len(ticks) == len(raw) else None


def ticked(part: Any) -> bool | None:
    if isinstance(part, dict):  # an answer that was picked from a code system
        told = {tick for key in ("code", "display") if (tick := ticked(part.get(key))) is not None}
        return told.pop() if len(told) == 1 else None
    return part if isinstance(part, bool) else TICKS.get(fold(part)) if isinstance(part, str) else None


def is_untouched(boxes: Collection[str], text: str) -> bool:
    """Whether a text is how an untouched box looks."""
    folded = fold(bare(text)[0])
    return folded in boxes or folded.rstrip(CLOSING) in boxes


class Told(NamedTuple):
    code: str | None = None
    null: str | None = None
    words: bool = False
    """Whether words that are no spelling stand beside the answer."""
    torn: bool = False
    """Whether parts of it mean different things."""
    unticked: bool = False


class Spellings:
    """How one question's answers are spelled."""

    def __init__(
        self, table: Mapping[str, str], nulls: Mapping[str, str], boxes: Collection[str] = (), name: str = ""
    ) -> None:
        self.table, self.nulls, self.boxes = table, nulls, frozenset(boxes)
        self.name = name
        """Of the code set that they are from."""
        self.denial = table.get("no")
        """The code of a bare no, where the question has one."""

    def read(self, raw: Any) -> Told:
        if isinstance(raw, dict):
            return self.read_boxes(raw) or self.read_parts(raw)
        text = as_text(raw)
        return Told() if text is None else self.meaning(raw, text)

    def meaning(self, raw: Any, text: str) -> Told:
        code = spelled(self.table, text)
        if self.boxes and (raw is False or (code is None and is_untouched(self.boxes, text))):
            return Told(unticked=True)
        return Told(code, spelled(self.nulls, text) if code is None else None)

    def read_boxes(self, raw: dict[Any, Any]) -> Told | None:
        """One box per answer: `{"yes": false, "no": true}` is the name of the ticked one. None where no key is an
        answer's name. What is not told by boxes beside each other is left to a person: a no to one is no answer."""
        told = {key: self.meaning(str(key), str(key)) for key in raw if key not in CODE_KEYS and key not in TECHNICAL}
        if not any(one.code or one.null for one in told.values()):
            return None
        ticks = ticks_of(raw)
        if ticks is None:
            is_answered = bool(raw.keys() & set(CODE_KEYS))
            return (
                None if is_answered and not any(ticked(raw[key]) for key, one in told.items() if one.code) else Told()
            )
        found = {told.get(key, Told()) for key, is_ticked in ticks.items() if is_ticked}
        return Told(torn=True) if len(found) > 1 else next(iter(found), Told(unticked=True))

    def read_parts(self, raw: dict[Any, Any]) -> Told:
        """The first part that says something counts, unless another says something else. A code of some other system
        leaves the word to its display; any other first part that is not understood leaves it to nobody."""
        keys = [*(key for key in CODE_KEYS if key in raw), *(key for key in raw if key not in CODE_KEYS)]
        told: list[Told] = []
        words, unread, unticked, blank = False, False, False, bool(raw.keys() & set(CODE_KEYS))
        for key in keys:
            part = raw[key]
            if key in TECHNICAL or part is None or part == [] or part == {}:
                continue
            text = as_text(part)
            one = Told() if text is None else self.meaning(part, text)
            if one.unticked and key in CODE_KEYS:
                unticked = True
            elif one.null == "absent" or one.unticked or (key not in LABELS and one.null == "not_applicable"):
                continue
            elif one.code or one.null:
                told.append(one)
            elif key not in LABELS:
                words = words or text is None or isinstance(part, str)
            elif key == "display" and told and self.denies(told[0], text):
                return Told(torn=True)
            else:
                unread = unread or (key != "code" and not told)
            blank = False
        if len({(one.code, one.null) for one in told}) > 1:
            return Told(torn=True)
        if unread or (not told and words):
            return Told(words=words)
        if not told:
            return Told(unticked=True) if unticked else Told(null="absent" if blank else None)
        return told[0]._replace(words=words)

    def strange(self, raw: Any) -> Iterator[str]:
        """The words of an answer that should have been a spelling and are none."""
        told = [raw[key] for key in CODE_KEYS if key in raw] if isinstance(raw, dict) else [raw]
        for part in told:
            text = as_text(part)
            if text is not None and self.meaning(part, text) == Told():
                yield text

    def denies(self, told: Told, display: str | None) -> bool:
        """Whether a label that is no spelling starts with another answer, beside a no: `Past attempt, 2010`."""
        first = fold(display or "").replace(",", " ").partition(" ")[0]
        return told.code is not None and told.code == self.denial and self.table.get(first, told.code) != told.code
