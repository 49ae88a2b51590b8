"""A sensor's tick that waits for work: for how long, whether a run is at it already, and whether the last one failed.

Not here: what is waited for (each sensor).
"""

import time

import dagster as dg

PAUSE_SECONDS = 15.0
WAIT_SECONDS = 24.0
"""How long a tick waits for a drop. Our daemon starts the next within a second; Dagster's own at a multiple of 5 s, so
one that ends a second before leaves nobody listening for a second; one that ends just after, for five. A tick may last
60 s."""
REST_SECONDS, LONGEST_REST = 5.0, 12.0
"""After a system could not be asked. The longest fits into a tick beside a look that timed out."""
IN_PROGRESS = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
               dg.DagsterRunStatus.STARTED]  # fmt: skip


def running(instance: dg.DagsterInstance, job: str) -> int:
    """How many runs of the job are on their way, up to two."""
    return len(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=IN_PROGRESS), limit=2))


def has_just_failed(instance: dg.DagsterInstance, job: str, seconds: float = PAUSE_SECONDS) -> bool:
    """Whether the job's last run failed a moment ago: a fault that lasts must not make a run every few seconds."""
    (last, *_) = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1) or [None]
    if last is None or last.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
        return False
    return time.time() - (last.end_time or 0.0) < seconds


def wait_until(timeout: float, is_due, is_busy) -> bool:
    """True as soon as there is work and no run at it; False when the time is over."""
    ends = time.monotonic() + timeout
    while (left := ends - time.monotonic()) > 0:
        if not is_due(left):
            continue
        if not is_busy():
            return True
        time.sleep(0.1)
    return False


def rest(asked_for: float | None) -> None:
    """Leave a system alone that could not be asked: for as long as it asked for (Retry-After), as far as a tick goes.
    The daemon begins the next tick within a second, and a server that has too much to do would be asked each second."""
    time.sleep(min(asked_for or REST_SECONDS, LONGEST_REST))
