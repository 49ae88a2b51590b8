"""What people change in a real CRM reaches the ledger: once, all of it, and never our own writes."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import requests
import uvicorn

from glp1_pipeline.adapters import ledger
from glp1_pipeline.adapters.crm import Crm, CrmSettings, changes
from glp1_pipeline.adapters.crm.cursor import wait_for_due
from glp1_pipeline.adapters.hooks import LONGEST_BODY, make_app
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.defs import crm as wiring
from glp1_pipeline.defs import ticks
from glp1_pipeline.sandbox.drills.proxy import FaultProxy, status
from glp1_pipeline_tests.crm_process import TOKEN, CrmProcess
from glp1_pipeline_tests.crm_world import CrmWorld, new_key
from glp1_pipeline_tests.small_road import small_road

SECRET = "what-webhooks-are-signed-with"


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[CrmWorld]:
    with small_road(url, tmp_path) as road:
        yield CrmWorld(road)


class Receiver:
    """Our receiver of webhooks, in a thread."""

    def __init__(self, database_url: str) -> None:
        self.port = free_port(set())
        self.url = f"http://127.0.0.1:{self.port}/crm"
        app = make_app(lambda: database_url, SECRET)
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning", access_log=False))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Receiver:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def post(self, body: bytes, secret: str = SECRET, age: float = 0.0) -> int:
        timestamp = str(int(time.time() - age))
        signature = hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Signature-Timestamp": timestamp, "X-Signature": signature}
        return requests.post(self.url, body, headers=headers, timeout=10).status_code


def ids(world: CrmWorld) -> list[str]:
    return [event["subject"] for event in world.events()]


def test_a_contact_that_somebody_makes_or_edits_is_one_event_each_however_often_we_look(
    world: CrmWorld, crm: CrmProcess
) -> None:
    door = crm.door()
    contact_id = crm.add(email="lena@canary.example", firstname="Lena")
    assert world.has_news(door)
    assert world.notice(door).changes == 1
    assert not world.has_news(door)
    assert world.notice(door).changes == 0
    crm.edit(contact_id, mobilephone="+12065550123")
    assert world.notice(door).changes == 1
    assert world.notice(door).changes == 0
    made, edited = world.events()
    assert made["data"]["properties"] == {"email": "lena@canary.example", "firstname": "Lena"}
    assert edited["data"]["properties"]["mobilephone"] == "+12065550123"
    assert edited["data"]["version"] == "2"
    assert edited["id"] == f"contact/{contact_id}/_history/2"
    assert edited["source"] == "/crm/crm"
    assert "record_id" not in edited["data"]


def test_our_own_writes_come_back_as_no_event(world: CrmWorld, crm: CrmProcess) -> None:
    door, keys = crm.door(), [new_key() for _ in range(5)]
    for key in keys:
        world.plan(key, 1, {"email": f"{key}@canary.example"}, firstname="Cora")
        world.plan(key, 2, firstname="Corinna")
    world.drain(door)
    assert not world.has_news(door)
    noticed = world.notice(door)
    assert (noticed.changes, world.events()) == (0, [])
    contact = crm.contacts()[0]
    crm.edit(contact["id"], firstname="Corry")
    assert world.notice(door).changes == 1
    (event,) = world.events()
    assert event["data"]["properties"] == {"firstname": "Corry"}  # and not what we had written there
    assert event["data"]["record_id"] == contact["properties"]["glp1_patient_id"]
    assert event["data"]["actor"] == "CRM_UI:a-person"


def test_a_word_taken_back_is_heard_too(world: CrmWorld, crm: CrmProcess) -> None:
    """A, then B, then A again: though the last is what we had written, it is theirs now."""
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora")
    world.deliver(door)
    contact_id = crm.only()["id"]
    for name in ("Berta", "Cora"):
        crm.edit(contact_id, firstname=name)
        world.notice(door)
    assert [e["data"]["properties"]["firstname"] for e in world.events()] == ["Berta", "Cora"]


def test_a_write_on_its_way_is_known_as_ours_before_it_is_settled(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora")
    crm.die_at_next_commit()
    world.deliver(door, limit=1)
    crm.wait_dead()
    crm.start()
    assert world.notice(door).changes == 0
    assert world.events() == []


def test_more_contacts_than_a_page_in_one_millisecond_are_all_heard_once(world: CrmWorld, tmp_path: Path) -> None:
    with CrmProcess(tmp_path, stopped_clock_ms=1_790_000_000_000) as crm:
        inputs = [
            {"id": f"p{n}@canary.example", "idProperty": "email", "properties": {"firstname": f"P{n}"}}
            for n in range(250)
        ]
        for start in range(0, 250, 100):
            crm.ask("POST", "/batch/upsert", {"inputs": inputs[start : start + 100]})
        door = crm.door()
        assert world.notice(door).changes == 250
        crm.add(email="late@canary.example")  # in the very same millisecond, after we looked
        assert world.notice(door).changes == 1
        assert world.notice(door).changes == 0
    assert len(set(ids(world))) == len(ids(world)) == 251


def test_contacts_that_change_while_we_read_page_after_page_are_not_passed_over(
    world: CrmWorld, crm: CrmProcess
) -> None:
    """A search that counts rows skips one for each that moves to its end meanwhile."""
    made = [crm.add(email=f"p{n}@canary.example") for n in range(230)]
    door, is_over = crm.door(), threading.Event()

    def sales() -> None:
        n = 0
        while not is_over.is_set():
            crm.ask("PATCH", f"/{made[n % 100]}", {"properties": {"firstname": f"again {n}"}})
            n += 1

    editor = threading.Thread(target=sales)
    editor.start()
    world.notice(door)
    is_over.set()
    editor.join()
    assert set(ids(world)) == set(made)
    world.notice(door)
    last = {e["subject"]: e["data"]["properties"] for e in world.events()}
    for contact in crm.contacts():
        assert last[contact["id"]].get("firstname") == contact["properties"].get("firstname")


def test_a_look_that_dies_before_its_end_is_repeated_and_nothing_comes_twice(
    world: CrmWorld, crm: CrmProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = crm.door()
    made = [crm.add(email=f"p{n}@canary.example") for n in range(120)]
    pages = 0
    move = changes.move_cursor

    def dies_at_the_second(*args, **kwargs) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise RuntimeError("killed")
        move(*args, **kwargs)

    monkeypatch.setattr(changes, "move_cursor", dies_at_the_second)
    with pytest.raises(RuntimeError, match="killed"):
        world.notice(door)
    monkeypatch.undo()
    assert len(ids(world)) == 100
    world.notice(door)
    assert sorted(ids(world)) == sorted(made)
    assert world.road.balance().faults == []


def test_a_deleted_contact_is_one_event(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    gone_before = crm.add(email="old@canary.example")
    crm.ask("DELETE", f"/{gone_before}")
    world.plan(key, 1, firstname="Cora")
    world.deliver(door)
    world.notice(door)
    assert world.events() == []  # of somebody whom we never heard of there is nothing to delete
    contact_id = crm.only()["id"]
    crm.ask("DELETE", f"/{contact_id}")
    world.connection.execute("update ops.poll_cursors set polled_at = now() - interval '1 hour'")
    assert world.notice(door).deleted == 1
    world.connection.execute("update ops.poll_cursors set polled_at = now() - interval '1 hour'")
    assert world.notice(door).deleted == 0
    (event,) = world.events()
    assert (event["subject"], event["data"]["deleted"], event["data"]["properties"]) == (contact_id, True, {})
    assert event["data"]["record_id"] == key


def test_a_webhook_that_comes_twice_is_one_event(world: CrmWorld, crm: CrmProcess) -> None:
    door = crm.door()
    world.notice(door)
    with Receiver(world.road.url) as receiver:
        contact_id = crm.add(email="lena@canary.example")
        body = json.dumps(
            [{"eventId": 1, "subscriptionType": "contact.creation", "objectId": int(contact_id)}]
        ).encode()
        for _ in range(2):
            assert not wait_for_due(world.connection, 0.0, every=3600)
            assert receiver.post(body) == 204
            assert wait_for_due(world.connection, 5.0, every=3600)
            world.notice(door)
    assert ids(world) == [contact_id]


@pytest.mark.parametrize(
    ("body", "secret", "age", "status"),
    [
        (b"[]", "another", 0, 401),
        (b"[]", SECRET, 3600, 401),
        (b"not json", SECRET, 0, 400),
        (b'[{"no": "type"}]', SECRET, 0, 400),
        (b"x" * (LONGEST_BODY + 1), SECRET, 0, 413),
    ],
    ids=["signed with another secret", "an hour old", "no JSON", "of another shape", "too long"],
)
def test_a_webhook_that_is_not_the_crms_changes_nothing(
    world: CrmWorld, body: bytes, secret: str, age: float, status: int
) -> None:
    with Receiver(world.road.url) as receiver:
        assert receiver.post(body, secret, age) == status
    assert world.road.rows("select 1 from ops.poll_cursors") == []


def test_webhooks_of_the_sandbox_are_told_until_they_are_heard(world: CrmWorld, tmp_path: Path) -> None:
    receiver = Receiver(world.road.url)
    with CrmProcess(tmp_path, hook_url=receiver.url, hook_secret=SECRET) as crm:
        door = crm.door()
        contact_id = crm.add(email="lena@canary.example")
        world.notice(door)
        crm.edit(contact_id, firstname="Lena")  # while nobody listens
        time.sleep(0.5)
        assert not wait_for_due(world.connection, 0.0, every=3600)
        with receiver:
            assert wait_for_due(world.connection, 20.0, every=3600)
    # What the hint says is read from the CRM, never from the hint.
    assert world.road.one("select changes >= 1 from ops.poll_cursors where kind = 'hint'")


def test_it_is_time_to_look_again_after_a_while_without_any_webhook(world: CrmWorld, crm: CrmProcess) -> None:
    assert wait_for_due(world.connection, 0.0)
    world.notice(crm.door())
    assert not wait_for_due(world.connection, 0.0)
    assert wait_for_due(world.connection, 5.0, every=0.5)


def test_the_crm_is_looked_at_also_when_the_clock_was_set_back_since_the_last_look(
    world: CrmWorld, crm: CrmProcess
) -> None:
    world.notice(crm.door())
    assert not wait_for_due(world.connection, 0.0)
    world.connection.execute("update ops.poll_cursors set polled_at = polled_at + interval '1 hour'")
    assert wait_for_due(world.connection, 0.0)
    world.notice(crm.door())
    assert not wait_for_due(world.connection, 0.0)


def test_a_crm_whose_clock_was_ahead_and_is_set_right_is_heard_at_once_and_each_change_once(
    world: CrmWorld, tmp_path: Path
) -> None:
    an_hour_ahead = round((time.time() + 3600) * 1000)
    with CrmProcess(tmp_path, stopped_clock_ms=an_hour_ahead) as crm:
        door = crm.door()
        first = crm.add(email="lena@canary.example", firstname="Lena")
        gone = crm.add(email="uma@canary.example", glp1_patient_id=new_key())
        assert world.notice(door).changes == 2
        crm.ask("DELETE", f"/{gone}")
        age_sweep(world)
        assert world.notice(door).deleted == 1
        crm.process.terminate()
        crm.process.wait(20)
        crm.options = {}
        crm.start()
        second = crm.add(email="mila@canary.example", glp1_patient_id=new_key())
        assert world.notice(door).changes == 1
        crm.edit(first, firstname="Lenka")
        assert world.notice(door).changes == 1
        crm.ask("DELETE", f"/{second}")
        age_sweep(world)
        assert world.notice(door).deleted == 1
        assert world.notice(door).changes == 0
    assert len({event["id"] for event in world.events()}) == len(world.events())


def age_sweep(world: CrmWorld) -> None:
    """As if the deleted contacts had been listed an hour ago."""
    world.connection.execute(
        "update ops.poll_cursors set polled_at = polled_at - interval '1 hour' where kind = 'archived'"
    )


def given_road(world: CrmWorld, door: Crm) -> Any:
    """The test's own road, in the place of the one that settings give."""

    class Given(dg.ConfigurableResource):
        @property
        def crm(self) -> Crm:
            return door

        @property
        def contract(self) -> Any:
            return world.road.contract

        def in_words(self) -> Any:
            return nullcontext()

        def connect(self, name: str = "") -> psycopg.Connection:
            return psycopg.connect(world.road.url, autocommit=True)

        def append(self, connection: psycopg.Connection, documents: list[bytes]) -> None:
            ledger.append(connection, world.road.contract, world.road.cipher, documents)

    return Given()


