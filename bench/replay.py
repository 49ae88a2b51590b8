"""Replay: so many dead letters charted again by one plan; time, memory, and whether everything adds up then.

They died as letters die: our code failed on them by name. The plan is made, looked at (a dry run), approved and applied
in a process of its own. Not here: what a plan is (`glp1_pipeline.adapters.replay`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from glp1_pipeline.adapters import ledger, replay
from glp1_pipeline.adapters.balance import balance, fingerprint
from glp1_pipeline.adapters.settings import PROJECT
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.sample_inputs import ndjson

from .place import fresh_postgres
from .results import keep, machine, table


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("replay", help="dead letters charted again by one plan")
    parser.add_argument("--count", type=int, default=20_000, help="dead letters")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    with fresh_postgres() as (settings, _):
        landing = Path(settings.landing_url)
        ndjson(landing / ".dead.tmp", chosen.count, 1)
        (landing / ".dead.tmp").rename(landing / "dead.ndjson")
        road = Road()
        with road.connect("bench") as connection:
            ledger.take(connection, road.landing, road.contract, road.cipher)
            dead = connection.execute(
                "update phi.events set status = 'dead', reason = 'KeyError in map_submission, line 1', hint = %s,"
                " settled_at = now() where status = 'waiting'",
                (ledger.MEND,),
            ).rowcount
            connection.execute("vacuum analyze phi.events")
        figures, plan_id = [], ""
        for step in ("plan", "dry-run", "apply", "again"):
            took = in_child(step, plan_id)
            plan_id = took.get("plan", plan_id)
            figures.append((step, took["events"], took["seconds"], took["events"] / took["seconds"], took["peak_mb"]))
        with road.connect("bench") as connection:
            found, state = balance(connection), fingerprint(connection)["state"]
            receipt = replay.receipt(connection, uuid.UUID(plan_id))
    if found.faults or found.dead or found.charted != dead:
        raise SystemExit(f"out of balance: {found.as_dict()}")
    if receipt["fingerprint_after"] != state or receipt["changed"]:
        raise SystemExit("a second replay changed something")
    columns = ("step", "events", "seconds", "events/s", "peak MB")
    table(f"Replay: {dead:,} dead letters in one plan; in balance, the second replay changes nothing", columns, figures)
    keep("replay", {"chosen": vars(chosen), "columns": columns, "rows": figures}, before)


def in_child(step: str, plan_id: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "bench.replay", step, plan_id]
    done = subprocess.run(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(step: str, plan_id: str) -> dict[str, Any]:
    """One step; `again` is a whole replay of what is charted now, from the plan to the receipt."""
    road = Road()
    contract, cipher = road.contract, road.cipher
    with road.connect("bench replay") as connection:
        began = time.monotonic()
        if step in ("plan", "again"):
            asked = (
                replay.Selection(reasons=("KeyError",)) if step == "plan" else replay.Selection(statuses=("charted",))
            )
            plan = replay.choose(connection, asked, contract.version)
        else:
            plan = uuid.UUID(plan_id)
        if step == "dry-run":
            replay.dry_run(connection, contract, cipher, plan)
        if step in ("apply", "again"):
            replay.approve(connection, plan, "bench", "to see how fast")
            replay.apply(connection, contract, cipher, plan)
        seconds = time.monotonic() - began
        events = replay.show(connection, plan)["chosen"]
    return {
        "plan": str(plan),
        "events": events,
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(work(*sys.argv[1:3])))
