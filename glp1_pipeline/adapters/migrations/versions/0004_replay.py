"""Replays as plans: what was chosen, who approved it, what it changed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "replay_plans",
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="Id of the plan, ours."),
        sa.Column(
            "selection",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What was asked for: names, ids and days, never a value.",
        ),
        sa.Column("chosen", sa.BigInteger(), server_default="0", nullable=False, comment="How many events it chose."),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column(
            "predicted",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="What the dry run said that it would change, by path and count, never a value.",
        ),
        sa.Column(
            "changed",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="What was another afterwards, by path and count, never a value.",
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, comment="When it was made."),
        sa.Column("actor", sa.Text(), nullable=True, comment="Who decided it, as an opaque name."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, as a word that can be counted."),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True, comment="When a person approved it."),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When its fate was sealed."),
        sa.Column("fingerprint_before", sa.Text(), nullable=True, comment="Fingerprint of the state when it began."),
        sa.Column("fingerprint_after", sa.Text(), nullable=True, comment="Fingerprint of the state when it ended."),
        sa.PrimaryKeyConstraint("plan_id"),
        schema="ops",
        comment="One row per plan to compute events again, and its receipt: who approved it, why, what it changed, in counts. state: planned, approved, applying, stopped or applied.",
    )
    op.create_table(
        "replay_plan_events",
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="Id of the plan, ours."),
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column(
            "chunk", sa.Integer(), nullable=False, comment="Which part of the plan it is in; a part is one transaction."
        ),
        sa.Column(
            "done_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was computed again; empty while it is still to come.",
        ),
        sa.PrimaryKeyConstraint("plan_id", "event_id"),
        schema="ops",
        comment="One row per plan and event that it chose. All events of a person are in one chunk.",
    )
    op.create_index("replay_plan_events_event", "replay_plan_events", ["event_id"], schema="ops")
    op.create_index(
        "replay_plan_events_left",
        "replay_plan_events",
        ["plan_id", "chunk"],
        schema="ops",
        postgresql_where=sa.text("done_at is null"),
    )


def downgrade() -> None:
    op.drop_index("replay_plan_events_event", table_name="replay_plan_events", schema="ops")
    op.drop_index(
        "replay_plan_events_left",
        table_name="replay_plan_events",
        schema="ops",
        postgresql_where=sa.text("done_at is null"),
    )
    op.drop_table("replay_plan_events", schema="ops")
    op.drop_table("replay_plans", schema="ops")
