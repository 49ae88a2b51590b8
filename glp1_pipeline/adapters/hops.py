"""The hops of all journeys in numbers: how long each took, what waits before it, errors by class, duplicates.

Here: reading, in names, counts and seconds. Not here: one event's journey (`trace`), the exposition (`metrics`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg

WINDOWS = {"1h": 3600, "24h": 86400}
"""By name the seconds that count back from now."""
RECEIPT_TO_CHARTED, RECEIPT_TO_QUEUE, CHANGE_TO_DELIVERED = (
    "receipt_to_charted",
    "receipt_to_queue",
    "change_to_delivered",
)


@dataclass(frozen=True)
class Hop:
    """A hop in a window: how often it was made, and its seconds."""

    hop: str
    target: str
    """Outside system; empty for the hops inside."""
    window: str
    count: int
    p50: float | None
    p95: float | None


@dataclass
class Hops:
    """What all hops together look like."""

    hops: list[Hop] = field(default_factory=list)
    oldest: dict[tuple[str, str], float] = field(default_factory=dict)
    """(hop, target) -> seconds that the oldest of those waits who are before it now; 0 where nobody waits."""
    attempts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(target, window, outcome) -> attempts."""
    errors: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(target, window, class) -> attempts that did not deliver: why, by the names of `domain.outbox.retry`."""
    duplicates: int = 0
    """Lines that the ledger had already, since ever."""
    lines: int = 0
    events: dict[str, int] = field(default_factory=dict)
    """By status, those that are not charted."""
    writes: dict[tuple[str, str], int] = field(default_factory=dict)
    """(target, status) -> writes that are not delivered."""
    queue: int = 0
    tasks: int = 0
    breakers: dict[str, bool] = field(default_factory=dict)
    """Target -> whether nothing is sent to it now."""

    def error_rate(self, target: str, window: str) -> float:
        """Share of the attempts that did not deliver, 0 to 1."""
        return sum(self.error_rates(target, window).values(), 0.0)

    def error_rates(self, target: str, window: str) -> dict[str, float]:
        """The same by class."""
        tries = sum(n for (t, w, _), n in self.attempts.items() if (t, w) == (target, window))
        return {name: n / tries for (t, w, name), n in self.errors.items() if (t, w) == (target, window)}

    @property
    def targets(self) -> list[str]:
        return sorted({target for _, target in self.oldest if target})


DELIVERED = ("delivered", "conflict")
"""Outcomes after which nothing is to be sent: a conflict is left to a person."""
QUANTILES = (
    "count(*), percentile_cont(0.5) within group (order by {0}), percentile_cont(0.95) within group (order by {0})"
)
# By the attempt that settled it, since attempts are found by day: all writes of ever would be read for those of a day.
LATELY_DELIVERED = (
    "select * from ops.writes where status = 'delivered' and write_id in (select write_id from ops.deliveries"
    f" where outcome in {DELIVERED} and delivered_on >= (now() at time zone 'utc')::date - 1)"
)
# Events of eight days of receipt at most, since `settled_at` has no index: what waited longer is an alert's matter.
TAKEN = {
    RECEIPT_TO_CHARTED: "select '', " + QUANTILES.format("extract(epoch from settled_at - received_at)::float8")
    + " from phi.events where status = 'charted' and received_on >= (now() at time zone 'utc')::date - 7"
    " and settled_at > now() - make_interval(secs => %s)",
    RECEIPT_TO_QUEUE: "select '', " + QUANTILES.format("extract(epoch from entered_at - submitted_at)::float8")
    + " from ops.provider_queue where entered_at > now() - make_interval(secs => %s)",
    CHANGE_TO_DELIVERED: "select target, " + QUANTILES.format("extract(epoch from settled_at - created_at)::float8")
    + f" from ({LATELY_DELIVERED}) as w where settled_at > now() - make_interval(secs => %s) group by target",
}  # fmt: skip
OLDEST = (
    f"select '{RECEIPT_TO_CHARTED}', '', coalesce(extract(epoch from now() - min(received_at)), 0)::float8"
    " from phi.events where status = 'waiting'"
    f" union all select '{CHANGE_TO_DELIVERED}', t, coalesce(extract(epoch from now() - min(w.created_at)), 0)::float8"
    " from unnest(%s::text[]) t left join ops.writes w on w.target = t and w.status in ('ready', 'in_doubt') group by t"
)


def measure(connection: psycopg.Connection, targets: tuple[str, ...]) -> Hops:
    """All hops, in one snapshot. A replay is no part of a journey: an event is charted when it was charted first."""
    found = Hops()
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        rows = lambda sql, *values: connection.execute(sql.encode(), values).fetchall()  # noqa: E731
        for hop, sql in TAKEN.items():
            for window, seconds in WINDOWS.items():
                told = {target: (int(n), p50, p95) for target, n, p50, p95 in rows(sql, seconds)}
                for target in targets if hop == CHANGE_TO_DELIVERED else ("",):
                    found.hops.append(Hop(hop, target, window, *told.get(target, (0, None, None))))
        found.oldest = {(hop, target): age for hop, target, age in rows(OLDEST, list(targets))}
        for window, seconds in WINDOWS.items():
            for target, outcome, trouble, count in rows(
                "select w.target, d.outcome, coalesce(d.trouble, 'unknown'), count(*) from ops.deliveries d"
                " join ops.writes w using (write_id)"
                " where d.delivered_on >= (now() at time zone 'utc')::date - 1"
                " and d.at > now() - make_interval(secs => %s) group by 1, 2, 3",
                seconds,
            ):
                attempts, errors = found.attempts, found.errors
                attempts[target, window, outcome] = attempts.get((target, window, outcome), 0) + count
                if outcome not in DELIVERED:
                    errors[target, window, trouble] = errors.get((target, window, trouble), 0) + count
        ((found.duplicates, found.lines),) = rows(
            "select coalesce(sum(duplicates), 0)::bigint, coalesce(sum(lines), 0)::bigint from ops.drops"
        )
        found.events = {"waiting": 0, "rejected": 0, "dead": 0} | dict(
            rows("select status, count(*) from phi.events where status in ('waiting', 'rejected', 'dead') group by 1")
        )
        found.writes = {(target, status): 0 for target in targets for status in ("ready", "in_doubt", "dead")}
        for target, status, count in rows(
            "select target, status, count(*) from ops.writes where status in ('ready', 'in_doubt', 'dead')"
            " group by 1, 2"
        ):
            found.writes[target, status] = count
        ((found.queue,),) = rows("select count(*) from ops.provider_queue where left_at is null")
        ((found.tasks,),) = rows("select count(*) from ops.tasks where status = 'open'")
        found.breakers = dict.fromkeys(targets, False) | {
            target: state != "closed" for target, state in rows("select target, state from ops.breakers")
        }
    return found
