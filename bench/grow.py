"""Growth: what one more submission costs when the tables hold ten thousand, a hundred thousand, a million.

The tables are filled by copying rows that our own work made, so that every row, index and document is real in size
and spread; who somebody is is invented for each, for whoever comes is compared with people who share something with
them. Then the same new submissions go through there and, by turns, in a store of ten thousand: the machine's minutes
differ more than the sizes do.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

import orjson
import psycopg

from glp1_pipeline.adapters.charts.likely import FIELDS
from glp1_pipeline.adapters.copying import copy_rows
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain import identity
from glp1_pipeline_tests.sample_inputs import clean_submission, contract, ndjson

from . import work
from .place import cpu_seconds, forget, fresh_postgres
from .results import keep, machine, table

SEED_LINES = 10_000
FORM = "3.0.0"
NUMBER = re.compile(rb"(\+1\d{3}555)01\d\d")
"""The numbers that are kept for invented people are too few for a million. Nobody rings those that stand for them."""
OTHERS = 900_000_000
"""From this number on people are in no file of a benchmark."""
SIZES = (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
PATIENTS = (
    "phi.charts", "phi.risk_flags", "ops.gate_results", "ops.provider_queue", "ops.tasks", "ops.copies", "ops.lanes",
    "phi.medication_courses", "ops.medication_transitions", "ops.follow_ups", "ops.clocks",
)  # fmt: skip
AGO = "x.days * interval '24 hours'"
BACK = {"timestamp with time zone": f" - {AGO}", "date": " - x.days"}
ITS_EVENTS = (
    "array(select e.new from unnest(t.events) with ordinality as u(old, n) join copied_events e using (old) order by n)"
)
IS_OVER = "x.days > 3 and not exists (select from ops.gate_results g where g.patient_id = x.old and g.outcome = 'held')"
SINCE_THEN = {
    "phi.charts": {
        "events": ITS_EVENTS,
        "stage": "case when x.days > 3 and t.stage = 'clinical_review' then 'active_treatment' else t.stage end",
    },
    "ops.provider_queue": {"left_at": f"case when x.days > 3 then t.entered_at - {AGO} + interval '1 day' end"},
    "ops.tasks": {
        "task_id": "gen_random_uuid()",
        "status": f"case when {IS_OVER} then 'done' else t.status end",
        "closed_at": f"case when {IS_OVER} then t.opened_at - {AGO} + interval '1 day' end",
    },
    "ops.copies": {
        "remote": "(select jsonb_object_agg(k, jsonb_build_array(k, '1')) from jsonb_object_keys(t.planned) k)"
    },
    "ops.lanes": {"has_work": "false"},
    "ops.follow_ups": {
        "followup_id": "gen_random_uuid()",
        "ended_at": f"case when x.days > 30 then t.window_at - {AGO} else t.ended_at end",
    },
    "ops.clocks": {"next_at": "case when x.days > 0 then now() + random() * interval '30 days' else t.next_at end"},
}
"""What is another in a copy, and what has become of a patient since then, by table and column."""
Place = tuple[Settings, EmbeddedPostgres]
WHAT = "cpu", "postgres", "wall"
ANEW = " join sealed_anew s on s.new = x.new::text"


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("grow", help="what a submission costs as the tables grow")
    parser.add_argument("--to", type=int, default=1_000_000, help="rows of the ledger at the end")
    parser.add_argument("--lines", type=int, default=10_000, help="submissions timed at each size")
    parser.add_argument("--samples", type=int, default=3, help="turns of both")
    parser.add_argument("--before", type=int, default=40_000, help="submissions that come before those, untimed")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    figures, seed = [], 1
    with fresh_postgres() as small, fresh_postgres() as large:
        _go(large, SEED_LINES, seed)
        for size in [size for size in SIZES if size <= chosen.to]:
            with psycopg.connect(large[0].store_url(), autocommit=True) as connection:
                rows = fill(connection, size)
            figures.append((rows, *compare(small, large, chosen, seed)))
            seed += chosen.samples + 1
            cpu, _, _, *more = figures[-1][1:]
            print(
                f"  {rows:>10,} rows: {cpu:,.0f} us of CPU a submission, {more[0]:.2f} of the small one's", flush=True
            )
    columns = (
        "rows in the ledger", "CPU us", "of it Postgres", "wall us", "CPU / small", "Postgres / small", "wall / small"
    )  # fmt: skip
    table(f"Growth: cost of a submission, beside {SEED_LINES:,} rows", columns, figures)
    keep("grow", {"chosen": vars(chosen), "columns": columns, "rows": figures}, before)


def compare(small: Place, large: Place, chosen: argparse.Namespace, seed: int) -> tuple[float, ...]:
    """Medians of us a submission in the large store (CPU, of it Postgres, wall), and how many times the small one's.

    In the midst of a day's work: just after a checkpoint each page that is touched is logged whole, and in the minutes
    after a store was filled the machine still writes it.
    """
    seed += 1
    if chosen.before:
        _go(large, chosen.before, seed)
    turns = []
    for turn in range(chosen.samples):
        forget(small[0])
        _go(small, SEED_LINES, 1)
        os.sync()
        seed += 1
        pair = [_go(place, chosen.lines, seed) for place in ((small, large), (large, small))[turn % 2]]
        turns.append(pair[:: -1 if turn % 2 else 1])
    here = (median(each[1][what] for each in turns) for what in WHAT)
    more = (median(each[1][what] / each[0][what] for each in turns) for what in WHAT)
    return (*here, *more)


def _go(place: Place, lines: int, seed: int) -> dict[str, float]:
    """us a line of so many new submissions in this place."""
    settings, server = place
    assert server.process is not None
    landing = Path(settings.landing_url)
    ndjson(landing / ".next.tmp", lines, seed)
    with (landing / ".next.tmp").open("rb") as told, (landing / ".own.tmp").open("wb") as own:
        own.writelines(NUMBER.sub(rb"\g<1>%04d" % (crc32(line) % 10_000), line) for line in told)
    (landing / ".own.tmp").rename(landing / f"{seed}.ndjson")
    (landing / ".next.tmp").unlink()
    before = cpu_seconds(server.process.pid)
    one = work.in_child(home=settings.home)
    postgres = cpu_seconds(server.process.pid) - before
    told = {"cpu": one["cpu_seconds"] + postgres, "postgres": postgres, "wall": one["seconds"]}
    return {what: 1e6 * seconds / lines for what, seconds in told.items()}


def fill(connection: psycopg.Connection, size: int, of: str = "phi.events", days: int = 0) -> int:
    """Copy every patient of the seed (`seed_patients`), under new ids, until a table has so many rows; how many it has.
    `days`: as if they had come over so many days, the oldest first, for rows lie in the order of receipt."""
    connection.execute("create temp table if not exists seed_patients as select patient_id from phi.charts limit 9000")
    a_patient = _count(connection, of) / _count(connection, "phi.charts")
    room = max(1, size - _count(connection, of))
    while (missing := size - _count(connection, of)) > 0:
        count = min(missing, 9_000, _count(connection, "seed_patients"))
        with connection.transaction():
            oldest, newest = (days * max(0.0, left) / room for left in (missing, missing - count * a_patient))
            copy_patients(connection, count, oldest, newest)
    connection.execute("vacuum analyze")
    return _count(connection, of)


def _count(connection: psycopg.Connection, of: str) -> int:
    row = connection.execute(f"select count(*) from {of}".encode()).fetchone()
    assert row is not None
    return row[0]


def copy_patients(connection: psycopg.Connection, count: int, oldest: float = 0, newest: float = 0) -> None:
    """Every row of so many of the seed's patients once more, as of so many days ago; new random ids, as spread as the
    real ones."""
    connection.execute(
        "create temp table copied on commit drop as select patient_id as old, gen_random_uuid() as new,"
        f" floor({newest} + random() * {oldest - newest})::int as days"
        f" from (select patient_id from seed_patients limit {count}) p".encode()
    )
    connection.execute("create index on copied (old); analyze copied")
    connection.execute(
        "create temp table copied_events on commit drop as select e.event_id as old, gen_random_uuid() as new, c.new as"
        " record_id, c.days from phi.events e join copied c on e.record_id = c.old; create index on copied_events (old);"
        " analyze copied_events"
    )
    # A drop has what came within some minutes.
    drop_id = "md5(x.days || left(x.new::text, 2))::uuid"
    changed = {"event_id": "x.new", "record_id": "x.record_id", "source_id": "x.new::text", "drop_id": drop_id}
    sealed = _seal_anew(connection, "phi.events", "event_id", "copied_events")
    _copy(
        connection, "phi.events", changed | sealed, "join copied_events x on t.event_id = x.old" + ANEW, skip=("seq",)
    )
    _copy(connection, "phi.patient_values", changed, "join copied_events x on t.event_id = x.old")
    own = {"record_id": "x.new", "value": "x.new::text"}
    _copy(connection, "phi.identifiers", own, "join copied x on t.record_id = x.old")
    _invent_people(connection)
    for table_ in PATIENTS:
        own = {"patient_id": "x.new"} | SINCE_THEN.get(table_, {})
        _copy(connection, table_, own, "join copied x on t.patient_id = x.old")
    _copy_refills(connection)
    connection.execute(
        "create temp table copied_writes on commit drop as select w.write_id as old, nextval(pg_get_serial_sequence("
        "'ops.writes', 'write_id')) as new, c.new as patient_id, c.days from ops.writes w join copied c on w.patient_id = c.old"
    )
    own = {"write_id": "x.new", "patient_id": "x.patient_id", "status": "'delivered'", "events": ITS_EVENTS}
    own["settled_at"] = f"t.created_at - {AGO} + interval '2 seconds'"
    _copy(connection, "ops.writes", own, "join copied_writes x on t.write_id = x.old", "overriding system value")
    own = {"write_id": "x.new"} | _seal_anew(connection, "phi.write_bodies", "write_id", "copied_writes")
    _copy(connection, "phi.write_bodies", own, "join copied_writes x on t.write_id = x.old" + ANEW)


def _seal_anew(connection: psycopg.Connection, name: str, key: str, copies: str) -> dict[str, str]:
    """The bodies of copies: each opens at its own place alone, and whoever resembles a newcomer is looked at again."""
    cipher, place = Road().cipher, "events" if name == "phi.events" else "writes"
    connection.execute(
        "drop table if exists sealed_anew; create temp table sealed_anew (new text, kid text, body bytea)"
    )
    bodies = connection.execute(
        f"select x.old, x.new, t.kid, t.body from {name} t join {copies} x on t.{key} = x.old".encode(), binary=True
    ).fetchall()
    rows = (
        (str(new), *cipher.seal(cipher.open(kid, body, f"{place}|{old}"), f"{place}|{new}"))
        for old, new, kid, body in bodies
    )
    copy_rows(connection, "sealed_anew", ("new", "kid", "body"), rows)
    return {"kid": "s.kid", "body": "s.body"}


def _invent_people(connection: psycopg.Connection) -> None:
    """Somebody else for each copy: a million copies of nine thousand people would all be candidates of each other, and
    of people without keys nobody would be. The more there are, the more share a key by chance, as in life."""
    so_many = _count(connection, "phi.people")
    copies = connection.execute(
        f"select x.new, p.first_at - {AGO} from copied x join phi.people p on p.record_id = x.old".encode()
    ).fetchall()
    people = [(record, first_at, _person(OTHERS + so_many + n)) for n, (record, first_at) in enumerate(copies)]
    rows = ((record, orjson.dumps(person.to_doc()).decode(), first_at) for record, first_at, person in people)
    copy_rows(connection, "phi.people", ("record_id", "features", "first_at"), rows)
    keys = ((key, record) for record, _, person in people for key in identity.blocking_keys(person))
    copy_rows(connection, "phi.people_keys", ("key", "record_id"), keys)


def _person(n: int) -> identity.Features:
    questions = {name: contract().fields[name].question(FORM) for name in FIELDS}
    answers = clean_submission(n, FORM)["data"]["answers"]
    told = identity.features(contract().identity, {name: answers[asked] for name, asked in questions.items()})
    return told._replace(phone=f"{told.phone[:8]}{n % 10_000:04d}")


def _copy_refills(connection: psycopg.Connection) -> None:
    connection.execute(
        "create temp table copied_refills on commit drop as select r.refill_id as old, gen_random_uuid() as new, c.new as"
        " patient_id, gen_random_uuid() as decision_id, c.days from ops.refills r join copied c on r.patient_id = c.old;"
        " create index on copied_refills (old); analyze copied_refills"
    )
    own = {"refill_id": "x.new", "patient_id": "x.patient_id", "decision_id": "x.decision_id"}
    own["status"] = "case when x.days > 30 and t.status = 'open' then 'dispensed' else t.status end"
    own["ended_at"] = f"case when x.days > 30 and t.status = 'open' then t.since - {AGO} else t.ended_at end"
    _copy(connection, "ops.refills", own, "join copied_refills x on t.refill_id = x.old")
    is_last = "t.decision_id = (select decision_id from ops.refills r where r.refill_id = x.old)"
    own = {"refill_id": "x.new", "decision_id": f"case when {is_last} then x.decision_id else gen_random_uuid() end"}
    _copy(connection, "phi.refill_decisions", own, "join copied_refills x on t.refill_id = x.old")


def _copy(
    connection: psycopg.Connection, name: str, changed: dict[str, str], join: str, how: str = "", skip=()
) -> None:
    schema, table_ = name.split(".")
    taken = {
        column: changed.get(column, f"t.{column}{BACK.get(kind, '')}")
        for column, kind in connection.execute(
            "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s"
            " order by ordinal_position",
            (schema, table_),
        )
        if column not in skip
    }
    chosen = ", ".join(taken.values())
    connection.execute(f"insert into {name} ({', '.join(taken)}) {how} select {chosen} from {name} t {join}".encode())
