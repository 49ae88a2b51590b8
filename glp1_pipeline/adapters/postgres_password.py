"""A new password for a role of the embedded Postgres, while it runs.

The new one lies beside the old one in a file before the server knows it, and takes its place right after: killed at any
point, the next start (`postgres.set_up`) or the same command again finishes it. Not here: passwords of a server that is
not ours (docs/decisions/0026), and making roles (`postgres`).
"""

import psycopg
from psycopg import sql

from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.postgres_place import PostgresError
from glp1_pipeline.adapters.secrets import Secrets
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import embedded_url

AT_START_ROLES = ("dagster",)
"""Dagster's processes are told their password when they start; the others read theirs anew for each connection."""


def change_password(settings: Settings, role: str, *, ends_sessions: bool = False) -> int | None:
    """A new random password for `role`: at once; None where it is set at the next start. Else how many sessions were
    ended: with `ends_sessions` all that were opened with the old one, so that a thief of it is out."""
    if settings.database_url:
        raise PostgresError(
            "This database is not the embedded one. Change the password where it is kept and in the password file that "
            "GLP1_DATABASE_URL names (passfile=...): processes read it at each new connection."
        )
    secrets = settings.secrets
    with secrets.alone():
        secrets.draft(f"postgres_{role}")
        if role in AT_START_ROLES:
            return None
        with _as_setup(settings) as connection:
            set_password(connection, secrets, role)
            if not ends_sessions:
                return 0
            return connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()",
                [role],
            ).rowcount


def set_password(connection: psycopg.Connection, secrets: Secrets, role: str) -> None:
    """Tell the server the drafted password, then adopt it. Who connects between the two is refused once."""
    new = secrets.draft(f"postgres_{role}")
    connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed(connection, role, new)))
    )
    secrets.adopt(f"postgres_{role}")


def hashed(connection: psycopg.Connection, role: str, password: str) -> str:
    """As the server keeps it: made here, so that it never sees the password in a statement."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _as_setup(settings: Settings) -> psycopg.Connection:
    port, name = settings.state.get("postgres_port"), f"postgres_{SETUP_ROLE}"
    if port is None:
        raise PostgresError("There is no embedded Postgres yet: start it with `glp1 up`.")

    def connect() -> psycopg.Connection:
        url = embedded_url("postgresql", SETUP_ROLE, settings.secrets.get(name), int(port), "postgres")
        return psycopg.connect(url, autocommit=True, connect_timeout=10)

    try:
        return connect()
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise PostgresError("The embedded Postgres does not answer: start it with `glp1 up`.") from None
    if not settings.secrets.has_draft(name):
        raise PostgresError(f"The server refuses the kept password of {SETUP_ROLE}: restore the folder secrets.")
    settings.secrets.adopt(name)  # a change of it was cut short
    return connect()
