"""What the latency bench lets Dagster load: the whole road, and beside it the floor, an asset that does nothing.

The floor gets the same sensor that waits inside its tick, the same launcher and the same executor: what it takes is
what Dagster itself takes. Not here: what is measured (`latency`).
"""

import os
import time
from pathlib import Path

import dagster as dg

from glp1_pipeline import definitions as road
from glp1_pipeline.defs.ticks import WAIT_SECONDS, running, wait_until

FLOOR_JOB = "floor"
FOLDER = Path(os.environ["BENCH_FLOOR"])


@dg.asset(description="Does nothing but take away the files that asked for it.")
def empty() -> None:
    for file in FOLDER.iterdir():
        file.unlink()


floor_job = dg.define_asset_job(FLOOR_JOB, selection=dg.AssetSelection.assets(empty))


@dg.sensor(job=floor_job, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def floor_drops(context: dg.SensorEvaluationContext):
    def is_due(left: float) -> bool:
        ends = time.monotonic() + min(left, 1.0)
        while time.monotonic() < ends:
            if any(FOLDER.iterdir()):
                return True
            time.sleep(0.05)
        return False

    if wait_until(WAIT_SECONDS, is_due, lambda: running(context.instance, FLOOR_JOB) > 0):
        return dg.RunRequest()
    return dg.SkipReason("nothing")


defs = dg.Definitions.merge(road.defs, dg.Definitions(assets=[empty], jobs=[floor_job], sensors=[floor_drops]))
