"""What is sent: drops of submissions, amendments, duplicates, conflicting duplicates and hostile lines, from a seed.

Any event can be made again from its number, so nothing is remembered of those that went. Not here: dropping them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from glp1_pipeline_tests.sample_inputs import clean_submission
from glp1_pipeline_tests.small_road import amendment

KINDS = {
    "submission": 20, "amendment": 40, "duplicate": 19, "conflict": 4, "hostile": 7, "edit in the EHR": 4,
    "edit in the CRM": 3, "merge": 1.5, "unmerge": 1.5,
}  # fmt: skip
"""Shares in percent: a person comes once and is heard of again and again. A new one costs the sandbox EHR 80 ms, which
is what bounds a run."""
BY_OTHERS = ("edit in the EHR", "edit in the CRM", "merge", "unmerge")
ROLES = 20
EDITED_IN_EHR, EDITED_IN_CRM, MERGED, SKEWED, AMENDED = (0, 10), (1, 11), (2, 3), (4, 14), range(5, 10)
"""Which of twenty people are for what, so that what each must be in the end is known without remembering everybody."""
REMEMBERED = 4_000
"""People whose last word is remembered, to look for it in the end."""


@dataclass
class Sent:
    """What was sent, as the ledger must count it in the end."""

    kinds: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    distinct: int = 0
    """Lines that are an event or a quarantined line of their own."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    weights: dict[str, float] = field(default_factory=dict)
    """Subject -> kilograms that they said last."""


class Stream:
    """The same seed sends the same."""

    def __init__(self, seed: int, events: int) -> None:
        self.seed, self.events = seed, events
        self.random = random.Random(f"stream {seed}")
        self.people = 0
        self.sent = Sent()

    def subject(self, person: int) -> str:
        return f"soak-{self.seed}-{person:07d}"

    def steps(self) -> Iterator[bytes | str]:
        """Drops of one to sixty lines, and between them what others do, by its name."""
        batch: list[bytes] = []
        size = self.random.randint(1, 60)
        kinds, shares = [*KINDS], [*KINDS.values()]
        for number in range(self.events):
            (kind,) = self.random.choices(kinds, shares)
            if self.people < ROLES:
                kind = "submission"
            self.sent.kinds[kind] += 1
            if kind in BY_OTHERS:
                yield kind
                continue
            batch.append(self._line(kind, number))
            if len(batch) >= size:
                yield b"\n".join(batch)
                batch, size = [], self.random.randint(1, 60)
        if batch:
            yield b"\n".join(batch)

    def _line(self, kind: str, number: int) -> bytes:
        self.sent.lines += 1
        if kind == "submission":
            self.people += 1
            self.sent.distinct += 1
            return orjson.dumps(self._submission(self.people - 1))
        if kind == "amendment":
            person = self._someone(*AMENDED)
            self.sent.distinct += 1
            return orjson.dumps(self._amendment(person, number))
        if kind == "duplicate":
            return orjson.dumps(self._submission(self.random.randrange(self.people)))
        if kind == "conflict":
            event = self._submission(self.random.randrange(self.people))
            event["data"]["answers"]["anthro.weight"] = {"value": 150.0 + number / 1e6, "unit": "kg"}
            self.sent.distinct += 1
            self.sent.rejected["conflict"] += 1
            return orjson.dumps(event)
        return self._hostile(number)

    def _someone(self, *roles: int) -> int:
        """Somebody of these roles, among those who have come."""
        return self.random.randrange(self.people // ROLES) * ROLES + self.random.choice(roles)

    def _submission(self, person: int) -> dict[str, Any]:
        event = clean_submission(self.seed % 1000 * 10_000_000 + person, subject=self.subject(person))
        if person % ROLES in SKEWED:
            # A phone whose clock is up to two days wrong, before or behind.
            skew = timedelta(hours=random.Random(person).uniform(-48, 48))
            data = event["data"]
            for key in ("authored_at", "received_at"):
                data[key] = (datetime.fromisoformat(data[key]) + skew).isoformat(timespec="seconds")
            event["time"] = data["received_at"]
        return event

    def _amendment(self, person: int, number: int) -> dict[str, Any]:
        """The later in the stream, the later it was said: 27 hours in all."""
        weight = round(60 + number % 600 / 10, 1)
        subject = self.subject(person)
        if len(self.sent.weights) < REMEMBERED or subject in self.sent.weights:
            self.sent.weights[subject] = weight
        answers = {"anthro.weight": {"value": weight, "unit": "kg"}}
        return amendment(self._submission(person), number, answers, minutes=60 + 1600 * number / self.events)  # type: ignore[arg-type]

    def _hostile(self, number: int) -> bytes:
        line = orjson.dumps(clean_submission(9_000_000 + number, subject=f"hostile-{self.seed}-{number}"))
        made: dict[str, bytes] = {
            "malformed_json": line[: len(line) // 2],
            "not_an_object": orjson.dumps([number, self.seed]),
            "not_utf8": b'{"a": "\xff\xfe' + str(number).encode() + b'"}',
            "unknown_type": line.replace(b'"intake.submitted"', b'"intake.unheard"'),
            "unknown_version": line.replace(b'"3.0.0"', b'"9.9.9"'),
            "key_twice": b'{"id": 1, "id": ' + str(number).encode() + b"}",
        }
        reason = self.random.choice([*made])
        self.sent.distinct += 1
        self.sent.rejected[reason] += 1
        return made[reason]
