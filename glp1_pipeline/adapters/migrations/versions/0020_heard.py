"""What others changed last in a resource of ours, so that our earlier word, put back by them, is not taken for ours"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0015"


def upgrade() -> None:
    op.add_column(
        "copies",
        sa.Column(
            "heard",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="By resource that someone changed in the target since our last delivery: event and version of it.",
        ),
        schema="ops",
    )


def downgrade() -> None:
    op.drop_column("copies", "heard", schema="ops")
