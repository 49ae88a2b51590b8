"""What people mend and are called for: replay plans, feeds, incidents and who was told."""

from sqlalchemy import BigInteger, Column, Double, Identity, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from .declaring import counter, instant, metadata, required

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
    required("approvals", JSONB, server_default="[]"),
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
