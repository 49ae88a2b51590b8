"""One person, one chart: records and patients, matches, links, conflicts, and how far other systems were read"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from glp1_pipeline.adapters import unmapped

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_index("events_patient", table_name="events", schema="phi")
    op.drop_index("identifiers_patient", table_name="identifiers", schema="phi")
    op.drop_index("patient_values_patient", table_name="patient_values", schema="phi")
    for table in ("events", "identifiers", "patient_values"):
        op.alter_column(table, "patient_id", new_column_name="record_id", schema="phi")
    op.create_table(
        "field_conflicts",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("field", sa.Text(), nullable=False, comment="Which field, from the contract."),
        sa.Column("source", sa.Text(), nullable=False, comment="Who sent it."),
        sa.Column("rule", sa.Text(), nullable=False, comment="Conflict rule of the field, from the contract."),
        sa.Column("owner", sa.Text(), nullable=False, comment="Whose it is: a role of the contract."),
        sa.Column("stage", sa.Text(), nullable=False, comment="Where in the program the patient is."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the task closed, by a person or by itself.",
        ),
        sa.Column("seen_on", sa.Date(), nullable=False, comment="Day on which it was seen last, UTC."),
        sa.PrimaryKeyConstraint("patient_id", "field", "source"),
        schema="ops",
        comment="One row per patient, field and source that wrote against the field's owner: which rule settled it and how. Open while closed_at is empty.",
    )
    op.create_index(
        "field_conflicts_open",
        "field_conflicts",
        ["field"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("closed_at is null"),
    )
    op.create_index("field_conflicts_seen", "field_conflicts", ["seen_on"], unique=False, schema="ops")
    op.create_table(
        "patient_links",
        sa.Column(
            "record_id",
            sa.Uuid(),
            nullable=False,
            comment="Our opaque id of a person as one system's account knows them.",
        ),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.PrimaryKeyConstraint("record_id"),
        schema="ops",
        comment="One row per record that was ever part of another's patient, and whose it is now: its own id again after an un-merge.",
    )
    op.create_index("patient_links_patient", "patient_links", ["patient_id"], unique=False, schema="ops")
    op.create_table(
        "patient_matches",
        sa.Column("record_a", sa.Uuid(), nullable=False, comment="One record of the pair."),
        sa.Column("record_b", sa.Uuid(), nullable=False, comment="The other record of the pair."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column("basis", sa.Text(), nullable=False, comment="What the outcome rests on."),
        sa.Column("weight", sa.Double(), nullable=False, comment="Evidence for one person against two, in bits."),
        sa.Column(
            "agreements", postgresql.ARRAY(sa.Text()), nullable=False, comment="Names of what agrees, never a value."
        ),
        sa.Column(
            "guards",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Names of what kept the pair from being joined.",
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.PrimaryKeyConstraint("record_a", "record_b"),
        schema="ops",
        comment="One row per pair of records that look like one person, a before b. outcome: same (joined by itself) or review (a person must decide). basis: model or exact.",
    )
    op.create_index("patient_matches_b", "patient_matches", ["record_b"], unique=False, schema="ops")
    op.create_index(
        "patient_matches_review",
        "patient_matches",
        ["since"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("outcome = 'review'"),
    )
    op.create_table(
        "poll_cursors",
        sa.Column("system", sa.Text(), nullable=False, comment="Who gave the identifier."),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of write, from the contract."),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True, comment="Since when it stands so."),
        sa.Column(
            "seen",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Versions seen in the stretch that is read again, and the place of a sweep.",
        ),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True, comment="When it was asked last."),
        sa.Column(
            "changes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="How many changes were noticed since ever.",
        ),
        sa.PrimaryKeyConstraint("system", "kind"),
        schema="ops",
        comment="One row per system and kind of resource that is asked for changes: how far it was read, and what was seen in the stretch that is read again.",
    )
    op.create_table(
        "match_decisions",
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="What was decided."),
        sa.Column("record_a", sa.Uuid(), nullable=False, comment="One record of the pair."),
        sa.Column("record_b", sa.Uuid(), nullable=False, comment="The other record of the pair."),
        sa.Column("actor", sa.Text(), nullable=False, comment="Who decided it, as an opaque name."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, as a word that can be counted."),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="When it was decided."),
        sa.PrimaryKeyConstraint("event_id"),
        schema="phi",
        comment="One row per decision about two records, as its event says. action: merge (a survives), unmerge or not_a_match. The newest of a pair holds.",
    )
    op.create_index("match_decisions_a", "match_decisions", ["record_a"], unique=False, schema="phi")
    op.create_index("match_decisions_b", "match_decisions", ["record_b"], unique=False, schema="phi")
    op.create_table(
        "people",
        sa.Column(
            "record_id",
            sa.Uuid(),
            nullable=False,
            comment="Our opaque id of a person as one system's account knows them.",
        ),
        sa.Column(
            "features",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Names, dates and addresses in the spelling that is compared.",
        ),
        sa.Column(
            "first_at", sa.DateTime(timezone=True), nullable=False, comment="When the record was heard of first."
        ),
        sa.PrimaryKeyConstraint("record_id"),
        schema="phi",
        comment="One row per record that says who it is: what matching compares, in one spelling.",
    )
    op.create_table(
        "people_keys",
        sa.Column("key", sa.BigInteger(), nullable=False, comment="Hash of what a likely match shares."),
        sa.Column(
            "record_id",
            sa.Uuid(),
            nullable=False,
            comment="Our opaque id of a person as one system's account knows them.",
        ),
        sa.PrimaryKeyConstraint("key", "record_id"),
        schema="phi",
        comment="One row per record and thing that a likely match shares with it, hashed: candidates are found by it.",
    )
    op.create_index("people_keys_record", "people_keys", ["record_id"], unique=False, schema="phi")
    op.alter_column(
        "events",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our opaque id of a person as one system's account knows them.",
        existing_comment="Our own, opaque id of the person.",
        existing_nullable=True,
        schema="phi",
    )
    op.create_index(
        "events_record",
        "events",
        ["record_id"],
        unique=False,
        schema="phi",
        postgresql_where=sa.text("record_id is not null"),
    )
    op.alter_column(
        "identifiers",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our opaque id of a person as one system's account knows them.",
        existing_comment="Our own, opaque id of the person.",
        existing_nullable=False,
        schema="phi",
    )
    op.create_index("identifiers_record", "identifiers", ["record_id"], unique=False, schema="phi")
    op.create_table_comment(
        "identifiers",
        "The crosswalk: one row per identifier that a system gave a record, and the event that taught us.",
        existing_comment="One row per identifier that a system gave a patient, and the event that taught us.",
        schema="phi",
    )
    op.add_column(
        "patient_values",
        sa.Column("source", sa.Text(), server_default="intake", nullable=False, comment="Who sent it."),
        schema="phi",
    )
    op.alter_column(
        "patient_values",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our opaque id of a person as one system's account knows them.",
        existing_comment="Our own, opaque id of the person.",
        existing_nullable=False,
        schema="phi",
    )
    op.create_index("patient_values_record", "patient_values", ["record_id"], unique=False, schema="phi")
    op.create_table_comment(
        "patient_values",
        "One row per event that says something of a person: all its values in one document, with provenance. source: intake, crm or ehr. voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
        existing_comment="One row per event that says something of a patient: all its values in one document, with provenance. voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
        schema="phi",
    )
    op.add_column(
        "charts",
        sa.Column(
            "verified",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="By field the index of the event by which a provider found it, beside what the patient says.",
        ),
        schema="phi",
    )
    op.execute("drop view phi.chart_values")
    # What several said together is in no one event: it lies in the chart itself.
    op.execute(
        "create view phi.chart_values as select c.patient_id, f.key as field, case jsonb_typeof(f.value) when 'number'"
        " then v.doc -> f.key else f.value -> 'together' end as value, v.event_id, v.source, v.voice, v.authored_at,"
        " f.is_finding from phi.charts c cross join lateral (select key, value, false as is_finding"
        " from jsonb_each(c.doc) union all select key, value, true from jsonb_each(c.verified)) f"
        " join phi.patient_values v on v.event_id = c.events[case jsonb_typeof(f.value) when 'number' then"
        " f.value::int else (f.value -> 'last')::int end + 1]"
    )
    op.execute(
        "comment on view phi.chart_values is 'One row per patient, field and voice: the value that holds and the event"
        " it came from last; is_finding tells a provider''s finding from the value beside it.'"
    )
    op.execute(unmapped.INDEX)
    op.execute(unmapped.VIEW)
    op.execute(unmapped.COMMENT)
    op.execute(
        # The one who was heard of later waits for the answer: so the same pair makes the same task in any order.
        "create view ops.patient_match_reviews as select case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
        " then m.record_a else m.record_b end as later, case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
        " then m.record_b else m.record_a end as earlier, m.weight, m.agreements, m.guards, m.since"
        " from ops.patient_matches m join phi.people a on a.record_id = m.record_a"
        " join phi.people b on b.record_id = m.record_b left join ops.patient_links x on x.record_id = m.record_a"
        " left join ops.patient_links y on y.record_id = m.record_b"
        " where coalesce(x.patient_id, m.record_a) <> coalesce(y.patient_id, m.record_b)"
        " and not exists (select from phi.match_decisions d where (d.record_a = m.record_a and d.record_b = m.record_b)"
        " or (d.record_a = m.record_b and d.record_b = m.record_a))"
    )


def downgrade() -> None:
    op.execute("drop view ops.patient_match_reviews")
    for statement in unmapped.DROP:
        op.execute(statement)
    op.execute("drop view phi.chart_values")
    op.execute(
        "create view phi.chart_values as select c.patient_id, f.key as field, v.doc -> f.key as value, v.event_id,"
        " v.voice, v.authored_at from phi.charts c cross join lateral jsonb_each_text(c.doc) f"
        " join phi.patient_values v on v.event_id = c.events[f.value::int + 1]"
    )
    op.drop_column("charts", "verified", schema="phi")
    op.create_table_comment(
        "patient_values",
        "One row per event that says something of a patient: all its values in one document, with provenance. voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
        existing_comment="One row per event that says something of a person: all its values in one document, with provenance. source: intake, crm or ehr. voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
        schema="phi",
    )
    op.drop_index("patient_values_record", table_name="patient_values", schema="phi")
    op.alter_column(
        "patient_values",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our own, opaque id of the person.",
        existing_comment="Our opaque id of a person as one system's account knows them.",
        existing_nullable=False,
        schema="phi",
    )
    op.drop_column("patient_values", "source", schema="phi")
    op.create_table_comment(
        "identifiers",
        "One row per identifier that a system gave a patient, and the event that taught us.",
        existing_comment="The crosswalk: one row per identifier that a system gave a record, and the event that taught us.",
        schema="phi",
    )
    op.drop_index("identifiers_record", table_name="identifiers", schema="phi")
    op.alter_column(
        "identifiers",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our own, opaque id of the person.",
        existing_comment="Our opaque id of a person as one system's account knows them.",
        existing_nullable=False,
        schema="phi",
    )
    op.drop_index("events_record", table_name="events", schema="phi", postgresql_where=sa.text("record_id is not null"))
    op.alter_column(
        "events",
        "record_id",
        existing_type=sa.UUID(),
        comment="Our own, opaque id of the person.",
        existing_comment="Our opaque id of a person as one system's account knows them.",
        existing_nullable=True,
        schema="phi",
    )
    op.drop_index("people_keys_record", table_name="people_keys", schema="phi")
    op.drop_table("people_keys", schema="phi")
    op.drop_table("people", schema="phi")
    op.drop_index("match_decisions_b", table_name="match_decisions", schema="phi")
    op.drop_index("match_decisions_a", table_name="match_decisions", schema="phi")
    op.drop_table("match_decisions", schema="phi")
    op.drop_table("poll_cursors", schema="ops")
    op.drop_index(
        "patient_matches_review",
        table_name="patient_matches",
        schema="ops",
        postgresql_where=sa.text("outcome = 'review'"),
    )
    op.drop_index("patient_matches_b", table_name="patient_matches", schema="ops")
    op.drop_table("patient_matches", schema="ops")
    op.drop_index("patient_links_patient", table_name="patient_links", schema="ops")
    op.drop_table("patient_links", schema="ops")
    op.drop_index("field_conflicts_seen", table_name="field_conflicts", schema="ops")
    op.drop_index(
        "field_conflicts_open",
        table_name="field_conflicts",
        schema="ops",
        postgresql_where=sa.text("closed_at is null"),
    )
    op.drop_table("field_conflicts", schema="ops")
    for table in ("events", "identifiers", "patient_values"):
        op.alter_column(table, "record_id", new_column_name="patient_id", schema="phi")
    op.create_index(
        "events_patient", "events", ["patient_id"], schema="phi", postgresql_where=sa.text("patient_id is not null")
    )
    op.create_index("identifiers_patient", "identifiers", ["patient_id"], schema="phi")
    op.create_index("patient_values_patient", "patient_values", ["patient_id"], schema="phi")
