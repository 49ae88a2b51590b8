"""Dead letters: so many events refused by a contract that lacked something, charted by one plan once it has it.

The contract lacks the version of the form that all of them are. Beside it, in the same run, the same events charted the
first time by the whole contract: what a correction costs is the ratio. Each step is a process of its own, so that its
memory is its own. Not here: what a plan is (`glp1_pipeline.adapters.replay`), and letters that our code failed on (`replay`).
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

from glp1_pipeline.adapters import charts, ledger, replay
from glp1_pipeline.adapters.balance import balance, fingerprint
from glp1_pipeline.adapters.settings import PROJECT
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.sample_inputs import ndjson

from .place import forget, fresh_postgres
from .results import keep, machine, table

FIRST, PLAN, LOOK, APPLY = "charted the first time", "plan", "dry run", "applied"
REASON = "unknown_version"


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("dead_letters", help="refused events, charted by one plan after a correction")
    parser.add_argument("--count", type=int, default=20_000, help="events that were refused")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    figures: list[tuple[Any, ...]] = []
    with fresh_postgres() as (settings, _):
        road = Road()
        seed = settings.home / "seed.ndjson"
        ndjson(seed, chosen.count, 1)

        def receive(lacks: bool) -> None:
            (Path(settings.landing_url) / f"{uuid.uuid4()}.ndjson").write_bytes(seed.read_bytes())
            known = road.contract.form_versions
            contract = road.contract.model_copy(update={"form_versions": known[:1] if lacks else known})
            with road.connect("bench") as connection:
                ledger.take(connection, road.landing, contract, road.cipher)
                connection.execute("vacuum analyze phi.events")

        receive(lacks=False)
        first = in_child(FIRST)
        with road.connect("bench") as connection:
            wanted = fingerprint(connection)
        forget(settings)
        receive(lacks=True)
        with road.connect("bench") as connection:
            refused = counted(connection)
        plan = in_child(PLAN)
        steps = [(FIRST, first), (PLAN, plan)]
        steps += [(step, in_child(step, plan["plan"])) for step in (LOOK, APPLY)]
        with road.connect("bench") as connection:
            found, reached, counts = balance(connection), fingerprint(connection), counted(connection)
            receipt = replay.receipt(connection, uuid.UUID(plan["plan"]))
    for step, took in steps:
        ratio = took["seconds"] / took["events"] / (first["seconds"] / first["events"])
        figures.append(
            (step, took["events"], took["seconds"], took["events"] / took["seconds"], took["peak_mb"], ratio)
        )
    if found.faults:
        raise SystemExit(f"out of balance: {found.as_dict()}")
    if others := sorted(name for name in wanted if wanted[name] != reached[name] and name != "state"):
        raise SystemExit(f"not as if it had never lacked it: {others} are others; {counts}")
    if receipt["fingerprint_after"] != reached["state"]:
        raise SystemExit("the receipt tells of another state")
    columns = ("step", "events", "seconds", "events/s", "peak MB", "time an event, to the first")
    told = f"Dead letters: {plan['events']:,} refused by a contract that lacked a form ({refused}), then one plan"
    table(f"{told}: in balance, as if it had never lacked it", columns, figures)
    keep("dead_letters", {"chosen": vars(chosen), "columns": columns, "rows": figures, "after": counts}, before)


def counted(connection: Any) -> dict[str, int]:
    """Events by status, patients, and writes: what both ways must reach alike."""
    rows = connection.execute(
        "select status || coalesce(' ' || reason, ''), count(*) from phi.events group by 1 union all"
        " select 'patients', count(*) from phi.charts union all select 'writes to ' || target, count(*) from ops.writes"
        " group by target union all select 'in the queue', count(*) from ops.provider_queue where left_at is null order by 1"
    ).fetchall()
    return dict(rows)


def in_child(step: str, plan_id: str = "") -> dict[str, Any]:
    argv = [sys.executable, "-m", "bench.dead_letters", step, plan_id]
    done = subprocess.run(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(step: str, plan_id: str) -> dict[str, Any]:
    road = Road()
    contract, cipher = road.contract, road.cipher
    plan = uuid.UUID(plan_id) if plan_id else None
    with road.connect("bench dead letters") as connection:
        began = time.monotonic()
        if step == FIRST:
            events = charts.chart_events(connection, contract, cipher, charts.Scope()).events
        else:
            if step == PLAN:
                plan = replay.choose(connection, replay.Selection(reasons=(REASON,)), contract.version)
            assert plan is not None
            if step == LOOK:
                replay.dry_run(connection, contract, cipher, plan)
            elif step == APPLY:
                replay.approve(connection, plan, "bench", "the form is known now")
                replay.apply(connection, contract, cipher, plan)
            events = replay.show(connection, plan)["chosen"]
        seconds = time.monotonic() - began
    return {
        "plan": str(plan or ""),
        "events": events,
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(work(*sys.argv[1:3])))
