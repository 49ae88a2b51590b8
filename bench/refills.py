"""Refills: what a decision costs by itself, what an event of a patient under treatment costs, and whether that grows
with their number; a year at once; ten thousand moments of clocks at once.

The tables are filled by copying rows that our own work made, as in `grow`. Patients that are timed have a year behind
them, and each is timed once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from glp1_pipeline.adapters import clock
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.landing import Folder
from glp1_pipeline.defs.resources import KEYS, connect
from glp1_pipeline.domain import charting
from glp1_pipeline.domain.events import parse_event
from glp1_pipeline.domain.refill import Snapshot, decide, gather
from glp1_pipeline.sandbox.program import Program, build
from glp1_pipeline.sandbox.program.messages import PORTAL, Messages, well
from glp1_pipeline.sandbox.program.run import Place
from glp1_pipeline_tests.one_patient import CONTRACT, NOW, PATIENT, Patient

from .grow import fill
from .place import cpu_seconds, fresh_postgres
from .results import keep, machine, table

SIZES = (1_000, 100_000)
TIMED = 60
"""Patients of each sample: a check-in and a request each."""
SHORT = 400
"""Patients with two months behind them: the many of whom there are more and more."""
YEARS = 30
UNTIL = datetime(2026, 10, 31, tzinfo=UTC)


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("refills", help="what a decision, a check-in, a request and a clock's moment cost")
    parser.add_argument("--to", type=int, default=SIZES[-1], help="active patients at the end")
    parser.add_argument("--samples", type=int, default=3, help="times that each size is timed; the median counts")
    parser.add_argument("--due", type=int, default=10_000, help="moments that are due at once")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    alone = pure()
    columns = ("step", "us", "a second")
    table("By itself: no database", columns, alone)
    years, growth, ringing = in_store(chosen.to, chosen.samples, chosen.due)
    table("A year of a patient, with the store", ("how it comes", "CPU ms", "of it Postgres", "wall ms"), years)
    table(
        f"An event of a patient with a year behind them: check-in or request, {2 * TIMED} at each size",
        ("active patients", "CPU us", "of it Postgres", "wall us", "CPU / first"),
        growth,
    )
    table("Clocks", ("step", "moments", "CPU us a moment", "wall us a moment"), ringing)
    keep(
        "refills", {"chosen": vars(chosen), "alone": alone, "years": years, "growth": growth, "clock": ringing}, before
    )


# ---- by itself


def pure() -> list[tuple]:
    year = [event for _, event in build(1, stories=["steady"]).events]
    patient = Patient()
    patient.hear(*year)
    assert patient.outcome is not None
    last = max(patient.refills.values(), key=lambda one: one.requested_at)
    made, outcome = last.made[-1], patient.outcome
    now = max(report.received_at for report in patient.known.reports[PATIENT])
    known = Snapshot(now, outcome.chart, outcome.flags, outcome.courses, outcome.follow_ups)
    ended = {key: (one.status, one.ended_at) for key, one in patient.refills.items() if one.ended_at is not None}
    patient.known.ended_refills = {PATIENT: ended}
    checked_in, asked = next(_told(f"{PATIENT}", UNTIL - timedelta(days=3)))

    def chart(event: dict[str, Any]) -> Callable[[], object]:
        envelope, content = parse_event(event, CONTRACT)
        claimed = [charting.Claimed(event["id"], NOW, envelope, content, PATIENT)]
        said = charting.read(CONTRACT, claimed)
        return lambda: charting.decide(CONTRACT, claimed, said, patient.known)

    steps: dict[str, Callable[[], object]] = {
        "the decision from its inputs": lambda: decide(CONTRACT.refills, made.inputs, made.overrides, made.as_of),
        "gathering its inputs, and the decision": lambda: decide(
            CONTRACT.refills, gather(CONTRACT, known, last.product), made.overrides, now
        ),
        "charting a check-in after a year": chart(checked_in),
        "charting a request after a year": chart(asked),
        f"a year at once ({len(year)} events)": lambda: Patient().hear(*year),
    }
    rows = []
    for name, step in steps.items():
        step()
        times, until = [], time.process_time() + 2.0
        while time.process_time() < until:
            began = time.process_time()
            step()
            times.append(time.process_time() - began)
        took = statistics.median(times)
        rows.append((name, took * 1e6, 1 / took))
    return rows


def _told(account: str, at: datetime) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Over and over: what a patient says in a check-in, and a request an hour after it."""
    say = Messages(account, after=1_000)
    while True:
        day = at.date()
        answers = well(day, 80.0, day - timedelta(days=2), 4, "female")
        checked_in = say.checked_in(at, at, "America/Chicago", answers)
        later = at + timedelta(hours=1)
        yield (
            checked_in,
            say.of(PORTAL, "refill.requested", later, refill_id=say.name("bench"), product_key="wegovy_inj"),
        )
        at += timedelta(hours=2)


# ---- with the store


