"""The crew: claims, sends in threads, settles in batches, until nothing is due, time is over or the target is unwell.

Not here: one write's way (`courier` to the EHR, `contacts` to the CRM), the statements (`lanes`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from glp1_pipeline.adapters.ehr import Ehr, EhrMisconfigured
from glp1_pipeline.adapters.store import StoreGone
from glp1_pipeline.domain.contract import WriteKind
from glp1_pipeline.domain.outbox import OF_TARGET, Breaker, after_failure, after_success, decide, is_over_at_last

from . import lanes
from .carrier import Carrier, OpenBody, Tried
from .contacts import ContactCarrier, Contacts
from .courier import Courier, Heard
from .lanes import Claimed, Settled

T = TypeVar("T")
LEASE_READ_TIMEOUTS = 3
SETTLE_AT = 8
SETTLE_EVERY_SECONDS = 0.1
DATABASE_TRIES = 6
_dice = random.SystemRandom()


@dataclass
class DeliveryReport:
    """Counts of one call: nothing of a patient."""

    outcomes: Counter[str] = field(default_factory=Counter)
    resources: int = 0
    ms: list[float] = field(default_factory=list)
    """Of each delivered write, from its first byte out to its answer."""
    stopped: str | None = None
    """Why it ended before all that was due was tried: the breaker's reason, or `deadline`."""

    @property
    def delivered(self) -> int:
        return self.outcomes["delivered"]


def deliver_pending(
    connect: Callable[[], Connection[Any]],
    peer: Ehr | Heard | Contacts,
    kind: WriteKind,
    open_body: OpenBody,
    *,
    limit: int = 1_000_000,
    deadline: float = 60.0,
    workers: int | None = None,
    on_progress: Callable[[DeliveryReport], None] | None = None,
) -> DeliveryReport:
    """Deliver what is due for `kind.target`, at most `limit` tries, beginning none after `deadline` seconds.

    `connect` gives a new psycopg connection each time; `open_body(kid, body, place)` opens what was sealed at `place`.
    Several processes may call it at once. EhrMisconfigured where the EHR cannot be spoken to as it is set up; then
    nothing was tried, and all of it is due as before.
    """
    crew = _Crew(connect, peer, kind, open_body, workers or kind.max_in_flight, on_progress)
    report = crew.work(limit, time.monotonic() + deadline)
    if crew.misfit is not None:
        raise crew.misfit
    return report


