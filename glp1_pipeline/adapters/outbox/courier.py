"""One write's way: open its body, read back when its outcome is unknown, send, and say what came of it.

Not here: claiming and settling (`lanes`), and how many go at once (`deliver`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg import Connection

from glp1_pipeline.adapters.ehr import Ehr, EhrFailure
from glp1_pipeline.domain.outbox import Trouble, judge, keys_of, opens_breaker, without

from .lanes import Claimed, earlier_bodies

log = logging.getLogger(__name__)
OpenBody = Callable[[str, bytes, str], bytes]
ROUNDS = 3  # times that one try sends: again after reading back what had moved


class Unreadable(RuntimeError):
    """Something of ours that is needed cannot be read now: a body, its key, or the database."""


@dataclass(slots=True)
class Tried:
    """What came of one try. `trouble` None: delivered, but for its `conflicts`."""

    claimed: Claimed
    ms: float = 0.0
    http_status: int | None = None
    trouble: Trouble | None = None
    conflicts: dict[str, str] = field(default_factory=dict)
    """Resources that were left as they are in the EHR, and why."""
    retry_after: float | None = None
    remote: dict[str, list[str]] = field(default_factory=dict)
    was_sent: bool = False
    was_tried: bool = True
    is_echo: bool = False
    """The same call's failure as another's: the breaker counts it once."""


class Courier:
    """Carries claimed writes to one EHR. Threads share it."""

    def __init__(
        self,
        ehr: Ehr,
        connect: Callable[[], Connection[Any]],
        target: str,
        open_body: OpenBody,
        send_before: float,
    ) -> None:
        self.ehr = ehr
        self.connect = connect
        self.target = target
        self.open_body = open_body
        self._opening = threading.Lock()
        self._is_told_off = threading.Event()
        self.send_before = send_before
        """Seconds after the claim when no try is begun any more, and each call of a try must be over in twice that."""

    def unpack(self, claimed: list[Claimed]) -> list[Tried]:
        """Open the bodies, and ask in one call which of the resources to be created are there already.

        Returns those that cannot be tried, with why. Not every server heeds `ifNoneMatch: *` in a transaction, and
        after a restore of our database from a backup it may hold more than we know.
        """
        failed: list[Tried] = []
        new: dict[str, Claimed] = {}
        for one in claimed:
            try:
                one.bundle = self._open(one.write_id, one.kid, one.body)
                sample = _sample_of_new(one) if one.was == "ready" else []
            except Unreadable:
                failed.append(Tried(one, trouble="unreadable"))
            except Exception as error:  # noqa: BLE001 - a body of the wrong shape must not stop the others
                failed.append(self._failed_here(Tried(one), error))
            else:
                new |= dict.fromkeys(sample, one)
        try:
            for key in self.ehr.existing(list(new), self._ends(claimed[0])):
                new[key].is_known_there = True
        except EhrFailure as failure:
            if opens_breaker(failure.trouble):
                self._is_told_off.set()
            unreadable = {f.claimed.write_id for f in failed}
            rest = [one for one in claimed if one.write_id not in unreadable]
            failed += [
                Tried(one, 0.0, failure.status, failure.trouble, retry_after=failure.retry_after, is_echo=i > 0)
                for i, one in enumerate(rest)
            ]
        return failed

    def carry(self, one: Claimed) -> Tried:
        """Try to deliver one write. Never raises for what the EHR does."""
        began = time.monotonic()
        if self._is_told_off.is_set() or began > one.claimed_at + self.send_before:
            return Tried(one, was_tried=False)  # the EHR wants a rest, or another may soon hold the lane
        tried = Tried(one)
        try:
            self._carry(one, tried)
        except EhrFailure as failure:
            tried.trouble, tried.http_status, tried.retry_after = failure.trouble, failure.status, failure.retry_after
        except Unreadable:
            tried.trouble = "unreadable"  # an earlier body, needed to tell whose edit it is
        except Exception as error:  # noqa: BLE001 - one write must not stop the others; its text may hold a value
            self._failed_here(tried, error)
        tried.ms = (time.monotonic() - began) * 1000
        if tried.trouble and opens_breaker(tried.trouble):
            self._is_told_off.set()
        return tried

    def _failed_here(self, tried: Tried, error: Exception) -> Tried:
        tried.trouble = "failed_here"
        log.error("delivery of write %d failed in our own code: %s", tried.claimed.write_id, type(error).__name__)
        return tried

    def _carry(self, one: Claimed, tried: Tried) -> None:
        ends = self._ends(one)
        bundle, resources = one.bundle, keys_of(one.bundle)
        known = dict(one.remote)
        places: dict[str, list[str]] = {}
        conflicts: dict[str, str] = {}
        todo: list[str] = list(resources)
        must_look = one.was == "in_doubt" or one.is_known_there or any(key in one.conflicts for key in resources)
        for _ in range(ROUNDS):
            if must_look:
                found = self.ehr.look(resources, known, ends)
                atomic = self.ehr.is_atomic(one.bundle)
                verdict = judge(
                    resources, known, found, lambda: self._earlier(one),
                    is_atomic=atomic, held=one.decided(None), insisted=one.decided("ours"),
                )  # fmt: skip
                tried.http_status = 200
                # Never into `known`: at their version it would be ours to write over.
                conflicts, places = dict(verdict.conflicts), verdict.places
                known |= verdict.done | {key: place for key, place in verdict.send.items() if place}
                if not atomic or verdict.landed:
                    tried.remote |= verdict.done
                if verdict.landed:
                    tried.trouble = None
                    break
                todo = list(verdict.send)
                bundle = without(one.bundle, conflicts)
            tried.was_sent = True
            sent = self.ehr.send(bundle, known | places, todo, ends)
            tried.remote |= sent.remote
            known |= sent.remote
            tried.trouble, tried.http_status, tried.retry_after = sent.trouble, sent.status, sent.retry_after
            if sent.trouble != "moved":
                break
            must_look = True
        if tried.trouble is None:  # with the mark or not at all, or the next write would take their version as ours
            tried.conflicts = conflicts
            tried.remote |= places

    def _earlier(self, one: Claimed) -> dict[str, list[dict[str, Any]]]:
        """What we last sent of each resource, and since then perhaps: writes that died may have landed all the same."""
        last: dict[str, list[dict[str, Any]]] = {}
        complete: set[str] = set()
        try:
            with self.connect() as connection:
                rows = earlier_bodies(connection, self.target, one)
        except psycopg.Error:
            raise Unreadable("earlier writes") from None
        for write_id, status, kid, body in rows:
            for key, resource in keys_of(self._open(write_id, kid, body)).items():
                if key not in complete:
                    last.setdefault(key, []).append(resource)
                    if status == "delivered":
                        complete.add(key)
        return last

    def _open(self, write_id: int, kid: str | None, body: bytes | None) -> dict[str, Any]:
        if kid is None or body is None:
            raise Unreadable("a write without a body")
        try:
            with self._opening:  # the cipher's decompressor is not made for several threads
                content = self.open_body(kid, body, f"writes|{write_id}")
            return orjson.loads(content)
        except Exception:  # noqa: BLE001 - whatever the cipher raises must not carry a body upwards
            raise Unreadable("a body that does not open") from None

    def _ends(self, one: Claimed) -> float:
        return one.claimed_at + 2 * self.send_before


def _sample_of_new(one: Claimed) -> list[str]:
    """Keys whose presence in the EHR would tell that it knows more than we do.

    Of a patient never delivered, the first is enough: a first write lands whole or not at all.
    """
    new = [key for key in keys_of(one.bundle) if key not in one.remote and not key.startswith("Provenance/")]
    if one.remote:
        return new
    return sorted(new, key=lambda key: not key.startswith("Patient/"))[:1]
