"""A drop that is counted and not yet put away is known again: a run that died between the two counts it once"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    comment = (
        "The file that was counted last and is not put away yet: place on the disk, size, time of its last write; empty"
        " once it is."
    )
    op.add_column("drops", sa.Column("counted_file", sa.Text(), comment=comment), schema="ops")


def downgrade() -> None:
    op.drop_column("drops", "counted_file", schema="ops")
