"""What each system said last, and what each of its records says now: an EHR keeps one list in many resources.

Here: memory of words, and what a newer version of a record leaves out. Not here: what holds (`voices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..told import Reported
from .words import BLANK, COPYING, Value, join, same


class Said:
    """Begun empty; grows with the reports, oldest first."""

    __slots__ = ("fields", "last", "rows")

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], Value] = {}
        """(source, field) -> its last word, in whatever voice; blank where it took the word back."""
        self.rows: dict[tuple[str, str], dict[str, Value]] = {}
        """(source, field) -> what each record of that system says of it, where the field is a list."""
        self.fields: dict[tuple[str, str], set[str]] = {}
        """(source, record there) -> the fields of its newest version."""

    def by(self, source: str, name: str) -> Value | None:
        """The last word of a source that says something; None where it never spoke."""
        said = self.last.get((source, name))
        return None if said is None or said.get("null") == "absent" else said

    def may_be_old(self, source: str, name: str, value: Value, former: Sequence[Value]) -> bool:
        """Whether a copy says what that system said before, or as its first word what the chart no longer holds: it
        may have been made before that system heard of the change."""
        before = self.last.get((source, name))
        return any(same(value, was) for was in former) if before is None else same(value, before)

    def whole(self, report: Reported, name: str, value: Value) -> Value:
        """A list as all records of that system give it together: each carries a row or two."""
        if not isinstance(value.get("value"), list):
            return value
        records = self.rows.setdefault((report.source, name), {})
        records[report.submission_id] = value
        joined: list[Any] = []
        for record in sorted(records):
            joined = join(joined, records[record]["value"])
        return {**value, "value": joined}

    def left_out(self, report: Reported) -> Iterator[tuple[str, Value]]:
        """Lists that an older version of the same record had rows of and this one has no more."""
        if report.source in COPYING:
            for (source, name), records in self.rows.items():
                was = records.get(report.submission_id)
                if source == report.source and name not in report.values and was is not None and was["value"]:
                    yield name, {"value": []}

    def end_version(self, report: Reported) -> set[str]:
        """What the newest version of a record leaves out, that system says no more: said again, it is news."""
        place, names = (report.source, report.submission_id), set(report.values)
        gone = self.fields.get(place, set()) - names
        for name in gone:
            self.last[report.source, name] = BLANK
        self.fields[place] = names
        return gone
