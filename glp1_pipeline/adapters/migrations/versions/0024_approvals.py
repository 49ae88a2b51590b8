"""Everybody who approved a plan, and what a move of a treatment may be"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024"
down_revision = "0023"

PLANS = ("replay_plans", "rollback_plans")
MOVES = "medication_transitions"
BEFORE = (
    "One row per move of a treatment, made or refused, from 1 in the order in which it happened. outcome: made (reason: "
    "what made it), rejected (the rule it breaks) or held (why it cannot be used). Never a dose."
)
AFTER = (
    "One row per move of a treatment, made or refused, from 1 in the order in which it happened. outcome: made (reason: "
    "what made it), rejected (the rule it breaks), held (why it cannot be used) or overridden (the rule and the reason "
    "that a person gave). Never a dose."
)


def upgrade() -> None:
    for table in PLANS:
        words = "Everybody who approved it, oldest first: who, why and when."
        column = sa.Column("approvals", JSONB(), nullable=False, server_default="[]", comment=words)
        op.add_column(table, column, schema="ops")
        plans = sa.table(table, *map(sa.column, ("actor", "reason", "approved_at", "approvals")), schema="ops")
        who = sa.func.jsonb_build_object("actor", plans.c.actor, "reason", plans.c.reason, "at", plans.c.approved_at)
        told = plans.c.approved_at.is_not(None)
        op.execute(plans.update().where(told).values(approvals=sa.func.jsonb_build_array(who)))
    op.create_table_comment(MOVES, AFTER, existing_comment=BEFORE, schema="ops")


def downgrade() -> None:
    op.create_table_comment(MOVES, BEFORE, existing_comment=AFTER, schema="ops")
    for table in PLANS:
        op.drop_column(table, "approvals", schema="ops")
