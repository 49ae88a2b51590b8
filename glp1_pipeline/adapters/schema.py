"""Brings a database's schema up to date by the migrations, once, whoever asks at the same moment.

Not here: what the tables are (`tables`).
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text

from . import store
from .tables import SCHEMAS, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
WHO_COUNTS = "glp1_metrics"


def engine(url: str) -> Engine:
    """SQLAlchemy over connections as all others are: it reads an address in a way of its own, and one that leads to
    several servers not at all."""

    def connection() -> store.Store:
        made = store.connect(url, "glp1 set-up")
        made.autocommit = False  # SQLAlchemy begins its transactions by itself
        return made

    return create_engine("postgresql+psycopg://", creator=connection, hide_parameters=True)


def alembic_config(connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(url: str) -> None:
    """Create the schemas and run every migration that the database lacks; a second call does nothing."""
    made = engine(url)
    try:
        with made.begin() as connection:
            # One at a time: two starts at once would both see an empty database.
            connection.execute(text("select pg_advisory_xact_lock(hashtext('glp1_pipeline.migrate'))"))
            for schema in SCHEMAS:
                connection.execute(text(f"create schema if not exists {schema}"))
            command.upgrade(alembic_config(connection), "head")
            _let_in_who_counts(connection)
    finally:
        made.dispose()


def _let_in_who_counts(connection) -> None:
    """The role that dbt has, where there is one: it may read `ops`, write `analytics`, and see nothing else.

    After each migration, since a new table is closed to everybody but its owner.
    """
    if not connection.execute(text("select from pg_roles where rolname = :role"), {"role": WHO_COUNTS}).rowcount:
        return
    for right in (
        "usage on schema ops", "select on all tables in schema ops", "usage, create on schema analytics"
    ):  # fmt: skip
        connection.execute(text(f"grant {right} to {WHO_COUNTS}"))


def drift(url: str) -> list:
    """What differs between the declared tables and the database: empty when the migrations tell the truth."""
    from alembic.autogenerate import compare_metadata

    made = engine(url)
    try:
        with made.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={
                    "include_schemas": True,
                    "include_name": lambda name, kind, _: kind != "schema" or name in ("phi", "ops"),
                    "version_table": "schema_version",
                    "version_table_schema": "ops",
                },
            )
            return compare_metadata(context, metadata)
    finally:
        made.dispose()
