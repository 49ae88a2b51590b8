"""What every carrier of writes does alike: open a body, keep to the lease, stop when the target wants a rest.

Not here: what a write is on its target (`courier` for the EHR, `contacts` for the CRM), claiming and settling
(`lanes`), and how many go at once (`deliver`).
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg import Connection

from glp1_pipeline.adapters.calls import CallFailure
from glp1_pipeline.adapters.ehr import EhrFailure
from glp1_pipeline.adapters.store import TROUBLES
from glp1_pipeline.domain.outbox import Trouble, opens_breaker

from .lanes import Claimed, earlier_bodies

log = logging.getLogger(__name__)
OpenBody = Callable[[str, bytes, str], bytes]
Failure = (EhrFailure, CallFailure)
ROUNDS = 3  # times that one try sends: again after reading back what had moved


class Unreadable(RuntimeError):
    """Something of ours that is needed cannot be read: a body, or its key."""


class StoreAway(RuntimeError):
    """Our own database does not answer for a moment, or another holds there what is needed."""


def of_store(error: Exception, what: str) -> RuntimeError:
    """Who went away is back in moments; a statement that the database refuses waits for a person."""
    is_away = isinstance(error, (OSError, psycopg.OperationalError, psycopg.InterfaceError))
    return StoreAway(what) if is_away else Unreadable(what)


@dataclass(slots=True)
class Tried:
    """What came of one try. `trouble` None: delivered, but for its `conflicts`."""

    claimed: Claimed
    ms: float = 0.0
    http_status: int | None = None
    trouble: Trouble | None = None
    conflicts: dict[str, str] = field(default_factory=dict)
    """Resources that were left as they are in the target, and why."""
    retry_after: float | None = None
    remote: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    """By key the version that was found in the target; empty where it stays, since theirs says what we would."""
    was_sent: bool = False
    was_tried: bool = True
    is_echo: bool = False
    """The same call's failure as another's: the breaker counts it once."""


class Carrier(ABC):
    """Carries claimed writes to one target. Threads share it."""

    def __init__(
        self, connect: Callable[[], Connection[Any]], target: str, open_body: OpenBody, send_before: float
    ) -> None:
        self.connect = connect
        self.target = target
        self.open_body = open_body
        self._is_told_off = threading.Event()
        self.send_before = send_before
        """Seconds after the claim when no try is begun any more, and each call of a try must be over in twice that."""

    @abstractmethod
    def keys(self, content: Mapping[str, Any]) -> list[str]:
        """The resources that a write is about, as they are called in ops.copies."""

    @abstractmethod
    def _carry(self, one: Claimed, tried: Tried) -> None:
        """Deliver one write and fill in what came of it."""

    def unpack(self, claimed: list[Claimed]) -> list[Tried]:
        """Open the bodies of what was claimed. Returns those that cannot be tried, with why."""
        failed: list[Tried] = []
        for one in claimed:
            try:
                one.content = self._open(one.write_id, one.kid, one.body)
                one.keys = self.keys(one.content)
            except Unreadable:
                failed.append(Tried(one, trouble="unreadable"))
            except Exception as error:  # noqa: BLE001 - a body of the wrong shape must not stop the others
                failed.append(self._failed_here(Tried(one), error))
        return failed

    def carry(self, one: Claimed) -> Tried:
        """Try to deliver one write. Never raises for what the target does."""
        began = time.monotonic()
        if self._is_told_off.is_set() or began > one.claimed_at + self.send_before:
            return Tried(one, was_tried=False)  # the target wants a rest, or another may soon hold the lane
        tried = Tried(one)
        try:
            self._carry(one, tried)
        except Failure as failure:
            tried.trouble, tried.http_status, tried.retry_after = failure.trouble, failure.status, failure.retry_after
        except Unreadable:
            tried.trouble = "unreadable"  # an earlier body
        except StoreAway:
            tried.trouble = "store_away"  # as when the ledger must hear of another's edit first
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

    def _earlier(self, one: Claimed) -> list[tuple[str, dict[str, Any]]]:
        """Status and content of what was sent for this patient before, the newest first."""
        try:
            with self.connect() as connection:
                rows = earlier_bodies(connection, self.target, one)
        except TROUBLES as error:
            raise of_store(error, "earlier writes") from None
        return [(status, self._open(write_id, kid, body)) for write_id, status, kid, body in rows]

    def _open(self, write_id: int, kid: str | None, body: bytes | None) -> dict[str, Any]:
        return self._open_at(f"writes|{write_id}", kid, body)

    def _open_at(self, place: str, kid: str | None, body: bytes | None) -> dict[str, Any]:
        if kid is None or body is None:
            raise Unreadable("a write without a body")
        try:
            return orjson.loads(self.open_body(kid, body, place))
        except Exception:  # noqa: BLE001 - whatever the cipher raises must not carry a body upwards
            raise Unreadable("a body that does not open") from None

    def _ends(self, one: Claimed) -> float:
        return one.claimed_at + 2 * self.send_before
