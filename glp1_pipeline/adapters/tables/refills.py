"""Check-ins and refills: where each stands, each decision as it was made, what was let through; clocks of patients."""

from sqlalchemy import ARRAY, Boolean, Column, Index, Integer, LargeBinary, Table, Text, Uuid, text

from .declaring import instant, metadata, required

follow_ups = Table(
    "follow_ups",
    metadata,
    Column("followup_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    required("family", Text),
    required("status", Text),
    instant("began_at", nullable=False),
    instant("opens_at", nullable=False),
    instant("due_at", nullable=False),
    instant("missed_at", nullable=False),
    instant("window_at", nullable=False),
    instant("runs_out_at", nullable=False),
    instant("answered_at"),
    required("was_missed", Boolean),
    required("missing", ARRAY(Text)),
    instant("ended_at"),
    required("contract_version", Text),
    schema="ops",
    comment="One row per check-in: of a supply that was handed over, or of a cycle of short ones. status: planned,"
    " open, due, missed, completed, or ended (held, stopped, or followed by the next supply before it was due).",
)
Index("follow_ups_patient", follow_ups.c.patient_id)
Index("follow_ups_live", follow_ups.c.status, follow_ups.c.missed_at, postgresql_where=text("ended_at is null"))

refills = Table(
    "refills",
    metadata,
    Column("refill_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    required("family", Text),
    required("channel", Text),
    required("status", Text),
    required("outcome", Text),
    required("decided_by", Text),
    required("reasons", ARRAY(Text)),
    instant("since", nullable=False),
    instant("until_at"),
    instant("requested_at", nullable=False),
    instant("queued_at"),
    instant("ended_at"),
    required("decisions", Integer),
    required("decision_id", Uuid),
    required("is_overridden", Boolean),
    required("is_against_hold", Boolean),
    required("event_id", Uuid),
    required("contract_version", Text),
    schema="ops",
    comment="One row per request of a refill: how it was decided last, and how it ended. status: open, approved,"
    " denied, dispensed, replaced (by a newer request) or closed (the treatment ended).",
)
Index("refills_patient", refills.c.patient_id)
Index("refills_open", refills.c.outcome, refills.c.since, postgresql_where=text("status = 'open'"))

refill_overrides = Table(
    "refill_overrides",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    required("refill_id", Uuid),
    required("patient_id", Uuid),
    required("rules", ARRAY(Text)),
    required("flags", ARRAY(Text)),
    required("reason", Text),
    required("role", Text),
    required("actor", Text),
    instant("since", nullable=False),
    instant("expires_at", nullable=False),
    schema="ops",
    comment="One row per override of a refill's decision: which rules and flags were let through, by whom, for which"
    " reason, until when. The words of the reason are in the sealed event alone.",
)
Index("refill_overrides_refill", refill_overrides.c.refill_id)

refill_decisions = Table(
    "refill_decisions",
    metadata,
    Column("decision_id", Uuid, primary_key=True),
    required("refill_id", Uuid),
    instant("as_of", nullable=False),
    required("outcome", Text),
    required("decided_by", Text),
    required("rules_version", Text),
    required("sha256", LargeBinary),
    required("kid", Text),
    required("body", LargeBinary),
    instant("made_at", nullable=False),
    schema="phi",
    comment="One row per decision on a refill, for ever: every input, the rules' version, the overrides and the"
    " outcome, sealed. A row is never changed, but for the key that seals it, and never deleted.",
)
Index("refill_decisions_refill", refill_decisions.c.refill_id, refill_decisions.c.as_of)
# They are counted from it alone: the sealed bodies are most of the table.
Index("refill_decisions_made", refill_decisions.c.made_at, refill_decisions.c.outcome, refill_decisions.c.decided_by)

refill_rules = Table(
    "refill_rules",
    metadata,
    Column("rules_version", Text, primary_key=True),
    required("document", Text),
    instant("made_at", nullable=False),
    schema="ops",
    comment="One row per version of the decision table that ever decided: with it a record can be decided again"
    " years later.",
)

clocks = Table(
    "clocks",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    instant("next_at", nullable=False),
    required("moment", Text),
    required("of_id", Uuid),
    required("name", Text),
    required("record_id", Uuid),
    instant("set_at", nullable=False),
    instant("rung_at"),
    schema="ops",
    comment="One row per patient about whom something changes by itself: when next, and what. rung_at: when the event"
    " of it was made; the next moment is worked out when that event is charted.",
)
Index("clocks_due", clocks.c.next_at, postgresql_where=text("rung_at is null"))
