"""Who drops events in a drill, and what of it must be in a chart in the end.

Not here: what is broken meanwhile (`scene`), and who the invented people are (`people`).
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.landing import Folder, landing_zone
from glp1_pipeline.adapters.settings import Settings

from .people import amendment, submission
from .proof import Identity
from .site import Site


@dataclass
class Producer:
    """One who feeds the site of a drill."""

    alert: str | None
    """That the drill must raise."""
    site: Site
    say: Callable[[str], None] = print
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    steps: list[str] = field(default_factory=list)
    charted: set[Identity] = field(default_factory=set)
    """What was fed and must be in a chart in the end."""
    n_lines: int = 0
    """That were dropped; where drills share a ledger, those before this one too."""
    _n: int = 0

    @property
    def home(self) -> Path:
        return self.site.home

    @property
    def settings(self) -> Settings:
        return self.site.settings

    @property
    def cipher(self) -> Cipher:
        """With the keys as they are now."""
        return Cipher(KeyRing.load(self.home / "secrets" / "keys.json"))

    @property
    def landing(self) -> Folder:
        return landing_zone(self.settings.landing_url, self.home / "archive", self.cipher)

    def step(self, sentence: str) -> None:
        """Say what is done; it is in the evidence."""
        self.steps.append(sentence)
        self.say(f"  {sentence}")

    def feed(self, n: int) -> list[dict[str, Any]]:
        """Drop n invented submissions in one file; of each four one is amended and of each five one comes twice."""
        people = [self.person() for _ in range(n)]
        later = [amendment(p, 1, {"anthro.weight": {"value": 98.5, "unit": "kg"}}) for p in people[::4]]
        self.drop(*people, *later)
        self.drop(*people[::5])
        self.step(f"fed {n} submissions, {len(later)} amended, {len(people[::5])} of them sent twice")
        return people

    def person(self, at: datetime | None = None, answers: dict[str, Any] | None = None) -> dict[str, Any]:
        """The next invented submission, not dropped yet."""
        self._n += 1
        return submission(self.name, self._n, at, answers)

    def amended(self, first: dict[str, Any], n: int, answers: dict[str, Any]) -> dict[str, Any]:
        """The n-th correction of a submission, not dropped yet."""
        return amendment(first, n, answers)

    def drop(self, *lines: dict[str, Any] | bytes, is_charted: bool = True) -> None:
        """Drop one file of events or raw lines, as a producer does. Events (not raw lines) must be in a chart in the
        end, unless `is_charted` is False."""
        raw = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
        if is_charted:
            self.charted |= {(e["source"], e["id"]) for e in lines if isinstance(e, dict)}
        self.n_lines += len(raw)
        self.landing.put(f"{uuid.uuid4()}.ndjson", io.BytesIO(b"\n".join(raw) + b"\n"))
