"""Alerts: incidents, the messages about them, when each thing was looked at, and the sources that send"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "alert_looks",
        sa.Column("alert", sa.Text(), nullable=False, comment="Which alert, from the contract."),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True, comment="When it was measured last."),
        sa.Column(
            "blind_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when it cannot be measured; empty while it can.",
        ),
        sa.Column("ms", sa.Double(), nullable=False, comment="Milliseconds to the answer."),
        sa.PrimaryKeyConstraint("alert"),
        schema="ops",
        comment="One row per alert that was to be measured, and one for the sensor that does it: when last.",
    )
    op.create_table(
        "incidents",
        sa.Column(
            "incident_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the incident, ours.",
        ),
        sa.Column("alert", sa.Text(), nullable=False, comment="Which alert, from the contract."),
        sa.Column(
            "scope",
            sa.Text(),
            nullable=False,
            comment="For which target, feed, queue or reason; empty where there is one for all.",
        ),
        sa.Column(
            "severity", sa.Text(), nullable=False, comment="red, amber or info; of an incident critical or warning."
        ),
        sa.Column("owner", sa.Text(), nullable=False, comment="Whose it is: a role of the contract."),
        sa.Column("called", sa.Text(), nullable=False, comment="Who was on call when it was detected, by role."),
        sa.Column("link", sa.Text(), nullable=False, comment="Where to look in the UI."),
        sa.Column("affected", sa.BigInteger(), nullable=False, comment="How many are affected, at the last look."),
        sa.Column(
            "most_affected", sa.BigInteger(), nullable=False, comment="How many were affected at the worst look."
        ),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it began: a task by our clock, an incident by the age of what is affected.",
        ),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False, comment="When a look found it."),
        sa.Column(
            "calm_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="First of the looks in a row that found it well.",
        ),
        sa.Column(
            "acknowledged_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When somebody said that they are at it.",
        ),
        sa.Column(
            "acknowledged_by",
            sa.Text(),
            nullable=True,
            comment="Who said so, as they named themselves to us; no patient's name.",
        ),
        sa.Column(
            "escalated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When others were called because nobody had answered.",
        ),
        sa.Column(
            "resolved_at", sa.DateTime(timezone=True), nullable=True, comment="When it was well again, for good."
        ),
        sa.PrimaryKeyConstraint("incident_id"),
        schema="ops",
        comment="One row per time that an alert fired for a scope, from beginning to end; at most one of them open.",
    )
    op.create_index("incidents_detected", "incidents", ["detected_at"], unique=False, schema="ops")
    op.create_index(
        "incidents_open",
        "incidents",
        ["alert", "scope"],
        unique=True,
        schema="ops",
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "notifications",
        sa.Column(
            "notification_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the message: a receiver may know a second copy by it.",
        ),
        sa.Column("incident_id", sa.BigInteger(), nullable=True, comment="Number of the incident, ours."),
        sa.Column("news", sa.Text(), nullable=False, comment="What the message says of the incident."),
        sa.Column(
            "channel",
            sa.Text(),
            nullable=False,
            comment="Over which channel, from the contract; its address is a secret of the installation.",
        ),
        sa.Column("title", sa.Text(), nullable=False, comment="First line of the message."),
        sa.Column("message", sa.Text(), nullable=False, comment="The message: names, counts, ages and links."),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False, comment="Attempts so far."),
        sa.Column("last_class", sa.Text(), nullable=True, comment="What came of the last attempt."),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False, comment="When the message was written."),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False, comment="When it is due next."),
        sa.Column("token", sa.Uuid(), nullable=True, comment="Who has it now."),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Until when a deliverer has it; after that another may take it.",
        ),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When its fate was sealed."),
        sa.PrimaryKeyConstraint("notification_id"),
        schema="ops",
        comment="One row per message to a channel, written before it is sent: one per incident, news and channel. news: opened, escalated, resolved or test. status: waiting, sent or given_up.",
    )
    op.create_index(
        "notifications_due",
        "notifications",
        ["next_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "notifications_once", "notifications", ["incident_id", "news", "channel"], unique=True, schema="ops"
    )
    op.create_table(
        "feeds",
        sa.Column("source", sa.Text(), nullable=False, comment="Who sent it."),
        sa.Column(
            "feed", sa.Text(), nullable=False, comment="Our name of the source: who sends, and which of theirs it is."
        ),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="When it was heard of first."),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="When the last event came."),
        sa.PrimaryKeyConstraint("source"),
        sa.UniqueConstraint("feed"),
        schema="phi",
        comment="One row per source that ever sent an event, under a name that may be told: what a silence is measured by.",
    )
    op.alter_column(
        "lanes",
        "next_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When it is due next.",
        existing_comment="When the lane is due next.",
        existing_nullable=False,
        schema="ops",
    )
    op.alter_column(
        "lanes",
        "token",
        existing_type=sa.UUID(),
        comment="Who has it now.",
        existing_comment="Who has the lane now.",
        existing_nullable=True,
        schema="ops",
    )
    op.alter_column(
        "tasks",
        "opened_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When it began: a task by our clock, an incident by the age of what is affected.",
        existing_comment="When the task opened.",
        existing_nullable=False,
        schema="ops",
    )
    op.create_index(
        "events_received_at",
        "events",
        ["received_at"],
        unique=False,
        schema="phi",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": "32"},
    )
    op.create_index(
        "events_troubled",
        "events",
        ["status", "received_at"],
        unique=False,
        schema="phi",
        postgresql_where=sa.text("status in ('rejected', 'dead')"),
    )
    op.alter_column(
        "people",
        "first_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When it was heard of first.",
        existing_comment="When the record was heard of first.",
        existing_nullable=False,
        schema="phi",
    )
    op.alter_column(
        "risk_flags",
        "severity",
        existing_type=sa.TEXT(),
        comment="red, amber or info; of an incident critical or warning.",
        existing_comment="red, amber or info.",
        existing_nullable=False,
        schema="phi",
    )


def downgrade() -> None:
    op.alter_column(
        "risk_flags",
        "severity",
        existing_type=sa.TEXT(),
        comment="red, amber or info.",
        existing_comment="red, amber or info; of an incident critical or warning.",
        existing_nullable=False,
        schema="phi",
    )
    op.alter_column(
        "people",
        "first_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When the record was heard of first.",
        existing_comment="When it was heard of first.",
        existing_nullable=False,
        schema="phi",
    )
    op.drop_index(
        "events_troubled", table_name="events", schema="phi", postgresql_where=sa.text("status in ('rejected', 'dead')")
    )
    op.drop_index(
        "events_received_at",
        table_name="events",
        schema="phi",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": "32"},
    )
    op.alter_column(
        "tasks",
        "opened_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When the task opened.",
        existing_comment="When it began: a task by our clock, an incident by the age of what is affected.",
        existing_nullable=False,
        schema="ops",
    )
    op.alter_column(
        "lanes",
        "token",
        existing_type=sa.UUID(),
        comment="Who has the lane now.",
        existing_comment="Who has it now.",
        existing_nullable=True,
        schema="ops",
    )
    op.alter_column(
        "lanes",
        "next_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="When the lane is due next.",
        existing_comment="When it is due next.",
        existing_nullable=False,
        schema="ops",
    )
    op.drop_table("feeds", schema="phi")
    op.drop_index("notifications_once", table_name="notifications", schema="ops")
    op.drop_index(
        "notifications_due", table_name="notifications", schema="ops", postgresql_where=sa.text("status = 'waiting'")
    )
    op.drop_table("notifications", schema="ops")
    op.drop_index(
        "incidents_open", table_name="incidents", schema="ops", postgresql_where=sa.text("resolved_at is null")
    )
    op.drop_index("incidents_detected", table_name="incidents", schema="ops")
    op.drop_table("incidents", schema="ops")
    op.drop_table("alert_looks", schema="ops")
