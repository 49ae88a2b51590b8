"""Check-ins, refills and the patients' clocks: kept with the chart in one transaction.

A patient's rows are replaced as a whole, but for requests that ended before the batch; decisions are only ever added.
Here: writing. Not here: what is decided (`domain.refill`), and asking (`adapters.refills`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import psycopg

from ...domain.charting import Known, PatientOutcome
from ...domain.contract import Contract
from ...domain.refill import Refill, record_of
from ..cipher import Cipher
from ..copying import copy_rows

FOLLOW_UP = (
    "followup_id", "patient_id", "family", "status", "began_at", "opens_at", "due_at", "missed_at", "window_at",
    "runs_out_at", "answered_at", "was_missed", "missing", "ended_at", "contract_version",
)  # fmt: skip
REFILL = (
    "refill_id", "patient_id", "family", "channel", "status", "outcome", "decided_by", "reasons", "since", "until_at",
    "requested_at", "queued_at", "ended_at", "decisions", "decision_id", "is_overridden", "is_against_hold", "event_id",
    "contract_version",
)  # fmt: skip
OVERRIDE = (
    "event_id", "refill_id", "patient_id", "rules", "flags", "reason", "role", "actor", "since", "expires_at",
)  # fmt: skip
DECISION = (
    "decision_id", "refill_id", "as_of", "outcome", "decided_by", "rules_version", "sha256", "kid", "body", "made_at",
)  # fmt: skip


def save_refills(
    connection: psycopg.Connection,
    cipher: Cipher,
    contract: Contract,
    outcomes: Sequence[PatientOutcome],
    known: Known,
    now: datetime,
    retired: Collection[str],
) -> None:
    """Replace what stands, add what was decided. Nothing is asked for new patients who have none: a bulk load."""
    before = known.patients | known.moved
    gone = [*retired, *(o.chart.patient_id for o in outcomes if o.chart.patient_id in before and not o.follow_ups)]
    old = [o.chart.patient_id for o in outcomes if o.chart.patient_id in before] + [*retired]
    if old:
        connection.execute("delete from ops.follow_ups where patient_id = any(%s::uuid[])", (old,))
    found = [(o.chart.patient_id, refill) for o in outcomes for refill in o.refills]
    # A request is one of the patient whose record asked: after a merge another's, after an un-merge one's own again.
    again = [refill.refill_id for _, refill in found]
    moved = [*retired, *known.moved]
    if again or moved:
        for table in (b"ops.refill_overrides", b"ops.refills"):
            connection.execute(
                b"delete from " + table + b" where refill_id = any(%s::uuid[]) or patient_id = any(%s::uuid[])",
                (again, moved),
            )
    _save_clocks(connection, outcomes, [*old, *gone])
    version = contract.version
    copy_rows(connection, "ops.follow_ups", FOLLOW_UP, [
        (f.followup_id, o.chart.patient_id, f.family, f.status, f.began_at, f.moments.opens_at, f.moments.due_at,
         f.moments.missed_at, f.moments.window_at, f.moments.runs_out_at, f.answered_at, f.was_missed,
         [f"{name}:{state}" for name, state in f.missing], f.ended_at, version)
        for o in outcomes for f in o.follow_ups
    ])  # fmt: skip
    if not found:
        return
    ids = _save_decisions(connection, cipher, contract, [refill for _, refill in found], now)
    copy_rows(connection, "ops.refills", REFILL, [
        (r.refill_id, patient_id, r.family, r.channel, r.status, r.decision.outcome, r.decision.rule,
         list(r.decision.reasons), r.made[-1].as_of, r.decision.until, r.requested_at, r.queued_at, r.ended_at,
         len(r.made), ids[r.refill_id], bool(r.decision.overridden), r.is_against_hold, r.event_id, version)
        for patient_id, r in found
    ])  # fmt: skip
    copy_rows(connection, "ops.refill_overrides", OVERRIDE, [
        (one.event_id, r.refill_id, patient_id, list(one.rules), list(one.flags), one.reason_code, one.role, one.actor,
         one.since, one.expires_at)
        for patient_id, r in found for one in r.overrides
    ])  # fmt: skip


def _save_decisions(
    connection: psycopg.Connection, cipher: Cipher, contract: Contract, refills: Sequence[Refill], now: datetime
) -> dict[str, str]:
    """Those that are not kept yet; the id of each request's last one."""
    rules = contract.refills
    records = {refill.refill_id: [record_of(refill, made, rules) for made in refill.made] for refill in refills}
    ids = sorted({record.decision_id for made in records.values() for record in made})
    there = {
        str(decision_id)
        for (decision_id,) in connection.execute(
            "select decision_id from phi.refill_decisions where decision_id = any(%s::uuid[])", (ids,)
        )
    }
    new = {r.decision_id: r for made in records.values() for r in made if r.decision_id not in there}
    if new:
        connection.execute(
            "insert into ops.refill_rules (rules_version, document, made_at) values (%s, %s, %s)"
            " on conflict do nothing",
            (rules.version, rules.document.decode(), now),
        )
        seal = cipher.seal_in_transaction()
        copy_rows(connection, "phi.refill_decisions", DECISION, (
            (r.decision_id, r.refill_id, r.as_of, r.outcome, r.rule, rules.version, r.sha256,
             *seal(r.body, f"refill_decisions|{r.decision_id}"), now)
            for r in new.values()
        ))  # fmt: skip
    return {refill_id: made[-1].decision_id for refill_id, made in records.items()}


def _save_clocks(connection: psycopg.Connection, outcomes: Sequence[PatientOutcome], old: Collection[str]) -> None:
    """The next moment of each patient. One that rang already, and is charted still, does not ring again."""
    ticks = [(o.chart.patient_id, o.tick) for o in outcomes if o.tick is not None]
    still = {patient_id for patient_id, _ in ticks}
    if silent := [patient_id for patient_id in old if patient_id not in still]:
        connection.execute("delete from ops.clocks where patient_id = any(%s::uuid[])", (silent,))
    if ticks:
        connection.execute(
            "insert into ops.clocks as c (patient_id, next_at, moment, of_id, name, record_id, set_at) select *, now()"
            " from unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::uuid[], %s::text[], %s::uuid[])"
            " on conflict (patient_id) do update set next_at = excluded.next_at, moment = excluded.moment,"
            " of_id = excluded.of_id, name = excluded.name, record_id = excluded.record_id,"
            " rung_at = case when (c.moment, c.of_id, c.name) = (excluded.moment, excluded.of_id, excluded.name)"
            " then c.rung_at end, set_at = case when (c.moment, c.of_id, c.name, c.next_at) = (excluded.moment,"
            " excluded.of_id, excluded.name, excluded.next_at) then c.set_at else excluded.set_at end",
            (
                [patient_id for patient_id, _ in ticks],
                [tick.at for _, tick in ticks],
                [tick.moment for _, tick in ticks],
                [tick.of for _, tick in ticks],
                [tick.name for _, tick in ticks],
                [tick.record_id for _, tick in ticks],
            ),
        )
