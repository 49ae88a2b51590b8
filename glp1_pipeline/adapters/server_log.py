"""Whether the log of a Postgres that is not ours may quote patients: by itself it quotes the row that it refuses.

Not here: the configuration of the embedded server, which quotes nothing (`postgres_cluster`).
"""

from __future__ import annotations

import psycopg
from psycopg import sql

QUIET = {"log_min_messages": ("log", "fatal", "panic"), "log_parameter_max_length": ("0",)}
"""Setting -> values under which neither a refused statement nor a slow one is logged with what was sent; the first is
what to set. In this list of levels `log` lies above `error`."""


def may_quote(connection: psycopg.Connection) -> list[str]:
    """What a superuser has to say to the server so that it quotes nothing of our sessions; empty where all is well."""
    role = sql.Identifier(connection.info.user).as_string(connection)
    return [
        f"alter role {role} set {name} = '{quiet[0]}'"
        for name, quiet in QUIET.items()
        if connection.execute("select current_setting(%s)", (name,)).fetchone() not in [(value,) for value in quiet]
    ]
