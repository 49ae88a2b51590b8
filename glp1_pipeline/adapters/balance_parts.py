"""The balance by part: received = charted + waiting + rejected + dead for each day of receipt, source and type.

What was received is counted while the drops are read, on their own rows, and held against the events that are there.
A source is told by a name of ours, since its own text comes from outside. Not here: the whole (`balance`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from glp1_pipeline.domain.refill.clock import SOURCE

STATUSES = ("charted", "waiting", "rejected", "dead")
HASH_LENGTH = 4
"""So short that a drop of a million invented sources makes a row of some megabytes: two that share one are told
together."""
_SOURCE: LiteralString = "coalesce(left(encode(sha256(convert_to(source, 'UTF8')), 'hex'), 4), '')"
"""As `part_key` does it; of a line that is no event there is none."""
ADDED: LiteralString = (
    "(select coalesce(jsonb_object_agg(k, n), '{}') from (select k, sum(v::bigint) as n from (select * from"
    " jsonb_each_text(parts) union all select * from jsonb_each_text(%s)) as u(k, v) group by k) as s where n <> 0)"
)
"""What `parts` of a drop is with more counts: negative ones take away."""
_COUNTED: LiteralString = (
    "with read as (select split_part(k, '|', 1)::date as day, split_part(k, '|', 2) as source,"
    "  split_part(k, '|', 3) as type, sum(v::bigint) as n from ops.drops, jsonb_each_text(parts) as p(k, v)"
    "  group by 1, 2, 3),"
    f" there as (select received_on as day, {_SOURCE} as source, coalesce(type, '') as type,"
    "  jsonb_object_agg(status, n) as by_status from (select received_on, source, type, status, count(*) as n"
    "  from phi.events group by 1, 2, 3, 4) as e group by e.received_on, e.source, e.type),"
    f" named as (select of as source, string_agg(feed, '+' order by feed) as feed from (select {_SOURCE} as of, feed"
    "  from phi.feeds) as f group by of)"
    " select day, source, type, coalesce(feed, ''), coalesce(n, 0)::bigint, coalesce(by_status, '{}')"
    " from read full join there using (day, source, type) left join named using (source)"
    " order by day, feed, source, type"
)


@dataclass
class Part:
    """What came on one day from one source and is of one type. Counts."""

    day: date
    source: str
    """As we name it; `unreadable` for lines that are no event, for what is known of nobody."""
    type: str
    received: int
    """As counted while the drops were read."""
    charted: int = 0
    waiting: int = 0
    rejected: int = 0
    dead: int = 0
    others: int = 0
    """Of a status that nobody knows."""

    @property
    def there(self) -> int:
        return self.charted + self.waiting + self.rejected + self.dead + self.others

    @property
    def is_even(self) -> bool:
        return self.received == self.there and not self.others

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"day": self.day.isoformat()}

    def __str__(self) -> str:
        return f"{self.day} {self.source}{' ' if self.type else ''}{self.type}"


@dataclass
class Moved:
    """Lines that turned out to be events: each leaves the part of what is known of nobody."""

    by_drop: dict[UUID, Counter[str]] = field(default_factory=dict)

    def note(self, drop_id: UUID, before: str, after: str) -> None:
        found = self.by_drop.setdefault(drop_id, Counter())
        found[before] -= 1
        found[after] += 1

    def save(self, connection: Connection[Any]) -> None:
        """In the caller's transaction; drops in order, so that two never wait for each other in a circle."""
        for drop_id, counts in sorted(self.by_drop.items()):
            connection.execute(
                f"update ops.drops set parts = {ADDED} where drop_id = %s", (Jsonb(dict(counts)), drop_id)
            )


def part_key(day: date, source: str | None, kind: str | None) -> str:
    """Names a part on the row of a drop: the source only as a hash, for it is not ours to tell there."""
    return f"{day.isoformat()}|{'' if source is None else _short(source)}|{kind or ''}"


def _short(source: str) -> str:
    return hashlib.sha256(source.encode(errors="replace")).hexdigest()[:HASH_LENGTH]


OUR_CLOCK = {_short(SOURCE): "clock"}
"""It is no feed."""


def balance_by_part(connection: Connection[Any]) -> list[Part]:
    """Every part, by day. In the caller's snapshot where there is one."""
    found = []
    for day, source, kind, feed, received, by_status in connection.execute(_COUNTED).fetchall():
        known = {status: by_status.pop(status, 0) for status in STATUSES}
        name = feed or OUR_CLOCK.get(source) or (f"source-{source}" if source else "unreadable")
        found.append(Part(day, name, kind, received, **known, others=sum(by_status.values())))
    return found


def faults_of(parts: Collection[Part], most: int = 20) -> list[str]:
    """Parts that do not add up, in words with counts."""
    odd = [one for one in parts if not one.is_even]
    told = [f"{one}: {one.received} received, {one.there} in the ledger" for one in odd[:most]]
    return told + ([f"{len(odd) - most} more days, sources and types do not add up"] if len(odd) > most else [])
