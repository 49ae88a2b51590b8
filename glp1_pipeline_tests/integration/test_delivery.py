"""Delivery to a real EHR from a real database: both kinds of server, and what must not happen when things break."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests

from glp1_pipeline.adapters.ehr import EhrMisconfigured, EhrSettings
from glp1_pipeline.adapters.outbox import carrier, pending, retry_dead, wait_for_due
from glp1_pipeline.sandbox.drills.proxy import (
    COMMIT_THEN_DROP,
    COMMIT_THEN_HTML,
    COMMIT_THEN_WRONG_JSON,
    DROP,
    HTML_PAGE,
    Fault,
    FaultProxy,
    slow,
    status,
)
from glp1_pipeline_tests.deliveries import (
    World,
    assert_each_once,
    change_flag,
    contents_over_time,
    family_name,
    get,
    in_ehr,
    write_kind,
)

from .conftest import KINDS, EhrProcess


@pytest.fixture
def world(url: str, ehr: EhrProcess) -> Iterator[World]:
    world = World(url, ehr.url)
    yield world
    world.close()


@KINDS
def test_a_chart_is_delivered_and_its_references_resolve(world: World, server_ids: bool) -> None:
    patient, other = world.patients(2)
    for one in (patient, other):
        world.plan(one, one.chart(1, "First", extra=12))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        report = world.deliver(world.ehr(proxy.url))
        assert dict(report.outcomes) == {"delivered": 2}
        assert len(report.ms) == 2
        assert_each_once(world, [patient, other], proxy.url)
        assert len(proxy.writes) == (4 if server_ids else 2)
    weight = in_ehr(world, patient, "Observation", "weight")
    me = world.remote(patient)[f"Patient/{patient.rid('me')}"][0]
    assert weight["subject"]["reference"].endswith(f"Patient/{me}")
    assert (me == patient.rid("me")) is not server_ids
    assert world.lane(patient) == (False, None, None)
    assert world.outcomes() == ["delivered"] * 2


@KINDS
def test_delivering_again_with_nothing_new_makes_no_call(world: World, server_ids: bool) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "First"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        before = len(proxy.writes), world.remote(patient)
        report = world.deliver(client)
        assert not report.outcomes
        assert (len(proxy.writes), world.remote(patient)) == before


@KINDS
def test_a_then_b_then_a_is_written_three_times_in_order(world: World, server_ids: bool) -> None:
    (patient,) = world.patients(1)
    for n, said in enumerate(["Anna", "Berta", "Anna"], 1):
        world.plan(patient, patient.chart(n, said))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        assert world.deliver(world.ehr(proxy.url)).delivered == 3
        assert_each_once(world, [patient], proxy.url)
    me = world.remote(patient)[f"Patient/{patient.rid('me')}"]
    assert contents_over_time(world.ehr_url, "Patient", me[0], family_name) == ["Anna", "Berta", "Anna"]
    assert me[1] == "3"


@KINDS
@pytest.mark.parametrize(
    "fault",
    [COMMIT_THEN_DROP, DROP, COMMIT_THEN_HTML, COMMIT_THEN_WRONG_JSON, HTML_PAGE, slow(2.2), status(500), status(503)],
    ids=["commits then drops", "drops", "commits then HTML", "commits then wrong JSON", "HTML", "slow", "500", "503"],
)
def test_an_unknown_outcome_is_read_back_and_ends_with_one_of_each(
    world: World, server_ids: bool, fault: Fault
) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    world.plan(patient, patient.chart(2, "Berta"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        proxy.plan(fault)
        client = world.ehr(proxy.url)
        report = world.deliver(client, deadline=1.0)  # over when the slow one is given up
        assert report.outcomes["in_doubt"] == 1
        tried = world.connection.execute(
            "select d.outcome, d.trouble from ops.deliveries d join ops.writes w using (write_id) where w.target = %s",
            (world.target,),
        ).fetchall()
        assert {trouble for outcome, trouble in tried if outcome == "in_doubt"} < {
            "no_answer",
            "unavailable",
            "rubbish",
        }
        assert all(trouble is None for outcome, trouble in tried if outcome == "delivered")
        while not proxy.writes:  # what is slow lands before our next try, as where minutes lie between them
            time.sleep(0.02)
        world.drain(client)
        assert world.statuses() == {"delivered": 2}
        assert_each_once(world, [patient], proxy.url)
    me = world.remote(patient)[f"Patient/{patient.rid('me')}"]
    assert contents_over_time(world.ehr_url, "Patient", me[0], family_name) == ["Anna", "Berta"]
    assert me[1] == "2"  # nothing was sent a second time that had landed


def test_a_write_too_large_for_a_transaction_goes_as_a_batch_and_only_the_missing_again(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna", extra=10))
    world.plan(patient, patient.chart(2, "Berta"))
    with FaultProxy(world.ehr_url) as proxy:
        sizes: list[int] = []
        proxy.rule = lambda content: sizes.append(len(content["entry"]))
        proxy.plan(COMMIT_THEN_DROP)
        client = world.ehr(proxy.url, max_conditional_entries=8)
        world.drain(client)
        assert_each_once(world, [patient], proxy.url)
    assert sizes == [3]
    assert world.remote(patient)[f"Patient/{patient.rid('me')}"][1] == "2"


def test_no_more_requests_a_second_than_allowed(world: World) -> None:
    for patient in world.patients(6):
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        world.deliver(world.ehr(proxy.url, requests_per_second=10.0))
        times = sorted(at for at, _ in proxy.writes)
    assert times[-1] - times[0] >= 0.45


def test_a_write_of_a_shape_that_we_do_not_know_dies_alone(world: World) -> None:
    broken, other = world.patients(2)
    world.plan(broken, {"resourceType": "Bundle", "type": "transaction", "entry": [{"no": "resource"}]})
    world.plan(other, other.chart(1, "Anna"))
    world.drain(kind=write_kind(world.target, max_tries=2))
    assert world.statuses() == {"dead": 1, "delivered": 1}
    assert world.lane(broken)[1] == "gave_up_failed_here"


def test_a_cut_between_the_two_calls_sends_only_what_is_missing(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids=True) as proxy:
        batches: list[int] = []

        def cut_first_batch(content: dict[str, Any]) -> Fault | None:
            if content.get("type") != "batch":
                return None
            batches.append(len(content["entry"]))
            return status(503) if len(batches) == 1 else None

        proxy.rule = cut_first_batch
        client = world.ehr(proxy.url)
        world.deliver(client, limit=1)  # its retry may be due at once
        assert world.statuses() == {"in_doubt": 1}
        world.drain(client)
        assert_each_once(world, [patient], proxy.url)
    assert {place[1] for place in world.remote(patient).values()} == {"1"}
    assert batches == [5, 5]


def test_only_the_failed_entries_of_a_batch_are_sent_again(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    bundle = patient.chart(2, "Berta")
    world.plan(patient, bundle)
    with FaultProxy(world.ehr_url, server_ids=True) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client, limit=1)
        # Somebody else sends our next weight's content, so its version moves: one entry of the batch will be 412.
        key = f"Observation/{patient.rid('weight')}"
        remote_id = world.remote(patient)[key][0]
        current = get(f"{world.ehr_url}/Observation/{remote_id}")
        requests.put(f"{world.ehr_url}/Observation/{remote_id}", json=current, timeout=10).raise_for_status()
        world.drain(client)
        assert_each_once(world, [patient], proxy.url)
    remote = world.remote(patient)
    assert remote[key][1] == "3"
    assert remote[f"Patient/{patient.rid('me')}"][1] == "2"


def test_eight_deliverers_on_the_same_lanes_double_nothing(world: World) -> None:
    patients = world.patients(12)
    for n, said in enumerate(["Anna", "Berta", "Carla"], 1):
        for patient in patients:
            world.plan(patient, patient.chart(n, said))
    crews = [World(world.database_url, world.ehr_url, world.target) for _ in range(8)]
    threads = [threading.Thread(target=crew.drain, args=(crew.ehr(read_timeout=20.0),)) for crew in crews]
    for thread in threads:
        thread.start()
    for thread, crew in zip(threads, crews, strict=True):
        thread.join()
        crew.close()
    assert world.statuses() == {"delivered": 36}
    assert world.outcomes() == ["delivered"] * 36
    assert_each_once(world, patients)
    for patient in patients:
        assert world.remote(patient)[f"Patient/{patient.rid('me')}"][1] == "3"


def test_retry_after_is_obeyed_for_the_whole_target(world: World) -> None:
    patients = world.patients(6)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        proxy.plan(status(429, Retry_After="2"))
        client = world.ehr(proxy.url)
        report = world.deliver(client, workers=1)
        assert report.stopped == "throttled"
        assert report.outcomes["paused"] == 1
        assert world.breaker()[0] == "open"
        assert not wait_for_due(world.connection, world.target, 0.1)
        assert world.deliver(client).stopped == "throttled"
        world.drain(client)
        refused_at = next(at for at, code in proxy.writes if code == 429)
        later = [at for at, _ in proxy.writes if at > refused_at]
        assert len(proxy.writes) == 7
        assert min(later) >= refused_at + 1.9
    assert world.statuses() == {"delivered": 6}
    assert all(tries == 1 for _, _, tries, _ in world.writes())
    assert world.breaker() == ("closed", 0, None)


def test_a_burst_of_503_opens_the_breaker_and_then_drains(world: World) -> None:
    patients = world.patients(20)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        proxy.plan(*[status(503)] * 9)
        client = world.ehr(proxy.url)
        assert world.deliver(client).stopped == "unavailable"
        assert world.breaker()[0] == "open"
        world.drain(client)
        assert_each_once(world, patients, proxy.url)
    assert world.statuses() == {"delivered": 20}
    assert world.breaker() == ("closed", 0, None)


def test_when_the_ehr_is_back_what_failed_meanwhile_goes_out_within_seconds(world: World) -> None:
    patients = world.patients(7)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    slow_kind = write_kind(world.target, max_retry_seconds=900)
    with FaultProxy(world.ehr_url) as proxy:
        proxy.rule = lambda _: status(503)
        client = world.ehr(proxy.url)
        assert world.deliver(client, kind=slow_kind).stopped == "unavailable"
        # They failed often before, so that each but one would wait for minutes by itself.
        world.connection.execute(
            "update ops.lanes l set next_at = now() + interval '10 minutes' from ops.writes w where w.last_class ="
            " 'unavailable' and w.patient_id = l.patient_id and w.patient_id <> %s",
            (patients[0].patient_id,),
        )
        world.connection.execute(
            "update ops.lanes set next_at = now() where patient_id = %s", (patients[0].patient_id,)
        )
        world.connection.execute("update ops.breakers set open_until = now(), failures = 20")
        proxy.rule = lambda _: None
        world.deliver(client, kind=slow_kind)
        assert world.breaker()[0] == "closed"
        waits = "select coalesce(max(extract(epoch from next_at - now())), 0) <= %s from ops.lanes where has_work"
        assert world.connection.execute(waits, (slow_kind.first_retry_seconds,)).fetchone() == (True,)
        world.drain(client, kind=slow_kind)
        assert_each_once(world, patients, proxy.url)


def test_a_failed_trial_waits_no_longer_than_its_backoff(world: World) -> None:
    for patient in world.patients(8):
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        proxy.rule = lambda _: status(503)
        patient_client = world.ehr(proxy.url, read_timeout=30.0)
        world.deliver(patient_client)
        tried = len(proxy.writes)
        for _ in range(3):
            assert wait_for_due(world.connection, world.target, 3.0)
            world.deliver(patient_client)
        assert len(proxy.writes) == tried + 3  # one each time
        proxy.rule = None
        world.drain()


@KINDS
@pytest.mark.parametrize("code", [400, 422])
def test_a_poison_patient_blocks_nobody_else(world: World, server_ids: bool, code: int) -> None:
    poison, *others = world.patients(4)
    for n in (1, 2):
        for patient in (poison, *others):
            world.plan(patient, patient.chart(n, "Anna" if n == 1 else "Berta"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        marker = poison.rid("me")
        proxy.rule = lambda content: status(code) if marker in str(content) else None
        client = world.ehr(proxy.url)
        report = world.deliver(client)
        assert report.outcomes["dead"] == 1
        assert report.outcomes["delivered"] == 6
        assert world.lane(poison)[1] == "rejected"
        assert pending(world.connection, world.target) == (1, 0, 1)
        proxy.rule = None
        assert retry_dead(world.connection, world.target) == 1
        world.drain(client)
        assert_each_once(world, [poison, *others], proxy.url)
    assert world.statuses() == {"delivered": 8}


def test_a_write_that_never_succeeds_is_given_up(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        proxy.rule = lambda _: status(500)
        world.drain(world.ehr(proxy.url), kind=write_kind(world.target, max_tries=3, max_retry_seconds=0.1))
    assert [(s, tries) for _, s, tries, _ in world.writes()] == [("dead", 3)]
    assert world.lane(patient)[1] == "gave_up_unavailable"


def test_an_ehr_that_is_not_there_stops_delivery_and_burns_no_try(world: World) -> None:
    patients = world.patients(8)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    nobody = world.ehr("http://127.0.0.1:9/fhir")
    stops = []
    for _ in range(8):
        wait_for_due(world.connection, world.target, 1.0)
        stops.append(world.deliver(nobody, workers=1, limit=1).stopped)
    assert stops[-1] == "unreachable"
    assert world.statuses() == {"ready": 8}
    assert {tries for _, _, tries, _ in world.writes()} == {0}
    world.drain()
    assert_each_once(world, patients)


def test_a_body_that_does_not_open_waits_and_holds_nobody(world: World) -> None:
    locked, other = world.patients(2)
    write_id = world.plan(locked, locked.chart(1, "Anna"))
    world.plan(other, other.chart(1, "Berta"))
    world.connection.execute("update phi.write_bodies set kid = 'lost' where write_id = %s", (write_id,))
    report = world.deliver(deadline=1.0)
    assert report.delivered == 1
    assert world.writes("ready")[0][2:] == (0, "unreadable")
    world.connection.execute("update phi.write_bodies set kid = 'k1' where write_id = %s", (write_id,))
    world.drain()
    assert_each_once(world, [locked, other])


def test_a_write_that_our_own_database_could_not_be_asked_about_is_tried_again_in_seconds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    world.deliver()
    change_flag(world, patient, "edited_in_ehr")
    world.plan(patient, patient.change(2, patient.flag("inactive")))
    asked = carrier.earlier_bodies

    def away(*_: Any) -> Any:
        monkeypatch.setattr(carrier, "earlier_bodies", asked)
        raise psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr(carrier, "earlier_bodies", away)
    assert dict(world.deliver(limit=1).outcomes) == {"retry": 1}, "one try: its wait may be over before the next claim"
    assert world.writes("ready")[0][2:] == (0, "store_away")
    assert wait_for_due(world.connection, world.target, 3.0)
    assert dict(world.deliver().outcomes) == {"conflict": 1}


def test_a_deadline_gives_back_what_was_not_begun(world: World) -> None:
    patients = world.patients(10)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url) as proxy:
        proxy.rule = lambda _: slow(0.4)
        report = world.deliver(world.ehr(proxy.url), workers=1, deadline=1.0)
        assert report.stopped == "deadline"
        done = report.delivered
        assert 1 <= done <= 3
        assert world.statuses() == {"delivered": done, "ready": 10 - done}
        assert all(tries == 0 for _, _, tries, _ in world.writes("ready"))
        proxy.rule = None
        world.drain()


@KINDS
def test_kill_9_of_the_deliverer_loses_and_doubles_nothing(world: World, server_ids: bool) -> None:
    patients = world.patients(8)
    said = [f"Name{n}" for n in range(1, 7)]
    for n, name in enumerate(said, 1):
        for patient in patients:
            world.plan(patient, patient.chart(n, name))
    dice = random.Random(20261122)
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        proxy.rule = lambda _: COMMIT_THEN_DROP if dice.random() < 0.05 else None
        command = [sys.executable, "-m", "glp1_pipeline_tests.deliveries", world.database_url, proxy.url, world.target]
        for _ in range(10):
            with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == b"ready\n"
                time.sleep(dice.uniform(0.02, 0.5))
                child.kill()
            world.connection.execute(  # a killed one's leases end, as they would a little later
                "update ops.lanes set leased_until = now() where target = %s and leased_until is not null",
                (world.target,),
            )
            world.connection.execute("update ops.lanes set next_at = now() where target = %s", (world.target,))
        proxy.rule = None
        world.drain(world.ehr(proxy.url))
        assert world.statuses() == {"delivered": 48}
        assert_each_once(world, patients, proxy.url)
    for patient in patients:
        me = world.remote(patient)[f"Patient/{patient.rid('me')}"]
        assert contents_over_time(world.ehr_url, "Patient", me[0], family_name) == said


def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(EhrMisconfigured, match="https"):
        EhrSettings("http://ehr.example.org/fhir")
    with pytest.raises(EhrMisconfigured, match="https"):
        EhrSettings("ftp://127.0.0.1/fhir")
    assert "hush" not in repr(EhrSettings("https://ehr.example.org/fhir", client_id="a", client_secret="hush"))


def test_a_lost_database_connection_is_replaced(world: World) -> None:
    patients = world.patients(6)
    for patient in patients:
        world.plan(patient, patient.chart(1, "Anna"))
    name = f"victim-{world.target}"
    killed = threading.Event()

    def kill_once(_: object) -> None:
        if not killed.is_set():
            killed.set()
            world.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", (name,)
            )

    from glp1_pipeline.adapters.outbox import deliver_pending

    report = deliver_pending(
        lambda: psycopg.connect(world.database_url, autocommit=True, application_name=name),
        world.ehr(),
        write_kind(world.target),
        world.cipher.open,
        workers=1,
        on_progress=kill_once,
    )
    assert killed.is_set()
    assert report.delivered == 6
    assert_each_once(world, patients)
