"""What one submission touches lies together: the patient comes first in each index, and newcomers on new pages"""

from alembic import op

revision = "0030"
down_revision = "0029"

HARDLY_EVER_CHANGE = ("phi.patient_values", "phi.write_bodies", "phi.charts", "phi.people", "phi.people_keys")


def upgrade() -> None:
    _turn("patient_id, target", "patient_id, task_id", "patient_id, target, n")
    op.drop_index("tasks_patient", "tasks", schema="ops")
    op.drop_index("people_keys_record", "people_keys", schema="phi")
    # A copy doubles when it is delivered. With room for that it stays where it is; without, the gaps of old pages were
    # filled with newcomers, and each such page was logged whole, twice.
    op.execute("alter table ops.copies set (fillfactor = 45)")
    # The vacuum that sees a page first also freezes it, and no other must log it whole again.
    for table in HARDLY_EVER_CHANGE:
        op.execute(f"alter table {table} set (autovacuum_freeze_min_age = 0)")
    op.execute(
        "insert into ops.breakers (target, state, changed_at) select distinct target, 'closed', now() from ops.copies"
        " on conflict do nothing"
    )


def downgrade() -> None:
    _turn("target, patient_id", "task_id", "target, patient_id, n")
    op.create_index("tasks_patient", "tasks", ["patient_id"], schema="ops")
    op.create_index("people_keys_record", "people_keys", ["record_id"], schema="phi")
    op.execute("alter table ops.copies reset (fillfactor)")
    for table in HARDLY_EVER_CHANGE:
        op.execute(f"alter table {table} reset (autovacuum_freeze_min_age)")


def _turn(of_a_target: str, of_a_task: str, of_a_write: str) -> None:
    for table, columns in {"copies": of_a_target, "lanes": of_a_target, "tasks": of_a_task}.items():
        op.execute(f"alter table ops.{table} drop constraint {table}_pkey, add primary key ({columns})")
    op.execute("drop index ops.writes_key")
    op.execute(f"create unique index writes_key on ops.writes ({of_a_write})")
