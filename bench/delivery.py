"""Delivery: bundles a second from our outbox into the sandbox EHR, beside a bare loop that posts equal bundles.

The loop knows nothing of order, retries or what was delivered: it opens no row and settles none. Both go to the same
server in turns, a chunk each. Not here: how a write is delivered (`adapters.outbox`).
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import requests

from glp1_pipeline.adapters import charts, ledger, outbox, processes
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.defs.delivery import KIND
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.sandbox.ehr import ehr_command
from glp1_pipeline_tests.sample_inputs import clean_submission

from .place import fresh_postgres
from .results import keep, machine, table

CHUNK = 50


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("delivery", help="bundles a second into the EHR, beside a bare loop")
    parser.add_argument("--patients", type=int, default=400, help="patients each of the two delivers")
    parser.add_argument("--workers", type=int, help="calls of ours at once; else what contracts/writes.yaml says")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    with fresh_postgres() as (settings, _), running_ehr(settings) as url:
        road = Road()
        with road.connect("bench") as connection:
            plan(connection, road, 2 * chosen.patients)
            bare = set_aside(connection, road, chosen.patients)
        ehr, session = Ehr(EhrSettings(url)), requests.Session()
        headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
        ours_took: list[float] = []
        bare_took: list[float] = []
        deliver(road, ehr, 10, chosen.workers)  # the server imports and plans on its first calls
        post(session, url, headers, bare[:10])
        rest = bare[10:]
        chunks = [rest[i : i + CHUNK] for i in range(0, len(rest) - CHUNK + 1, CHUNK)]
        for turn, chunk in enumerate(chunks):
            for is_ours in (True, False) if turn % 2 == 0 else (False, True):
                began = time.monotonic()
                if is_ours:
                    deliver(road, ehr, len(chunk), chosen.workers)
                    ours_took.append(time.monotonic() - began)
                else:
                    post(session, url, headers, chunk)
                    bare_took.append(time.monotonic() - began)
        ehr.close()
    count = CHUNK * len(chunks)
    ratio = statistics.median(theirs / ours for ours, theirs in zip(ours_took, bare_took, strict=True))
    rows = [
        ("requests: bare loop", count, sum(bare_took), count / sum(bare_took), 1.0, 1.0),
        (
            "glp1_pipeline: outbox",
            count,
            sum(ours_took),
            count / sum(ours_took),
            sum(bare_took) / sum(ours_took),
            ratio,
        ),
    ]
    columns = ("", "bundles", "seconds", "bundles/s", "of the loop's rate", "median of chunks")
    table(f"Delivery: {count} patients each, in turns of {CHUNK}", columns, rows)
    figures = {"columns": columns, "rows": rows, "ours": ours_took, "bare": bare_took}
    keep("delivery", {"chosen": vars(chosen), **figures}, before)


def plan(connection: psycopg.Connection, road: Road, count: int) -> None:
    """What the pipeline itself decides to write for so many patients."""
    import orjson

    landing = Path(road.settings.landing_url)
    content = b"\n".join(orjson.dumps(clean_submission(n)) for n in range(count))
    (landing / "all.ndjson").write_bytes(content)
    ledger.take(connection, road.landing, road.contract, road.cipher)
    charts.chart_events(connection, road.contract, road.cipher, charts.Scope())


def set_aside(connection: psycopg.Connection, road: Road, count: int) -> list[bytes]:
    """Take every second patient's write out of the outbox; their bodies, opened."""
    rows = connection.execute(
        "select w.write_id, w.patient_id, b.kid, b.body from (select *, row_number() over (order by write_id) as nth"
        " from ops.writes where target = %s) w join phi.write_bodies b using (write_id) where nth %% 2 = 0 limit %s",
        (EHR, count),
    ).fetchall()
    connection.execute("delete from ops.writes where write_id = any(%s)", ([row[0] for row in rows],))
    lanes = "delete from ops.lanes where target = %s and patient_id = any(%s)"
    connection.execute(lanes, (EHR, [row[1] for row in rows]))
    return [road.cipher.open(kid, bytes(body), f"writes|{write_id}") for write_id, _, kid, body in rows]


def deliver(road: Road, ehr: Ehr, count: int, workers: int | None) -> None:
    kind = road.contract.writes[KIND]
    report = outbox.deliver_pending(road.connect, ehr, kind, road.cipher.open, limit=count, workers=workers)
    if report.delivered != count:
        raise SystemExit(f"{report.delivered} of {count} were delivered: {dict(report.outcomes)} {report.stopped}")


def post(session: requests.Session, url: str, headers: dict[str, str], bodies: list[bytes]) -> None:
    for body in bodies:
        session.post(url, data=body, headers=headers, timeout=60).raise_for_status()


@contextmanager
def running_ehr(settings: Settings) -> Iterator[str]:
    port, _ = settings.state.port("ehr_port")
    argv, env = ehr_command(settings, port)
    url = settings.ehr_base_url()
    import os

    with open(settings.home / "logs" / "ehr.log", "ab") as log:
        process = processes.start(argv, env={**os.environ, **env}, cwd=settings.home, output=log)
    try:
        ends = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"{url}/metadata", timeout=5).ok:
                    break
            except requests.ConnectionError:
                if time.monotonic() > ends or process.poll() is not None:
                    raise SystemExit("the EHR did not start") from None
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
