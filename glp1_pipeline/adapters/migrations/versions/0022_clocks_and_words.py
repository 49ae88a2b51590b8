"""When a clock was set, decisions by when they were made, and what two columns hold in words true of each table"""

from alembic import op

revision = "0022"
down_revision = "0021"

SET_AT = "When the moment was worked out; it may lie in the past already."
WORDS = {
    "channel": (
        ("notifications", "refills"),
        "Over which channel, from the contract; its address is a secret of the installation.",
        "By whom a refill was asked for; of a message by which channel of the contract; its address is secret.",
    ),
    "due_at": (("tasks", "follow_ups"), "When the task is due.", "When the task or the check-in is due."),
}


def upgrade() -> None:
    # A database made by some copies of 0010 has the column and the index already.
    op.execute("alter table ops.clocks add column if not exists set_at timestamptz not null default now()")
    op.execute("alter table ops.clocks alter set_at drop default")
    op.execute(f"comment on column ops.clocks.set_at is '{SET_AT}'")
    op.execute(
        "create index if not exists refill_decisions_made on phi.refill_decisions (made_at, outcome, decided_by)"
    )
    for column, (tables, before, after) in WORDS.items():
        for table in tables:
            op.alter_column(table, column, schema="ops", comment=after, existing_comment=before)


def downgrade() -> None:
    op.execute("drop index phi.refill_decisions_made")
    op.execute("alter table ops.clocks drop column set_at")
    for column, (tables, before, after) in WORDS.items():
        for table in tables:
            op.alter_column(table, column, schema="ops", comment=before, existing_comment=after)