def in_store(to: int, samples: int, due: int) -> tuple[list[tuple], list[tuple], list[tuple]]:
    with fresh_postgres() as (settings, server):
        assert server.process is not None
        postgres = server.process.pid
        cipher = Cipher(KeyRing.load(settings.home / "secrets" / KEYS))
        landing = settings.home / "landing"
        landing.mkdir(exist_ok=True)
        with connect(settings, "bench") as connection:
            place = Place(connection, CONTRACT, cipher, Folder(landing, None, cipher))
            years = _years(place, postgres)
            short = build(SHORT, seed=2, months=2, stories=["steady"], after=1_000)
            _load(place, short)
            long = build(TIMED * samples * 2, seed=3, stories=["steady"], after=1_000 + SHORT)
            _load(place, long)
            accounts = iter(sorted(long.expected))
            growth: list[tuple] = []
            for size in [size for size in SIZES if size <= to]:
                _grow(connection, size, [*short.expected])
                taken = [_time_events(place, postgres, accounts) for _ in range(samples)]
                cpu, pg, wall = (statistics.median(column) for column in zip(*taken, strict=True))
                growth.append((size, cpu, pg, wall, cpu / growth[0][1] if growth else 1.0))
                print(f"  {size:>8,} patients: {cpu:,.0f} us of CPU an event", flush=True)
            return years, growth, _ring(place, postgres, [*short.expected][:100], due)


@contextmanager
def _measured(postgres: int) -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    pg, own, wall = cpu_seconds(postgres), time.process_time(), time.monotonic()
    yield found
    found["wall"], found["own"] = time.monotonic() - wall, time.process_time() - own
    found["postgres"] = cpu_seconds(postgres) - pg
    found["cpu"] = found["own"] + found["postgres"]


def _load(place: Place, program: Program) -> None:
    for events in program.months().values():
        place.bring(events)
    place.chart()


def _years(place: Place, postgres: int) -> list[tuple]:
    _load(place, build(5, seed=9, stories=["steady"], after=900))  # everything is imported and compiled once
    rows = []
    for name, after in (("all of it at once", 0), ("month by month", 100)):
        year = build(YEARS, seed=4, stories=["steady"], after=after)
        with _measured(postgres) as took:
            if after:
                for events in year.months().values():
                    place.bring(events)
                    place.chart()
            else:
                place.bring([event for _, event in sorted(year.events, key=lambda one: one[1]["subject"][-4:])])
                place.chart()
        each = len(year.events) / YEARS
        name = f"{name} ({each:.0f} events)"
        rows.append((name, *(1e3 * took[part] / YEARS for part in ("cpu", "postgres", "wall"))))
    return rows


def _grow(connection: psycopg.Connection, size: int, accounts: list[str]) -> None:
    connection.execute("drop table if exists seed_patients")
    connection.execute(
        "create temp table seed_patients as select c.patient_id from phi.charts c join phi.identifiers i on"
        " i.record_id = c.patient_id where i.value = any(%s)",
        (accounts,),
    )
    fill(connection, size, of="phi.charts")


def _time_events(place: Place, postgres: int, accounts: Iterator[str]) -> tuple[float, float, float]:
    events: list[dict[str, Any]] = []
    for _ in range(TIMED):
        events += next(_told(next(accounts), UNTIL - timedelta(days=3)))
    with _measured(postgres) as took:
        place.bring(events)
        place.chart()
    return tuple(1e6 * took[part] / len(events) for part in ("cpu", "postgres", "wall"))  # type: ignore[return-value]


def _ring(place: Place, postgres: int, accounts: list[str], due: int) -> list[tuple]:
    """Those of patients who are no copies are charted too: of a copy the store knows rows, and no request by its id."""
    connection, now, rows = place.connection, UNTIL + timedelta(days=100), []
    own = "select c.patient_id from ops.clocks c join phi.identifiers i on i.record_id = c.patient_id where i.value = any(%s)"
    others = f"select patient_id from ops.clocks where next_at <= %s and patient_id not in ({own}) order by patient_id limit %s"
    for name, which, values in (
        ("a hundred patients' moments", own, [accounts]),
        (f"{due:,} at once", others, [now, accounts, due]),
    ):
        connection.execute("update ops.clocks set rung_at = now() where rung_at is null")
        connection.execute(f"update ops.clocks set rung_at = null where patient_id in ({which})".encode(), values)
        connection.execute("vacuum analyze ops.clocks")
        rung = 0
        with _measured(postgres) as ringing:
            while some := clock.ring(connection, place.contract, place.cipher, now):
                rung += some
        rows.append((f"{name}: they become events", rung, 1e6 * ringing["cpu"] / rung, 1e6 * ringing["wall"] / rung))
        if which == own:
            with _measured(postgres) as charted:
                place.chart()
            rows.append((f"{name}: charted", rung, 1e6 * charted["cpu"] / rung, 1e6 * charted["wall"] / rung))
    return rows
