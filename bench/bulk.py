"""Bulk: an NDJSON file of submissions, from the landing zone to the outbox, beside dlt and beside COPY.

dlt only loads the file; we seal, map, judge and plan every FHIR resource of it besides. COPY only moves its bytes.
Each contender gets its own parts of the file, in turns, in the same Postgres, so that a busy moment hits all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import psycopg

from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline_tests.sample_inputs import ndjson

from . import peer, work
from .place import cpu_seconds, forget, fresh_postgres
from .results import keep, machine, table

STYLES = {
    "defaults": "dlt as it comes: an answer a column, a table per list",
    "document": "dlt at its fastest: the answers as one JSON column, CSV by COPY, a process per core",
}
FLOOR = "COPY: the bytes alone"
OURS = "glp1_pipeline: to the outbox, one run"
OURS_AT_ONCE = "glp1_pipeline: to the outbox, {} runs that chart at once"


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("bulk", help="a large file, beside dlt and COPY")
    parser.add_argument("--count", type=int, default=100_000, help="lines in all")
    parser.add_argument("--rounds", type=int, default=2, help="parts that the file is cut into")
    parser.add_argument("--at-once", type=int, default=len(os.sched_getaffinity(0)), help="runs of ours side by side")
    parser.add_argument("--peers", nargs="*", choices=[*STYLES], default=[*STYLES])


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    at_once = OURS_AT_ONCE.format(chosen.at_once)
    contenders = [FLOOR, OURS, *([at_once] if chosen.at_once > 1 else []), *(STYLES[style] for style in chosen.peers)]
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    part = chosen.count // chosen.rounds
    with fresh_postgres() as (settings, server):
        assert server.process is not None
        for round_ in range(chosen.rounds):
            file = settings.home / f"part-{round_}.ndjson"
            ndjson(file, part, seed=round_ + 1)
            # The other way round each time: whoever comes first meets colder caches.
            for name in contenders if round_ % 2 == 0 else reversed(contenders):
                cpu = cpu_seconds(server.process.pid)
                one = _contend(name, settings, file, chosen.at_once if name == at_once else 1)
                one["postgres_cpu_seconds"] = cpu_seconds(server.process.pid) - cpu
                one["lines"] = part
                taken[name].append(one)
                print(f"  round {round_ + 1}  {part / one['seconds']:8,.0f} lines a second  {name}", flush=True)
            file.unlink()
    ours = sum(one["seconds"] for one in taken[OURS])
    rows = []
    for name in contenders:
        seconds = sum(one["seconds"] for one in taken[name])
        cpu = sum(one["cpu_seconds"] + one["postgres_cpu_seconds"] for one in taken[name])
        lines = part * chosen.rounds
        rounds = [us["seconds"] / one["seconds"] for us, one in zip(taken[OURS], taken[name], strict=True)]
        peak = max(one.get("peak_mb", 0) for one in taken[name]) or None
        rows.append(
            (name, seconds, lines / seconds, 1e6 * cpu / lines, ours / seconds, statistics.median(rounds), peak)
        )
    columns = ("", "seconds", "lines/s", "CPU us/line", "our time / its", "median of rounds", "peak MB")
    table(f"Bulk: {part * chosen.rounds:,} submissions in {chosen.rounds} parts", columns, rows)
    keep("bulk", {"chosen": vars(chosen), "columns": columns, "rows": rows, "taken": taken}, before)


def _contend(name: str, settings: Settings, file: Path, processes: int) -> dict[str, Any]:
    if name == FLOOR:
        return _copy(settings, file)
    if name.startswith("glp1_pipeline"):
        forget(settings)
        landing = Path(settings.landing_url)
        shutil.copyfile(file, landing / ".part.tmp")
        (landing / ".part.tmp").rename(landing / file.name)
        return work.in_child(processes)
    style = next(style for style, said in STYLES.items() if said == name)
    return peer.load(settings.store_url(), file, style)


def _copy(settings: Settings, file: Path) -> dict[str, Any]:
    """Each line one value of one column: with these quotes and delimiters no byte of it needs an escape."""
    began, cpu = time.monotonic(), time.process_time()
    with psycopg.connect(settings.store_url()) as connection:
        connection.execute("create schema if not exists floor")
        connection.execute("create table if not exists floor.lines (line text)")
        into = r"copy floor.lines from stdin (format csv, delimiter e'\x02', quote e'\x01')"
        with connection.cursor() as cursor, cursor.copy(into) as copy, file.open("rb") as stream:
            while chunk := stream.read(1024 * 1024):
                copy.write(chunk)
        connection.commit()
    return {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
