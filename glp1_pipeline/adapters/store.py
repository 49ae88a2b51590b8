"""Our own store: a connection whose errors say no value. Not here: statements, and which database it is."""

from __future__ import annotations

import psycopg


class StoreFault(RuntimeError):
    """Postgres refused a statement; named by its code, table and constraint, since its own text quotes the row."""


class Store(psycopg.Connection):
    """A connection whose errors, when they leave its `with` block, say no value."""

    def __exit__(self, kind, error, trace) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(error, psycopg.OperationalError):
            raise ConnectionError("the store went away: it is started again by itself, or see the runbook") from None
        if isinstance(error, psycopg.Error):
            told = error.diag
            raise StoreFault(f"Postgres said {error.sqlstate} on {told.table_name} ({told.constraint_name})") from None


TROUBLES = (psycopg.Error, OSError, StoreFault)
"""What work with the store may raise."""


def connect(url: str, name: str) -> Store:
    """In autocommit: every piece of work opens its own transaction. ConnectionError where no server answers."""
    try:
        return Store.connect(url, autocommit=True, application_name=name, connect_timeout=10)
    except psycopg.OperationalError:
        # The driver's text names the server and the account: say what to do instead.
        raise ConnectionError(
            "the store does not answer: start it with `glp1 up`, or check GLP1_DATABASE_URL"
        ) from None
