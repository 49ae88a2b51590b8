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
    Column("patient_id", Uuid),
    instant("settled_at"),
    schema="phi",
    comment="One row per event received, by what it is (source and id), with its exact bytes encrypted. status: "
    "waiting, charted, rejected or dead.",
)
Index("events_waiting", events.c.received_on, events.c.seq, postgresql_where=text("status = 'waiting'"))
Index("events_received_on", events.c.received_on, events.c.status)
Index("events_patient", events.c.patient_id, postgresql_where=text("patient_id is not null"))

identifiers = Table(
    "identifiers",
    metadata,
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    required("patient_id", Uuid),
    required("learned_by", Uuid),
    instant("learned_at", nullable=False),
    schema="phi",
    comment="One row per identifier that a system gave a patient, and the event that taught us.",
)
Index("identifiers_patient", identifiers.c.patient_id)

patient_values = Table(
    "patient_values",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    required("submission_id", Text),
    required("form_version", Text),
    required("status", Text),
    instant("authored_at", nullable=False),
    instant("received_at", nullable=False),
    required("time_zone", Text),
    required("voice", Text),
    required("doc", JSONB),
    required("contradictions", ARRAY(Text)),
    required("held", ARRAY(Text)),
    required("contract_version", Text),
    schema="phi",
    comment="One row per event that says something of a patient: all its values in one document, with provenance. "
    "voice: reported or verified. held: fields whose answer could not be mapped without a guess.",
)
Index("patient_values_patient", patient_values.c.patient_id)

charts = Table(
    "charts",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    required("stage", Text),
    required("doc", JSONB),
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

COLUMNS = {
    "ambers": "Number of amber flags when the patient entered or was last charted.",
    "at": "When the attempt began.",
    "attempt": "Which attempt of this write it was, from 1.",
    "authored_at": "When the patient pressed submit, by their own device.",
    "blocked": "Why nothing more is sent for this patient: rejected, gave_up_…; empty when all is well.",
    "body": "The exact bytes, squeezed and sealed under a key of their own.",
    "cause": "What made the task: a field, a flag or a contradiction, by name.",
    "changed_at": "When the breaker last moved.",
    "closed_at": "When the task closed, by a person or by itself.",
    "code": "Kind of task, from the contract.",
    "conflicts": "By resource that someone changed in the target: since, reason, decision (theirs, ours) if any.",
    "contract_version": "Hash of the contract files that it was computed with.",
    "contradictions": "Names of answers that cannot both be true.",
    "created_at": "When the change was decided.",
    "delivered_on": "Day of the attempt, UTC.",
    "delivery_id": "Number of the attempt, ours.",
    "doc": "By field: in patient_values its value, null or held; in charts the index of the event it comes from.",
    "drop_id": "Id of the drop, made from its content.",
    "due_at": "When the task is due.",
    "duplicates": "Lines that the ledger had already.",
    "entered_at": "When the patient entered the queue first.",
    "event_id": "Id of the event, made from its source and the source's own id.",
    "events": "Ids of the events that it is made of, in order of authorship; on drops, how many were new.",
    "failures": "Failures in a row.",
    "fields": "Fields that raised the flag, by name.",
    "first_tried_at": "When it was first sent.",
    "flag_id": "Which risk flag, from the contract.",
    "form_version": "Version of the intake form that asked.",
    "gate_id": "Which gate, from the contract.",
    "gate_version": "Version of the gate that judged.",
    "has_work": "Whether a write waits in this lane.",
    "held": "Fields whose answer could not be mapped without a guess, by name.",
    "hint": "How to mend it, in words without a value.",
    "http_status": "What the server answered; empty if nothing came back.",
    "kid": "Id of the key that sealed it.",
    "kind": "Kind of write, from the contract.",
    "last_class": "What came of the last attempt.",
    "learned_at": "When we learned the identifier.",
    "learned_by": "Event that taught us.",
    "leased_until": "Until when a deliverer has it; after that another may take it.",
    "left_at": "When the patient left the queue again; empty while waiting.",
    "line": "Line in the drop, from 1.",
    "lines": "Lines seen in all deliveries of this content.",
    "missing": "What is missing, as field:state, never a value.",
    "ms": "Milliseconds to the answer.",
    "n": "Number of the change, per patient and target, from 1.",
    "next_at": "When the lane is due next.",
    "occurred_at": "When it happened, by its source.",
    "open_until": "Until when nothing is sent.",
    "opened_at": "When the task opened.",
    "outcome": "What came of it.",
    "owner": "Whose it is: a role of the contract.",
    "patient_id": "Our own, opaque id of the person.",
    "planned": "Hash of each resource as last decided.",
    "queue": "Work queue that shows the task.",
    "read_bytes": "How far the drop is read; a killed reader goes on from here.",
    "reason": "Why, as a word that can be counted.",
    "received_at": "When it reached us.",
    "received_on": "Day of receipt, UTC: the partition.",
    "reds": "Number of red flags when the patient entered or was last charted.",
    "rejected": "Lines that were quarantined.",
    "remote": "Id and version that the target gave each resource.",
    "resources": "How many resources the write carries.",
    "score": "Weighted share of the gate that is satisfied, 0 to 1.",
    "seq": "Order in which rows came in.",
    "settled_at": "When its fate was sealed.",
    "severity": "red, amber or info.",
    "sha256": "Hash of the exact bytes.",
    "since": "Since when it stands so.",
    "size_bytes": "Size of the drop.",
    "source": "Who sent it.",
    "source_id": "What the source calls it.",
    "stage": "Where in the program the patient is.",
    "state": "Where it stands.",
    "status": "Where it stands.",
    "subject": "The person, as the source calls them.",
    "submission_id": "Id of the submission, given by the form.",
    "submitted_at": "When the first of the events reached us that let the patient in.",
    "system": "Who gave the identifier.",
    "target": "Outside system that must hear of it.",
    "task_id": "Id of the task: the same in the EHR.",
    "time_zone": "The patient's own time zone.",
    "times_delivered": "How often the same content was dropped.",
    "token": "Who has the lane now.",
    "tries": "Attempts so far.",
    "type": "Kind of event, from the contract.",
    "value": "The identifier itself.",
    "version": "Version of the form that the event is of.",
    "voice": "reported (the patient says) or verified (a provider says).",
    "write_id": "Number of the write, ours.",
}
for _table in metadata.tables.values():
    for _column in _table.columns:
        _column.comment = COLUMNS[_column.name]
