"""Who is who: identifiers, what records say of a person, matches, and what was made one."""

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .declaring import instant, metadata, required

identifiers = Table(
    "identifiers",
    metadata,
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    required("record_id", Uuid),
    required("learned_by", Uuid),
    instant("learned_at", nullable=False),
    schema="phi",
    comment="The crosswalk: one row per identifier that a system gave a record, and the event that taught us.",
)
Index("identifiers_record", identifiers.c.record_id)

told_identifiers = Table(
    "told_identifiers",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    required("record_id", Uuid),
    schema="phi",
    comment="One row per event and identifier that it tells of its person beside the one it goes by: a member id, a "
    "record number. Several people may have the same. The view phi.crosswalk shows these and the others.",
)
Index("told_identifiers_value", told_identifiers.c.value)
Index("told_identifiers_record", told_identifiers.c.record_id)

people = Table(
    "people",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    required("features", JSONB),
    instant("first_at", nullable=False),
    schema="phi",
    comment="One row per record that says who it is: what matching compares, in one spelling.",
)

people_keys = Table(
    "people_keys",
    metadata,
    Column("key", BigInteger, primary_key=True),
    Column("record_id", Uuid, primary_key=True),
    schema="phi",
    comment="One row per record and thing that a likely match shares with it, hashed: candidates are found by it.",
)

patient_matches = Table(
    "patient_matches",
    metadata,
    Column("record_a", Uuid, primary_key=True),
    Column("record_b", Uuid, primary_key=True),
    required("outcome", Text),
    required("basis", Text),
    required("weight", Double),
    required("agreements", ARRAY(Text)),
    required("guards", ARRAY(Text)),
    instant("since", nullable=False),
    schema="ops",
    comment="One row per pair of records that look like one person, a before b. outcome: same (joined by itself) or "
    "review (a person must decide). basis: model or exact.",
)
Index("patient_matches_b", patient_matches.c.record_b)
Index("patient_matches_review", patient_matches.c.since, postgresql_where=text("outcome = 'review'"))

match_decisions = Table(
    "match_decisions",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    required("action", Text),
    required("record_a", Uuid),
    required("record_b", Uuid),
    required("actor", Text),
    required("reason", Text),
    instant("decided_at", nullable=False),
    schema="phi",
    comment="One row per decision about two records, as its event says. action: merge (a survives), unmerge, "
    "not_a_match, or asked (another system made them one after that). The newest of a pair holds.",
)
Index("match_decisions_a", match_decisions.c.record_a)
Index("match_decisions_b", match_decisions.c.record_b)

patient_links = Table(
    "patient_links",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    required("patient_id", Uuid),
    instant("since", nullable=False),
    schema="ops",
    comment="One row per record that was ever part of another's patient, and whose it is now: its own id again after "
    "an un-merge.",
)
Index("patient_links_patient", patient_links.c.patient_id)
