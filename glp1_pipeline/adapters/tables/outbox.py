"""What goes out to other systems and what is asked of them: writes, their delivery, and how far we read."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .declaring import OF_THIS_RUN, counter, instant, metadata, required

writes = Table(
    "writes",
    metadata,
    Column("write_id", BigInteger, Identity(always=True), primary_key=True),
    required("target", Text),
    required("patient_id", Uuid),
    required("n", Integer),
    required("kind", Text),
    required("resources", Integer),
    required("status", Text),
    required("tries", Integer, server_default="0"),
    required("events", ARRAY(Uuid)),
    Column("last_class", Text),
    instant("created_at", nullable=False),
    instant("first_tried_at"),
    instant("settled_at"),
    Column("contract_version", Text),
    Column("run_id", Text, server_default=OF_THIS_RUN),
    schema="ops",
    comment="One row per change that the outside must hear: the n-th change of a patient's chart in a target. "
    "status: ready, in_doubt, delivered, dead or cancelled.",
)
Index("writes_key", writes.c.patient_id, writes.c.target, writes.c.n, unique=True)
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
    Column("patient_id", Uuid, primary_key=True),
    Column("target", Text, primary_key=True),
    required("n", Integer, server_default="0"),
    required("planned", JSONB, server_default="{}"),
    required("remote", JSONB, server_default="{}"),
    required("conflicts", JSONB, server_default="{}"),
    required("insisted", ARRAY(Text), server_default="{}"),
    required("heard", JSONB, server_default="{}"),
    schema="ops",
    comment="One row per target and patient: hash of each resource as last decided (planned), and the id and version "
    "that the target gave it (remote).",
)

Index("copies_in_conflict", copies.c.target, copies.c.patient_id, postgresql_where=text("conflicts <> '{}'"))

lanes = Table(
    "lanes",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("target", Text, primary_key=True),
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
    Column("trouble", Text),
    required("delivered_on", Date),
    Column("run_id", Text, server_default=OF_THIS_RUN),
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
