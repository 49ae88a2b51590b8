"""What the metrics are counted from: when each patient was first heard of"""

from alembic import op

from glp1_pipeline.adapters import patient_starts

revision = "0015"
down_revision = "0010"


def upgrade() -> None:
    op.execute(patient_starts.VIEW)
    op.execute(patient_starts.COMMENT)


def downgrade() -> None:
    op.execute(patient_starts.DROP)
