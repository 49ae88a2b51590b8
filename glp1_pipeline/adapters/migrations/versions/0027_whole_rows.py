"""Rows of up to half a page stay whole: parting or compressing them costs more time than it saves room"""

from alembic import op

revision = "0027"
down_revision = "0026"

TABLES = ("phi.patient_values", "phi.charts", "phi.write_bodies", "ops.copies")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table {table} set (toast_tuple_target = 4080)")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table {table} reset (toast_tuple_target)")
