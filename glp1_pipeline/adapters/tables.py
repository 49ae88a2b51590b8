"""The tables, each with its grain in one sentence: the one declaration that the migrations follow.

Three schemas carry least privilege. `phi`: events, values, charts, identifiers, bodies. `ops`: opaque keys, states
and times. `analytics`: what dbt makes, from `ops` alone. Not here: statements that read or write them (`ledger`,
`charts`, `outbox`).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .columns import COLUMNS

metadata = MetaData()
SCHEMAS = ("phi", "ops", "analytics")


def instant(name: str, nullable: bool = True, **kw) -> Column:
    return Column(name, DateTime(timezone=True), nullable=nullable, **kw)


def required(name: str, type_, **kw) -> Column:
    return Column(name, type_, nullable=False, **kw)


def counter(name: str) -> Column:
    return Column(name, BigInteger, nullable=False, server_default="0")


drops = Table(
    "drops",
    metadata,
    Column("drop_id", Uuid, primary_key=True),
    required("sha256", LargeBinary),
    required("size_bytes", BigInteger),
    required("received_on", Date),
    instant("received_at", nullable=False),
    instant("settled_at"),
    required("state", Text),
    Column("reason", Text),
    Column("hint", Text),
    counter("read_bytes"),
    counter("lines"),
    counter("events"),
    counter("rejected"),
    counter("duplicates"),
    counter("times_delivered"),
    schema="ops",
    comment="One row per different file content that the landing zone ever showed; never its name. state: reading, "
    "settled or refused. lines = events + rejected + duplicates.",
)
Index("drops_received_on", drops.c.received_on)

events = Table(
    "events",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    required("drop_id", Uuid),
    required("line", BigInteger),
    Column("source", Text),
    Column("source_id", Text),
    Column("type", Text),
    Column("version", Text),
    Column("subject", Text),
    instant("occurred_at"),
    instant("received_at", nullable=False),
    required("received_on", Date),
    required("sha256", LargeBinary),
    Column("kid", Text),
    Column("body", LargeBinary),
    required("status", Text),
    Column("reason", Text),
    Column("hint", Text),
    Column("record_id", Uuid),
    instant("settled_at"),
    schema="phi",
    comment="One row per event received, by what it is (source and id), with its exact bytes encrypted. status: "
    "waiting, charted, rejected or dead.",
)
Index("events_waiting", events.c.received_on, events.c.seq, postgresql_where=text("status = 'waiting'"))
Index("events_received_on", events.c.received_on, events.c.status)
Index("events_record", events.c.record_id, postgresql_where=text("record_id is not null"))
# Rows lie in the order of receipt: a few pages tell where an hour is, and cost nothing when events come in.
Index(
    "events_received_at",
    events.c.received_at,
    postgresql_using="brin",
    postgresql_with={"autosummarize": "on", "pages_per_range": "32"},
)
Index("events_troubled", events.c.status, events.c.received_at, postgresql_where=text("status in ('rejected', 'dead')"))

identifiers = Table(
    "identifiers",
    metadata,
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    required("record_id", Uuid),
    required("learned_by", Uuid),
    instant("learned_at", nullable=False),
    schema="phi",
    comment="The crosswalk: one row per identifier that a system gave a record, and the event that taught us.",
)
Index("identifiers_record", identifiers.c.record_id)

people = Table(
    "people",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    required("features", JSONB),
    instant("first_at", nullable=False),
    schema="phi",
    comment="One row per record that says who it is: what matching compares, in one spelling.",
)

people_keys = Table(
    "people_keys",
    metadata,
    Column("key", BigInteger, primary_key=True),
    Column("record_id", Uuid, primary_key=True),
    schema="phi",
    comment="One row per record and thing that a likely match shares with it, hashed: candidates are found by it.",
)
Index("people_keys_record", people_keys.c.record_id)

patient_matches = Table(
    "patient_matches",
    metadata,
    Column("record_a", Uuid, primary_key=True),
    Column("record_b", Uuid, primary_key=True),
    required("outcome", Text),
    required("basis", Text),
    required("weight", Double),
    required("agreements", ARRAY(Text)),
    required("guards", ARRAY(Text)),
    instant("since", nullable=False),
    schema="ops",
    comment="One row per pair of records that look like one person, a before b. outcome: same (joined by itself) or "
    "review (a person must decide). basis: model or exact.",
)
Index("patient_matches_b", patient_matches.c.record_b)
Index("patient_matches_review", patient_matches.c.since, postgresql_where=text("outcome = 'review'"))

match_decisions = Table(
    "match_decisions",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    required("action", Text),
    required("record_a", Uuid),
    required("record_b", Uuid),
    required("actor", Text),
    required("reason", Text),
    instant("decided_at", nullable=False),
    schema="phi",
    comment="One row per decision about two records, as its event says. action: merge (a survives), unmerge or "
    "not_a_match. The newest of a pair holds.",
)
Index("match_decisions_a", match_decisions.c.record_a)
Index("match_decisions_b", match_decisions.c.record_b)

patient_links = Table(
    "patient_links",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    instant("since", nullable=False),
    schema="ops",
    comment="One row per record that was ever part of another's patient, and whose it is now: its own id again after "
    "an un-merge.",
)
Index("patient_links_patient", patient_links.c.patient_id)

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

poll_cursors = Table(
    "poll_cursors",
    metadata,
    Column("system", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    instant("since"),
    required("seen", JSONB, server_default="{}"),
    instant("polled_at"),
    counter("changes"),
    schema="ops",
    comment="One row per system and kind of resource that is asked for changes: how far it was read, and what was seen "
    "in the stretch that is read again.",
)

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
    required("doc", JSONB),
    required("contradictions", ARRAY(Text)),
    required("held", ARRAY(Text)),
    required("contract_version", Text),
    schema="phi",
    comment="One row per event that says something of a person: all its values in one document, with provenance. "
    "source: intake, crm or ehr. voice: reported or verified. held: fields whose answer could not be mapped without a"
    " guess.",
)
Index("patient_values_record", patient_values.c.record_id)
Index(
    "patient_values_unmapped",
    patient_values.c.received_at,
    postgresql_where=text("doc @? '$.*.\"unmapped\"'::jsonpath"),
)

charts = Table(
    "charts",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    required("stage", Text),
    required("doc", JSONB),
    required("verified", JSONB, server_default="{}"),
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
    Column("task_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    required("code", Text),
    required("cause", Text),
    required("queue", Text),
    required("owner", Text),
    required("status", Text),
    instant("opened_at", nullable=False),
    instant("due_at", nullable=False),
    instant("closed_at"),
    schema="ops",
    comment="One row per piece of human work: one per patient, code and cause. status: open or done.",
)
Index("tasks_patient", tasks.c.patient_id)
Index("tasks_open", tasks.c.code, tasks.c.due_at, postgresql_where=text("status = 'open'"))

writes = Table(
    "writes",
    metadata,
    Column("write_id", BigInteger, Identity(always=True), primary_key=True),
    required("target", Text),
    required("patient_id", Uuid),
    required("n", Integer),
    required("kind", Text),
    required("resources", Integer),
    required("sha256", LargeBinary),
    required("status", Text),
    required("tries", Integer, server_default="0"),
    required("events", ARRAY(Uuid)),
    Column("last_class", Text),
    instant("created_at", nullable=False),
    instant("first_tried_at"),
    instant("settled_at"),
    schema="ops",
    comment="One row per change that the outside must hear: the n-th change of a patient's chart in a target. "
    "status: ready, in_doubt, delivered, dead or cancelled.",
)
Index("writes_key", writes.c.target, writes.c.patient_id, writes.c.n, unique=True)
Index("writes_open", writes.c.target, writes.c.status, postgresql_where=text("status in ('ready','in_doubt','dead')"))

write_bodies = Table(
    "write_bodies",
    metadata,
    Column("write_id", BigInteger, primary_key=True),
    required("kid", Text),
    required("body", LargeBinary),
    schema="phi",
    comment="One row per write: the request as it was decided, encrypted, so that a retry sends the same bytes.",
)

copies = Table(
    "copies",
    metadata,
    Column("target", Text, primary_key=True),
    Column("patient_id", Uuid, primary_key=True),
    required("n", Integer, server_default="0"),
    required("planned", JSONB, server_default="{}"),
    required("remote", JSONB, server_default="{}"),
    required("conflicts", JSONB, server_default="{}"),
    schema="ops",
    comment="One row per target and patient: hash of each resource as last decided (planned), and the id and version "
    "that the target gave it (remote).",
)

lanes = Table(
    "lanes",
    metadata,
    Column("target", Text, primary_key=True),
    Column("patient_id", Uuid, primary_key=True),
    required("has_work", Boolean),
    instant("next_at", nullable=False),
    Column("token", Uuid),
    instant("leased_until"),
    Column("blocked", Text),
    schema="ops",
    comment="One row per target and patient: the unit of claiming, so that one patient's writes keep their order. "
    "blocked: why nothing more is sent for this patient until a person acts.",
)
Index(
    "lanes_due",
    lanes.c.target,
    lanes.c.next_at,
    postgresql_where=text("has_work and blocked is null"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", BigInteger, Identity(always=True), primary_key=True),
    required("write_id", BigInteger),
    required("attempt", Integer),
    instant("at", nullable=False),
    required("ms", Double),
    Column("http_status", Integer),
    required("outcome", Text),
    required("delivered_on", Date),
    schema="ops",
    comment="One row per attempt to deliver a write: when, how long, what came back; never a body.",
)
Index("deliveries_write", deliveries.c.write_id)
Index("deliveries_on", deliveries.c.delivered_on)

breakers = Table(
    "breakers",
    metadata,
    Column("target", Text, primary_key=True),
    required("state", Text),
    required("failures", Integer, server_default="0"),
    instant("open_until"),
    Column("reason", Text),
    instant("changed_at", nullable=False),
    schema="ops",
    comment="One row per target: closed, or open until an instant, for all processes alike.",
)

replay_plans = Table(
    "replay_plans",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    required("selection", JSONB),
    counter("chosen"),
    required("contract_version", Text),
    required("state", Text),
    required("predicted", JSONB, server_default="{}"),
    required("changed", JSONB, server_default="{}"),
    instant("made_at", nullable=False),
    Column("actor", Text),
    Column("reason", Text),
    instant("approved_at"),
    instant("settled_at"),
    Column("fingerprint_before", Text),
    Column("fingerprint_after", Text),
    schema="ops",
    comment="One row per plan to compute events again, and its receipt: who approved it, why, what it changed, in "
    "counts. state: planned, approved, applying, stopped or applied.",
)

replay_plan_events = Table(
    "replay_plan_events",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    required("chunk", Integer),
    instant("done_at"),
    schema="ops",
    comment="One row per plan and event that it chose. All events of a person are in one chunk.",
)
Index(
    "replay_plan_events_left",
    replay_plan_events.c.plan_id,
    replay_plan_events.c.chunk,
    postgresql_where=text("done_at is null"),
)
Index("replay_plan_events_event", replay_plan_events.c.event_id)

feeds = Table(
    "feeds",
    metadata,
    Column("source", Text, primary_key=True),
    required("feed", Text, unique=True),
    instant("first_at", nullable=False),
    instant("last_at", nullable=False),
    schema="phi",
    comment="One row per source that ever sent an event, under a name that may be told: what a silence is measured by.",
)

alert_looks = Table(
    "alert_looks",
    metadata,
    Column("alert", Text, primary_key=True),
    instant("looked_at"),
    instant("blind_since"),
    required("ms", Double),
    schema="ops",
    comment="One row per alert that was to be measured, and one for the sensor that does it: when last.",
)

incidents = Table(
    "incidents",
    metadata,
    Column("incident_id", BigInteger, Identity(always=True), primary_key=True),
    required("alert", Text),
    required("scope", Text),
    required("severity", Text),
    required("owner", Text),
    required("called", Text),
    required("link", Text),
    required("affected", BigInteger),
    required("most_affected", BigInteger),
    instant("opened_at", nullable=False),
    instant("detected_at", nullable=False),
    instant("calm_since"),
    instant("acknowledged_at"),
    Column("acknowledged_by", Text),
    instant("escalated_at"),
    instant("resolved_at"),
    schema="ops",
    comment="One row per time that an alert fired for a scope, from beginning to end; at most one of them open.",
)
Index(
    "incidents_open",
    incidents.c.alert,
    incidents.c.scope,
    unique=True,
    postgresql_where=text("resolved_at is null"),
)
Index("incidents_detected", incidents.c.detected_at)

notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", Uuid, primary_key=True),
    Column("incident_id", BigInteger),
    required("news", Text),
    required("channel", Text),
    required("title", Text),
    required("message", Text),
    required("status", Text),
    required("tries", Integer, server_default="0"),
    Column("last_class", Text),
    instant("written_at", nullable=False),
    instant("next_at", nullable=False),
    Column("token", Uuid),
    instant("leased_until"),
    instant("settled_at"),
    schema="ops",
    comment="One row per message to a channel, written before it is sent: one per incident, news and channel. news: "
    "opened, escalated, resolved or test. status: waiting, sent or given_up.",
)
Index("notifications_once", notifications.c.incident_id, notifications.c.news, notifications.c.channel, unique=True)
Index("notifications_due", notifications.c.next_at, postgresql_where=text("status = 'waiting'"))

for _table in metadata.tables.values():
    for _column in _table.columns:
        _column.comment = COLUMNS[_column.name]
