"""Our work in a process of its own, so that its memory and CPU are its own: landing zone to outbox, the EHR apart.

Run as `python -m bench.work [--processes N]` in the home that GLP1_HOME names; says what it took as one line of JSON.
Not here: what it is compared with (`bulk`, `grow`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from glp1_pipeline.adapters import charts, ledger
from glp1_pipeline.adapters.settings import PROJECT
from glp1_pipeline.defs.intake import BACKLOG
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.charting import make_ready

_context = multiprocessing.get_context("spawn")


def in_child(processes: int = 1, home: Path | None = None) -> dict[str, Any]:
    """Do the work in a child, in this home or the one that the environment names; what it took."""
    argv = [sys.executable, "-m", "bench.work", "--processes", str(processes)]
    env = os.environ | ({"GLP1_HOME": str(home)} if home else {})
    done = subprocess.run(argv, cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(processes: int) -> dict[str, Any]:
    road = Road()
    contract, cipher, landing = road.contract, road.cipher, road.landing
    is_warm, all_done = _context.Barrier(processes), _context.Barrier(processes)
    is_over, spent = _context.Event(), _context.Value("d", 0.0)
    others = [_context.Process(target=_help, args=(is_warm, is_over, all_done, spent)) for _ in range(processes - 1)]
    for other in others:
        other.start()
    make_ready(contract)
    is_warm.wait()  # the pipeline's workers have everything imported and ready, too
    with road.connect("bench") as connection:
        began, cpu = time.monotonic(), time.process_time()
        received = ledger.take(connection, landing, contract, cipher)
        took, took_cpu = time.monotonic() - began, time.process_time() - cpu
        charts.chart_events(connection, contract, cipher, charts.Scope())
    is_over.set()
    all_done.wait()  # of the others' last batches, not of their end: the peer's is not counted either
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    for other in others:
        other.join()
        if other.exitcode:
            raise SystemExit("a second run failed: there is nothing to compare")
    with road.connect("bench") as connection:
        row = connection.execute(
            "select count(*) filter (where status = 'waiting'), count(*) filter (where status = 'dead') from phi.events"
            " where status in ('waiting', 'dead')"
        ).fetchone()
    assert row is not None
    if row != (0, 0):
        raise SystemExit(f"{row[0]} events were left waiting and {row[1]} died: there is nothing to compare")
    return {
        "lines": received.lines,
        "take_seconds": took,
        "seconds": seconds,
        "take_cpu_seconds": took_cpu,
        "cpu_seconds": cpu_seconds + spent.value,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _help(is_warm: Any, is_over: Any, all_done: Any, spent: Any) -> None:
    """A second run: charts as soon as a backlog waits, as the intake sensor would have it. What it spent begins when
    all are warm: starting Python and importing are left out for everyone."""
    road = Road()
    with road.connect("bench") as connection:
        contract, cipher = road.contract, road.cipher
        make_ready(contract)
        is_warm.wait()
        cpu = time.process_time()
        try:
            while not is_over.is_set():
                if charts.is_backlog(connection, BACKLOG):
                    charts.chart_events(connection, contract, cipher, charts.Scope())
                time.sleep(0.1)
            with spent:
                spent.value += time.process_time() - cpu
        finally:
            all_done.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=1)
    print(json.dumps(work(parser.parse_args().processes)))
