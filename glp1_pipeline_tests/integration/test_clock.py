"""Patients' clocks: a moment that is reached is an event once, whoever dies or looks at once; nobody waits behind them."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg
import orjson
import pytest
import yaml

from glp1_pipeline.adapters import charts, clock, followups, ledger
from glp1_pipeline.adapters.charts import save
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.definitions import defs
from glp1_pipeline.defs import followup as wiring
from glp1_pipeline.sandbox import daemon
from glp1_pipeline.sandbox.dagster_home import write_dagster_yaml
from glp1_pipeline.sandbox.stack import CODE_THREADS
from glp1_pipeline_tests import treatments
from glp1_pipeline_tests.refill_road import Store, begin, begin_lately, of, patient_of, ring
from glp1_pipeline_tests.refills import checkin
from glp1_pipeline_tests.small_road import SmallRoad, connect
from glp1_pipeline_tests.treatments import dispensed, message, ordered


def moments(road: SmallRoad) -> list[tuple]:
    return road.rows("select type, count(*) from phi.events where source = %s group by 1 order by 1", clock.SOURCE)


def on(day: float):
    return treatments.BEGAN + timedelta(days=day)


def test_a_check_in_that_nobody_answers_opens_is_due_is_reminded_of_and_is_missed_before_the_window(road: SmallRoad):
    begin(road)
    assert ring(road, 16) == 0
    seen = []
    for day in (17.5, 21.5, 22.5, 23.5):
        ring(road, day)
        seen.append(road.one("select status from ops.follow_ups"))
    assert seen == ["open", "due", "due", "missed"]
    assert moments(road) == [("followup.due", 2), ("followup.missed", 1), ("followup.requested", 1)]
    assert road.one("select bool_and(missed_at < window_at) from ops.follow_ups")
    assert road.one("select count(*) from ops.tasks where code = 'checkin-overdue' and status = 'open'") == 1
    assert ring(road, 60) == 0
    road.send(checkin(24))
    assert road.one("select status from ops.follow_ups") == "completed"
    assert road.one("select count(*) from ops.tasks where code = 'checkin-overdue' and status = 'open'") == 0
    assert road.balance().faults == []
    assert {part.source for part in road.parts() if part.type == "followup.due"} == {"clock"}


def test_who_answered_hears_nothing_more_of_it_until_the_weight_is_too_old(road: SmallRoad):
    begin(road)
    ring(road, 17.5)
    road.send(checkin(18))
    assert ring(road, 33) == 0
    assert moments(road) == [("followup.requested", 1)]
    assert (ring(road, 33.5), ring(road, 60)) == (1, 0)
    assert moments(road) == [("followup.missed", 1), ("followup.requested", 1)]
    stands = "select status, answered_at is not null, was_missed, missing from ops.follow_ups"
    assert road.rows(stands) == [("missed", True, False, ["anthro.weight_measured_at:stale"])]
    (waits,) = followups.waiting(road.connection, road.one("select patient_id::text from phi.charts"))
    assert [task["task"] for task in waits["tasks"]] == ["checkin-overdue"]
    counted = followups.late_exceptions(road.connection)
    assert (counted["exceptions"], counted["out_of_order"]) == (0, 0)  # of those with a window to come before
    road.send(checkin(61))
    assert road.one("select status from ops.follow_ups") == "completed"
    assert road.one("select count(*) from ops.tasks where code = 'checkin-overdue' and status = 'open'") == 0
    assert road.balance().faults == []


def test_a_moment_rings_once_however_many_look_at_once(road: SmallRoad):
    for n in range(1, 21):
        begin(road, f"canary-{n:07d}")
    at_once, rung = threading.Barrier(4), []

    def look() -> None:
        with connect(road.url, "a second clock") as own:
            at_once.wait()
            for _ in range(3):
                rung.append(clock.ring(own, road.contract, road.cipher, now=on(17.5)))

    threads = [threading.Thread(target=look) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(rung) == 20
    assert moments(road) == [("followup.requested", 20)]
    road.chart()
    assert road.one("select count(*) from ops.follow_ups where status = 'open'") == 20
    assert road.events() == {"charted": 80}


@pytest.mark.parametrize("when", ["before the events", "after the events", "after the commit"])
def test_a_clock_that_is_killed_rings_each_moment_once(road: SmallRoad, when: str):
    """A real process, killed for real: between its statements, and between its commit and its next look."""
    for n in (1, 2):
        begin(road, f"canary-{n:07d}")
    child = os.fork()
    if child == 0:
        try:
            die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
            with connect(road.url, "mortal clock") as own:
                append = clock.append
                if when == "before the events":
                    clock.append = die
                elif when == "after the events":
                    clock.append = lambda *told: (append(*told), die())
                clock.ring(own, road.contract, road.cipher, now=on(17.5))
                die()
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    mortal = "select count(*) from pg_stat_activity where application_name = 'mortal clock'"
    while road.one(
        mortal
    ):  # its locks go with its session, a moment after it: until then others pass these clocks over
        time.sleep(0.02)
    is_done = when == "after the commit"
    assert road.one("select count(*) from phi.events where status = 'waiting'") == (2 if is_done else 0)
    ring(road, 17.5)
    road.chart()
    assert moments(road) == [("followup.requested", 2)]
    assert road.rows("select distinct status from ops.follow_ups") == [("open",)]
    assert road.balance().faults == []


def test_a_run_that_dies_after_the_clock_rang_leaves_the_moment_to_the_next_one(road: SmallRoad):
    begin(road)
    clock.ring(road.connection, road.contract, road.cipher, now=on(17.5))
    child = os.fork()
    if child == 0:
        try:
            save.save_refills = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            with connect(road.url, "mortal run") as own:
                charts.chart_events(own, road.contract, road.cipher, charts.Scope())
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert road.one("select status from ops.follow_ups") == "planned"
    assert clock.ring(road.connection, road.contract, road.cipher, now=on(60)) == 0, "it rang, and is charted first"
    road.chart()
    assert road.one("select status from ops.follow_ups") == "open"
    assert clock.ring(road.connection, road.contract, road.cipher, now=on(60)) == 1


def test_who_is_parted_from_another_again_hears_what_was_reached_meanwhile(road: SmallRoad):
    """Their moments were reached under the other's name: under their own they are events of their own."""
    begin(road)
    other = "canary-0000002"
    begin(road, other)
    first, second = patient_of(road), patient_of(road, other)

    def bring(kind: str, day: float, **told: str) -> None:
        data = {"reason": "said at the desk", "actor": "s-1", "survivor_id": first, **told}
        steward = {"source": "/steward/desk", "subject": first, "type": f"patient.{kind}", "data": data}
        event = orjson.dumps({**message("ordered", day, kind), **steward})
        ledger.append(road.connection, road.contract, road.cipher, [event])
        road.chart()

    bring("merged", 16, retired_id=second)
    ring(road, 17.5)
    bring("unmerged", 18, restored_id=second)
    ring(road, 24)
    assert road.events() == {"charted": road.one("select count(*) from phi.events")}
    assert set(road.rows("select patient_id::text, status from ops.follow_ups where ended_at is null")) == {
        (first, "missed"),
        (second, "missed"),
    }
    assert road.one("select count(*) from ops.clocks where rung_at is not null") == 0


