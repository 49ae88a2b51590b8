"""Where we stand in one kind's changes so that none is lost: the stretch that is read again, and what was met in it.

A change may show up to `LATE` after its own stamp: transactions that commit late, nodes of the server whose clocks
differ. So each pass begins at `low`, behind which nothing can appear any more, and not where the last one ended. `low`
goes by the server's stamps, and never past our own clock (the database's): a server whose clock was ahead and is set
right stamps new changes earlier than old ones. Two clocks apart cost reading twice, never a change.

Versions met are remembered to spare work; forgetting one costs a second look and no second event, since the ledger
knows an event by its id. Not here: any call or statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LATE = timedelta(minutes=2)
MOST_REMEMBERED = 5_000


@dataclass(slots=True)
class Window:
    """The state of one kind, as it lies in a row of ops.poll_cursors."""

    low: datetime | None = None
    """Where a pass begins; None: at the first resource ever."""
    position: datetime | None = None
    """How far the pass came that is under way; None: none is."""
    began: datetime | None = None
    """When that pass began, by our clock."""
    ceiling: datetime | None = None
    """The newest stamp that was known when it began, and since when (by our clock)."""
    ceiling_since: datetime | None = None
    newest: datetime | None = None
    newest_since: datetime | None = None
    met: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """Id -> version and stamp, of what lies at `low` or later."""
    later: set[str] = field(default_factory=set)
    """Ids to look at again: perhaps our own write on its way."""

    def begin(self, now: datetime) -> datetime | None:
        """Begin a pass or go on with the one under way; where to read from."""
        if self.position is None:
            self.began, self.ceiling, self.ceiling_since = now, self.newest, self.newest_since
            self.position = self.low
        return self.position

    def is_met(self, remote_id: str, version: str) -> bool:
        known = self.met.get(remote_id)
        return known is not None and known[0] == version

    def note(self, remote_id: str, version: str, stamp: datetime, now: datetime) -> None:
        self.met[remote_id] = (version, stamp)
        self.see(stamp, now)

    def see(self, stamp: datetime, now: datetime) -> None:
        if self.newest is None or stamp > self.newest:
            self.newest, self.newest_since = stamp, now

    def end(self) -> None:
        """The pass is through: what was stamped `LATE` before it began can bring no surprise any more."""
        candidates = [at for at in (self.low,) if at is not None]
        if self.ceiling is not None and self.ceiling_since is not None and self.began is not None:
            # A server's stamp is never later than the moment that we first saw it.
            safe = self.ceiling if self.began - self.ceiling_since >= LATE else self.ceiling - LATE
            candidates.append(min(safe, self.began - LATE))
        self.low = max(candidates, default=None)
        self.position = None
        kept = [(k, v) for k, v in self.met.items() if self.low is None or v[1] >= self.low]
        self.met = dict(sorted(kept, key=lambda item: item[1][1])[-MOST_REMEMBERED:])

    def dump(self) -> dict[str, Any]:
        """All but `low`, as JSON. Amid a pass without what was met: it would be written again with every page."""
        times = ("position", "began", "ceiling", "ceiling_since", "newest", "newest_since")
        told: dict[str, Any] = {name: at.isoformat() for name in times if (at := getattr(self, name)) is not None}
        if self.met and self.position is None:
            told["met"] = {k: [version, stamp.isoformat()] for k, (version, stamp) in self.met.items()}
        if self.later:
            told["later"] = sorted(self.later)
        return told

    @classmethod
    def load(cls, low: datetime | None, told: dict[str, Any]) -> Window:
        times = ("position", "began", "ceiling", "ceiling_since", "newest", "newest_since")
        return cls(
            low,
            **{name: datetime.fromisoformat(told[name]) for name in times if name in told},
            met={k: (v[0], datetime.fromisoformat(v[1])) for k, v in told.get("met", {}).items()},
            later=set(told.get("later", ())),
        )
