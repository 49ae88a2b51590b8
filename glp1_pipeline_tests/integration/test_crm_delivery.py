"""Delivery to a real CRM from a real database: one contact a person, and nothing that anybody said there is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.domain.crm import CHANGE, KEY
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.crm_world import CrmWorld, new_key
from glp1_pipeline_tests.small_road import small_road

VERSIONS = pytest.mark.parametrize("has_versions", [True, False], ids=["counts versions", "counts none"])


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[CrmWorld]:
    with small_road(url, tmp_path) as road:
        yield CrmWorld(road)


@VERSIONS
def test_a_patient_becomes_one_contact_and_a_later_change_the_same_one(
    world: CrmWorld, tmp_path: Path, has_versions: bool
) -> None:
    key = new_key()
    with CrmProcess(tmp_path, has_versions=has_versions) as crm:
        door = crm.door()
        world.plan(key, 1, {"email": "cora@canary.example"}, firstname="Cora", lastname="Canary")
        assert dict(world.deliver(door).outcomes) == {"delivered": 1}
        world.plan(key, 2, {"email": "cora@canary.example"}, firstname="Cora", lastname="Canary-Finch")
        assert dict(world.deliver(door).outcomes) == {"delivered": 1}
        contact = crm.only()
    assert contact["properties"] | {"lastname": "Canary-Finch", "email": "cora@canary.example"} == contact["properties"]
    assert contact["properties"][KEY] == key
    assert contact["properties"][CHANGE] == "2"
    assert world.events() == []


def test_what_the_crm_owns_is_given_to_a_new_contact_and_never_written_over(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, {"mobilephone": "+12065550100"}, firstname="Cora")
    world.deliver(door)
    crm.edit(crm.only()["id"], mobilephone="+12065550199")
    world.plan(key, 2, {"mobilephone": "+12065550100"}, firstname="Corinna")
    world.deliver(door)
    assert crm.only()["properties"]["mobilephone"] == "+12065550199"
    assert crm.only()["properties"]["firstname"] == "Corinna"


@VERSIONS
def test_two_editors_at_once_lose_nothing(world: CrmWorld, tmp_path: Path, has_versions: bool) -> None:
    """The one's edit of what we own and of what it owns: the first is in the ledger before we write over it."""
    key = new_key()
    with CrmProcess(tmp_path, has_versions=has_versions) as crm:
        door = crm.door()
        world.plan(key, 1, firstname="Cora", lastname="Canary")
        world.deliver(door)
        contact_id = crm.only()["id"]
        crm.edit(contact_id, firstname="Coraline", mobilephone="+12065550123")
        world.plan(key, 2, firstname="Cora", lastname="Finch")
        world.deliver(door)
        properties = crm.only()["properties"]
        assert world.statuses() == {"delivered": 2}
        assert (properties["firstname"], properties["lastname"]) == ("Cora", "Finch")
        assert properties["mobilephone"] == "+12065550123"
        (event,) = world.events()
        assert event["data"]["properties"] == {"firstname": "Coraline", "mobilephone": "+12065550123"}
        assert event["data"]["record_id"] == key
        assert world.notice(door).changes == 0


