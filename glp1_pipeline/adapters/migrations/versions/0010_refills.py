"""Check-ins, refills, decisions that stay, overrides, and the patients' own clocks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "clocks",
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False, comment="When it is due next."),
        sa.Column(
            "moment", sa.Text(), nullable=False, comment="What is reached then: the kind of event that it becomes."
        ),
        sa.Column("of_id", sa.Uuid(), nullable=False, comment="The check-in or the request that it is about."),
        sa.Column("name", sa.Text(), nullable=False, comment="Which of its moments."),
        sa.Column(
            "record_id",
            sa.Uuid(),
            nullable=False,
            comment="Our opaque id of a person as one system's account knows them.",
        ),
        sa.Column(
            "rung_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the event of it was made; empty until then.",
        ),
        sa.PrimaryKeyConstraint("patient_id"),
        schema="ops",
        comment="One row per patient about whom something changes by itself: when next, and what. rung_at: when the event of it was made; the next moment is worked out when that event is charted.",
    )
    op.create_index(
        "clocks_due", "clocks", ["next_at"], unique=False, schema="ops", postgresql_where=sa.text("rung_at is null")
    )
    op.create_table(
        "follow_ups",
        sa.Column(
            "followup_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the check-in, made from the hand-over that it follows.",
        ),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "family",
            sa.Text(),
            nullable=False,
            comment="Which products: those that share one dose ladder; `unknown` where no product could be told.",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column(
            "began_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the supply was handed over that it follows.",
        ),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=False, comment="When the check-in opens."),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, comment="When the task is due."),
        sa.Column(
            "missed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When a check-in that was not done becomes an exception.",
        ),
        sa.Column("window_at", sa.DateTime(timezone=True), nullable=False, comment="When the refill window opens."),
        sa.Column(
            "runs_out_at", sa.DateTime(timezone=True), nullable=False, comment="When what was handed over runs out."
        ),
        sa.Column(
            "answered_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the check-in was answered whole, by the patient's own clock.",
        ),
        sa.Column("was_missed", sa.Boolean(), nullable=False, comment="Whether the exception came before the answer."),
        sa.Column(
            "missing",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="What is missing, as field:state, never a value.",
        ),
        sa.Column(
            "ended_at", sa.DateTime(timezone=True), nullable=True, comment="When it was over; empty while it goes on."
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("followup_id"),
        schema="ops",
        comment="One row per check-in: of a supply that was handed over, or of a cycle of short ones. status: planned, open, due, missed, completed, or ended (held, stopped, or followed by the next supply before it was due).",
    )
    op.create_index(
        "follow_ups_live",
        "follow_ups",
        ["status", "missed_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index("follow_ups_patient", "follow_ups", ["patient_id"], unique=False, schema="ops")
    op.create_table(
        "refill_overrides",
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column("refill_id", sa.Uuid(), nullable=False, comment="Our id of the request."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "rules", postgresql.ARRAY(sa.Text()), nullable=False, comment="Rules that were let through, by name."
        ),
        sa.Column(
            "flags", postgresql.ARRAY(sa.Text()), nullable=False, comment="Flags that were let through, by name."
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, as a word that can be counted."),
        sa.Column("role", sa.Text(), nullable=False, comment="By which role, from the contract."),
        sa.Column("actor", sa.Text(), nullable=False, comment="Who decided it, as an opaque name."),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="When it ends by itself."),
        sa.PrimaryKeyConstraint("event_id"),
        schema="ops",
        comment="One row per override of a refill's decision: which rules and flags were let through, by whom, for which reason, until when. The words of the reason are in the sealed event alone.",
    )
    op.create_index("refill_overrides_refill", "refill_overrides", ["refill_id"], unique=False, schema="ops")
    op.create_table(
        "refill_rules",
        sa.Column("rules_version", sa.Text(), nullable=False, comment="Hash of the decision table that decided."),
        sa.Column("document", sa.Text(), nullable=False, comment="All of it, as it decided."),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, comment="When it was made."),
        sa.PrimaryKeyConstraint("rules_version"),
        schema="ops",
        comment="One row per version of the decision table that ever decided: with it a record can be decided again years later.",
    )
    op.create_table(
        "refills",
        sa.Column("refill_id", sa.Uuid(), nullable=False, comment="Our id of the request."),
        sa.Column("patient_id", sa.Uuid(), nullable=False, comment="Our own, opaque id of the person."),
        sa.Column(
            "family",
            sa.Text(),
            nullable=False,
            comment="Which products: those that share one dose ladder; `unknown` where no product could be told.",
        ),
        sa.Column(
            "channel",
            sa.Text(),
            nullable=False,
            comment="Over which channel, from the contract; its address is a secret of the installation.",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="Where it stands."),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column(
            "decided_by",
            sa.Text(),
            nullable=False,
            comment="The rule of the decision table that decided, from the contract.",
        ),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False, comment="Why, as names, never a value."),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="Since when it stands so."),
        sa.Column(
            "until_at", sa.DateTime(timezone=True), nullable=True, comment="When it changes by itself, if it does."
        ),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False, comment="When it was asked for."),
        sa.Column(
            "queued_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it reached the provider's queue first.",
        ),
        sa.Column(
            "ended_at", sa.DateTime(timezone=True), nullable=True, comment="When it was over; empty while it goes on."
        ),
        sa.Column(
            "decisions",
            sa.Integer(),
            nullable=False,
            comment="How many decisions were made, each other than the one before.",
        ),
        sa.Column("decision_id", sa.Uuid(), nullable=False, comment="Id of the decision, made from its content."),
        sa.Column(
            "is_overridden",
            sa.Boolean(),
            nullable=False,
            comment="Whether a person let a rule of its last decision through.",
        ),
        sa.Column(
            "is_against_hold",
            sa.Boolean(),
            nullable=False,
            comment="Whether the refill went on although its decision held it.",
        ),
        sa.Column(
            "event_id",
            sa.Uuid(),
            nullable=False,
            comment="Id of the event, made from its source and the source's own id.",
        ),
        sa.Column(
            "contract_version",
            sa.Text(),
            nullable=False,
            comment="Hash of the contract files that it was computed with.",
        ),
        sa.PrimaryKeyConstraint("refill_id"),
        schema="ops",
        comment="One row per request of a refill: how it was decided last, and how it ended. status: open, approved, denied, dispensed, replaced (by a newer request) or closed (the treatment ended).",
    )
    op.create_index(
        "refills_open",
        "refills",
        ["outcome", "since"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("refills_patient", "refills", ["patient_id"], unique=False, schema="ops")
    op.create_table(
        "refill_decisions",
        sa.Column("decision_id", sa.Uuid(), nullable=False, comment="Id of the decision, made from its content."),
        sa.Column("refill_id", sa.Uuid(), nullable=False, comment="Our id of the request."),
        sa.Column(
            "as_of",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The moment that it was decided for: nothing that came later counts.",
        ),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What came of it."),
        sa.Column(
            "decided_by",
            sa.Text(),
            nullable=False,
            comment="The rule of the decision table that decided, from the contract.",
        ),
        sa.Column("rules_version", sa.Text(), nullable=False, comment="Hash of the decision table that decided."),
        sa.Column("sha256", sa.LargeBinary(), nullable=False, comment="Hash of the exact bytes."),
        sa.Column("kid", sa.Text(), nullable=False, comment="Id of the key that sealed it."),
        sa.Column(
            "body",
            sa.LargeBinary(),
            nullable=False,
            comment="The exact bytes, squeezed and sealed under a key of their own.",
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, comment="When it was made."),
        sa.PrimaryKeyConstraint("decision_id"),
        schema="phi",
        comment="One row per decision on a refill, for ever: every input, the rules' version, the overrides and the outcome, sealed. A row is never changed, but for the key that seals it, and never deleted.",
    )
    op.create_index("refill_decisions_refill", "refill_decisions", ["refill_id", "as_of"], unique=False, schema="phi")
    op.add_column(
        "tasks",
        sa.Column(
            "rests_on",
            sa.Uuid(),
            nullable=True,
            comment="What it is about: an event, a check-in or a request; another one is new work.",
        ),
        schema="ops",
    )
    op.add_column(
        "patient_values",
        sa.Column(
            "refill",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What the event says of a refill, a flag or the patient's clock; no free text.",
        ),
        schema="phi",
    )

    op.execute(
        """
        create function phi.refill_decision_stays() returns trigger language plpgsql as $$
        begin
            if tg_op = 'UPDATE' and (new.decision_id, new.refill_id, new.as_of, new.outcome, new.decided_by,
                new.rules_version, new.sha256, new.made_at) is not distinct from (old.decision_id, old.refill_id,
                old.as_of, old.outcome, old.decided_by, old.rules_version, old.sha256, old.made_at) then
                return new;  -- another key seals the same content
            end if;
            raise exception 'a decision on a refill is never changed and never deleted';
        end $$
        """
    )
    op.execute(
        "create trigger refill_decision_stays before update or delete on phi.refill_decisions"
        " for each row execute function phi.refill_decision_stays()"
    )


def downgrade() -> None:
    op.drop_column("patient_values", "refill", schema="phi")
    op.drop_column("tasks", "rests_on", schema="ops")
    op.drop_index("refill_decisions_refill", table_name="refill_decisions", schema="phi")
    op.drop_table("refill_decisions", schema="phi")
    op.drop_index("refills_patient", table_name="refills", schema="ops")
    op.drop_index("refills_open", table_name="refills", schema="ops", postgresql_where=sa.text("status = 'open'"))
    op.drop_table("refills", schema="ops")
    op.drop_table("refill_rules", schema="ops")
    op.drop_index("refill_overrides_refill", table_name="refill_overrides", schema="ops")
    op.drop_table("refill_overrides", schema="ops")
    op.drop_index("follow_ups_patient", table_name="follow_ups", schema="ops")
    op.drop_index(
        "follow_ups_live", table_name="follow_ups", schema="ops", postgresql_where=sa.text("ended_at is null")
    )
    op.drop_table("follow_ups", schema="ops")
    op.drop_index("clocks_due", table_name="clocks", schema="ops", postgresql_where=sa.text("rung_at is null"))
    op.drop_table("clocks", schema="ops")
    op.execute("drop function phi.refill_decision_stays()")
