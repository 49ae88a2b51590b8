"""Treatments: the course of each patient and product family, and the moves that it is made of."""

from sqlalchemy import Column, Double, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from .declaring import instant, metadata, required

medication_courses = Table(
    "medication_courses",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("family", Text, primary_key=True),
    required("state", Text),
    instant("since"),
    Column("product", Text),
    Column("dose_mg", Double),
    instant("dose_since"),
    instant("last_dose_at"),
    instant("runs_out_at"),
    required("told", JSONB),
    required("findings", JSONB),
    required("contract_version", Text),
    schema="phi",
    comment="One row per patient and family of products with one ladder: where the treatment stands, what was last said"
    " of it by whom, and what a person should see. Computed from the events alone.",
)

medication_transitions = Table(
    "medication_transitions",
    metadata,
    Column("patient_id", Uuid, primary_key=True),
    Column("family", Text, primary_key=True),
    Column("move", Integer, primary_key=True),
    required("from_state", Text),
    required("to_state", Text),
    required("outcome", Text),
    required("reason", Text),
    required("event_id", Uuid),
    instant("moved_at", nullable=False),
    required("contract_version", Text),
    schema="ops",
    comment="One row per move of a treatment, made or refused, from 1 in the order in which it happened. outcome: made"
    " (reason: what made it), rejected (the rule it breaks), held (why it cannot be used) or overridden (the rule and"
    " the reason that a person gave). Never a dose.",
)
Index("medication_transitions_refused", medication_transitions.c.reason, postgresql_where=text("outcome <> 'made'"))
