"""What two columns of treatments and check-ins hold, as they are counted now"""

from alembic import op

revision = "0023"
down_revision = "0022"

WORDS = (
    (
        "ops",
        "follow_ups",
        "began_at",
        "When the supply was handed over that it follows.",
        "When the supply was handed over that it follows; of none that we heard of, when it was ordered.",
    ),
    (
        "phi",
        "medication_courses",
        "dose_since",
        "Since when the patient has had this dose: first handed over, until then ordered.",
        "Since when the patient has had this dose, counted anew with a restart and without pauses.",
    ),
)


def upgrade() -> None:
    for schema, table, column, before, after in WORDS:
        op.alter_column(table, column, schema=schema, comment=after, existing_comment=before)


def downgrade() -> None:
    for schema, table, column, before, after in WORDS:
        op.alter_column(table, column, schema=schema, comment=before, existing_comment=after)
