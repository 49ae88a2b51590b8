"""Taking writes back, as a plan: which writes, what became of each of their resources, who wanted it and why.

Together these tables are the audit of rollbacks: opaque keys, counts, times. Not here: what a plan does (`rollback`).
"""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from .declaring import counter, instant, metadata, required

rollback_plans = Table(
    "rollback_plans",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    required("selection", JSONB),
    counter("writes"),
    required("state", Text),
    required("predicted", JSONB, server_default="{}"),
    required("changed", JSONB, server_default="{}"),
    instant("made_at", nullable=False),
    Column("actor", Text),
    Column("reason", Text),
    instant("approved_at"),
    required("approvals", JSONB, server_default="[]"),
    instant("settled_at"),
    instant("released_at"),
    Column("released_by", Text),
    Column("released_because", Text),
    schema="ops",
    comment="One row per plan to take writes back, and its receipt: who approved it, why, what it did, in counts. "
    "state: planned, approved, applying, stopped or applied. released_at: since when what it took back may be sent "
    "again.",
)

rollback_plan_writes = Table(
    "rollback_plan_writes",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    Column("write_id", BigInteger, primary_key=True),
    required("chunk", Integer),
    instant("undone_at"),
    Column("undone_by", BigInteger),
    schema="ops",
    comment="One row per plan and write that it chose. All writes of a patient to a target are in one chunk, and one "
    "new write undoes them.",
)
Index(
    "rollback_plan_writes_left",
    rollback_plan_writes.c.plan_id,
    rollback_plan_writes.c.chunk,
    postgresql_where=text("undone_at is null"),
)
Index("rollback_plan_writes_undone_by", rollback_plan_writes.c.undone_by)
Index("rollback_plan_writes_write", rollback_plan_writes.c.write_id)

rollback_resources = Table(
    "rollback_resources",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("patient_id", Uuid, primary_key=True),
    Column("resource", Text, primary_key=True),
    required("outcome", Text),
    Column("hash_before", Text),
    Column("hash_after", Text),
    schema="ops",
    comment="One row per plan and resource of its writes, once its chunk is done: taken back (restored, "
    "entered_in_error) or why it was left. While ops.copies plans hash_before, it is not sent again.",
)
Index("rollback_resources_patient", rollback_resources.c.patient_id)
