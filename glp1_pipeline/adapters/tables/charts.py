"""What is computed from the events: values, charts, flags, gates, the queue, tasks and conflicts."""

from sqlalchemy import Column, Date, Double, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from .declaring import instant, metadata, required

patient_values = Table(
    "patient_values",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    required("record_id", Uuid),
    required("submission_id", Text),
    required("form_version", Text),
    required("status", Text),
    instant("authored_at", nullable=False),
    instant("received_at", nullable=False),
    required("time_zone", Text),
    required("source", Text, server_default="intake"),
    required("voice", Text),
    required("doc", JSON),
    required("contradictions", ARRAY(Text)),
    required("held", ARRAY(Text)),
    required("contract_version", Text),
    Column("medication", JSONB),
    Column("refill", JSONB),
    schema="phi",
    comment="One row per event that says something of a person: all its values in one document, with provenance. "
    "source: intake, crm or ehr. voice: reported or verified. held: fields whose answer could not be mapped without a"
    " guess.",
)
Index("patient_values_record", patient_values.c.record_id)
Index(
    "patient_values_unmapped",
    patient_values.c.received_at,
    postgresql_where=text("strpos(doc::text, '\"unmapped\":') > 0"),
)

charts = Table(
    "charts",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    required("stage", Text),
    required("doc", JSON),
    required("verified", JSON, server_default="{}"),
    required("events", ARRAY(Uuid)),
    required("contract_version", Text),
    instant("received_at", nullable=False),
    schema="phi",
    comment="One row per patient: for each field the event whose answer holds, as an index into events. The values"
    " themselves lie once, in patient_values; the view phi.chart_values puts them together.",
)

risk_flags = Table(
    "risk_flags",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("flag_id", Text, primary_key=True),
    required("severity", Text),
    required("status", Text),
    required("fields", ARRAY(Text)),
    required("event_id", Uuid),
    required("contract_version", Text),
    schema="phi",
    comment="One row per patient and risk flag ever raised. status: active, sticky (red, no longer reported, not "
    "refuted by a provider) or cleared.",
)

gate_results = Table(
    "gate_results",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("gate_id", Text, primary_key=True),
    required("gate_version", Text),
    required("outcome", Text),
    required("missing", ARRAY(Text)),
    required("score", Double),
    required("contract_version", Text),
    instant("since", nullable=False),
    schema="ops",
    comment="One row per patient and gate: passed or held, and what is missing as field:state, never a value.",
)
Index("gate_results_held", gate_results.c.gate_id, postgresql_where=text("outcome = 'held'"))

provider_queue = Table(
    "provider_queue",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    required("reds", Integer),
    required("ambers", Integer),
    instant("submitted_at", nullable=False),
    instant("entered_at", nullable=False),
    instant("left_at"),
    schema="ops",
    comment="One row per patient who passed the gate and waits, or waited, for a provider's review.",
)

tasks = Table(
    "tasks",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("task_id", Uuid, primary_key=True),
    required("code", Text),
    required("cause", Text),
    required("queue", Text),
    required("owner", Text),
    required("status", Text),
    instant("opened_at", nullable=False),
    instant("due_at", nullable=False),
    instant("closed_at"),
    Column("rests_on", Uuid),
    schema="ops",
    comment="One row per piece of human work: one per patient, code and cause. status: open or done.",
)
Index("tasks_open", tasks.c.code, tasks.c.due_at, postgresql_where=text("status = 'open'"))

field_conflicts = Table(
    "field_conflicts",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    required("rule", Text),
    required("owner", Text),
    required("stage", Text),
    required("outcome", Text),
    required("event_id", Uuid),
    instant("since", nullable=False),
    instant("closed_at"),
    required("seen_on", Date),
    schema="ops",
    comment="One row per patient, field and source that wrote against the field's owner: which rule settled it and "
    "how. Open while closed_at is empty.",
)
Index("field_conflicts_open", field_conflicts.c.field, postgresql_where=text("closed_at is null"))
Index("field_conflicts_seen", field_conflicts.c.seen_on)
