"""Values and charts as JSON in the text that we wrote, and sealed bytes that Postgres does not try to compress"""

from alembic import op

from glp1_pipeline.adapters import unmapped

revision = "0021"
down_revision = "0020"

DOCUMENTS = (("patient_values", "doc"), ("charts", "doc"), ("charts", "verified"))
SEALED = (("events", "body"), ("write_bodies", "body"))

VALUES = (
    "create view phi.chart_values as select c.patient_id, f.key as field, (case json_typeof(f.value) when 'number'"
    " then v.doc -> f.key else f.value -> 'together' end)::jsonb as value, v.event_id, v.source, v.voice,"
    " v.authored_at, f.is_finding from phi.charts c cross join lateral (select key, value, false as is_finding"
    " from json_each(c.doc) union all select key, value, true from json_each(c.verified)) f"
    " join phi.patient_values v on v.event_id = c.events[case json_typeof(f.value) when 'number' then"
    " f.value::text::int else (f.value ->> 'last')::int end + 1]"
)
VALUES_BEFORE = (
    "create view phi.chart_values as select c.patient_id, f.key as field, case jsonb_typeof(f.value) when 'number'"
    " then v.doc -> f.key else f.value -> 'together' end as value, v.event_id, v.source, v.voice, v.authored_at,"
    " f.is_finding from phi.charts c cross join lateral (select key, value, false as is_finding"
    " from jsonb_each(c.doc) union all select key, value, true from jsonb_each(c.verified)) f"
    " join phi.patient_values v on v.event_id = c.events[case jsonb_typeof(f.value) when 'number' then"
    " f.value::int else (f.value -> 'last')::int end + 1]"
)
COMMENT = (
    "comment on view phi.chart_values is 'One row per patient, field and voice: the value that holds and the event"
    " it came from last; is_finding tells a provider''s finding from the value beside it.'"
)


def upgrade() -> None:
    _retype("json", VALUES)
    for table, column in SEALED:
        op.execute(f"alter table phi.{table} alter {column} set storage external")


def downgrade() -> None:
    for table, column in SEALED:
        op.execute(f"alter table phi.{table} alter {column} set storage extended")
    _retype("jsonb", VALUES_BEFORE)


def _retype(kind: str, values: str) -> None:
    op.execute("drop view phi.chart_values")
    for statement in unmapped.DROP:
        op.execute(statement)
    op.execute("alter table phi.charts alter verified drop default")
    for table, column in DOCUMENTS:
        op.execute(f"alter table phi.{table} alter {column} type {kind} using {column}::{kind}")
    op.execute(f"alter table phi.charts alter verified set default '{{}}'::{kind}")
    for statement in (values, COMMENT, unmapped.INDEX, unmapped.VIEW, unmapped.COMMENT):
        op.execute(statement)
