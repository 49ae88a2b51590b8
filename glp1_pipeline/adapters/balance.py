"""Whether everything adds up: the ledger's balance, what is on its way, and the state's fingerprint.

Here: counts alone. Not here: the EHR and the CRM read back (`ehr_compare`, `crm_compare`), and mending what does not
add up (`charts`, `outbox`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field

import psycopg

from .balance_parts import STATUSES, Part, balance_by_part, faults_of

# What means something, table by table: no clock, no counter of ours, so that a replay leaves it as it was.
MEANING = {
    "events": "select event_id, encode(sha256, 'hex'), status, reason, record_id from phi.events",
    "identifiers": "select system, value, record_id from phi.identifiers",
    "told_identifiers": "select distinct system, value, record_id from phi.told_identifiers",
    "patient_values": "select event_id, record_id, source, form_version, status, authored_at at time zone 'utc', voice,"
    " doc::jsonb, contradictions, held, contract_version, medication, refill from phi.patient_values",
    "charts": "select patient_id, stage, doc::jsonb, verified::jsonb, events, contract_version from phi.charts",
    "patient_matches": "select record_a, record_b, outcome, weight, agreements, guards from ops.patient_matches",
    "match_decisions": "select action, record_a, record_b, decided_at at time zone 'utc' from phi.match_decisions",
    "patient_links": "select record_id, patient_id from ops.patient_links where record_id <> patient_id",
    "risk_flags": "select patient_id, flag_id, severity, status, fields, event_id from phi.risk_flags"
    " where status <> 'cleared'",
    "gate_results": "select patient_id, gate_id, gate_version, outcome, missing, score from ops.gate_results",
    "medication_courses": "select patient_id, family, state, since at time zone 'utc', product, dose_mg, dose_since at"
    " time zone 'utc', last_dose_at at time zone 'utc', runs_out_at at time zone 'utc', told, findings,"
    " contract_version from phi.medication_courses",
    "medication_transitions": "select patient_id, family, move, from_state, to_state, outcome, reason, event_id,"
    " moved_at at time zone 'utc', contract_version from ops.medication_transitions",
    "follow_ups": "select followup_id, patient_id, family, status, began_at at time zone 'utc', opens_at at time zone"
    " 'utc', due_at at time zone 'utc', missed_at at time zone 'utc', window_at at time zone 'utc', runs_out_at at time"
    " zone 'utc', answered_at at time zone 'utc', was_missed, missing, ended_at at time zone 'utc', contract_version"
    " from ops.follow_ups",
    "refills": "select refill_id, patient_id, family, channel, status, outcome, decided_by, reasons, since at time zone"
    " 'utc', until_at at time zone 'utc', requested_at at time zone 'utc', queued_at at time zone 'utc', ended_at at"
    " time zone 'utc', decisions, decision_id, is_overridden, is_against_hold, event_id, contract_version"
    " from ops.refills",
    "refill_overrides": "select event_id, refill_id, patient_id, rules, flags, reason, role, actor, since at time zone"
    " 'utc', expires_at at time zone 'utc' from ops.refill_overrides",
    "clocks": "select patient_id, next_at at time zone 'utc', moment, of_id, name, record_id from ops.clocks",
    "tasks": "select patient_id, code, cause, queue, owner from ops.tasks where status = 'open'",
    "provider_queue": "select patient_id, reds, ambers from ops.provider_queue where left_at is null",
    "copies": "select target, patient_id, planned from ops.copies",
}


ON_THE_WAY = (
    "select 'events', count(*) from phi.events where status = 'waiting'"
    " union all select 'drops', count(*) from ops.drops where state = 'reading'"
    " union all select 'moments', count(*) from ops.clocks where rung_at is null and next_at <= now()"
    " union all select 'changes', count(*) from ops.writes where status in ('ready', 'in_doubt')"
)
"""One statement, so that what passes from one hand to the next meanwhile is seen in one of them."""


def on_the_way(connection: psycopg.Connection) -> dict[str, int]:
    """What is read, due, waiting or being delivered, in counts; empty when all is at rest but the landing zone."""
    return {name: n for name, n in connection.execute(ON_THE_WAY).fetchall() if n}


def fingerprint(connection: psycopg.Connection) -> dict[str, str]:
    """A hash per table and one of all (`state`), independent of row order and of when anything was done.

    Sums 64-bit hashes of rows, so memory stays flat at any size.
    """
    found = {}
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute("set local time zone 'UTC'; set local datestyle to iso")  # rows are hashed as text
        for name, meaning in MEANING.items():
            hashes = ", ".join(
                f"coalesce(sum(hashtextextended(words, {seed})::numeric), 0) % 18446744073709551616" for seed in (1, 2)
            )
            # `unnest` holds a row's words: written into both hashes they would be made twice, and cost the most of all.
            row = connection.execute(
                f"select count(*), {hashes} from ({meaning}) as r, unnest(array[r::text]) as words".encode()
            ).fetchone()
            assert row is not None  # an aggregate always answers
            rows, first, second = row
            found[name] = f"{rows}-{int(first) & (2**64 - 1):016x}{int(second) & (2**64 - 1):016x}"
    found["state"] = hashlib.sha256("|".join(f"{k}={v}" for k, v in sorted(found.items())).encode()).hexdigest()[:32]
    return found


@dataclass
class Balance:
    """received = charted + waiting + rejected + dead, and what else must hold with it."""

    received: int = 0
    """Different events and quarantined lines, as counted while the drops were read."""
    charted: int = 0
    waiting: int = 0
    rejected: int = 0
    dead: int = 0
    lines: int = 0
    duplicates: int = 0
    refused_drops: int = 0
    patients: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list, repr=False)
    """The same by day of receipt, source and type."""
    faults: list[str] = field(default_factory=list)
    """What does not hold, in words with counts."""

    @property
    def holds(self) -> bool:
        return not self.faults

    def count_fault(self, count: int, words: str) -> None:
        if count:
            self.faults.append(f"{count} {words}")

    def as_dict(self) -> dict:
        """The whole, without its parts, which are as many as there are days, sources and types."""
        told = asdict(self) | {"holds": self.holds}
        del told["parts"]
        return told


def balance(connection: psycopg.Connection, *, is_by_clock: bool = False) -> Balance:
    """Count everything in one snapshot; every equation that does not hold is a fault: of the whole, and of each day,
    source and type. `is_by_clock`: asked again in minutes, so of copies only those that were delivered to lately are
    looked at."""
    found = Balance()
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")

        def one(sql: str) -> tuple:
            row = connection.execute(sql.encode()).fetchone()
            assert row is not None  # an aggregate always answers
            return row

        events, rejected, found.lines, found.duplicates = one(
            "select coalesce(sum(events), 0)::bigint, coalesce(sum(rejected), 0)::bigint,"
            " coalesce(sum(lines), 0)::bigint, coalesce(sum(duplicates), 0)::bigint from ops.drops"
        )
        found.received = events + rejected
        (found.refused_drops,) = one("select count(*) from ops.drops where state = 'refused'")
        parts = found.parts = balance_by_part(connection)
        for status in STATUSES:
            setattr(found, status, sum(getattr(part, status) for part in parts))
        (found.patients,) = one("select count(*) from phi.charts")
        found.writes = dict(connection.execute("select status, count(*) from ops.writes group by status").fetchall())
        told = found.charted + found.waiting + found.rejected + found.dead
        found.count_fault(sum(part.others for part in parts), "events have a status nobody knows")
        found.count_fault(
            found.received - told, "events were received and are not in the ledger (or the other way round)"
        )
        found.count_fault(
            found.lines - found.received - found.duplicates, "lines were read and are no event or duplicate"
        )
        found.faults += faults_of(parts)
        unfinished = UNFINISHED.format(DELIVERED_LATELY if is_by_clock else "")
        for fault, sql in (*FAULTS.items(), ("patients have delivered writes and an unfinished copy", unfinished)):
            found.count_fault(one(f"select count(*) from ({sql}) as fault")[0], fault)
    return found


FAULTS = {
    "charted events say nothing in patient_values": "select from phi.events e where status = 'charted' and not exists"
    " (select from phi.patient_values v where v.event_id = e.event_id)"
    " and not exists (select from phi.match_decisions d where d.event_id = e.event_id)",
    "values come from an event that is not charted": "select from phi.patient_values v where not exists"
    " (select from phi.events e where e.event_id = v.event_id and e.status = 'charted')",
    "patients have values and no chart": "select from phi.patient_values v left join ops.patient_links l"
    " using (record_id) where not exists (select from phi.charts c"
    " where c.patient_id = coalesce(l.patient_id, v.record_id) and v.event_id = any(c.events))",
    "records are part of another's patient and have a chart, work or a place in the queue": "select"
    " from ops.patient_links l where l.record_id <> l.patient_id and ("
    "exists (select from phi.charts c where c.patient_id = l.record_id)"
    " or exists (select from ops.gate_results g where g.patient_id = l.record_id)"
    " or exists (select from phi.risk_flags f where f.patient_id = l.record_id and f.status <> 'cleared')"
    " or exists (select from ops.tasks t where t.patient_id = l.record_id and t.status = 'open')"
    " or exists (select from ops.provider_queue q where q.patient_id = l.record_id and q.left_at is null)"
    " or exists (select from phi.medication_courses m where m.patient_id = l.record_id)"
    " or exists (select from ops.follow_ups u where u.patient_id = l.record_id)"
    " or exists (select from ops.refills r where r.patient_id = l.record_id)"
    " or exists (select from ops.clocks k where k.patient_id = l.record_id)"
    " or exists (select from ops.field_conflicts c where c.patient_id = l.record_id and c.closed_at is null))",
    # With the fault above: each value is in its patient's chart, and in no other.
    "charts have more events than there are values": "select from (select (select coalesce(sum(cardinality(events)), 0)"
    " from phi.charts) as charted, (select count(*) from phi.patient_values) as said) as n where charted > said",
    # A body may be pruned once later writes were delivered. Looked for first: else each write would be asked for its
    # later ones.
    "writes have no body to send": "with bodiless as materialized (select target, patient_id, n, status"
    " from ops.writes w where not exists (select from phi.write_bodies b where b.write_id = w.write_id))"
    " select from bodiless w where w.status <> 'delivered' or not exists"
    " (select from ops.writes l where l.target = w.target and l.patient_id = w.patient_id and l.n > w.n"
    " and l.status = 'delivered')",
    "open writes are in no lane that would carry them": "select from ops.writes w where status in ('ready', 'in_doubt')"
    " and not exists (select from ops.lanes l where l.target = w.target and l.patient_id = w.patient_id"
    " and l.has_work)",
    "patients passed the gate, are not treated, and are not in the queue": "select from ops.gate_results g where"
    " outcome = 'passed' and exists (select from phi.charts c where c.patient_id = g.patient_id and"
    " c.stage = 'clinical_review') and not exists"
    " (select from ops.provider_queue q where q.patient_id = g.patient_id and q.left_at is null)",
    "refills were decided and the decision is not kept": "select from ops.refills r where not exists"
    " (select from phi.refill_decisions d where d.decision_id = r.decision_id)",
    "patients are in the queue without having passed": "select from ops.provider_queue q where left_at is null and not"
    " exists (select from ops.gate_results g where g.patient_id = q.patient_id and g.outcome = 'passed')",
}
# All keys at once: asked for one by one, a document would be unpacked for each of them. What is in conflict has its
# name there, and waits for a person: one address that two patients gave leaves the second without a contact.
UNFINISHED = (
    "select from ops.copies c where {} not exists (select from ops.writes w where w.target = c.target"
    " and w.patient_id = c.patient_id and w.status not in ('delivered', 'cancelled'))"
    " and not (c.remote || c.conflicts) ?& array(select jsonb_object_keys(c.planned))"
)
DELIVERED_LATELY = (
    "(c.target, c.patient_id) in (select w.target, w.patient_id from ops.deliveries d join ops.writes w"
    " using (write_id) where d.delivered_on >= (now() at time zone 'utc')::date - 2) and"
)
"""A copy changes with its writes. To unpack the documents of all costs more than all the rest together."""
