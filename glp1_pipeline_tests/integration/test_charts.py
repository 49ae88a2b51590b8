"""From the ledger to the outbox, against a real Postgres: each event charted once, whatever runs how often, where."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import uuid
from datetime import datetime
from typing import Any

import orjson
import psycopg
import pytest

from glp1_pipeline.adapters import charts, ledger
from glp1_pipeline.adapters.charts import claim, run
from glp1_pipeline_tests.ledgers import assert_in_balance
from glp1_pipeline_tests.small_road import (
    SmallRoad,
    amendment,
    connect,
    empty_tables,
    event_id,
    submission,
    weight,
)


def writes(road: SmallRoad) -> list[dict[str, Any]]:
    """What each write would send, in order."""
    return [
        orjson.loads(road.cipher.open(kid, bytes(body), f"writes|{write_id}"))
        for write_id, kid, body in road.rows(
            "select write_id, kid, body from ops.writes join phi.write_bodies using (write_id) order by patient_id, n"
        )
    ]


# What is pending


@pytest.mark.parametrize("drops", [((0, 1),), ((1, 0),), ((0,), (1,)), ((1,), (0,))])
def test_of_a_submission_that_came_twice_the_ehr_shows_the_last_word_however_it_came_and_after_a_replay(
    road: SmallRoad, drops: tuple[tuple[int, ...], ...]
):
    first = submission(1)
    later = amendment(first, 1, weight(77))
    later |= {"type": "intake.submitted", "data": {**later["data"], "submission_id": first["data"]["submission_id"]}}
    for numbers in drops:
        road.send(*((first, later)[n] for n in numbers))

    def shown() -> dict[str, Any]:
        entries = [entry["resource"] for write in writes(road) for entry in write["entry"]]
        return [one for one in entries if one["resourceType"] == "QuestionnaireResponse"][-1]

    assert datetime.fromisoformat(shown()["authored"]) == datetime.fromisoformat(later["data"]["authored_at"])
    for event in (first, later):
        assert road.replay([event_id(event)]).writes == 0
    assert road.replay().writes == 0


def test_what_waits_is_charted_once_and_a_second_run_finds_nothing(road: SmallRoad):
    events = [submission(n) for n in range(20)]
    done = road.send(*events)
    assert (done.events, done.patients, done.passed, done.entered_queue, done.writes, done.dead) == (
        20,
        20,
        20,
        20,
        20,
        0,
    )
    assert road.events() == {"charted": 20}
    assert charts.pending_days(road.connection) == []
    again = road.chart()
    assert (again.events, again.writes) == (0, 0)
    assert_in_balance(road)


class Explaining:
    """A connection that tells how it would find what it is asked for."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Any = None, **_: Any) -> psycopg.Cursor:
        asks = statement if statement.startswith("set") else f"explain {statement}"
        return self._connection.execute(asks.encode(), values)


def test_what_waits_is_not_sorted_for_each_batch_though_postgres_has_no_statistics_of_it_yet(road: SmallRoad):
    road.drop("one.json", submission(1))
    road.take()
    columns = ", ".join(set(ledger.COLUMNS) - {"event_id"})
    with road.connection.transaction(force_rollback=True):
        road.connection.execute(
            f"insert into phi.events (event_id, {columns}) select gen_random_uuid(), {columns} from phi.events,"
            " generate_series(1, 5000)".encode()
        )
        plan, by_id = (
            "\n".join(line for (line,) in claim.claim(Explaining(road.connection), scope, 0))
            for scope in (claim.Scope(), claim.Scope(event_ids=(uuid.uuid4(),)))
        )
        assert road.rows("select current_setting('enable_sort')") == [("on",)]
    assert "events_waiting" in plan, plan
    assert "Sort" not in plan, plan
    assert "events_pkey" in by_id, by_id


