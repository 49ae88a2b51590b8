"""The crosswalk's other identifiers; edits against us, at hand; merges of the EHR against a person's decision"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from glp1_pipeline.adapters import crosswalk, match_reviews

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "told_identifiers",
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column("system", sa.Text(), nullable=False, comment="Who gave the identifier."),
        sa.Column("value", sa.Text(), nullable=False, comment="The identifier itself."),
        sa.Column(
            "record_id",
            sa.Uuid(),
            nullable=False,
            comment="Our opaque id of a person as one system's account knows them.",
        ),
        sa.PrimaryKeyConstraint("event_id", "system", "value"),
        schema="phi",
        comment="One row per event and identifier that it tells of its person beside the one it goes by: a member id, a record number. Several people may have the same. The view phi.crosswalk shows these and the others.",
    )
    op.create_index("told_identifiers_record", "told_identifiers", ["record_id"], unique=False, schema="phi")
    op.create_index("told_identifiers_value", "told_identifiers", ["value"], unique=False, schema="phi")
    op.add_column(
        "copies",
        sa.Column(
            "insisted",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="What was told once over what stood there, since it was settled so: field or link, and event.",
        ),
        schema="ops",
    )
    op.create_index(
        "copies_in_conflict",
        "copies",
        ["target", "patient_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("conflicts <> '{}'"),
    )
    op.create_table_comment(
        "match_decisions",
        "One row per decision about two records, as its event says. action: merge (a survives), unmerge, not_a_match, or asked (another system made them one after that). The newest of a pair holds.",
        existing_comment="One row per decision about two records, as its event says. action: merge (a survives), unmerge or not_a_match. The newest of a pair holds.",
        schema="phi",
    )
    op.execute(match_reviews.DROP)
    op.execute(match_reviews.VIEW)
    op.execute(crosswalk.VIEW)
    op.execute(crosswalk.COMMENT)


def downgrade() -> None:
    op.execute(crosswalk.DROP)
    op.execute(match_reviews.DROP)
    op.execute(match_reviews.BEFORE)
    op.create_table_comment(
        "match_decisions",
        "One row per decision about two records, as its event says. action: merge (a survives), unmerge or not_a_match. The newest of a pair holds.",
        existing_comment="One row per decision about two records, as its event says. action: merge (a survives), unmerge, not_a_match, or asked (another system made them one after that). The newest of a pair holds.",
        schema="phi",
    )
    op.drop_column("copies", "insisted", schema="ops")
    op.drop_index("copies_in_conflict", table_name="copies", schema="ops")
    op.drop_table("told_identifiers", schema="phi")
