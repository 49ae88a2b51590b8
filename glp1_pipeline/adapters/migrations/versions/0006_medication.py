"""Treatments: what events say of them, the courses that they add up to, and their moves"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "patient_values",
        sa.Column(
            "medication",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What the event says of a treatment: product, dose, time, or why it cannot be used.",
        ),
        schema="phi",
    )
    op.create_table(
        "medication_courses",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "family",
            sa.Text(),
            nullable=False,
            comment="Which products: those that share one dose ladder; `unknown` where no product could be told.",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True, comment="Since when it stands so."),
        sa.Column("product", sa.Text(), nullable=True, comment="Which product, from the contract."),
        sa.Column(
            "dose_mg",
            sa.Double(),
            nullable=True,
            comment="Milligrams per dose of the order in force; compared within its family alone.",
        ),
        sa.Column(
            "dose_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when the patient has had this dose: first handed over, until then ordered.",
        ),
        sa.Column(
            "last_dose_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the patient took the last dose, as far as they told.",
        ),
        sa.Column(
            "runs_out_at", sa.DateTime(timezone=True), nullable=True, comment="When what was handed over runs out."
        ),
        sa.Column(
            "told",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="By kind what was said last: when, by which event, of which product and dose.",
        ),
        sa.Column(
            "findings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What a person should see: names, who said what it rests on, and when; never a dose.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("patient_id", "family"),
        schema="phi",
        comment="One row per patient and family of products with one ladder: where the treatment stands, what was last said of it by whom, and what a person should see. Computed from the events alone.",
    )
    op.create_table(
        "medication_transitions",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "family",
            sa.Text(),
            nullable=False,
            comment="Which products: those that share one dose ladder; `unknown` where no product could be told.",
        ),
        sa.Column(
            "move",
            sa.Integer(),
            nullable=False,
            comment="Number of the move, per patient and family of products, from 1.",
        ),
        sa.Column("from_state", sa.Text(), nullable=False, comment="State of the treatment before it."),
        sa.Column("to_state", sa.Text(), nullable=False, comment="State of the treatment after it."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, as a word that can be counted."),
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column(
            "moved_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the treatment moved, as the source says.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("patient_id", "family", "move"),
        schema="ops",
        comment="One row per move of a treatment, made or refused, from 1 in the order in which it happened. outcome: made (reason: what made it), rejected (the rule it breaks) or held (why it cannot be used). Never a dose.",
    )
    op.create_index(
        "medication_transitions_refused",
        "medication_transitions",
        ["reason"],
        schema="ops",
        postgresql_where=sa.text("outcome <> 'made'"),
    )


def downgrade() -> None:
    op.drop_table("medication_transitions", schema="ops")
    op.drop_table("medication_courses", schema="phi")
    op.drop_column("patient_values", "medication", schema="phi")
