"""Which runs live: each holds a lock in our store as long as its process lives, also after Postgres was away.

Here: holding the lock, and asking which nobody holds. Not here: what is done about a run without one (`defs.recovery`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from types import TracebackType

import psycopg

LOOK_SECONDS = 2.0
"""How often a living run looks whether it still holds its lock: a restart of Postgres lets go of all of them."""


class Alive:
    """`with Alive(connect, run_id):` holds the run's lock until the block ends or the process dies."""

    def __init__(self, connect: Callable[[], psycopg.Connection], run_id: str, look_seconds: float = LOOK_SECONDS):
        """`connect` gives a connection in autocommit of our own, or raises ConnectionError or OperationalError."""
        self._connect, self._run_id, self._look_seconds = connect, run_id, look_seconds
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._keep, name="holds the run's lock", daemon=True)

    def __enter__(self) -> Alive:
        self._connection = self._take()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watch.join()
        self._connection.close()

    def _take(self) -> psycopg.Connection:
        connection = self._connect()
        # Shared: the steps of one run may be processes of their own.
        connection.execute("select pg_advisory_lock_shared(hashtextextended(%s, 7))", (self._run_id,))
        return connection

    def _keep(self) -> None:
        while not self._ended.wait(self._look_seconds):
            try:
                if self._connection.closed:
                    self._connection = self._take()
                else:
                    self._connection.execute("select 1")
            except (psycopg.OperationalError, ConnectionError):
                self._connection.close()  # Postgres is away: the next look takes the lock again


def without_worker(connection: psycopg.Connection, run_ids: Collection[str]) -> set[str]:
    """Those of the runs whose lock nobody holds now."""
    return {
        run_id
        for (run_id,) in connection.execute(
            "select run_id from unnest(%s::text[]) run_id, hashtextextended(run_id, 7) as key"
            " where case when pg_try_advisory_lock(key) then pg_advisory_unlock(key) else false end",
            (list(run_ids),),
        )
    }
