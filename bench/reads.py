"""Reads at size: what people, sensors and schedules wait for while the ledger holds ten thousand events, and far more.

Each question is asked by the function that its command, sensor or asset calls. The tables are filled as in `grow`, over
a year: nearly all is old and settled, as in a ledger that has been in use. Not here: what a new submission costs
(`grow`), and what the EHR and the CRM answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from glp1_pipeline.adapters import (
    alerts,
    charts,
    clock,
    dbt,
    followups,
    hops,
    ledger,
    matches,
    metrics,
    orders,
    outbox,
    refills,
    refused,
    replay,
    retention,
    status,
)
from glp1_pipeline.adapters.balance import balance, fingerprint, on_the_way
from glp1_pipeline.adapters.charts import conflicts, medication
from glp1_pipeline.adapters.crosswalk import find_patient
from glp1_pipeline.adapters.ehr import hints
from glp1_pipeline.adapters.health_page import page
from glp1_pipeline.adapters.outbox import lanes
from glp1_pipeline.adapters.trace import trace
from glp1_pipeline.adapters.unmapped import count_unmapped, unmapped_spellings
from glp1_pipeline.defs.alerts import book_and_world
from glp1_pipeline.defs.health import look
from glp1_pipeline.defs.intake import BACKLOG
from glp1_pipeline.defs.maintenance import prune_by_settings
from glp1_pipeline.defs.refill import PROVEN_EACH
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.contract import CRM, EHR
from glp1_pipeline.sandbox.program import build
from glp1_pipeline.sandbox.program.run import Place
from glp1_pipeline_tests.sample_inputs import ndjson

from .grow import fill
from .place import fresh_postgres
from .results import keep, machine, table

SIZES = (10_000, 100_000, 300_000, 1_000_000)
DAYS = 365
LINES, TREATED = 2_000, 100
"""The seed: submissions, and patients with three months of treatment."""
Question = Callable[[psycopg.Connection], Any]


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("reads", help="what people, sensors and schedules wait for as the tables grow")
    parser.add_argument("--to", type=int, default=300_000, help="rows of the ledger at the end")
    parser.add_argument("--samples", type=int, default=3, help="times that each is asked; the least busy one counts")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    sizes = [size for size in SIZES if size <= chosen.to]
    took: dict[tuple[str, str], list[float]] = {}
    with fresh_postgres():
        road = Road()
        with road.connect("bench") as connection:
            seed(connection, road)
            for size in sizes:
                grow(connection, size)
                for (who, what), question in questions(connection, road).items():
                    took.setdefault((who, what), []).append(ms(connection, question, chosen.samples))
                print(f"  {size:>9,} rows", flush=True)
            if faults := balance(connection).faults:
                raise SystemExit(f"out of balance: {faults}")
    rows = [(f"{who}: {what}", *times, times[-1] / times[0]) for (who, what), times in took.items()]
    columns = ("ms", *(f"{size:,}" for size in sizes), "last / first")
    table("Reads: what is waited for, by rows in the ledger", columns, rows)
    keep("reads", {"chosen": vars(chosen), "columns": columns, "rows": rows}, before)


def ms(connection: psycopg.Connection, question: Question, samples: int) -> float:
    least = float("inf")
    for _ in range(samples):
        began = time.monotonic()
        question(connection)
        least = min(least, 1e3 * (time.monotonic() - began))
        if least > 5_000:
            break
    return least


# ---- what is asked


def questions(connection: psycopg.Connection, road: Road) -> dict[tuple[str, str], Question]:
    """By who waits and for what. Of a few rows, some that are old and some that are new."""
    contract, cipher = road.contract, road.cipher
    book, around = book_and_world(road)

    def one(sql: str) -> Any:
        row = connection.execute(sql.encode()).fetchone()
        assert row is not None  # the tables are full
        return row[0]

    middle = one("select max(received_on) - 180 from phi.events where status = 'charted'")
    event = one(f"select event_id from phi.events where received_on = '{middle}' and status = 'charted' limit 1")
    treated = one("select patient_id::text from phi.medication_courses order by patient_id limit 1")
    some = tuple(
        row[0] for row in connection.execute("select event_id from phi.events where status = 'charted' limit 5")
    )

    def why(connection: psycopg.Connection) -> None:
        patient_id = find_patient(connection, treated)
        assert patient_id is not None
        status.why(connection, patient_id)
        followups.waiting(connection, patient_id)
        orders.refused(connection, contract, patient_id)
        orders.overrides(connection, patient_id)
        refills.holding(connection, contract, patient_id)

    def plan(connection: psycopg.Connection, **selection: Any) -> None:
        with connection.transaction(force_rollback=True):
            replay.choose(connection, replay.Selection(**selection), contract.version)

    def crm(connection: psycopg.Connection) -> None:
        outbox.pending(connection, CRM)
        outbox.conflicts(connection, CRM)

    def intake(connection: psycopg.Connection) -> None:
        charts.pending_days(connection)
        charts.is_backlog(connection, BACKLOG)
        road.landing.ready(limit=1)

    def clocks(connection: psycopg.Connection) -> None:
        clock.due(connection)
        charts.is_backlog(connection, clock.ROOM)

    def heard(connection: psycopg.Connection) -> None:
        hints.wait_for_hint(connection, EHR, hints.hints(connection) - 1, 0)

    def deliver(connection: psycopg.Connection) -> None:
        got, _ = lanes.claim(connection, EHR, 8, 30.0, time.monotonic())
        assert got
        with connection.transaction():
            lanes.settle(connection, EHR, [lanes.Settled(one, "delivered", "delivered", "delivered") for one in got])

    def check_ins(connection: psycopg.Connection) -> None:
        followups.count(connection)
        followups.late_exceptions(connection)

    def requests(connection: psycopg.Connection) -> None:
        refills.count_requests(connection)
        refills.faults_of_fields(connection)
        refills.count_decisions(connection)
        refills.count_overrides(connection)
        refills.proven(connection, cipher, PROVEN_EACH)

    def treatments(connection: psycopg.Connection) -> None:
        medication.count_states(connection)
        medication.count_products(connection)
        medication.count_findings(connection)
        medication.count_transitions(connection)
        orders.count_overrides(connection)

    def drift(connection: psycopg.Connection) -> None:
        charts.attend_disputes(connection, contract, cipher)
        conflicts.open_conflicts(connection)
        conflicts.drift(connection)

    def alerts_of(is_dear: bool) -> Question:
        def asked(connection: psycopg.Connection) -> None:
            connection.execute("delete from ops.alert_looks")  # all are due
            found = alerts.look(connection, book, around, is_dear=is_dear)
            if found.unmeasured:
                print(f"    not measured in time: {', '.join(found.unmeasured)}", flush=True)

        return asked

    said = {
        "a person": {
            "status": status.status,
            "why PATIENT": why,
            "trace EVENT": lambda c: trace(c, event),
            "events --status rejected": lambda c: status.events(c, "rejected", 20),
            "events --status charted": lambda c: status.events(c, "charted", 20),
            "health, and its page": lambda c: page(look(road, c)),
            "reconcile --no-ehr --no-crm --parts": balance,
            "fingerprint": fingerprint,
            "match list": lambda c: matches.reviews(c, 50),
            "match list --merged": lambda c: matches.links(c, 50),
            "drift": conflicts.drift,
            "drift --day": lambda c: conflicts.drift(c, middle),
            "mapping unmapped": lambda c: unmapped_spellings(c, 50),
            "medication drift": medication.count_findings,
            "followup list": lambda c: followups.listed(c, ["open", "due", "missed"], 50),
            "refill list": lambda c: refills.listed(c, ["open"], [], 50),
            "refill list --status all": lambda c: refills.listed(c, [], [], 50),
            "crm status": crm,
            "conflicts": lambda c: outbox.conflicts(c, EHR),
            "alerts list": lambda c: alerts.history(c, timedelta(days=30)),
            "replay: a plan of five events": lambda c: plan(c, event_ids=some),
            "replay: a plan of a day": lambda c: plan(c, days=(middle,)),
            "replay: a plan of the rejected": lambda c: plan(c, statuses=("rejected",)),
            "replay: dead and refused writes": lambda c: (outbox.pending(c, EHR), refused.refused(c, EHR)),
            "prune --dry-run": lambda c: prune_by_settings(road, is_dry_run=True, seconds=600),
        },
        "a sensor": {
            "intake_drops": intake,
            "ehr_writes_due": lambda c: outbox.wait_for_due(c, EHR, 0),
            "crm_writes_due": lambda c: outbox.wait_for_due(c, CRM, 0),
            "patient_clocks": clocks,
            "ehr_changes_due: hints": heard,
            "alerts: each half minute": alerts_of(is_dear=False),
            "alerts: the dear ones": alerts_of(is_dear=True),
        },
        "a run": {
            "delivery: eight writes claimed and settled": deliver,
            "delivery: who is asked about edits": lambda c: charts.attend_disputes(c, contract, cipher),
            "at rest or not": on_the_way,
        },
        "a scraper": {"metrics": lambda c: metrics.text(lambda: road.connect("bench"))},
        "an asset": {
            "ledger_balance": lambda c: balance(c, is_by_clock=True),
            "hops": lambda c: hops.measure(c, (CRM, EHR)),
            "patient_match_reviews": matches.counts,
            "table_sizes": retention.table_sizes,
            "unmapped_codes": count_unmapped,
            "ownership_drift": drift,
            "medication_courses": treatments,
            "follow_ups": check_ins,
            "refills": requests,
            "the metrics, by dbt": lambda c: dbt.build(road.settings.metrics_url(), road.settings.home / "dbt"),
        },
    }
    return {(who, what): question for who, asked in said.items() for what, question in asked.items()}


# ---- a year of a ledger


def seed(connection: psycopg.Connection, road: Road) -> None:
    """What our own work makes of some submissions and treatments, and what others would have made of it."""
    landing = Path(road.settings.landing_url)
    place = Place(connection, road.contract, road.cipher, road.landing)
    ndjson(landing / ".seed.tmp", LINES, 1)
    (landing / ".seed.tmp").rename(landing / "seed.ndjson")
    ledger.take(connection, road.landing, road.contract, road.cipher)
    for events in build(TREATED, seed=2, months=3, stories=["steady"]).months().values():
        place.bring(events)
    place.chart()
    hints.note_hint(connection)
    for statement in SETTLED:
        connection.execute(statement.encode())


def grow(connection: psycopg.Connection, size: int) -> None:
    """Up to so many events; and beside the copied rows those that no patient has."""
    fill(connection, size, days=DAYS)
    for statement in BESIDE:
        connection.execute(statement.encode())
    connection.execute("vacuum analyze")


SETTLED = (
    # Some hundred writes wait; the rest of the seed was delivered.
    "update ops.writes set status = 'delivered', settled_at = now() where write_id > 200 and n = 1",
    "update ops.writes set status = 'dead', settled_at = now(), last_class = 'rejected' where write_id <= 5",
    "update ops.lanes l set has_work = exists (select from ops.writes w where w.target = l.target"
    " and w.patient_id = l.patient_id and w.status = 'ready'), blocked = case when exists (select from ops.writes w"
    " where w.target = l.target and w.patient_id = l.patient_id and w.status = 'dead') then 'rejected' end",
    "update ops.copies c set remote = (select jsonb_object_agg(k, jsonb_build_array(k, '1'))"
    " from jsonb_object_keys(planned) k)",
    "update ops.clocks set next_at = now() + random() * interval '30 days'",
)
A_DAY = "(select n % 365 as days, gen_random_uuid() as new from generate_series(1, {}) n order by 1 desc) x"
OF_EVENT = "drop_id, line, source, type, version, subject, occurred_at, received_at, received_on, sha256, kid, body"
BESIDE = (
    # One line in a hundred is rejected, over the year; twenty died, three hundred wait.
    "insert into phi.events (event_id, drop_id, line, received_at, received_on, sha256, kid, body, status, reason, hint,"
    " settled_at) select new, md5(days || left(new::text, 2))::uuid, 1, received_at - days * interval '24 hours',"
    " received_on - days, sha256, kid, body, status, reason, hint, settled_at - days * interval '24 hours' from"
    " (select * from phi.events where status = 'rejected' and record_id is null limit 1) e,"
    f" {A_DAY.format('(select count(*)::int / 100 from phi.events)')}",
    *(
        f"insert into phi.events (event_id, {OF_EVENT}, status, reason, hint) select new, {OF_EVENT}, '{state}', {why} from"
        " (select * from phi.events where status = 'charted' limit 1) e, "
        + A_DAY.format(f"({count} - (select count(*)::int from phi.events where status = '{state}'))")
        for state, count, why in (("waiting", 300, "null, null"), ("dead", 20, "'KeyError in map_submission', 'mend'"))
    ),
    # Each write was attempted, one in ten twice.
    "insert into ops.deliveries (write_id, attempt, at, ms, http_status, outcome, trouble, delivered_on)"
    " select write_id, a, settled_at - (2 - a) * interval '30 s', 40, 200,"
    " case a when 2 then 'delivered' else 'retry' end, case a when 1 then 'unavailable' end,"
    " (settled_at at time zone 'utc')::date from (select w.* from ops.writes w where w.status = 'delivered'"
    " and not exists (select from ops.deliveries d where d.write_id = w.write_id) order by w.write_id) w,"
    " generate_series(case when write_id % 10 = 0 then 1 else 2 end, 2) a",
    # One patient in fifty said something against an owner, one in two hundred looks like the next; a tenth is open.
    "insert into ops.field_conflicts (patient_id, field, source, rule, owner, stage, outcome, event_id, since, seen_on,"
    " closed_at) select patient_id, 'dem.email', 'crm', 'kept_in', 'intake', 'lead', 'refused', events[1], received_at,"
    " received_at::date, case when n % 500 > 0 then received_at end from (select *, row_number() over () as n"
    " from phi.charts) c where n % 50 = 0 and events <> '{}' on conflict do nothing",
    "insert into ops.patient_matches (record_a, record_b, outcome, basis, weight, agreements, guards, since)"
    " select least(a, b), greatest(a, b), 'review', 'model', 12, '{name}', '{}', since from (select patient_id as a,"
    " lead(patient_id) over (order by received_at, patient_id) as b, received_at as since,"
    " row_number() over (order by received_at desc, patient_id) as n from phi.charts) c where n % 200 = 0 and b is not null"
    " on conflict do nothing",
    "insert into phi.match_decisions (event_id, action, record_a, record_b, actor, reason, decided_at)"
    " select gen_random_uuid(), 'not_a_match', record_a, record_b, 'bench', 'two people', since from ops.patient_matches m"
    " where since < now() - interval '30 days' and not exists (select from phi.match_decisions d"
    " where d.record_a = m.record_a and d.record_b = m.record_b)",
    # Alerts come with days, not with events.
    "insert into ops.incidents (alert, scope, severity, owner, called, link, affected, most_affected, opened_at,"
    " detected_at, resolved_at) select 'undelivered_writes', 'ehr', 'high', 'ops', 'bench', '', 1, 1, at, at,"
    " at + interval '1 hour' from (select now() - n * interval '3 hours' as at from generate_series(2, 2900) n) t"
    " where not exists (select from ops.incidents where resolved_at is not null)",
    # What was read is what is there.
    "insert into ops.drops (drop_id, sha256, size_bytes, received_on, received_at, settled_at, state, read_bytes, lines,"
    " events, rejected, parts) select drop_id, '', 1, min(received_on), min(received_at), min(received_at), 'settled', 1,"
    " sum(n), sum(n) - sum(r), sum(r), jsonb_object_agg(part, n) from (select drop_id, min(received_on) as received_on,"
    " min(received_at) as received_at, to_char(received_on, 'YYYY-MM-DD') || '|' || coalesce(left(encode(sha256("
    "convert_to(source, 'UTF8')), 'hex'), 4), '') || '|' || coalesce(type, '') as part, count(*) as n,"
    " count(*) filter (where status = 'rejected') as r from phi.events group by drop_id, part) p group by drop_id"
    " on conflict (drop_id) do update set lines = excluded.lines + drops.duplicates, events = excluded.events,"
    " rejected = excluded.rejected, parts = excluded.parts",
)
