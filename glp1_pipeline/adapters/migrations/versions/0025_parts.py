"""What was received by day, source and type; which run took and settled an event; why an attempt did not deliver"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"

PARTS = "By day of receipt, source (a hash of it) and type: how many events and quarantined lines were read."
TAKEN_BY_RUN = "Run of Dagster that took it in; empty where none did."
SETTLED_BY_RUN = "Run of Dagster in which its fate was sealed; empty where none did it."
TROUBLE = "Class of what kept the attempt from delivering; empty where nothing did."
OF_THIS_RUN = sa.text("nullif(current_setting('glp1.run_id', true), '')")
# What came before is taken as it is: the equation of the whole held it until now.
OF_BEFORE = (
    "update ops.drops d set parts = p.parts from (select drop_id, jsonb_object_agg(part, n) as parts from"
    " (select drop_id, to_char(received_on, 'YYYY-MM-DD') || '|' || coalesce(left(encode(sha256(convert_to(source,"
    " 'UTF8')), 'hex'), 4), '') || '|' || coalesce(type, '') as part, count(*) as n from phi.events group by 1, 2)"
    " as one group by drop_id) as p where p.drop_id = d.drop_id"
)


def upgrade() -> None:
    parts = sa.Column("parts", JSONB(), nullable=False, server_default="{}", comment=PARTS)
    op.add_column("drops", parts, schema="ops")
    taken = sa.Column("taken_by_run", sa.Text(), server_default=OF_THIS_RUN, comment=TAKEN_BY_RUN)
    op.add_column("events", taken, schema="phi")
    op.add_column("events", sa.Column("settled_by_run", sa.Text(), comment=SETTLED_BY_RUN), schema="phi")
    op.add_column("deliveries", sa.Column("trouble", sa.Text(), comment=TROUBLE), schema="ops")
    op.execute(OF_BEFORE)


def downgrade() -> None:
    op.drop_column("deliveries", "trouble", schema="ops")
    op.drop_column("events", "settled_by_run", schema="phi")
    op.drop_column("events", "taken_by_run", schema="phi")
    op.drop_column("drops", "parts", schema="ops")
