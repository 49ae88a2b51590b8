"""Rollbacks, against a real Postgres and a real EHR: it reads as before, later edits stay, nothing comes back by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from glp1_pipeline.adapters import rollback
from glp1_pipeline.adapters.charts import attend_disputes
from glp1_pipeline.adapters.charts.grouping import lock
from glp1_pipeline.adapters.outbox import conflicts, settle_conflict
from glp1_pipeline.adapters.plans import alone
from glp1_pipeline.adapters.rollback import plan as plans
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.tasks import EDITED, edit_cause
from glp1_pipeline.sandbox.drills.proxy import COMMIT_THEN_DROP, FaultProxy
from glp1_pipeline_tests.rollbacks import BY, Told
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, submission

from .conftest import KINDS, EhrProcess

WRONG = "wrong0000000"
WEIGHT = {"anthro.weight": {"value": 99.5, "unit": "kg"}}


@pytest.fixture
def told(road: SmallRoad, ehr: EhrProcess) -> Told:
    return Told(road, ehr.url)


def wrong(contract: Contract) -> Contract:
    """The contract after somebody gave a spelling a wrong meaning."""
    codes = {name: dict(found) for name, found in contract.codes.items()}
    yes_no = codes["yes_no"]
    codes["yes_no"] = yes_no | {"nope-ish": yes_no["no"]}
    return contract.model_copy(update={"codes": codes, "version": WRONG})


def someone(n: int = 1, **answers: Any) -> dict[str, Any]:
    """Somebody whom no other test knows, in an EHR that all share."""
    return submission(n, subject=f"canary-{uuid.uuid4()}", **answers)


def charted_wrongly(told: Told, *events: dict[str, Any]) -> tuple[SmallRoad, dict[str, Any]]:
    """These people are charted, delivered, and charted again by a wrong contract; the road then, and what the EHR said
    before."""
    told.road.send(*events)
    told.deliver()
    before = told.says()
    bad = told.road.under(wrong(told.road.contract))
    bad.replay()
    told.deliver()
    return bad, before


def unsure(n: int = 1) -> dict[str, Any]:
    """Somebody whose answer only the wrong contract understands, wrongly."""
    return someone(n, **{"hx.men2": "nope-ish"})


def apply_apart(told: Told, plan_id: uuid.UUID, **more: Any) -> rollback.Told:
    """As another process does it, on a connection of its own."""
    with small_connection(told) as mine:
        return mine.apply(plan_id, **more)


@contextmanager
def small_connection(told: Told) -> Iterator[Told]:
    road = told.road
    with connect(road.url) as own:
        yield Told(SmallRoad(road.url, road.folder, own, road.contract), told.ehr.settings.url)


def keys(told: Told, kind: str) -> list[str]:
    return [key for key in told.places() if key.startswith(kind + "/")]


@KINDS
def test_the_writes_of_a_wrong_contract_are_taken_back_and_the_ehr_reads_as_before(
    road: SmallRoad, ehr: EhrProcess, server_ids: bool
):
    with FaultProxy(ehr.url, server_ids) as proxy:
        told = Told(road, proxy.url)
        bad, before = charted_wrongly(told, unsure(1), someone(2))
        after = told.says()
        assert {key for key in after if after[key] != before.get(key)}
        plan_id = told.choose(contract_versions=(WRONG,))
        seen = told.look(plan_id)
        assert told.says() == after
        assert road.one("select count(*) from ops.writes where status <> 'delivered'") == 0
        done = told.do(plan_id)
        assert done == seen
        assert (done.done, done.new_writes) == (1, 1)
        told.deliver()
        now = told.says()
        assert {key: now[key] for key in before} == before
        assert {told.statuses()[key] for key in after.keys() - before.keys()} <= {"entered-in-error"}
        receipt = rollback.receipt(road.connection, plan_id)
        assert receipt["changed"] == receipt["predicted"]
        assert receipt["sent"] == {"delivered": 1}
        assert rollback.left(road.connection, plan_id) == []
        assert told.compare().holds
        # Nothing of it comes back by itself, whoever computes again, and by the same mistake.
        writes = road.one("select count(*) from ops.writes")
        bad.replay()
        assert road.one("select count(*) from ops.writes") == writes
        assert bad.balance().faults == []


@contextmanager
def meets_them_in_another_order(told: Told) -> Iterator[None]:
    """Another session has the lock of one patient, and asks for that of another once somebody waits for the first."""
    second, first = (
        patient for (patient,) in told.road.rows(
            "select patient_id::text from phi.charts order by hashtextextended(patient_id::text, 0) desc"
        )
    )  # fmt: skip

    def meet(own: psycopg.Connection) -> None:
        with own.transaction():
            lock(own, {second})
            is_held.set()
            while not own.execute("select from pg_locks where locktype = 'advisory' and not granted").rowcount:
                time.sleep(0.02)
            lock(own, {first})

    is_held = threading.Event()
    with connect(told.road.url) as own, ThreadPoolExecutor(1) as pool:
        met = pool.submit(meet, own)
        assert is_held.wait(10)
        yield
        met.result(10)


def test_who_meets_others_crosswise_while_it_takes_back_or_releases_ends_all_the_same(told: Told):
    charted_wrongly(told, unsure(1), unsure(2))
    plan_id = told.choose(contract_versions=(WRONG,))
    told.look(plan_id)
    with meets_them_in_another_order(told):
        done = told.do(plan_id)
    assert (done.done, done.waiting) == (2, 0)
    told.deliver()
    with meets_them_in_another_order(told):
        assert rollback.release(told.road.connection, plan_id, *BY)
    assert rollback.show(told.road.connection, plan_id)["released_at"] is not None


# Never trampled


def test_what_somebody_changed_or_deleted_in_the_ehr_since_is_left_and_told_and_the_rest_goes_back(told: Told):
    bad, before = charted_wrongly(told, unsure(1))
    changed = sorted(key for key, said in told.says().items() if said != before.get(key))
    edited, deleted = (next(key for key in changed if key.startswith(kind)) for kind in ("Task", "Flag"))
    told.edit(edited, language="en-GB")
    told.delete(deleted)
    theirs = told.says()[edited]
    receipt = told.undo(contract_versions=(WRONG,))
    assert receipt["changed"]["resources"]["Task"]["edited_since"] == 1
    assert receipt["changed"]["resources"]["Flag"]["deleted_since"] == 1
    assert receipt["changed"] == receipt["predicted"]
    now = told.says()
    assert now[edited] == theirs
    assert now[deleted] == {}
    assert {key: now[key] for key in before if key not in (edited, deleted)} == {
        key: said for key, said in before.items() if key not in (edited, deleted)
    }
    left = {(one["resource"], one["why"]) for one in rollback.left(bad.connection, uuid.UUID(receipt["plan_id"]))}
    assert left >= {(edited, "edited_since"), (deleted, "deleted_since")}
    found = {one.key: one.reason for one in conflicts(bad.connection, "ehr")}
    assert found == {edited: "edited_in_ehr", deleted: "deleted_in_ehr"}
    assert told.compare().holds
    # Each is somebody's work, told to the EHR too; and no word that was taken back goes out with it.
    assert attend_disputes(bad.connection, bad.contract, bad.cipher) == 1
    asked = {cause for (cause,) in bad.rows("select cause from ops.tasks where code = %s and status = 'open'", EDITED)}
    assert asked == {edit_cause(edited, "edited_in_ehr"), edit_cause(deleted, "deleted_in_ehr")}
    told.deliver()
    assert {key: said for key, said in told.says().items() if key in now} == now
    # A person decides: theirs, and what we say next is sent on that version.
    (patient_id,) = {one.patient_id for one in conflicts(bad.connection, "ehr")}
    assert settle_conflict(bad.connection, "ehr", patient_id, edited, "theirs")


def test_an_edit_between_the_rollback_and_its_delivery_is_left_too(told: Told):
    bad, _ = charted_wrongly(told, unsure(1))
    plan_id = told.choose(contract_versions=(WRONG,))
    told.do(plan_id)
    edited = keys(told, "Task")[0]
    told.edit(edited, language="en-GB")
    theirs = told.says()[edited]
    told.deliver()
    assert told.says()[edited] == theirs
    assert rollback.show(bad.connection, plan_id)["sent"] == {"conflict": 1}
    assert {one.key for one in conflicts(bad.connection, "ehr")} == {edited}
    assert told.compare().holds
    # Taken back already: a second plan has nothing more to do, and says so.
    again = told.undo(contract_versions=(WRONG,))
    outcomes = {name for found in again["changed"]["resources"].values() for name in found}
    assert outcomes <= {"rolled_back_before", "no_such_status"}
    assert "writes" not in again["changed"]


def test_a_later_write_of_ours_that_was_not_chosen_is_left(told: Told):
    first = unsure(1)
    bad, _ = charted_wrongly(told, first)
    bad.under(bad.contract.model_copy(update={"version": "later"})).send(amendment(first, 1, WEIGHT))
    told.deliver()
    said = told.says()
    written = set(bad.one("select planned from ops.copies"))
    receipt = told.undo(contract_versions=(told.road.contract.version,))
    outcomes = receipt["changed"]["resources"]["Observation"]
    assert outcomes["written_since"] >= 1
    weight = [key for key in written if key.startswith("Observation/") and told.says()[key] == said[key]]
    assert weight
    assert told.compare().holds


def test_what_stood_there_before_us_by_somebody_else_is_not_replaced_by_our_older_word(told: Told):
    first = someone(1)
    told.road.send(first)
    told.deliver()
    edited = keys(told, "Observation")[0]
    told.edit(edited, language="en-GB")
    # Our next word was sent on their version, as a person decided: what stood before it is theirs.
    told.road.connection.execute(
        "update ops.copies set remote = jsonb_set(remote, array[%s, '1'], '\"2\"'), planned = planned - %s",
        (edited, edited),
    )
    told.road.under(told.road.contract.model_copy(update={"version": WRONG})).replay()
    told.deliver()
    assert len(told.versions(edited)) == 3
    receipt = told.undo(contract_versions=(WRONG,))
    assert receipt["changed"] == {"resources": {"Observation": {"not_ours_before": 1}}}
    assert len(told.versions(edited)) == 3


def test_what_is_on_its_way_is_waited_for_and_then_taken_back_and_nothing_wrong_arrives_afterwards(
    road: SmallRoad, ehr: EhrProcess
):
    """The EHR has what a time-out hides, has one, and has not heard of the third when the mistake is seen."""
    with FaultProxy(ehr.url) as proxy:
        told = Told(road, proxy.url)
        road.send(*(unsure(n) for n in range(1, 4)))
        told.deliver()
        before = told.says()
        bad = road.under(wrong(road.contract))
        bad.replay()
        told.deliver(limit=1)
        proxy.plan(COMMIT_THEN_DROP)
        told.deliver(limit=1)
        assert sorted(bad.rows("select status, count(*) from ops.writes where n = 2 group by 1")) == [
            ("delivered", 1), ("in_doubt", 1), ("ready", 1),
        ]  # fmt: skip
        plan_id = told.choose(contract_versions=(WRONG,))
        assert {name.rpartition("/")[2] for name in told.look(plan_id).changes} >= {"on_its_way", "restored"}
        first = told.do(plan_id)
        assert (first.done, first.waiting, first.is_stopped) == (1, 2, False)
        assert rollback.show(bad.connection, plan_id)["state"] == "applying"
        assert rollback.due(bad.connection, bad.contract) == []
        # While it is waited for, the outbox brings it.
        bad.connection.execute("update ops.lanes set next_at = now()")
        with ThreadPoolExecutor(1) as other:
            went = other.submit(told.deliver)
            done = told.apply(plan_id, patience=30.0)
            went.result()
        assert (done.done, done.waiting) == (3, 0)
        told.deliver()
        now = told.says()
        assert {key: now[key] for key in before} == before
        assert {told.statuses()[key] for key in now.keys() - before.keys()} <= {"entered-in-error"}
        found = rollback.show(bad.connection, plan_id)
        assert (found["state"], found["sent"]) == ("applied", {"delivered": 3})
        assert told.compare().holds
        assert bad.rows("select patient_id from ops.writes group by 1 having count(*) <> 3") == []


def test_a_plan_that_waits_is_stopped_and_is_due_when_what_was_on_its_way_is_settled(told: Told):
    road = told.road
    road.send(someone(1), someone(2))
    plan_id = told.choose(contract_versions=(road.contract.version,))
    assert {name.rpartition("/")[2] for name in told.look(plan_id).changes} == {"on_its_way"}
    assert told.do(plan_id).waiting == 2
    assert rollback.due(road.connection, road.contract) == []
    # Who wants it no more is heard while it waits.
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(lambda: apply_apart(told, plan_id, patience=60.0))
        time.sleep(0.3)
        rollback.stop(road.connection, plan_id)
        assert waiting.result().is_stopped
    rollback.approve(road.connection, plan_id, *BY)
    assert told.apply(plan_id).done == 0
    told.deliver()
    road.connection.execute("insert into ops.breakers (target, state, open_until, changed_at) values"
                            " ('ehr', 'open', now() + interval '1 hour', now())"
                            " on conflict (target) do update set state = 'open', open_until = excluded.open_until")  # fmt: skip
    assert rollback.due(road.connection, road.contract) == []
    road.connection.execute("update ops.breakers set state = 'closed', open_until = null")
    with connect(road.url) as other, alone(other, plan_id):
        assert rollback.due(road.connection, road.contract) == []
    assert rollback.due(road.connection, road.contract) == [plan_id]
    assert {name.rpartition("/")[2] for name in told.apply(plan_id).changes} == {
        "entered_in_error", "no_such_status", "ehr",
    }  # fmt: skip
    assert rollback.due(road.connection, road.contract) == []
    told.deliver()
    kinds = {key.partition("/")[0]: status for key, status in told.statuses().items()}
    assert set(kinds.values()) == {"entered-in-error"}
    assert told.compare().holds
    assert {one["why"] for one in rollback.left(road.connection, plan_id)} == {"no_such_status"}


def test_who_has_a_dead_write_is_left_and_told(told: Told):
    road = told.road
    road.send(someone(1), someone(2))
    told.deliver(limit=1)
    road.connection.execute("update ops.writes set status = 'dead' where status = 'ready' and target = 'ehr'")
    plan_id = told.choose(contract_versions=(road.contract.version,), targets=("ehr",))
    done = told.do(plan_id)
    assert (done.done, done.waiting) == (2, 0)
    dead = str(road.one("select patient_id from ops.writes where status = 'dead'"))
    left = {one["patient_id"] for one in rollback.left(road.connection, plan_id) if one["why"] == "not_settled"}
    assert left == {dead}


# What comes after


def test_what_was_taken_back_is_sent_when_it_says_something_else_or_when_somebody_releases_it(told: Told):
    first = unsure(1)
    bad, before = charted_wrongly(told, first)
    wrongly = told.says()
    plan_id = uuid.UUID(told.undo(contract_versions=(WRONG,))["plan_id"])

    def held() -> set[str]:
        return {resource for _, _, resource, *_ in rollback.held(bad.connection, plan_id)}

    taken = {key for key in wrongly if wrongly[key] != before.get(key)}
    assert held() == taken
    # A new word of the patient goes out, by the same contract: what it does not touch stays as it is.
    after = told.says()
    bad.send(amendment(first, 1, WEIGHT))
    told.deliver()
    now, still = told.says(), held()
    assert still
    assert {key: now[key] for key in still} == {key: after[key] for key in still}
    # A person says that it was right after all.
    assert rollback.release(bad.connection, plan_id, *BY) == len(still)
    assert rollback.show(bad.connection, plan_id)["held"] == 0
    bad.replay()
    told.deliver()
    now = told.says()
    assert {key: now[key] for key in still} == {key: wrongly[key] for key in still}
    assert told.compare().holds
    # The corrected contract mends the rest by a replay, as it always does.
    told.road.replay()
    told.deliver()
    assert {key: said for key, said in told.says().items() if key in taken & before.keys()} == {
        key: before[key] for key in taken & before.keys()
    }
    assert told.compare().holds


def test_what_a_plan_took_back_before_it_was_stopped_is_released_and_it_goes_on_no_more(
    told: Told, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plans, "CHUNK", 1)
    bad, _ = charted_wrongly(told, unsure(1), unsure(2))
    wrongly = told.says()
    plan_id = told.choose(contract_versions=(WRONG,))
    rollback.approve(bad.connection, plan_id, *BY)
    with pytest.raises(rollback.PlanFault, match="approved: only what was taken back"):
        rollback.release(bad.connection, plan_id, *BY)
    assert told.apply(plan_id, progress=lambda _: rollback.stop(bad.connection, plan_id)).done == 1
    told.deliver()
    assert told.says() != wrongly
    # It was right after all: nobody has to take the rest back first.
    assert rollback.release(bad.connection, plan_id, *BY) > 0
    with pytest.raises(rollback.NotApproved, match="released"):
        rollback.approve(bad.connection, plan_id, *BY)
    found = rollback.show(bad.connection, plan_id)
    assert (found["state"], found["held"], found["released_by"]) == ("stopped", 0, BY[0])
    bad.replay()
    told.deliver()
    assert told.says() == wrongly
    assert told.compare().holds


def test_a_rollback_is_taken_back_by_naming_its_writes(told: Told):
    bad, _ = charted_wrongly(told, unsure(1))
    wrongly = told.says()
    told.undo(contract_versions=(WRONG,))
    (made,) = bad.rows("select distinct undone_by from ops.rollback_plan_writes where undone_by is not null")[0]
    # Not by a window of time that happens to hold it.
    ((since,),) = bad.rows("select min(settled_at) from ops.writes")
    assert rollback.show(bad.connection, told.choose(since=since))["writes"] == 2
    told.undo(write_ids=(made,))
    assert told.says() == wrongly
    assert told.compare().holds


# Choosing


def test_writes_are_chosen_by_run_window_contract_patient_and_number(told: Told):
    road = told.road
    road.connection.execute("select set_config('glp1.run_id', 'run-a', false)")
    road.send(someone(1))
    road.connection.execute("select set_config('glp1.run_id', '', false)")
    road.send(someone(2))
    told.deliver()
    ((one, patient, settled), (other, _, _)) = road.rows(
        "select write_id, patient_id, settled_at from ops.writes order by 1"
    )
    road.connection.execute("update ops.deliveries set run_id = 'run-b' where write_id = %s", (other,))

    def chosen(**selection: Any) -> list[int]:
        plan_id = told.choose(**selection)
        found = road.rows("select write_id from ops.rollback_plan_writes where plan_id = %s order by 1", plan_id)
        return [write_id for (write_id,) in found]

    assert chosen(run_ids=("run-a",)) == [one]
    assert chosen(run_ids=("run-b",)) == [other]
    assert chosen(run_ids=("run-a", "run-b")) == [one, other]
    assert chosen(since=settled, until=settled) == []
    assert one in chosen(since=settled)
    assert one not in chosen(until=settled)
    assert chosen(contract_versions=(road.contract.version,)) == [one, other]
    assert chosen(contract_versions=(road.contract.version,), patients=(patient,)) == [one]
    assert chosen(write_ids=(other,)) == [other]
    assert chosen(write_ids=(other,), targets=("crm",)) == []
    for nothing in ({}, {"targets": ("ehr",)}):
        with pytest.raises(rollback.PlanFault, match="say what to take back"):
            told.choose(**nothing)


def test_what_the_contract_forbids_is_left_and_says_so(told: Told):
    road = told.road.under(contract())
    road.send(someone(1))
    told.deliver()
    receipt = Told(road, told.ehr.settings.url).undo(targets=("crm",), contract_versions=(road.contract.version,))
    assert receipt["changed"] == {"resources": {"contact": {"forbidden": 1}}}
    assert road.one("select count(*) from ops.writes where target = 'crm'") == 1
    never = {name: kind.model_copy(update={"rollback": "forbidden"}) for name, kind in road.contract.writes.items()}
    forbidden = Told(road.under(road.contract.model_copy(update={"writes": never})), told.ehr.settings.url)
    assert {name.rpartition("/")[2] for name in forbidden.look(forbidden.choose(targets=("ehr",), contract_versions=(road.contract.version,))).changes} == {"forbidden"}  # fmt: skip


# Approval, stop, kill


def test_nothing_is_taken_back_without_an_actor_and_a_reason_nor_by_two_at_once(told: Told):
    road = told.road
    road.send(someone(1))
    told.deliver()
    plan_id = told.choose(contract_versions=(road.contract.version,))
    with pytest.raises(rollback.NotApproved, match="planned"):
        told.apply(plan_id)
    with pytest.raises(rollback.PlanFault, match="only what was taken back"):
        rollback.release(road.connection, plan_id, *BY)
    for actor, reason in (("", "why"), ("who", " ")):
        with pytest.raises(rollback.PlanFault, match="actor and a reason"):
            rollback.approve(road.connection, plan_id, actor, reason)
    with (
        connect(road.url) as other,
        alone(other, plan_id),
        pytest.raises(rollback.NotApproved, match="another process"),
    ):
        told.do(plan_id)
    assert told.do(plan_id).done == 1
    found = rollback.show(road.connection, plan_id)
    assert (found["state"], found["actor"], found["reason"], found["done"]) == ("applied", *BY, 1)
    with pytest.raises(rollback.PlanFault, match="applied: plan again"):
        rollback.approve(road.connection, plan_id, *BY)
    with pytest.raises(rollback.PlanFault, match="nothing to stop"):
        rollback.stop(road.connection, plan_id)


def test_killed_and_stopped_in_the_middle_it_is_taken_up_and_nothing_is_doubled(
    told: Told, ehr: EhrProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plans, "CHUNK", 1)
    bad, before = charted_wrongly(told, *[unsure(n) for n in range(1, 6)])
    plan_id = told.choose(contract_versions=(WRONG,))
    predicted = told.look(plan_id).changes
    rollback.approve(bad.connection, plan_id, *BY)
    for when, done in (("before", 1), ("after", 3)):
        program = [sys.executable, "-m", "glp1_pipeline_tests.rollbacks", bad.url, ehr.url, str(plan_id), when]
        assert subprocess.run(program, check=False).returncode == -signal.SIGKILL
        half = rollback.show(bad.connection, plan_id)
        assert (half["state"], half["done"], sum(half["sent"].values())) == ("applying", done, done)
        told.deliver()
    # Stopped once more, and taken up by whoever approves it again.
    stopped = told.apply(plan_id, progress=lambda _: rollback.stop(bad.connection, plan_id))
    assert (stopped.is_stopped, stopped.done) == (True, 4)
    with pytest.raises(rollback.NotApproved, match="stopped"):
        told.apply(plan_id)
    assert told.do(plan_id).done == 5
    told.deliver()
    found = rollback.show(bad.connection, plan_id)
    assert (found["state"], found["changed"], found["sent"]) == ("applied", predicted, {"delivered": 5})
    assert bad.rows("select patient_id, count(*) from ops.writes group by 1 having count(*) <> 3") == []
    now = told.says()
    assert {key: now[key] for key in before} == before
    assert max(int(version) for _, version, *_ in told.places().values()) == 3
    assert told.compare().holds


def test_who_is_charted_while_we_look_is_looked_at_again_and_a_new_word_is_not_overtaken(
    told: Told, monkeypatch: pytest.MonkeyPatch
):
    first = unsure(1)
    bad, _ = charted_wrongly(told, first)
    plan_id = told.choose(contract_versions=(WRONG,))
    doing = sys.modules["glp1_pipeline.adapters.rollback.apply"]
    look, looks = vars(doing)["look"], []

    def looked(*given: Any) -> Any:
        found = look(*given)
        if not looks:
            bad.send(amendment(first, 1, WEIGHT))
        looks.append(1)
        return found

    monkeypatch.setitem(vars(doing), "look", looked)
    assert told.do(plan_id).waiting == 1
    assert len(looks) == 1
    assert bad.rows("select n, status from ops.writes where status <> 'delivered'") == [(3, "ready")]
    told.deliver()
    outcomes = {name.rpartition("/")[2] for name in told.apply(plan_id).changes}
    assert "written_since" in outcomes
    assert outcomes <= {"written_since", "restored", "entered_in_error", "no_such_status", "ehr"}
    told.deliver()
    assert told.compare().holds
