"""What a Postgres that is not ours must be before it is used, each fault a sentence.

Not here: whether its log may quote patients (`server_log`), and the embedded server.
"""

from __future__ import annotations

from collections.abc import Callable

from .store import Store
from .variables import SettingsError

OLDEST = 15
AT_REST, OF_A_WORKER = 12, 3
"""Connections that a stack holds at once: what listens and what Dagster asks, and of each run its lock, its work and
its events. With four workers 17 were counted at the most, of the 24 that are asked for here."""


def require_fit(connect: Callable[[], Store], workers: int) -> None:
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
        _require_room(one, AT_REST + OF_A_WORKER * workers)
        # A lock belongs to a session. Where two connections are given one, each has the other's.
        if _session(one) == _session(other):
            raise SettingsError(
                "Before the Postgres that GLP1_DATABASE_URL names stands a pooler that gives one session to several of"
                " its clients. Our locks need a session each: set its pool mode to session, or name Postgres itself."
            )


def _require_room(connection: Store, needed: int) -> None:
    """Where it is lacking, all would start: and then runs fail by turns, in words that only logs have."""
    most, kept = connection.execute(
        "select current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int"
        " + coalesce(current_setting('reserved_connections', true)::int, 0)"
    ).fetchall()[0]
    if most - kept < needed:
        fewer = (most - kept - AT_REST) // OF_A_WORKER
        raise SettingsError(
            f"The Postgres that GLP1_DATABASE_URL names has max_connections = {most}, of which {kept} are kept for its"
            f" superuser; up to {needed} are needed here. Set max_connections to {needed + kept} or more"
            + (f", or GLP1_WORKERS to {fewer}." if fewer > 0 else ".")
        )


def _session(connection: Store) -> object:
    return connection.execute("select pg_backend_pid()").fetchone()
