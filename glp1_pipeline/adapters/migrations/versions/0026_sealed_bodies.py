"""Sealed bodies are stored as they are: what is encrypted has been compressed before, and cannot be compressed again"""

from alembic import op

revision = "0026"
down_revision = "0025"

SEALED = ("phi.events", "phi.write_bodies", "phi.refill_decisions")


def upgrade() -> None:
    for table in SEALED:
        op.execute(f"alter table {table} alter column body set storage external")


def downgrade() -> None:
    for table in SEALED:
        op.execute(f"alter table {table} alter column body set storage extended")
