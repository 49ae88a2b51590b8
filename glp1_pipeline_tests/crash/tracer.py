"""The places where a run changes the world, found by watching: commits, calls that write, renames, removals, flushes.

Each is a point before it and one after it, named by our own function that did it. A read is no point: to die at one is
to die after the change before it. Not here: what the run does, and what must hold afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import requests
from psycopg.sql import Composable

import glp1_pipeline

OURS = f"{Path(glp1_pipeline.__file__).parent}{os.sep}"
CHANGES = frozenset({"insert", "update", "delete"})
SHARED = f"{OURS}adapters{os.sep}calls.py"
"""By which every system is called: who asked for the call tells more."""


class Point(NamedTuple):
    """The n-th time, counted from 1, that a round comes to a place, in whichever of its lives. Not the n-th point of the
    round: threads come to theirs in another order each time."""

    name: str
    n: int


class Tracer:
    """Tells each point through a pipe and dies at the first of `die_at` that comes. `seen`: what earlier lives told."""

    def __init__(self, die_at: Collection[Point], seen: Counter[str], report: int) -> None:
        self.die_at = frozenset(die_at)
        self.seen = Counter(seen)
        self._report = report
        self._lock = threading.Lock()

    def point(self, name: str) -> None:
        with self._lock:
            self.seen[name] += 1
            os.write(self._report, f"{name}\n".encode())
            if (name, self.seen[name]) in self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal is on its way

    def around(self, owner: Any, name: str, is_boundary: Callable[..., bool] = lambda *_: True) -> None:
        """Make a function of a class or module a pair of points."""
        inner = getattr(owner, name)
        label = f"{getattr(owner, '__name__', owner)}.{name}"

        def watched(*args: Any, **named: Any) -> Any:
            if not is_boundary(*args):
                return inner(*args, **named)
            place = _place()
            self.point(f"before {label} in {place}")
            result = inner(*args, **named)
            self.point(f"after {label} in {place}")
            return result

        setattr(owner, name, watched)

    def install(self) -> None:
        """For good: only in a process that is about to die."""
        for name in ("rename", "replace", "link", "unlink", "remove", "fsync"):
            self.around(os, name)
        self.around(requests.Session, "send", _writes)
        self.around(psycopg.Transaction, "__exit__", _changed_something)
        self.around(psycopg.Connection, "commit")
        self.around(psycopg.Cursor, "execute", _commits_by_itself)


def _place() -> str:
    """The function of ours that is at work: `adapters.ledger.append`."""
    frame = sys._getframe(2)
    while frame is not None and not _tells(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "the test"
    module = frame.f_code.co_filename.removeprefix(OURS).removesuffix(".py").replace(os.sep, ".")
    return f"{module}.{frame.f_code.co_name}"


def _tells(file: str) -> bool:
    return file.startswith(OURS) and file != SHARED


def _changed_something(transaction: psycopg.Transaction, *_: Any) -> bool:
    connection = transaction.connection
    if transaction.savepoint_name or connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
        return False
    return connection.execute("select pg_current_xact_id_if_assigned()").fetchone() != (None,)


def _writes(_: Any, request: requests.PreparedRequest, *__: Any) -> bool:
    body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
    is_reading = (request.url or "").endswith("/search") or (b'"GET"' in body and b'"resource":' not in body)
    return request.method != "GET" and not is_reading


def _commits_by_itself(cursor: psycopg.Cursor, query: Any, *_: Any) -> bool:
    idle = cursor.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    return cursor.connection.autocommit and idle and _may_write(query, cursor)


def _may_write(query: Any, cursor: psycopg.Cursor) -> bool:
    told = query.as_string(cursor) if isinstance(query, Composable) else query
    words = (told.decode() if isinstance(told, bytes) else str(told)).lower().split()
    return words[0] != "select" and (words[0] != "with" or not CHANGES.isdisjoint(word.strip("(") for word in words))
