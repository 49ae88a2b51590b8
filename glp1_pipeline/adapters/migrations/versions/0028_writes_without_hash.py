"""A write keeps no hash of its body: nobody asks for it, and a sealed body that was changed does not open"""

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.drop_column("writes", "sha256", schema="ops")


def downgrade() -> None:
    # The hashes are gone, and no code ever asked for one.
    op.execute("alter table ops.writes add column sha256 bytea not null default ''")
    op.execute("alter table ops.writes alter sha256 drop default")
    op.execute("comment on column ops.writes.sha256 is 'Hash of the exact bytes.'")
