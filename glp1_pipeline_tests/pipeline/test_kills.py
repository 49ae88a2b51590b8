"""Killed in the middle of a hundred drops, everything ends in balance, once, by itself."""

import signal
import threading
import time

import pytest

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.balance import balance
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.sandbox import stack as parts
from glp1_pipeline_tests.pipeline.test_road import drop
from glp1_pipeline_tests.sample_inputs import clean_submission

pytestmark = pytest.mark.timeout(600)
DROPS = 100


def kill(running, name: str) -> None:
    """SIGKILL to a program of the stack and all its children, as the machine's worst moment would."""
    process = running.stack.supervisor.process_of(name)
    assert process is not None
    processes.signal_all(processes.family(process.pid), signal.SIGKILL)


@pytest.mark.parametrize("name", [parts.WORKER, parts.DAEMON, parts.POSTGRES, parts.EHR, parts.CODE])
def test_a_program_killed_amid_a_hundred_drops_loses_and_doubles_nothing(running, name):
    first = 910_000 + 1_000 * [parts.WORKER, parts.DAEMON, parts.POSTGRES, parts.EHR, parts.CODE].index(name)
    events = [clean_submission(first + n) for n in range(DROPS)]
    moment = threading.Timer(3.0, kill, (running, name))
    moment.start()
    for event in events:
        drop(running, event)
        time.sleep(0.05)
    moment.join()
    running.settle()
    with running.connect() as connection:
        subjects = [event["subject"] for event in events]
        rows = connection.execute(
            "select count(*), count(distinct subject), count(*) filter (where status = 'charted') from phi.events"
            " where subject = any(%s)",
            (subjects,),
        ).fetchone()
        queued = connection.execute(
            "select count(*) from ops.provider_queue q join phi.identifiers i on i.record_id = q.patient_id"
            " where i.value = any(%s) and q.left_at is null",
            (subjects,),
        ).fetchone()
        found = balance(connection)
        there = compare(connection, running.road.ehr, running.road.cipher)
    assert rows == (DROPS, DROPS, DROPS)
    assert queued == (DROPS,)
    assert found.faults == []
    assert (there.missing, there.different, there.doubled, there.not_sent_yet) == (0, 0, 0, 0)


def test_the_run_of_a_killed_worker_is_ended_and_says_why(running):
    """A run whose worker is gone must not look alive for ever, nor hold the next one back."""
    running.settle()
    for n in range(20):
        drop(running, clean_submission(920_000 + n))

    def is_running():
        found = running.ask("{ runsOrError(filter: {statuses: [STARTED]}) { ... on Runs { results { runId } } } }")
        return found["runsOrError"]["results"]

    running.wait(is_running, 30, "no run started")
    kill(running, parts.WORKER)
    running.wait(lambda: not is_running(), 120, "the dead run still looks alive")
    running.settle()
