"""Alembic's entry: runs the migrations on the connection that `adapters.schema` hands over."""

from alembic import context

from glp1_pipeline.adapters.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_schemas=True,
    include_name=lambda name, kind, _: kind != "schema" or name in ("phi", "ops"),
    version_table="schema_version",
    version_table_schema="ops",
)
with context.begin_transaction():
    context.run_migrations()
