"""Brings a database's schema up to date by the migrations, once, whoever asks at the same moment.

Not here: what the tables are (`tables`).
"""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from . import store
from .tables import SCHEMAS, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
WHO_COUNTS = "glp1_metrics"
VERSIONS = {"version_table": "schema_version", "version_table_schema": "ops"}


class SchemaOfLaterCode(RuntimeError):
    """A later version of this code was at work on this database; the text says what to do."""


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


def migrate(url: str, say: Callable[[str], None] = lambda _: None) -> None:
    """Create the schemas and run every migration that the database lacks, all or none; a second call does nothing.
    `say` hears of it before. SchemaOfLaterCode where it has one that we do not know; StoreGone."""
    made = engine(url)
    try:
        with made.begin() as connection:
            # One at a time: two starts at once would both see an empty database.
            connection.execute(text("select pg_advisory_xact_lock(hashtext('glp1_pipeline.migrate'))"))
            for schema in SCHEMAS:
                connection.execute(text(f"create schema if not exists {schema}"))
            config = alembic_config(connection)
            script = ScriptDirectory.from_config(config)
            there, head = _there(connection, script), script.get_current_head()
            if there not in (None, head):
                say(
                    f"Bringing the database from schema {there} to {head} …  A large table may be written anew: minutes"
                    " for a million events. Stopped halfway it is as it was, and the next start does it."
                )
            command.upgrade(config, "head")
            _let_in_who_counts(connection)
    except DBAPIError as error:
        if lack := store.lack_told_by(error.orig):
            raise lack from None
        raise
    finally:
        made.dispose()


def _there(connection, script: ScriptDirectory) -> str | None:
    """Which migration the database came to; None where it is new."""
    there = MigrationContext.configure(connection, opts=VERSIONS).get_current_revision()
    if there is not None and there not in {one.revision for one in script.walk_revisions()}:
        raise SchemaOfLaterCode(
            f"a later version of this code brought the database to schema {there}, and this one knows them up to"
            f" {script.get_current_head()}: start that version or a later one; nothing was changed. No way leads back"
            " but a backup that was made before, restored by the version that made it"
        )
    return there


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
                    **VERSIONS,
                },
            )
            return compare_metadata(context, metadata)
    finally:
        made.dispose()
