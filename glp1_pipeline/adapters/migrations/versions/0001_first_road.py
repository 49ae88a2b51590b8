"""The first road: ledger, values, chart, gate, queue, outbox"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "breakers",
        sa.Column("target", sa.Text(), nullable=False, comment="Outside system that must hear of it."),
        sa.Column("state", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="Failures in a row."),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True, comment="Until when nothing is sent."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, as a word that can be counted."),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the breaker last moved."),
        sa.PrimaryKeyConstraint("target"),
        schema="ops",
        comment="One row per target: closed, or open until an instant, for all processes alike.",
    )
    op.create_table(
        "copies",
        sa.Column("target", sa.Text(), nullable=False, comment="Outside system that must hear of it."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "n",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Number of the change, per patient and target, from 1.",
        ),
        sa.Column(
            "planned",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Hash of each resource as last decided.",
        ),
        sa.Column(
            "remote",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Id and version that the target gave each resource.",
        ),
        sa.Column(
            "conflicts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="By resource that someone changed in the target: since, reason, decision (theirs, ours) if any.",
        ),
        sa.PrimaryKeyConstraint("target", "patient_id"),
        schema="ops",
        comment="One row per target and patient: hash of each resource as last decided (planned), and the id and version that the target gave it (remote).",
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "delivery_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the attempt, ours.",
        ),
        sa.Column("write_id", sa.BigInteger(), nullable=False, comment="Number of the write, ours."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Which attempt of this write it was, from 1."),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="When the attempt began."),
        sa.Column("ms", sa.Double(), nullable=False, comment="Milliseconds to the answer."),
        sa.Column(
            "http_status", sa.Integer(), nullable=True, comment="What the server answered; empty if nothing came back."
        ),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column("delivered_on", sa.Date(), nullable=False, comment="Day of the attempt, UTC."),
        sa.PrimaryKeyConstraint("delivery_id"),
        schema="ops",
        comment="One row per attempt to deliver a write: when, how long, what came back; never a body.",
    )
    op.create_index("deliveries_on", "deliveries", ["delivered_on"], unique=False, schema="ops")
    op.create_index("deliveries_write", "deliveries", ["write_id"], unique=False, schema="ops")
    op.create_table(
        "drops",
        sa.Column("drop_id", sa.Uuid(), nullable=False, comment="Id of the drop, made from its content."),
        sa.Column("sha256", sa.LargeBinary(), nullable=False, comment="Hash of the exact bytes."),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="Size of the drop."),
        sa.Column("received_on", sa.Date(), nullable=False, comment="Day of receipt, UTC: the partition."),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it reached us."),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When its fate was sealed."),
        sa.Column("state", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, as a word that can be counted."),
        sa.Column("hint", sa.Text(), nullable=True, comment="How to mend it, in words without a value."),
        sa.Column(
            "read_bytes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="How far the drop is read; a killed reader goes on from here.",
        ),
        sa.Column(
            "lines",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Lines seen in all deliveries of this content.",
        ),
        sa.Column(
            "events",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Ids of the events that it is made of, in order of authorship; on drops, how many were new.",
        ),
        sa.Column(
            "rejected", sa.BigInteger(), server_default="0", nullable=False, comment="Lines that were quarantined."
        ),
        sa.Column(
            "duplicates",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Lines that the ledger had already.",
        ),
        sa.Column(
            "times_delivered",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="How often the same content was dropped.",
        ),
        sa.PrimaryKeyConstraint("drop_id"),
        schema="ops",
        comment="One row per different file content that the landing zone ever showed; never its name. state: reading, settled or refused. lines = events + rejected + duplicates.",
    )
    op.create_index("drops_received_on", "drops", ["received_on"], unique=False, schema="ops")
    op.create_table(
        "gate_results",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("gate_id", sa.Text(), nullable=False, comment="Which gate, from the contract."),
        sa.Column("gate_version", sa.Text(), nullable=False, comment="Version of the gate that judged."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column(
            "missing",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="What is missing, as field:state, never a value.",
        ),
        sa.Column(
            "score", sa.Double(), nullable=False, comment="Weighted share of the gate that is satisfied, 0 to 1."
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.PrimaryKeyConstraint("patient_id", "gate_id"),
        schema="ops",
        comment="One row per patient and gate: passed or held, and what is missing as field:state, never a value.",
    )
    op.create_index(
        "gate_results_held",
        "gate_results",
        ["gate_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("outcome = 'held'"),
    )
    op.create_table(
        "lanes",
        sa.Column("target", sa.Text(), nullable=False, comment="Outside system that must hear of it."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("has_work", sa.Boolean(), nullable=False, comment="Whether a write waits in this lane."),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False, comment="When the lane is due next."),
        sa.Column("token", sa.Uuid(), nullable=True, comment="Who has the lane now."),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Until when a deliverer has it; after that another may take it.",
        ),
        sa.Column(
            "blocked",
            sa.Text(),
            nullable=True,
            comment="Why nothing more is sent for this patient: rejected, gave_up_…; empty when all is well.",
        ),
        sa.PrimaryKeyConstraint("target", "patient_id"),
        schema="ops",
        comment="One row per target and patient: the unit of claiming, so that one patient's writes keep their order. blocked: why nothing more is sent for this patient until a person acts.",
    )
    op.create_index(
        "lanes_due",
        "lanes",
        ["target", "next_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("has_work and blocked is null"),
    )
    op.create_table(
        "provider_queue",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "reds",
            sa.Integer(),
            nullable=False,
            comment="Number of red flags when the patient entered or was last charted.",
        ),
        sa.Column(
            "ambers",
            sa.Integer(),
            nullable=False,
            comment="Number of amber flags when the patient entered or was last charted.",
        ),
        sa.Column(
            "submitted_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the first of the events reached us that let the patient in.",
        ),
        sa.Column(
            "entered_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the patient entered the queue first.",
        ),
        sa.Column(
            "left_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the patient left the queue again; empty while waiting.",
        ),
        sa.PrimaryKeyConstraint("patient_id"),
        schema="ops",
        comment="One row per patient who passed the gate and waits, or waited, for a provider's review.",
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="Id of the task: the same in the EHR."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("code", sa.Text(), nullable=False, comment="Kind of task, from the contract."),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="What made the task: a field, a flag or a contradiction, by name.",
        ),
        sa.Column("queue", sa.Text(), nullable=False, comment="Work queue that shows the task."),
        sa.Column("owner", sa.Text(), nullable=False, comment="Whose it is: a role of the contract."),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False, comment="When the task opened."),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, comment="When the task is due."),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the task closed, by a person or by itself.",
        ),
        sa.PrimaryKeyConstraint("task_id"),
        schema="ops",
        comment="One row per piece of human work: one per patient, code and cause. status: open or done.",
    )
    op.create_index(
        "tasks_open",
        "tasks",
        ["code", "due_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("tasks_patient", "tasks", ["patient_id"], unique=False, schema="ops")
    op.create_table(
        "writes",
        sa.Column(
            "write_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the write, ours."
        ),
        sa.Column("target", sa.Text(), nullable=False, comment="Outside system that must hear of it."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("n", sa.Integer(), nullable=False, comment="Number of the change, per patient and target, from 1."),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of write, from the contract."),
        sa.Column("resources", sa.Integer(), nullable=False, comment="How many resources the write carries."),
        sa.Column("sha256", sa.LargeBinary(), nullable=False, comment="Hash of the exact bytes."),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False, comment="Attempts so far."),
        sa.Column(
            "events",
            postgresql.ARRAY(sa.Uuid()),
            nullable=False,
            comment="Ids of the events that it is made of, in order of authorship; on drops, how many were new.",
        ),
        sa.Column("last_class", sa.Text(), nullable=True, comment="What came of the last attempt."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When the change was decided."),
        sa.Column("first_tried_at", sa.DateTime(timezone=True), nullable=True, comment="When it was first sent."),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When its fate was sealed."),
        sa.PrimaryKeyConstraint("write_id"),
        schema="ops",
        comment="One row per change that the outside must hear: the n-th change of a patient's chart in a target. status: ready, in_doubt, delivered, dead or cancelled.",
    )
    op.create_index("writes_key", "writes", ["target", "patient_id", "n"], unique=True, schema="ops")
    op.create_index(
        "writes_open",
        "writes",
        ["target", "status"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status in ('ready','in_doubt','dead')"),
    )
    op.create_table(
        "charts",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("stage", sa.Text(), nullable=False, comment="Where in the program the patient is."),
        sa.Column(
            "doc",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="By field: in patient_values its value, null or held; in charts the index of the event it comes from.",
        ),
        sa.Column(
            "events",
            postgresql.ARRAY(sa.Uuid()),
            nullable=False,
            comment="Ids of the events that it is made of, in order of authorship; on drops, how many were new.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it reached us."),
        sa.PrimaryKeyConstraint("patient_id"),
        schema="phi",
        comment="One row per patient: for each field the event whose answer holds, as an index into events. The values themselves lie once, in patient_values; the view phi.chart_values puts them together.",
    )
    op.create_table(
        "events",
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column(
            "seq", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Order in which rows came in."
        ),
        sa.Column("drop_id", sa.Uuid(), nullable=False, comment="Id of the drop, made from its content."),
        sa.Column("line", sa.BigInteger(), nullable=False, comment="Line in the drop, from 1."),
        sa.Column("source", sa.Text(), nullable=True, comment="Who sent it."),
        sa.Column("source_id", sa.Text(), nullable=True, comment="What the source calls it."),
        sa.Column("type", sa.Text(), nullable=True, comment="Kind of event, from the contract."),
        sa.Column("version", sa.Text(), nullable=True, comment="Version of the form that the event is of."),
        sa.Column("subject", sa.Text(), nullable=True, comment="The person, as the source calls them."),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True, comment="When it happened, by its source."),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it reached us."),
        sa.Column("received_on", sa.Date(), nullable=False, comment="Day of receipt, UTC: the partition."),
        sa.Column("sha256", sa.LargeBinary(), nullable=False, comment="Hash of the exact bytes."),
        sa.Column("kid", sa.Text(), nullable=True, comment="Id of the key that sealed it."),
        sa.Column(
            "body",
            sa.LargeBinary(),
            nullable=True,
            comment="The exact bytes, squeezed and sealed under a key of their own.",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, as a word that can be counted."),
        sa.Column("hint", sa.Text(), nullable=True, comment="How to mend it, in words without a value."),
        sa.Column("patient_id", sa.Uuid(), nullable=True, comment="Our own, opaque id of the person."),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When its fate was sealed."),
        sa.PrimaryKeyConstraint("event_id"),
        schema="phi",
        comment="One row per event received, by what it is (source and id), with its exact bytes encrypted. status: waiting, charted, rejected or dead.",
    )
    op.create_index(
        "events_patient",
        "events",
        ["patient_id"],
        unique=False,
        schema="phi",
        postgresql_where=sa.text("patient_id is not null"),
    )
    op.create_index("events_received_on", "events", ["received_on", "status"], unique=False, schema="phi")
    op.create_index(
        "events_waiting",
        "events",
        ["received_on", "seq"],
        unique=False,
        schema="phi",
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "identifiers",
        sa.Column("system", sa.Text(), nullable=False, comment="Who gave the identifier."),
        sa.Column("value", sa.Text(), nullable=False, comment="The identifier itself."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("learned_by", sa.Uuid(), nullable=False, comment="Event that taught us."),
        sa.Column("learned_at", sa.DateTime(timezone=True), nullable=False, comment="When we learned the identifier."),
        sa.PrimaryKeyConstraint("system", "value"),
        schema="phi",
        comment="One row per identifier that a system gave a patient, and the event that taught us.",
    )
    op.create_index("identifiers_patient", "identifiers", ["patient_id"], unique=False, schema="phi")
    op.create_table(
        "patient_values",
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("submission_id", sa.Text(), nullable=False, comment="Id of the submission, given by the form."),
        sa.Column("form_version", sa.Text(), nullable=False, comment="Version of the intake form that asked."),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column(
            "authored_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the patient pressed submit, by their own device.",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it reached us."),
        sa.Column("time_zone", sa.Text(), nullable=False, comment="The patient's own time zone."),
        sa.Column(
            "voice", sa.Text(), nullable=False, comment="reported (the patient says) or verified (a provider says)."
        ),
        sa.Column(
            "doc",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="By field: in patient_values its value, null or held; in charts the index of the event it comes from.",
        ),
        sa.Column(
            "contradictions",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Names of answers that cannot both be true.",
        ),
        sa.Column(
            "held",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Fields whose answer could not be mapped without a guess, by name.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("event_id"),
        schema="phi",
        comment="One row per event that says something of a patient: all its values in one document, with provenance. voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
    )
    op.create_index("patient_values_patient", "patient_values", ["patient_id"], unique=False, schema="phi")
    op.create_table(
        "risk_flags",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("flag_id", sa.Text(), nullable=False, comment="Which risk flag, from the contract."),
        sa.Column("severity", sa.Text(), nullable=False, comment="red, amber or info."),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column(
            "fields", postgresql.ARRAY(sa.Text()), nullable=False, comment="Fields that raised the flag, by name."
        ),
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("patient_id", "flag_id"),
        schema="phi",
        comment="One row per patient and risk flag ever raised. status: active, sticky (red, no longer reported, not refuted by a provider) or cleared.",
    )
    op.create_table(
        "write_bodies",
        sa.Column("write_id", sa.BigInteger(), nullable=False, comment="Number of the write, ours."),
        sa.Column("kid", sa.Text(), nullable=False, comment="Id of the key that sealed it."),
        sa.Column(
            "body",
            sa.LargeBinary(),
            nullable=False,
            comment="The exact bytes, squeezed and sealed under a key of their own.",
        ),
        sa.PrimaryKeyConstraint("write_id"),
        schema="phi",
        comment="One row per write: the request as it was decided, encrypted, so that a retry sends the same bytes.",
    )
    op.execute(
        "create view phi.chart_values as select c.patient_id, f.key as field, v.doc -> f.key as value, v.event_id,"
        " v.voice, v.authored_at from phi.charts c cross join lateral jsonb_each_text(c.doc) f"
        " join phi.patient_values v on v.event_id = c.events[f.value::int + 1]"
    )


def downgrade() -> None:
    op.execute("drop view phi.chart_values")
    op.drop_table("write_bodies", schema="phi")
    op.drop_table("risk_flags", schema="phi")
    op.drop_index("patient_values_patient", table_name="patient_values", schema="phi")
    op.drop_table("patient_values", schema="phi")
    op.drop_index("identifiers_patient", table_name="identifiers", schema="phi")
    op.drop_table("identifiers", schema="phi")
    op.drop_index("events_waiting", table_name="events", schema="phi", postgresql_where=sa.text("status = 'waiting'"))
    op.drop_index("events_received_on", table_name="events", schema="phi")
    op.drop_index(
        "events_patient", table_name="events", schema="phi", postgresql_where=sa.text("patient_id is not null")
    )
    op.drop_table("events", schema="phi")
    op.drop_table("charts", schema="phi")
    op.drop_index(
        "writes_open",
        table_name="writes",
        schema="ops",
        postgresql_where=sa.text("status in ('ready','in_doubt','dead')"),
    )
    op.drop_index("writes_key", table_name="writes", schema="ops")
    op.drop_table("writes", schema="ops")
    op.drop_index("tasks_patient", table_name="tasks", schema="ops")
    op.drop_index("tasks_open", table_name="tasks", schema="ops", postgresql_where=sa.text("status = 'open'"))
    op.drop_table("tasks", schema="ops")
    op.drop_table("provider_queue", schema="ops")
    op.drop_index(
        "lanes_due", table_name="lanes", schema="ops", postgresql_where=sa.text("has_work and blocked is null")
    )
    op.drop_table("lanes", schema="ops")
    op.drop_index(
        "gate_results_held", table_name="gate_results", schema="ops", postgresql_where=sa.text("outcome = 'held'")
    )
    op.drop_table("gate_results", schema="ops")
    op.drop_index("drops_received_on", table_name="drops", schema="ops")
    op.drop_table("drops", schema="ops")
    op.drop_index("deliveries_write", table_name="deliveries", schema="ops")
    op.drop_index("deliveries_on", table_name="deliveries", schema="ops")
    op.drop_table("deliveries", schema="ops")
    op.drop_table("copies", schema="ops")
    op.drop_table("breakers", schema="ops")
