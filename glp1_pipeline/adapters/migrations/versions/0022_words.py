"""What two columns hold, in words that are true of each of their tables"""

from alembic import op

revision = "0022"
down_revision = "0021"

WORDS = {
    "channel": (
        ("notifications", "refills"),
        "Over which channel, from the contract; its address is a secret of the installation.",
        "By whom a refill was asked for; of a message over which channel of the contract: its address is secret.",
    ),
    "due_at": (("tasks", "follow_ups"), "When the task is due.", "When the task or the check-in is due."),
}


def upgrade() -> None:
    for column, (tables, before, after) in WORDS.items():
        for table in tables:
            op.alter_column(table, column, schema="ops", comment=after, existing_comment=before)


def downgrade() -> None:
    for column, (tables, before, after) in WORDS.items():
        for table in tables:
            op.alter_column(table, column, schema="ops", comment=before, existing_comment=after)
