"""Whether a document holds what no code set knows is asked in a way that leaps over its letters: each new one is asked"""

from alembic import op

from glp1_pipeline.adapters import unmapped

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    for statement in (*unmapped.DROP, unmapped.INDEX, unmapped.VIEW, unmapped.COMMENT):
        op.execute(statement)


def downgrade() -> None:
    pass  # whoever reads the view gets the same
