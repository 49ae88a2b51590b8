"""The program as a whole: who lives which story, all events in order of time, and what each patient must come to.

Not here: the stories (`stories`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from .life import Life
from .people import person
from .stories import STORIES

PATIENTS, MONTHS, SEED = 200, 12, 1
UNTIL = date(2026, 10, 31)
NEEDED = 165
"""Days that the longest story takes before it goes on as usual."""


@dataclass(frozen=True)
class Program:
    events: list[tuple[datetime, dict[str, Any]]]
    """With the moment that each reaches us, oldest first; some come twice."""
    expected: dict[str, dict[str, Any]]
    """Account -> what must stand in the end."""
    story_of: dict[str, str]
    men: frozenset[str]
    """Accounts of whom a check-in asks nothing about pregnancy."""
    refused: int
    copies: int

    @property
    def settled_at(self) -> datetime:
        """When every clock has rung for the last time."""
        return self.events[-1][0] + timedelta(days=75)

    def by(self, period: timedelta) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
        """The events in portions, each with the moment at which it ends."""
        end, portion = self.events[0][0] + period, []
        for at, event in self.events:
            while at >= end:
                yield end, portion
                end, portion = end + period, []
            portion.append(event)
        yield end, portion

    def months(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for at, event in self.events:
            found.setdefault(f"{at:%Y-%m}", []).append(event)
        return found

    def write(self, folder: Path) -> list[Path]:
        """A file a month, and what must come of it all."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for month, events in self.months().items():
            files.append(folder / f"{month}.ndjson")
            files[-1].write_bytes(lines(events))
        told = {account: {"story": self.story_of[account], **end} for account, end in self.expected.items()}
        (folder / "expected.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        return files


def lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)


def build(
    patients: int = PATIENTS,
    seed: int = SEED,
    months: int = MONTHS,
    until: date = UNTIL,
    stories: Sequence[str] = (),
    after: int = 0,
) -> Program:
    """The same arguments give the same program; each story is lived by somebody where there are patients enough.
    `stories`: these in turn in place of all; `after`: how many patients of other programs there are."""
    chance = Random(f"program {seed}")  # noqa: S311 - a story, and no secret
    names = [*STORIES, *chance.choices([*STORIES], [one.share for one in STORIES.values()], k=patients)]
    ends = datetime(until.year, until.month, until.day, tzinfo=UTC)
    first, room = until - timedelta(days=round(months * 30.4)), round(months * 30.4) - NEEDED
    events: list[tuple[datetime, dict[str, Any]]] = []
    expected, story_of, told, men = {}, {}, Counter[str](), set()
    if stories:
        names = [stories[n % len(stories)] for n in range(patients)]
    for number, name in enumerate(names[:patients], after + 1):
        own = Random(f"program {seed} {number}")  # noqa: S311
        who = person(number, own, STORIES[name].sex)
        life = Life(who, own, first + timedelta(days=own.randrange(max(1, room))), ends)
        STORIES[name].tell(life)
        events += life.events
        expected[who.account], story_of[who.account] = life.outcome(), name
        men |= {who.account} if who.sex == "male" else set()
        told["refused"] += life.refused
        told["copies"] += life.copies
    events.sort(key=lambda one: (one[0], one[1]["id"]))
    return Program(events, expected, story_of, frozenset(men), told["refused"], told["copies"])
