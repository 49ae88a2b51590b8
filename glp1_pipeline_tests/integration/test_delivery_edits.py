"""Delivery where somebody works in the EHR too: an edit there is never written over, and holds nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
import requests

from glp1_pipeline.adapters import ehr_compare
from glp1_pipeline.adapters.ehr import count_by_identifier
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.outbox import settle_conflict
from glp1_pipeline.sandbox.drills.proxy import (
    COMMIT_THEN_DROP,
    DROP,
    Fault,
    FaultProxy,
    status,
)
from glp1_pipeline_tests.deliveries import (
    WRITE_SYSTEM,
    Patient,
    World,
    assert_each_once,
    change_flag,
    family_name,
    get,
    in_ehr,
)

from .conftest import KINDS, EhrProcess


@pytest.fixture
def world(url: str, ehr: EhrProcess) -> Iterator[World]:
    world = World(url, ehr.url)
    yield world
    world.close()


@KINDS
def test_an_edit_in_the_ehr_is_never_written_over(world: World, server_ids: bool) -> None:
    patient, other = world.patients(2)
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        chart = in_ehr(world, patient, "Patient", "me")
        chart["name"][0]["family"] = "Corrected by the provider"
        requests.put(f"{world.ehr_url}/Patient/{chart['id']}", json=chart, timeout=10).raise_for_status()
        world.plan(patient, patient.chart(2, "Berta"))
        world.plan(patient, patient.chart(3, "Carla"))
        world.plan(other, other.chart(1, "Dora"))
        report = world.deliver(client)
        # The edited resource is left alone in every write; all else of the patient arrives (it once stopped the lane).
        assert dict(report.outcomes) == {"conflict": 2, "delivered": 1}
    assert world.lane(patient) == (False, None, None)
    assert world.statuses() == {"delivered": 4}
    assert family_name(in_ehr(world, patient, "Patient", "me")) == "Corrected by the provider"
    assert in_ehr(world, patient, "Observation", "weight")["valueQuantity"]["value"] == 83.0


def flag_in_ehr(world: World, patient: Patient) -> dict[str, Any] | None:
    remote_id = world.remote(patient)[f"Flag/{patient.rid('red')}"][0]
    answer = requests.get(f"{world.ehr_url}/Flag/{remote_id}", timeout=10)
    return answer.json() if answer.status_code == 200 else None


CONFLICTS = pytest.mark.parametrize(
    ("server_ids", "how"),
    [(False, "edited_in_ehr"), (True, "edited_in_ehr"), (False, "deleted_in_ehr"), (True, "deleted_in_ehr")],
)


@CONFLICTS
def test_ordinary_work_on_a_flag_there_holds_nothing_but_the_flag(world: World, server_ids: bool, how: str) -> None:
    (patient,) = world.patients(1)
    key = f"Flag/{patient.rid('red')}"
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        change_flag(world, patient, how)
        theirs = flag_in_ehr(world, patient)
        world.plan(patient, patient.change(2, patient.flag("inactive"), patient.condition("suicidal ideation")))
        report = world.deliver(client)
        assert (dict(report.outcomes), report.resources) == ({"conflict": 1}, 2)
        assert in_ehr(world, patient, "Condition", "suicidal ideation")["code"] == {"text": "suicidal ideation"}
        assert flag_in_ehr(world, patient) == theirs
        assert world.conflicts(patient) == {key: (how, None)}
        assert world.lane(patient) == (False, None, None)
        assert world.outcomes() == ["conflict", "delivered"]
        # What does not touch it is delivered as ever, and what does is held again though no version moved since.
        world.plan(patient, patient.chart(3, "Berta"))
        world.plan(patient, patient.change(4, patient.flag("active"), patient.condition("asthma")))
        world.plan(patient, patient.change(5, patient.flag("entered-in-error")))
        assert dict(world.deliver(client).outcomes) == {"delivered": 1, "conflict": 2}
        assert family_name(in_ehr(world, patient, "Patient", "me")) == "Berta"
        assert in_ehr(world, patient, "Condition", "asthma")
        assert flag_in_ehr(world, patient) == theirs
        assert world.conflicts(patient) == {key: (how, None)}
    assert world.statuses() == {"delivered": 5}


@KINDS
@pytest.mark.parametrize("fault", [COMMIT_THEN_DROP, DROP, status(503)], ids=["commits then drops", "drops", "503"])
@pytest.mark.parametrize("how", ["edited_in_ehr", "deleted_in_ehr"])
def test_a_break_amid_a_conflict_loses_nothing(world: World, server_ids: bool, fault: Fault, how: str) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        change_flag(world, patient, how)
        theirs = flag_in_ehr(world, patient)
        world.plan(patient, patient.change(2, patient.flag("inactive"), patient.condition("suicidal ideation")))
        if not server_ids:
            proxy.plan(Fault(forward=True))  # the whole write, refused; then what is left of it
        proxy.plan(fault)
        world.drain(client)
        assert in_ehr(world, patient, "Condition", "suicidal ideation")
        assert flag_in_ehr(world, patient) == theirs
        assert world.conflicts(patient) == {f"Flag/{patient.rid('red')}": (how, None)}
        key = f"Condition/{patient.rid('suicidal ideation')}"
        assert dict(count_by_identifier(client, [key])) == {key: 1}
        tag = f"{WRITE_SYSTEM}|{patient.patient_id}.2"
        assert get(f"{world.ehr_url}/Provenance?_summary=count&_tag={tag}")["total"] == 1
    assert world.outcomes()[0] == "conflict"
    assert world.statuses() == {"delivered": 2}


@CONFLICTS
@pytest.mark.parametrize("said", ["theirs", "ours"])
def test_a_person_ends_a_conflict(world: World, server_ids: bool, how: str, said: Literal["theirs", "ours"]) -> None:
    (patient,) = world.patients(1)
    key = f"Flag/{patient.rid('red')}"
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        change_flag(world, patient, how)
        world.plan(patient, patient.change(2, patient.flag("inactive")))
        world.deliver(client)
        me = str(patient.patient_id)
        world.connection.execute(
            "update ops.copies set planned = jsonb_build_object(%s::text, 'hash') where patient_id = %s", (key, me)
        )
        assert not settle_conflict(world.connection, world.target, me, "Flag/another", said)
        assert settle_conflict(world.connection, world.target, me, key, said)
        assert world.conflicts(patient) == {key: (how, said)}
        planned = world.connection.execute("select planned from ops.copies where patient_id = %s", (me,)).fetchone()
        assert planned == (({} if said == "ours" else {key: "hash"}),)
        world.plan(patient, patient.change(3, patient.flag("active"), patient.condition("asthma")))
        report = world.deliver(client)
        assert in_ehr(world, patient, "Condition", "asthma")
        if (how, said) == ("deleted_in_ehr", "theirs"):
            assert dict(report.outcomes) == {"conflict": 1}  # what is gone stays gone
            assert world.conflicts(patient) == {key: (how, None)}
        else:
            assert dict(report.outcomes) == {"delivered": 1}
            assert world.conflicts(patient) == {}
            assert in_ehr(world, patient, "Flag", "red")["code"] == {"text": "red"}


def test_what_is_there_twice_is_left_so_and_holds_nothing_else(world: World) -> None:
    (patient,) = world.patients(1)
    key = f"Flag/{patient.rid('red')}"
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids=True) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        flag = in_ehr(world, patient, "Flag", "red")
        twin = {k: v for k, v in flag.items() if k not in ("id", "meta")}
        requests.post(f"{world.ehr_url}/Flag", json=twin, timeout=10).raise_for_status()
        remote = world.remote(patient)
        del remote[key]  # our database was restored: what is known by its id is never searched
        world.set_remote(patient, remote)
        world.plan(patient, patient.change(2, patient.flag("inactive"), patient.condition("suicidal ideation")))
        assert dict(world.deliver(client).outcomes) == {"conflict": 1}
        assert world.conflicts(patient) == {key: ("duplicated_in_ehr", None)}
        assert world.lane(patient) == (False, None, None)
        assert in_ehr(world, patient, "Condition", "suicidal ideation")
        assert dict(count_by_identifier(client, [key])) == {key: 2}


def test_an_edit_after_the_decision_is_a_conflict_again(world: World) -> None:
    (patient,) = world.patients(1)
    key = f"Flag/{patient.rid('red')}"
    world.plan(patient, patient.chart(1, "Anna"))
    world.deliver()
    change_flag(world, patient, "edited_in_ehr")
    world.plan(patient, patient.change(2, patient.flag("inactive")))
    world.deliver()
    settle_conflict(world.connection, world.target, str(patient.patient_id), key, "ours")
    flag = in_ehr(world, patient, "Flag", "red")
    requests.put(f"{world.ehr_url}/Flag/{flag['id']}", json={**flag, "code": {"text": "again"}}, timeout=10)
    world.plan(patient, patient.change(3, patient.flag("inactive")))
    assert dict(world.deliver().outcomes) == {"conflict": 1}
    assert world.conflicts(patient) == {key: ("edited_in_ehr", None)}
    assert in_ehr(world, patient, "Flag", "red")["code"] == {"text": "again"}


@KINDS
def test_reconcile_counts_what_was_edited_there_and_proves_the_rest(world: World, server_ids: bool) -> None:
    edited, other = world.patients(2)
    for patient in (edited, other):
        world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        change_flag(world, edited, "edited_in_ehr")
        before = compare(world.connection, client, world.cipher, world.target)
        assert (before.different, before.edited_there, before.holds) == (1, 0, False)  # nobody knows of it yet
        world.plan(edited, edited.change(2, edited.flag("inactive"), edited.condition("asthma")))
        world.deliver(client)
        after = compare(world.connection, client, world.cipher, world.target)
        assert (after.different, after.edited_there, after.holds) == (0, 1, True)
        assert after.equal == after.resources - 1
        settle_conflict(world.connection, world.target, str(edited.patient_id), f"Flag/{edited.rid('red')}", "theirs")
        assert compare(world.connection, client, world.cipher, world.target) == after


@KINDS
def test_reconcile_in_the_middle_of_deliveries_takes_none_for_somebody_elses(
    world: World, server_ids: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted, landing = world.patients(2)
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        for patient in (doubted, landing):
            world.plan(patient, patient.chart(1, "Anna"))
        world.deliver(client)
        world.plan(doubted, doubted.change(2, doubted.flag("inactive")))
        proxy.plan(COMMIT_THEN_DROP)
        world.deliver(client, limit=1)  # its retry may be due at once
        world.connection.execute("update ops.lanes set next_at = now() + interval '1 h' where has_work")
        assert world.statuses() == {"delivered": 2, "in_doubt": 1}, "it is there, and nobody told us"

        def lands_just_now(*words: Any) -> Any:
            monkeypatch.undo()
            world.plan(landing, landing.change(2, landing.flag("inactive")))
            assert dict(world.deliver(client).outcomes) == {"delivered": 1}
            return read_back(*words)

        read_back = ehr_compare.read_back
        monkeypatch.setattr(ehr_compare, "read_back", lands_just_now)
        found = compare(world.connection, client, world.cipher, world.target)
        assert (found.holds, found.different, found.edited_there) == (True, 0, 0)
        assert found.not_sent_yet == 1 == found.resources - found.equal


def test_a_version_that_moved_without_a_change_is_taken_as_ours(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    client = world.ehr()
    world.deliver(client)
    same = in_ehr(world, patient, "Patient", "me")
    requests.put(f"{world.ehr_url}/Patient/{same['id']}", json=same, timeout=10).raise_for_status()
    world.plan(patient, patient.chart(2, "Berta"))
    assert world.deliver(client).delivered == 1
    assert world.remote(patient)[f"Patient/{patient.rid('me')}"][1] == "3"


@KINDS
def test_what_the_ehr_has_and_we_forgot_is_adopted(world: World, server_ids: bool) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.deliver(client)
        known = world.remote(patient)
        world.set_remote(patient, {})  # our database, restored from a backup of an hour ago
        world.connection.execute("update ops.writes set status = 'ready', tries = 0 where target = %s", (world.target,))
        world.connection.execute("update ops.lanes set has_work = true where target = %s", (world.target,))
        world.drain(client)
        assert world.remote(patient) == known
        assert_each_once(world, [patient], proxy.url)


def test_an_edit_is_kept_even_where_we_forgot_that_we_wrote(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    client = world.ehr()
    world.deliver(client)
    chart = in_ehr(world, patient, "Patient", "me")
    chart["name"][0]["family"] = "Corrected by the provider"
    requests.put(f"{world.ehr_url}/Patient/{chart['id']}", json=chart, timeout=10).raise_for_status()
    world.set_remote(patient, {})
    world.connection.execute("update ops.writes set status = 'ready', tries = 0 where target = %s", (world.target,))
    world.connection.execute("update ops.lanes set has_work = true where target = %s", (world.target,))
    world.drain(client)
    world.plan(patient, patient.chart(2, "Berta"))
    assert dict(world.deliver(client).outcomes) == {"conflict": 1}
    assert family_name(in_ehr(world, patient, "Patient", "me")) == "Corrected by the provider"
