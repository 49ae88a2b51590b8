"""What came in: drops and events."""

from sqlalchemy import BigInteger, Column, Date, Identity, Index, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from .declaring import OF_THIS_RUN, counter, instant, metadata, required

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
    required("parts", JSONB, server_default="{}"),
    Column("counted_file", Text),
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
    Column("taken_by_run", Text, server_default=OF_THIS_RUN),
    Column("settled_by_run", Text),
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