class _Crew:
    def __init__(
        self,
        connect: Callable[[], Connection[Any]],
        peer: Ehr | Heard | Contacts,
        kind: WriteKind,
        open_body: OpenBody,
        workers: int,
        on_progress: Callable[[DeliveryReport], None] | None,
    ) -> None:
        self.connect, self.kind, self.workers, self.on_progress = connect, kind, workers, on_progress
        server = peer.crm if isinstance(peer, Contacts) else peer.ehr if isinstance(peer, Heard) else peer
        patience = server.settings.read_timeout
        self.lease = LEASE_READ_TIMEOUTS * patience
        self.carrier: Carrier
        if isinstance(peer, Contacts):
            self.carrier = ContactCarrier(peer, connect, kind.target, open_body, send_before=patience)
        else:
            self.carrier = Courier(peer, connect, kind.target, open_body, send_before=patience)
        self.report = DeliveryReport()
        self.connection: Connection[Any] | None = None
        self.breaker = Breaker()
        self.unpacking: dict[Future[list[Tried]], list[Claimed]] = {}
        self.carrying: dict[Future[Tried], Claimed] = {}
        self.finished: list[Tried] = []
        self.misfit: EhrMisconfigured | None = None

    def work(self, limit: int, ends: float) -> DeliveryReport:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="deliver")
        claimed = 0
        is_dry = False
        settled_at = time.monotonic()
        try:
            while True:
                if self.report.stopped is None and time.monotonic() >= ends:
                    self.report.stopped = "deadline"
                if self.report.stopped:
                    self._give_back()
                elif not is_dry and claimed < limit and self._has_room():
                    got = self._claim(min(2 * self.workers, limit - claimed))
                    claimed += len(got)
                    is_dry = not got
                    if got:
                        self.unpacking[pool.submit(self.carrier.unpack, got)] = got
                self._collect(pool)
                is_idle = not self._in_flight()
                is_time = time.monotonic() - settled_at > SETTLE_EVERY_SECONDS
                if self.finished and (is_idle or is_time or len(self.finished) >= SETTLE_AT):
                    self._settle()
                    settled_at = time.monotonic()
                    is_dry = False  # a lane that was settled may have a next write
                elif is_idle and (is_dry or self.report.stopped or claimed >= limit):
                    return self.report
        finally:
            # An interrupt: what runs ends within its own deadline and is settled, the rest is given back.
            self._give_back()
            while self._in_flight():
                self._collect(pool)
            pool.shutdown()
            if self.finished:
                self._settle()
            if self.connection is not None:
                self.connection.close()

    def _has_room(self) -> bool:
        """One more claim than hands, so that none waits for the database; but a trial call goes alone."""
        return self._in_flight() <= (self.workers if self.breaker.state == "closed" else 0)

    def _in_flight(self) -> int:
        return len(self.carrying) + sum(map(len, self.unpacking.values()))

    def _claim(self, limit: int) -> list[Claimed]:
        claimed_at = time.monotonic()
        got, self.breaker = self._in_database(
            lambda connection: lanes.claim(connection, self.kind.target, limit, self.lease, claimed_at)
        )
        if not got and self.breaker.state != "closed":
            self.report.stopped = self.breaker.reason or "breaker"
        return got

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        futures = [*self.unpacking, *self.carrying]
        if not futures:
            return
        done, _ = wait(futures, timeout=SETTLE_EVERY_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            if future in self.carrying:
                del self.carrying[future]
                self.finished.append(future.result())
                continue
            group = self.unpacking.pop(future)
            try:
                failed = future.result()
            except EhrMisconfigured as error:
                self.misfit, self.report.stopped = error, "misconfigured"
                self.finished += [Tried(one, was_tried=False) for one in group]
                continue
            self.finished += failed
            hopeless = {tried.claimed.write_id for tried in failed}
            for one in group:
                if one.write_id in hopeless:
                    continue
                if self.report.stopped:
                    self.finished.append(Tried(one, was_tried=False))
                else:
                    self.carrying[pool.submit(self.carrier.carry, one)] = one

    def _give_back(self) -> None:
        """What no thread has begun yet is not tried; the rest is waited for."""
        for future, one in list(self.carrying.items()):
            if future.cancel():
                del self.carrying[future]
                self.finished.append(Tried(one, was_tried=False))
        for future, group in list(self.unpacking.items()):
            if future.cancel():
                del self.unpacking[future]
                self.finished += [Tried(one, was_tried=False) for one in group]

    def _settle(self) -> None:
        finished, self.finished = self.finished, []
        batch = [self._decide(tried) for tried in finished]
        mine = self._in_database(lambda connection: self._save(connection, batch, finished))
        for settled in mine:
            if settled.outcome is None:
                continue
            self.report.outcomes[settled.outcome] += 1
            if settled.is_delivered:
                self.report.ms.append(settled.ms)
                self.report.resources += len(settled.claimed.keys) - len(settled.conflicts)
        if self.breaker.state == "open" and self.report.stopped is None:
            self.report.stopped = self.breaker.reason or "breaker"
        if self.on_progress is not None:
            self.on_progress(self.report)

    def _decide(self, tried: Tried) -> Settled:
        one = tried.claimed
        if not tried.was_tried:
            return Settled(one, one.was, None, None, burns_try=False)
        if tried.trouble is None:
            # What somebody else changed there is left to them, and holds nothing else of this patient.
            outcome = "conflict" if tried.conflicts else "delivered"
            last_class = min(tried.conflicts.values(), default="delivered")
            return Settled(
                one, "delivered", outcome, last_class, tried.http_status, tried.ms, tried.remote,
                conflicts=tried.conflicts, seen=tried.seen,
            )  # fmt: skip
        # Untouched since a try of unknown outcome: still unknown.
        is_partial = bool(tried.remote) or (one.was == "in_doubt" and not tried.was_sent)
        decision = decide(
            self.kind,
            tried.trouble,
            tries=one.tries,
            age_hours=one.age_hours,
            random=_dice.random(),
            retry_after=tried.retry_after,
            is_partial=is_partial,
            is_target_unwell=self.breaker.state != "closed",
        )
        return Settled(
            one, decision.status, decision.outcome, tried.trouble, tried.http_status, tried.ms, tried.remote,
            decision.delay_seconds, decision.blocked, decision.burns_try,
        )  # fmt: skip

    def _save(self, connection: Connection[Any], batch: list[Settled], finished: list[Tried]) -> list[Settled]:
        with connection.transaction():
            mine = lanes.settle(connection, self.kind.target, batch)
            troubles = [t for t in finished if t.trouble is not None and t.was_tried]
            if troubles or self.breaker != Breaker():
                self._move_breaker(connection, [t for t in finished if t.was_tried and not t.is_echo])
        return mine

    def _move_breaker(self, connection: Connection[Any], finished: list[Tried]) -> None:
        was = breaker = lanes.lock_breaker(connection, self.kind.target)
        for tried in finished:
            before, seconds = breaker, None
            if tried.trouble is None:
                breaker = after_success(breaker)
            else:
                breaker, seconds = after_failure(breaker, tried.trouble, self.kind, _dice.random(), tried.retry_after)
            if breaker != before or seconds is not None:
                lanes.save_breaker(connection, self.kind.target, breaker, seconds)
        if is_over_at_last(was, breaker, self.kind):
            lanes.wake(connection, self.kind.target, OF_TARGET, self.kind.first_retry_seconds)
        self.breaker = breaker

    def _in_database(self, action: Callable[[Connection[Any]], T]) -> T:
        """Run it in our connection, again on a new one when the server went away, again when two locked crosswise.

        Done twice it does no more than once: a claim that committed unheard waits for its lease, and what was settled
        unheard is no longer ours.
        """
        for attempt in range(1, DATABASE_TRIES + 1):
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = self.connect()
                return action(self.connection)
            except (psycopg.OperationalError, psycopg.InterfaceError, ConnectionError) as error:
                if attempt == DATABASE_TRIES:
                    told = getattr(error, "sqlstate", None) or "no connection"
                    raise StoreGone(f"outbox: no database ({told})") from None
                if not isinstance(error, (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)):
                    if self.connection is not None:
                        self.connection.close()
                    self.connection = None
                time.sleep(_dice.random() * 0.1 * 2**attempt)
            except psycopg.Error as error:  # its text may quote a row
                raise type(error)(f"outbox: a statement failed ({error.sqlstate})") from None
        raise AssertionError("unreachable")
