"""Rollbacks as plans: which writes were taken back, and which run made and delivered a write"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "rollback_plan_writes",
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="Id of the plan, ours."),
        sa.Column("write_id", sa.BigInteger(), nullable=False, comment="Number of the write, ours."),
        sa.Column(
            "chunk", sa.Integer(), nullable=False, comment="Which part of the plan it is in; a part is one transaction."
        ),
        sa.Column(
            "undone_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was taken back, or found that it is to be left; empty while it is still to come.",
        ),
        sa.Column(
            "undone_by",
            sa.BigInteger(),
            nullable=True,
            comment="Number of the write that takes it back; empty where nothing of it could be.",
        ),
        sa.PrimaryKeyConstraint("plan_id", "write_id"),
        schema="ops",
        comment="One row per plan and write that it chose. All writes of a patient to a target are in one chunk, and one new write undoes them.",
    )
    op.create_index(
        "rollback_plan_writes_left",
        "rollback_plan_writes",
        ["plan_id", "chunk"],
        schema="ops",
        postgresql_where=sa.text("undone_at is null"),
    )
    op.create_index("rollback_plan_writes_undone_by", "rollback_plan_writes", ["undone_by"], schema="ops")
    op.create_index("rollback_plan_writes_write", "rollback_plan_writes", ["write_id"], schema="ops")
    op.create_table(
        "rollback_plans",
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="Id of the plan, ours."),
        sa.Column(
            "selection",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What was asked for: names, ids and days, never a value.",
        ),
        sa.Column("writes", sa.BigInteger(), server_default="0", nullable=False, comment="How many writes it chose."),
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
        sa.Column(
            "released_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a person said that it may be sent again.",
        ),
        sa.Column("released_by", sa.Text(), nullable=True, comment="Who said so, as an opaque name."),
        sa.Column("released_because", sa.Text(), nullable=True, comment="Why, in words without a value."),
        sa.PrimaryKeyConstraint("plan_id"),
        schema="ops",
        comment="One row per plan to take writes back, and its receipt: who approved it, why, what it did, in counts. state: planned, approved, applying, stopped or applied. released_at: since when what it took back may be sent again.",
    )
    op.create_table(
        "rollback_resources",
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="Id of the plan, ours."),
        sa.Column("target", sa.Text(), nullable=False, comment="Outside system that must hear of it."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("resource", sa.Text(), nullable=False, comment="Which resource, as Type and our id of it."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column("hash_before", sa.Text(), nullable=True, comment="Hash of the content that was taken back."),
        sa.Column(
            "hash_after", sa.Text(), nullable=True, comment="Hash of the content that it was given in place of that."
        ),
        sa.PrimaryKeyConstraint("plan_id", "target", "patient_id", "resource"),
        schema="ops",
        comment="One row per plan and resource of its writes, once its chunk is done: taken back (restored, entered_in_error) or why it was left. While ops.copies plans hash_before, it is not sent again.",
    )
    op.create_index("rollback_resources_patient", "rollback_resources", ["patient_id"], schema="ops")
    op.add_column(
        "deliveries",
        sa.Column(
            "run_id",
            sa.Text(),
            server_default=sa.text("nullif(current_setting('glp1.run_id', true), '')"),
            nullable=True,
            comment="Run of Dagster that made it; empty where none did.",
        ),
        schema="ops",
    )
    op.add_column(
        "writes",
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=True,
            comment="Hash of the contract files that it was computed with.",
        ),
        schema="ops",
    )
    op.add_column(
        "writes",
        sa.Column(
            "run_id",
            sa.Text(),
            server_default=sa.text("nullif(current_setting('glp1.run_id', true), '')"),
            nullable=True,
            comment="Run of Dagster that made it; empty where none did.",
        ),
        schema="ops",
    )


def downgrade() -> None:
    op.drop_column("writes", "run_id", schema="ops")
    op.drop_column("writes", "contract_version", schema="ops")
    op.drop_column("deliveries", "run_id", schema="ops")
    op.drop_index("rollback_resources_patient", table_name="rollback_resources", schema="ops")
    op.drop_table("rollback_resources", schema="ops")
    op.drop_table("rollback_plans", schema="ops")
    op.drop_index("rollback_plan_writes_write", table_name="rollback_plan_writes", schema="ops")
    op.drop_index("rollback_plan_writes_undone_by", table_name="rollback_plan_writes", schema="ops")
    op.drop_index(
        "rollback_plan_writes_left",
        table_name="rollback_plan_writes",
        schema="ops",
        postgresql_where=sa.text("undone_at is null"),
    )
    op.drop_table("rollback_plan_writes", schema="ops")