def test_many_editors_at_once_end_with_every_word_in_the_crm_or_in_the_ledger(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora")
    world.deliver(door)
    contact_id, said = crm.only()["id"], [f"+1206555{n:04}" for n in range(25)]

    def sales() -> None:
        for phone in said:
            crm.edit(contact_id, mobilephone=phone)
            world_may_look.set()

    world_may_look = threading.Event()
    editor = threading.Thread(target=sales)
    editor.start()
    world_may_look.wait(10)
    for n in range(2, 12):
        world.plan(key, n, firstname=f"Cora{n}")
        world.drain(door)
    editor.join()
    world.notice(door)
    properties = crm.only()["properties"]
    assert (properties["firstname"], properties["mobilephone"]) == ("Cora11", said[-1])
    heard = [event["data"]["properties"]["mobilephone"] for event in world.events()]
    assert heard[-1] == said[-1]
    assert heard == sorted(heard)  # in the order in which they were said
    assert world.statuses() == {"delivered": 11}


@pytest.mark.parametrize("n", [1, 2], ids=["the first write", "a later write"])
def test_a_crm_killed_between_commit_and_answer_ends_with_exactly_one_contact(
    world: CrmWorld, crm: CrmProcess, n: int
) -> None:
    key, door = new_key(), crm.door()
    if n == 2:
        world.plan(key, 1, firstname="Cora")
        world.deliver(door)
    world.plan(key, n, firstname="Corinna", email="cora@canary.example")
    crm.die_at_next_commit()
    assert world.deliver(door, limit=1).outcomes["in_doubt"] == 1
    crm.wait_dead()
    crm.start()
    world.drain(door)
    contact = crm.only()
    assert contact["properties"]["firstname"] == "Corinna"
    assert contact["version"] == str(n)  # nothing was sent a second time that had landed
    assert world.place(key) == [contact["id"], str(n)]
    assert world.notice(door).changes == 0
    assert world.events() == []


def test_an_edit_after_a_write_of_unknown_outcome_is_heard(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora")
    crm.die_at_next_commit()
    world.deliver(door)
    crm.wait_dead()
    crm.start()
    crm.edit(crm.only()["id"], mobilephone="+12065550123")
    world.drain(door)
    (event,) = world.events()
    assert event["data"]["properties"] == {"mobilephone": "+12065550123"}
    assert crm.only()["properties"]["mobilephone"] == "+12065550123"
    assert world.notice(door).changes == 0


def test_a_crm_that_is_down_delays_and_loses_nothing(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    crm.process.kill()
    crm.process.wait()
    world.plan(key, 1, firstname="Cora")
    assert dict(world.deliver(door, limit=1).outcomes) == {"retry": 1}
    crm.start()
    world.drain(door)
    assert crm.only()["properties"]["firstname"] == "Cora"


def test_too_many_requests_are_answered_by_waiting_as_long_as_asked(world: CrmWorld, tmp_path: Path) -> None:
    keys = [new_key() for _ in range(6)]
    with CrmProcess(tmp_path, requests_per_second=2.0) as crm:
        door = crm.door()
        for key in keys:
            world.plan(key, 1, firstname="Cora")
        report = world.deliver(door)
        assert report.outcomes["paused"] >= 1
        assert world.breaker() == ("open", "throttled")
        began = time.monotonic()
        assert dict(world.deliver(door).outcomes) == {}  # nothing is sent meanwhile
        assert time.monotonic() - began < 0.5
        world.drain(door)
        time.sleep(1.0)
        assert len(crm.contacts()) == 6
    assert world.statuses() == {"delivered": 6}
    assert "dead" not in world.outcomes()


def test_a_wrong_token_stops_delivery_and_kills_no_write(world: CrmWorld, crm: CrmProcess) -> None:
    world.plan(new_key(), 1, firstname="Cora")
    door = Crm(CrmSettings(crm.url, "wrong", read_timeout=2.0))
    assert dict(world.deliver(door).outcomes) == {"paused": 1}
    assert world.breaker() == ("open", "unauthorized")
    assert world.statuses() == {"ready": 1}
    door.close()


def test_a_contact_with_the_same_address_is_not_taken_over(world: CrmWorld, crm: CrmProcess) -> None:
    key, door = new_key(), crm.door()
    stranger = crm.add(email="Cora@Canary.example", firstname="Somebody")
    world.plan(key, 1, firstname="Cora", email="cora@canary.example")
    assert dict(world.deliver(door).outcomes) == {"conflict": 1}
    assert world.conflict(key) == "same_email"
    assert crm.only()["properties"]["firstname"] == "Somebody"
    assert KEY not in crm.only()["properties"]
    world.decide(key, "ours")
    world.plan(key, 2, firstname="Cora", email="cora@canary.example")
    assert dict(world.deliver(door).outcomes) == {"delivered": 1}
    assert crm.only()["id"] == stranger
    assert crm.only()["properties"][KEY] == key
    assert world.conflict(key) is None
    (event,) = world.events()
    assert event["data"]["properties"]["firstname"] == "Somebody"


def test_the_contact_of_another_patient_with_the_same_address_is_never_taken(world: CrmWorld, crm: CrmProcess) -> None:
    first, second, door = new_key(), new_key(), crm.door()
    world.plan(first, 1, firstname="Cora", email="shared@canary.example")
    world.deliver(door)
    world.plan(second, 1, firstname="Carl", email="shared@canary.example")
    world.deliver(door)
    assert world.conflict(second) == "already_linked"
    world.decide(second, "ours")
    world.plan(second, 2, firstname="Carl", email="shared@canary.example")
    world.deliver(door)
    assert crm.only()["properties"][KEY] == first
    assert world.conflict(second) == "already_linked"


def test_an_address_that_another_contact_has_by_now_holds_back_the_address_alone(
    world: CrmWorld, crm: CrmProcess
) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora", email="cora@canary.example")
    world.deliver(door)
    crm.add(email="other@canary.example")
    world.plan(key, 2, firstname="Corinna", email="other@canary.example")
    assert dict(world.deliver(door).outcomes) == {"conflict": 1}
    assert world.conflict(key) == "same_email"
    ours = next(c for c in crm.contacts() if c["properties"].get(KEY) == key)
    assert (ours["properties"]["firstname"], ours["properties"]["email"]) == ("Corinna", "cora@canary.example")
    world.plan(key, 3, firstname="Corinna", email="cora@canary.example")
    assert dict(world.deliver(door).outcomes) == {"delivered": 1}
    assert world.conflict(key) is None


def test_a_contact_that_was_deleted_there_is_made_again_only_when_a_person_says_so(
    world: CrmWorld, crm: CrmProcess
) -> None:
    key, door = new_key(), crm.door()
    world.plan(key, 1, firstname="Cora")
    world.deliver(door)
    crm.ask("DELETE", f"/{crm.only()['id']}")
    world.plan(key, 2, firstname="Corinna")
    assert dict(world.deliver(door).outcomes) == {"conflict": 1}
    assert world.conflict(key) == "deleted_in_crm"
    assert crm.contacts() == []
    world.decide(key, "ours")
    world.plan(key, 3, firstname="Corinna")
    assert dict(world.deliver(door).outcomes) == {"delivered": 1}
    assert crm.only()["properties"]["firstname"] == "Corinna"
    assert world.conflict(key) is None
