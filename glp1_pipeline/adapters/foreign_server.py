"""What a Postgres that is not ours must be before it is used, each fault a sentence.

Not here: whether its log may quote patients (`server_log`), and the embedded server.
"""

from __future__ import annotations

from collections.abc import Callable

from .store import Store
from .variables import SettingsError

OLDEST = 15


def require_fit(connect: Callable[[], Store]) -> None:
    """`connect` gives a new connection each time. SettingsError where the server or what stands before it does not
    serve."""
    with connect() as one, connect() as other:
        if (version := one.info.server_version // 10000) < OLDEST:
            raise SettingsError(
                f"GLP1_DATABASE_URL leads to Postgres {version}; {OLDEST} or later is needed. Name another."
            )
        if (encoding := one.info.parameter_status("server_encoding")) != "UTF8":
            raise SettingsError(
                f"The database that GLP1_DATABASE_URL names is kept in {encoding}, which cannot hold every name. Make"
                " it anew: create database ... encoding 'UTF8' template template0"
            )
        # A lock belongs to a session. Where two connections are given one, each has the other's.
        if _session(one) == _session(other):
            raise SettingsError(
                "Before the Postgres that GLP1_DATABASE_URL names stands a pooler that gives one session to several of"
                " its clients. Our locks need a session each: set its pool mode to session, or name Postgres itself."
            )


def _session(connection: Store) -> object:
    return connection.execute("select pg_backend_pid()").fetchone()