# Many at once


def test_many_moments_of_one_morning_ring_in_batches_and_hold_back_while_events_wait(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(clock, "MOST", 5)
    monkeypatch.setattr(clock, "ROOM", 10)
    begin_lately(monkeypatch, 18)
    road.send(
        *(
            event
            for n in range(1, 31)
            for account in [f"canary-{n:07d}"]
            for event in (
                of(ordered(0, 0.25, account=account), account),
                of(dispensed(3, 0.25, account=account), account),
            )
        )
    )
    waiting = "select count(*) from phi.events where status = 'waiting'"
    assert clock.ring_on(road.connection, road.contract, road.cipher, 2.0, pause=0.1) == 10
    assert road.one(waiting) == 10, "what people send now waits behind ten, not behind thirty"
    road.chart()
    assert clock.ring_on(road.connection, road.contract, road.cipher, 2.0, pause=0.1) == 10
    road.chart()
    assert clock.ring_on(road.connection, road.contract, road.cipher, 2.0, pause=0.1) == 10
    road.chart()
    assert clock.ring_on(road.connection, road.contract, road.cipher, 0.5, pause=0.1) == 0
    assert moments(road) == [("followup.requested", 30)]


def tick(road: SmallRoad) -> str | None:
    told = wiring.patient_clocks(dg.build_sensor_context(), road=Store(road))
    assert isinstance(told, dg.SkipReason)
    return told.skip_message


def test_the_sensor_is_on_rings_in_its_tick_and_starts_no_run(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(wiring, "WAIT_SECONDS", 0.5)
    begin_lately(monkeypatch, 18)
    begin(road)
    assert wiring.patient_clocks.default_status is dg.DefaultSensorStatus.RUNNING
    assert tick(road) == "1 moments reached"
    assert moments(road) == [("followup.requested", 1)]
    road.chart()
    assert tick(road) == "no moment was reached"


def test_dagsters_daemon_looks_as_often_as_ours_tells_it():
    assert daemon.sensor.MIN_INTERVAL_LOOP_TIME == 1.0
    assert "MIN_INTERVAL_LOOP_TIME" in daemon.sensor.execute_sensor_iteration_loop.__code__.co_names


def test_there_is_room_for_every_sensor_that_listens_and_for_others(tmp_path: Path):
    """Each holds a thread of the daemon and one of the code server for as long as its tick lasts."""
    sensors = len(list(defs.sensors or ()))
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path)})
    instance = yaml.safe_load((write_dagster_yaml(settings) / "dagster.yaml").read_text("utf-8"))
    assert instance["sensors"]["num_workers"] >= sensors + 2
    assert 2 * sensors <= CODE_THREADS