def test_the_asset_says_how_far_the_crm_was_read_and_what_stops_us(world: CrmWorld, crm: CrmProcess) -> None:
    crm.add(email="lena@canary.example", firstname="Lena")

    def look() -> tuple[dict[str, Any], bool]:
        with dg.DagsterInstance.ephemeral() as instance:
            road = given_road(world, crm.door())
            result = dg.materialize([wiring.notice_crm_changes], resources={"road": road}, instance=instance)
        (made,) = result.asset_materializations_for_node("notice_crm_changes")
        (check,) = result.get_asset_check_evaluations()
        assert check.check_name == "changes_are_read"
        return {name: value.value for name, value in made.metadata.items()}, check.passed

    told, is_read = look()
    assert (told["changes"], "stopped" in told, is_read) == (1, False, True)
    assert told["lag (seconds)"] < 60
    crm.process.kill()
    crm.process.wait(20)
    world.connection.execute("update ops.poll_cursors set polled_at = now() - interval '16 minutes'")
    told, is_read = look()
    assert (told["changes"], told["stopped"], is_read) == (0, "unreachable", False)
    assert told["lag (seconds)"] > 15 * 60
    crm.start()
    assert look()[1]


def test_the_sensor_asks_for_a_run_when_there_is_news_and_now_and_then_also_while_the_crm_is_away(
    world: CrmWorld, crm: CrmProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(wiring, "wait_for_due", lambda *_: True)
    rested: list[float | None] = []
    monkeypatch.setattr(wiring, "rest", rested.append)
    job = dg.define_asset_job("crm_changes_job", selection=dg.AssetSelection.assets("crm_changes"))
    sensor = wiring.crm_changes_sensor(job)
    long_ago = (datetime.now(UTC) - timedelta(minutes=6)).isoformat()
    with dg.DagsterInstance.ephemeral() as instance:

        def asks(cursor: str | None, door: Crm | None = None) -> tuple[int, str | None]:
            road = given_road(world, door or crm.door())
            answer = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor, resources={"road": road}))
            return len(answer.run_requests or ()), answer.cursor

        asked, cursor = asks(None)
        assert asked == 1
        world.notice(crm.door())
        assert asks(cursor)[0] == 0
        crm.add(email="lena@canary.example", firstname="Lena")
        assert asks(cursor)[0] == 1
        world.notice(crm.door())
        assert asks(cursor)[0] == 0
        assert rested == []
        with FaultProxy(crm.url) as proxy:
            proxy.always(status(429, Retry_After="7"))
            assert asks(cursor, Crm(CrmSettings(proxy.url, TOKEN)))[0] == 0
        assert rested == [7.0], "it is left alone for as long as it asks"
        crm.process.kill()
        crm.process.wait(20)
        assert asks(cursor)[0] == 0
        assert rested == [7.0, None]
        assert asks(long_ago)[0] == 1


def test_a_tick_rests_as_long_as_was_asked_for_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(ticks.time, "sleep", slept.append)
    for asked_for in (7.0, 3600.0, None):
        ticks.rest(asked_for)
    assert slept == [7.0, ticks.LONGEST_REST, ticks.REST_SECONDS]