def test_a_backlog_over_several_days_and_batches_is_charted_to_its_end(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(claim, "BATCH", 7)
    road.drop("a.ndjson", *[submission(n) for n in range(40)])
    road.take()
    road.connection.execute(
        "update phi.events set received_on = received_on - (seq % 3)::int, received_at = received_at"
        " - make_interval(days => (seq % 3)::int)"
    )
    road.count_parts()
    days = charts.pending_days(road.connection)
    assert len(days) == 3
    assert road.one("select count(*) from phi.events where received_on = %s", days[1]) in (13, 14)
    first = road.chart(days=(days[1],))
    assert charts.pending_days(road.connection) == [days[0], days[2]]
    rest = road.chart()
    assert first.events + rest.events == 40
    assert road.events() == {"charted": 40}
    assert_in_balance(road)


def test_the_first_patients_of_a_file_do_not_wait_for_its_last(road: SmallRoad):
    road.drop("a.ndjson", *[submission(n) for n in range(1100)])
    road.take()
    charted: list[int] = []
    scope = claim.Scope()
    charts.chart_events(road.connection, road.contract, road.cipher, scope, lambda done: charted.append(done.events))
    assert charted == [275, 525, 775, 1025, 1100]


def test_a_batch_takes_no_more_locks_of_the_server_than_it_is_cut_for(road: SmallRoad, monkeypatch):
    held: list[int] = []

    def counted(connection, *rest):
        (locks,) = connection.execute("select count(*) from pg_locks where pid = pg_backend_pid()").fetchone()
        held.append(locks)
        settle(connection, *rest)

    settle = run.settle
    monkeypatch.setattr(run, "settle", counted)
    road.send(*[submission(n) for n in range(100)])
    assert 100 < held[0] <= 100 * claim.LOCKS


def test_a_replay_of_a_day_in_small_batches_takes_each_event_once(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(claim, "BATCH", 7)
    road.send(*[submission(n) for n in range(30)])
    assert road.replay().events == 30


def test_replaying_everything_three_times_leaves_the_same_state_and_writes_nothing(road: SmallRoad):
    events = [submission(n) for n in range(6)]
    road.send(*events, submission(6, **{"hx.men2": "yes"}), submission(7, status="in-progress"), b"no event")
    road.send(amendment(events[0], 1, {"hx.mtc_personal": "yes"}), amendment(events[1], 1, weight(90)))
    road.send(amendment(events[0], 2, {"hx.mtc_personal": "no"}, minutes=90))
    before, sent = road.fingerprint(), writes(road)
    for _ in range(3):
        done = road.replay()
        assert (done.writes, done.dead, done.entered_queue, done.tasks_opened, done.tasks_closed) == (0, 0, 0, 0, 0)
        assert road.fingerprint() == before
    assert writes(road) == sent
    assert_in_balance(road)


def test_replaying_one_event_by_its_id_leaves_the_others_alone(road: SmallRoad):
    events = [submission(n) for n in range(3)]
    road.send(*events)
    before = road.fingerprint()
    assert road.replay([event_id(events[1])]).events == 1
    assert road.replay([uuid.uuid4()]).events == 0
    assert road.fingerprint() == before


# Changes


def test_there_and_back_again_is_three_writes(road: SmallRoad):
    first = submission(1, **weight(100))
    road.send(first)
    road.send(amendment(first, 1, weight(90)))
    road.send(amendment(first, 2, weight(100), minutes=90))
    road.replay()
    told = [
        [e["resource"]["valueQuantity"]["value"] for e in bundle["entry"] if e["resource"].get("code", {}).get("coding", [{}])[0].get("code") == "29463-7"]
        for bundle in writes(road)
    ]  # fmt: skip
    assert told == [[100.0], [90.0], [100.0]]
    assert road.rows("select n from ops.writes order by n") == [(1,), (2,), (3,)]
    assert_in_balance(road)


def test_the_same_submission_under_a_new_event_makes_no_write(road: SmallRoad):
    road.send(submission(1))
    done = road.send({**submission(1), "id": "sent-again"})
    assert (done.events, done.writes) == (1, 0)
    assert road.events() == {"charted": 2}
    assert_in_balance(road)


def test_a_draft_makes_no_write_and_waits_outside_the_queue_until_it_is_submitted(road: SmallRoad):
    draft = submission(1, status="in-progress")
    done = road.send(draft)
    assert (done.events, done.writes, done.passed, done.held) == (1, 0, 0, 1)
    assert road.rows("select missing from ops.gate_results") == [(["submission:in_progress"],)]
    assert road.one("select count(*) from ops.provider_queue") == 0
    done = road.send({**submission(1), "id": "now-submitted"})
    assert (done.writes, done.passed, done.entered_queue) == (1, 1, 1)
    assert_in_balance(road)


def test_an_amendment_that_fills_the_gap_closes_its_task_and_lets_the_patient_in(road: SmallRoad):
    first = submission(1, **{"hx.mtc_family": None, "hx.men2": None})
    done = road.send(first)
    assert (done.held, done.tasks_opened > 0, done.entered_queue) == (1, True, 0)
    asked = road.rows("select code, cause from ops.tasks where status = 'open' order by 1, 2")
    assert asked
    done = road.send(amendment(first, 1, {"hx.mtc_family": "no", "hx.men2": "no"}))
    assert (done.passed, done.tasks_closed, done.entered_queue) == (1, len(asked), 1)
    assert road.rows("select code, cause from ops.tasks where status = 'done' order by 1, 2") == asked
    assert road.one("select bool_and(closed_at is not null) from ops.tasks where status = 'done'")
    assert_in_balance(road)


def test_who_leaves_the_queue_and_comes_back_waits_from_then_on(road: SmallRoad):
    first = submission(1)
    road.send(first)
    road.connection.execute("update ops.provider_queue set entered_at = entered_at - interval '3 days'")
    done = road.send(amendment(first, 1, {"hx.men2": "prefer not to say"}))
    assert (done.held, road.one("select left_at is not null from ops.provider_queue")) == (1, True)
    done = road.send(amendment(first, 2, {"hx.men2": "no"}, minutes=90))
    assert done.entered_queue == 1
    assert road.one("select left_at is null and entered_at > now() - interval '1 hour' from ops.provider_queue")
    assert_in_balance(road)


# Several at once


@pytest.mark.parametrize("count", [3])
def test_processes_that_chart_the_same_patients_at_once_neither_lose_nor_double(road: SmallRoad, count: int):
    chosen = random.Random(count)
    events = []
    for n in range(60):
        first = submission(n)
        events += [first, amendment(first, 1, weight(90)), amendment(first, 2, weight(91), minutes=80)]
        events += [amendment(first, 3 + k, weight(92 + k), minutes=100 + k) for k in range(n % 20)]
    chosen.shuffle(events)
    road.drop("a.ndjson", *events)
    road.take()
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "glp1_pipeline_tests.small_road", road.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for _ in range(count)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
    done = [orjson.loads(program.communicate(timeout=60)[0]) for program in programs]
    assert [program.returncode for program in programs] == [0] * count
    assert sum(told[0] for told in done) == len(events)
    assert road.events() == {"charted": len(events)}
    assert road.one("select count(*) from phi.charts") == 60
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 60
    assert road.one("select count(*) from ops.writes") == sum(told[1] for told in done)
    gaps = "select patient_id from ops.writes group by 1 having count(*) <> max(n) or min(n) <> 1"
    assert road.rows(gaps) == []
    assert_in_balance(road)
    before = road.fingerprint()
    assert road.replay().writes == 0
    assert road.fingerprint() == before


def test_two_replays_of_everything_at_once_end_in_the_same_state(road: SmallRoad):
    road.send(*[submission(n) for n in range(80)])
    before, failures = road.fingerprint(), []

    def replay() -> None:
        try:
            with connect(road.url) as own:
                SmallRoad(road.url, road.folder, own).replay()
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=replay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert road.fingerprint() == before


# Order of arrival


def story(n: int) -> list[dict[str, Any]]:
    """A patient's events in the order of authoring: a draft, the submission, and two corrections."""
    draft = submission(n, status="in-progress", **{"hx.gallbladder": "stones", "hx.suicide": "past", **weight(130)})
    draft["id"] += ".draft"
    draft["data"]["authored_at"] = draft["data"]["received_at"] = "2026-11-20T08:00:00-06:00"
    first = submission(n, **{"hx.mtc_family": "unsure", **weight(110)})
    fills = amendment(first, 1, {"hx.mtc_family": "no", "hx.men2": "yes"})
    takes_back = amendment(first, 2, {"hx.men2": "no", **weight(104)}, minutes=120)
    return [draft, first, fills, takes_back]


STATE = ("patient_values", "charts", "gate_results", "identifiers", "provider_queue")


def state(road: SmallRoad) -> dict[str, Any]:
    """What must not depend on the order. A flag or task that was there in between and is over leaves its trace."""
    found: dict[str, Any] = {name: value for name, value in road.fingerprint().items() if name in STATE}
    found["queue"] = road.rows("select patient_id, reds, ambers from ops.provider_queue where left_at is null")
    found["flags"] = road.rows(
        "select patient_id, flag_id, severity, status, fields, event_id from phi.risk_flags where status <> 'cleared'"
        " order by 1, 2"
    )
    found["tasks"] = road.rows("select patient_id, code, cause from ops.tasks where status = 'open' order by 1, 2, 3")
    return found


@pytest.mark.parametrize("seed", range(6))
def test_whatever_order_a_patients_events_come_in_the_end_is_the_same(road: SmallRoad, seed: int):
    events = story(seed)
    road.send(*events)
    expected = state(road)
    chosen = random.Random(seed)
    for _ in range(4):
        order = events[:]
        chosen.shuffle(order)
        empty_tables(road.connection)
        cuts = sorted(chosen.sample(range(1, 4), chosen.randint(0, 3)))
        for start, end in zip([0, *cuts], [*cuts, 4], strict=True):
            road.send(*order[start:end])
        if "provider_queue" in expected:
            expected.pop("provider_queue")
        told = state(road)
        told.pop("provider_queue")
        assert told == expected
        assert_in_balance(road)
        before = road.fingerprint()
        assert road.replay().writes == 0
        assert road.fingerprint() == before


def test_an_amendment_before_what_it_amends_is_kept_and_joined(road: SmallRoad):
    first = submission(1)
    done = road.send(amendment(first, 1, weight(90)))
    assert (done.events, done.held) == (1, 1)
    done = road.send(first)
    assert (done.passed, done.entered_queue) == (1, 1)
    assert road.one("select value -> 'value' from phi.chart_values where field = 'anthro.weight'") == 90
    assert_in_balance(road)
