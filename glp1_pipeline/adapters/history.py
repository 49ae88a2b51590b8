"""Who said what of a patient, when, and what the chart held before and after: what an auditor asks.

Here: putting together what the ledger, the decisions of people and the plans hold. Not here: what is unmet now
(`status`), and one event's way to the other systems (`trace`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg

from ..domain import gates
from ..domain.chart import Reported
from ..domain.charting import GATE
from ..domain.contract import STEWARD, Contract
from ..domain.events import Decision, Refused, Submission, parse_event
from ..domain.past import Past
from .audit import FILE
from .charts.reports import reports_of
from .cipher import Cipher
from .documents import read_document
from .replay import tree
from .status import records_of


def history(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    home: Path,
    patient_id: str,
    field: str | None = None,
) -> dict[str, Any]:
    """All that was said of a patient and done about it, oldest first, each with who, why and where the proof is. With
    a `field`: its values, and of all that was said what names it or changed it.

    What the chart held is worked out as it was known at each moment, from what is charted now: by the contract of
    the last replay, and of all records that are one patient now.
    """
    records = records_of(connection, patient_id)
    reports = {report.event_id: report for report in reports_of(connection, records)}
    held = _held(contract, patient_id, [*reports.values()], field) if field else {}
    found = [
        entry
        for entry in _events(connection, contract, cipher, records, reports, held, field)
        if field is None or field in entry["fields"] or entry["about"] or entry.get("before") != entry.get("after")
    ]
    found += [*_replays(connection, records, field), *_rollbacks(connection, records), *_settled(home, records)]
    found.sort(key=lambda entry: entry["at"])
    return {"patient_id": patient_id, "records": records, "field": field, "history": found}


def _held(
    contract: Contract, patient_id: str, reports: list[Reported], field: str
) -> dict[datetime, tuple[dict[str, Any], dict[str, Any]]]:
    """Of each moment at which something was heard: what the chart held of the field before it, and from then on."""
    if not reports:
        return {}
    past = Past(contract, patient_id, reports, gates.passes(contract, contract.gates[GATE]))
    held, before = {}, {}
    for at in sorted({report.received_at for report in reports}):
        chart = past.chart_at(at)
        voices = {"value": chart.values, "finding": chart.verified}
        after = {voice: values[field] for voice, values in voices.items() if field in values}
        held[at], before = (before, after), after
    return held


def _events(
    connection: psycopg.Connection,
    contract: Contract,
    cipher: Cipher,
    records: list[str],
    reports: dict[str, Reported],
    held: dict[datetime, tuple[dict[str, Any], dict[str, Any]]],
    field: str | None,
) -> Iterator[dict[str, Any]]:
    disputes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event_id, *dispute in connection.execute(
        "select event_id::text, field, owner, outcome, rule, closed_at from ops.field_conflicts"
        " where patient_id = any(%s::uuid[]) and (%s::text is null or field = %s) order by field",
        (records, field, field),
    ):
        disputes[event_id].append(dict(zip(("field", "against", "outcome", "rule", "closed_at"), dispute, strict=True)))
    for event_id, record, kind, source, status, received, occurred, version, kid, body, pair in connection.execute(
        "select e.event_id::text, e.record_id::text, e.type, e.source, e.status, e.received_at, e.occurred_at,"
        " v.contract_version, e.kid, e.body, array[d.record_a, d.record_b]::text[] from phi.events e"
        " left join phi.patient_values v using (event_id) left join phi.match_decisions d using (event_id)"
        " where e.event_id in (select event_id from phi.events where record_id = any(%(records)s::uuid[]) union"
        " select event_id from phi.match_decisions where record_a = any(%(records)s::uuid[])"
        " or record_b = any(%(records)s::uuid[])) order by e.seq",
        {"records": records},
    ):
        document = read_document(cipher.open(kid, bytes(body), f"events|{event_id}"), was_accepted=True)
        report = reports.get(event_id)
        entry = {
            "at": report.received_at if report else occurred,
            "what": kind,
            "event_id": event_id,
            "record": record,
            "source": source,
            "status": status,
            **_word(contract, document),
            "said_at": report.said_at if report else occurred,
            "in_ledger_since": received,
            "voice": report.voice if report else None,
            "contract_version": version,
            "fields": sorted(report.values) if report else [],
            "tells": _kind(report),
            "about": [one for one in pair if one],
            "disputes": disputes[event_id],
        }
        if field and report:
            entry |= {"said": report.values.get(field)}
            entry["before"], entry["after"] = held[report.received_at]
        yield entry


def _word(contract: Contract, document: dict[str, Any]) -> dict[str, str]:
    """Whose word it is, as what, and why: what reading an event holds to names, and of a steward the reason that they
    gave. Whatever else another system sends under these names may be a value."""
    try:
        event, told = parse_event(document, contract)
    except Refused:  # by the contract of then it was an event
        return {}
    if isinstance(told, Submission):
        return {}
    of_steward = ("reason",) if isinstance(told, Decision) or told.system == STEWARD else ()
    names = [name for name in ("role", "reason_code") if name in contract.event_types[event.type].data]
    said = {"actor": told.actor} | {name: document["data"].get(name) for name in (*names, *of_steward)}
    return {name: word for name, word in said.items() if word}


def _kind(report: Reported | None) -> str | None:
    """What it says of a treatment, a refill or the patient, beside the values of fields."""
    facts = () if report is None else (report.medication, report.refill)
    return next((fact["kind"] for fact in facts if fact is not None), None)


def _replays(connection: psycopg.Connection, records: list[str], field: str | None) -> Iterator[dict[str, Any]]:
    for plan_id, version, actor, reason, at, events, changed in connection.execute(
        "select p.plan_id::text, p.contract_version, p.actor, p.reason, max(c.done_at), count(*),"
        " p.changed from phi.events e join ops.replay_plan_events c using (event_id)"
        " join ops.replay_plans p using (plan_id) where e.record_id = any(%s::uuid[]) and c.done_at is not null"
        " group by p.plan_id",
        (records,),
    ):
        entry = {"at": at, "what": "replayed", "plan_id": plan_id, "actor": actor, "reason": reason, "events": events}
        of_field = {"changed": tree(changed or {}).get("fields", {}).get(field, {})} if field else {}
        yield entry | {"contract_version": version} | of_field


def _rollbacks(connection: psycopg.Connection, records: list[str]) -> Iterator[dict[str, Any]]:
    for plan_id, actor, reason, at, outcomes, released, by, why in connection.execute(
        "select p.plan_id::text, p.actor, p.reason, coalesce(p.settled_at, p.approved_at),"
        " (select jsonb_object_agg(outcome, n) from (select r.outcome, count(*) n from ops.rollback_resources r"
        "  where r.plan_id = p.plan_id and r.patient_id = any(%(records)s::uuid[]) group by 1) as by_outcome),"
        " p.released_at, p.released_by, p.released_because from ops.rollback_plans p where exists"
        " (select from ops.rollback_resources r where r.plan_id = p.plan_id"
        " and r.patient_id = any(%(records)s::uuid[]))",
        {"records": records},
    ):
        yield {
            "at": at, "what": "taken back", "plan_id": plan_id, "actor": actor, "reason": reason, "resources": outcomes,
        }  # fmt: skip
        if released:
            yield {"at": released, "what": "released", "plan_id": plan_id, "actor": by, "reason": why}


def _settled(home: Path, records: list[str]) -> Iterator[dict[str, Any]]:
    """What somebody decided of the patient's resources in another system: the audit keeps it beside the database."""
    file = home / FILE
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # half a line, where the disk was full: nothing was done then
        if told.get("patient") in records:
            yield {**told, "at": datetime.fromisoformat(told["at"])}
