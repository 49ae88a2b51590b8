"""Replays as plans, against a real Postgres: a dry run changes nothing and says what applying does; kill, stop, go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from glp1_pipeline import contracts
from glp1_pipeline.adapters import replay
from glp1_pipeline.adapters.plans import alone
from glp1_pipeline.adapters.replay import plan as plans
from glp1_pipeline.domain.charting import decide, reading
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, submission

BY = ("steward-7", "a spelling was added")
WRITTEN = "select write_id, body, status from ops.writes join phi.write_bodies using (write_id) order by 1"


def choose(road: SmallRoad, **selection: Any) -> uuid.UUID:
    asked = selection or {"statuses": ("charted", "dead", "rejected")}
    return replay.choose(road.connection, replay.Selection(**asked), road.contract.version)


def look(road: SmallRoad, plan_id: uuid.UUID) -> replay.Told:
    return replay.dry_run(road.connection, road.contract, road.cipher, plan_id)


def do(road: SmallRoad, plan_id: uuid.UUID, **more: Any) -> replay.Told:
    replay.approve(road.connection, plan_id, *BY)
    return replay.apply(road.connection, road.contract, road.cipher, plan_id, **more)


def learned(road: SmallRoad, tmp_path: Path, line: str = "gallbladder,took it out,removed,,,,") -> SmallRoad:
    """The same road after one line more in the code table."""
    folder = tmp_path / "contracts"
    shutil.copytree(contracts.HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    table = folder / "codes.csv"
    table.write_text(table.read_text().rstrip("\n") + f"\n{line}\n")
    changed = contracts.load(folder)
    return road.under(changed.model_copy(update={"crm": road.contract.crm}))


def deaths(road: SmallRoad, monkeypatch: pytest.MonkeyPatch, *events: dict[str, Any]) -> None:
    """These events come while our code fails on them."""

    def fails(*_: Any) -> Any:
        raise KeyError("Canary-Okafor")

    with monkeypatch.context() as broken:
        broken.setattr(reading, "map_submission", fails)
        road.send(*events)


def gallbladder(n: int) -> dict[str, Any]:
    return submission(n, **{"hx.gallbladder": "took it out"})


# The dry run


def test_a_dry_run_changes_nothing_and_says_exactly_what_applying_does(road: SmallRoad, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "CHUNK", 3)
    firsts = [submission(n) for n in range(6)]
    road.send(*firsts, *[gallbladder(n) for n in range(10, 14)], b"no event")
    road.send(amendment(firsts[0], 1, {"hx.gallbladder": "took it out"}))
    deaths(road, monkeypatch, submission(20), submission(21))
    new = learned(road, tmp_path)
    before, writes = road.fingerprint(), road.one("select count(*) from ops.writes")
    plan_id = choose(new)
    told = look(new, plan_id)
    assert road.fingerprint() == before
    assert road.one("select count(*) from ops.writes") == writes
    assert road.one("select count(*) from ops.replay_plan_events where done_at is not null") == 0
    done = do(new, plan_id)
    assert done == told
    assert done.new_writes == road.one("select count(*) from ops.writes") - writes > 0
    found = replay.receipt(road.connection, plan_id)
    assert found["changed"] == found["predicted"] == replay.tree(told.changes)
    fields = found["changed"]["fields"]
    assert fields.pop("hx.gallbladder") == {"held to value": 5, "nothing to value": 2}
    assert {kind.partition(" to ")[0] for kinds in fields.values() for kind in kinds} == {"nothing"}
    assert found["changed"]["events"]["dead to charted"] == 2
    assert road.balance().faults == []


def test_what_nothing_changes_is_an_empty_difference_and_no_write_three_times_over(road: SmallRoad):
    events = [submission(n) for n in range(4)]
    road.send(*events)
    road.send(amendment(events[0], 1, {"anthro.weight": {"value": 90, "unit": "kg"}}))
    before, writes = road.fingerprint(), road.rows(WRITTEN)
    for _ in range(3):
        plan_id = choose(road)
        assert look(road, plan_id).changes == {}
        done = do(road, plan_id)
        assert (done.done, done.new_writes, done.changes) == (5, 0, {})
        assert road.fingerprint() == before
        found = replay.receipt(road.connection, plan_id)
        assert (found["fingerprint_before"], found["fingerprint_after"]) == (before["state"], before["state"])
    assert road.rows(WRITTEN) == writes


def test_no_write_is_born_without_changed_content(road: SmallRoad, tmp_path):
    road.send(*[submission(n) for n in range(3)], gallbladder(7))
    # What was told already is not told again, though the contract is another: only the patient whose answer changed.
    new = learned(road, tmp_path)
    ((patient,),) = road.rows(
        "select patient_id from phi.charts c join phi.patient_values v on v.event_id = c.events[1]"
        " where 'hx.gallbladder' = any(v.held)"
    )
    done = do(new, choose(new))
    assert done.new_writes == 1
    assert road.rows("select patient_id, max(n) from ops.writes group by 1 having max(n) > 1") == [(patient, 2)]


def test_a_difference_never_tells_a_value(road: SmallRoad, tmp_path):
    road.send(gallbladder(1))
    new = learned(road, tmp_path)
    plan_id = choose(new)
    look(new, plan_id)
    do(new, plan_id)
    told = orjson.dumps(replay.receipt(road.connection, plan_id)).decode()
    for value in road.rows(
        "select value ->> 'value' from phi.patient_values, json_each(doc) where starts_with(key, 'demo.')"
    ):
        assert value[0] is None or f'"{value[0]}"' not in told
    assert "took it out" not in told


# Choosing


def test_events_are_chosen_by_what_they_are_and_why_they_failed(road: SmallRoad, tmp_path, monkeypatch):
    first, other = submission(1), submission(2)
    road.send(first, other, b"no event")
    road.send(amendment(first, 1, {"anthro.weight": {"value": 90, "unit": "kg"}}))
    deaths(road, monkeypatch, submission(3))

    def count(**selection: Any) -> int:
        return replay.show(road.connection, choose(road, **selection))["chosen"]

    ((today, reason),) = road.rows("select received_on, reason from phi.events where status = 'dead'")
    (record,) = road.rows("select record_id from phi.identifiers where value = %s", first["subject"])[0]
    assert reason.startswith("KeyError in ")
    assert count(days=(today,)) == 5
    assert count(days=(datetime(2020, 1, 1, tzinfo=UTC).date(),)) == 0
    assert count(statuses=("dead",)) == count(reasons=("KeyError",)) == count(reasons=(reason,)) == 1
    assert count(reasons=("malformed_json",)) == 1
    assert count(types=("intake.amended",)) == 1
    assert count(sources=(first["source"],)) == 4
    assert count(contract_versions=(road.contract.version,)) == 3
    assert count(patients=(record,)) == 2
    assert count(patients=(record,), types=("intake.amended",)) == 1
    with pytest.raises(replay.PlanFault, match="say what to replay"):
        choose(road, event_ids=())


def test_a_person_is_never_split_over_two_chunks(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(plans, "CHUNK", 2)
    firsts = [submission(n) for n in range(4)]
    road.send(*firsts)
    deaths(road, monkeypatch, *[amendment(first, 1, {"hx.men2": "no"}) for first in firsts])
    plan_id = choose(road)
    assert road.rows(
        "select e.subject from ops.replay_plan_events p join phi.events e using (event_id) where plan_id = %s"
        " group by 1 having count(distinct chunk) > 1",
        plan_id,
    ) == []  # fmt: skip
    assert road.one("select count(distinct chunk) from ops.replay_plan_events where plan_id = %s", plan_id) == 4


# Approval, stop, kill


def test_nothing_is_applied_without_an_actor_and_a_reason(road: SmallRoad):
    road.send(submission(1))
    plan_id = choose(road)
    with pytest.raises(replay.NotApproved, match="planned"):
        replay.apply(road.connection, road.contract, road.cipher, plan_id)
    for actor, reason in (("", "why"), ("who", " ")):
        with pytest.raises(replay.PlanFault, match="actor and a reason"):
            replay.approve(road.connection, plan_id, actor, reason)
    do(road, plan_id)
    found = replay.show(road.connection, plan_id)
    assert (found["state"], found["actor"], found["reason"], found["done"]) == ("applied", *BY, 1)
    with pytest.raises(replay.PlanFault, match="applied: plan again"):
        replay.approve(road.connection, plan_id, *BY)


def test_a_plan_made_under_another_contract_is_not_applied(road: SmallRoad, tmp_path):
    road.send(submission(1))
    plan_id = choose(road)
    with pytest.raises(replay.NotApproved, match="contract changed"):
        do(learned(road, tmp_path), plan_id)


def test_a_plan_that_is_stopped_ends_after_its_chunk_and_goes_on_when_it_is_approved_again(road, monkeypatch):
    monkeypatch.setattr(plans, "CHUNK", 2)
    road.send(*[submission(n) for n in range(6)])
    plan_id = choose(road)
    told = do(road, plan_id, progress=lambda _: replay.stop(road.connection, plan_id))
    assert (told.is_stopped, told.done) == (True, 2)
    assert replay.show(road.connection, plan_id)["state"] == "stopped"
    with pytest.raises(replay.NotApproved, match="stopped"):
        replay.apply(road.connection, road.contract, road.cipher, plan_id)
    told = do(road, plan_id)
    assert (told.is_stopped, told.done, replay.show(road.connection, plan_id)["state"]) == (False, 6, "applied")
    with pytest.raises(replay.PlanFault, match="nothing to stop"):
        replay.stop(road.connection, plan_id)


def test_whoever_approves_a_plan_again_is_told_beside_who_did_before(road: SmallRoad):
    road.send(submission(1))
    plan_id = choose(road)
    for actor in ("ops-1", "ops-2"):
        replay.approve(road.connection, plan_id, actor, "seen by two")
    told = replay.show(road.connection, plan_id)
    assert [(one["actor"], one["reason"]) for one in told["approvals"]] == [
        ("ops-1", "seen by two"),
        ("ops-2", "seen by two"),
    ]
    assert told["actor"] == "ops-2"


def test_a_plan_under_way_is_approved_by_nobody_else(road: SmallRoad):
    road.send(submission(1))
    plan_id = choose(road)
    replay.approve(road.connection, plan_id, *BY)
    with (
        connect(road.url) as other,
        alone(other, plan_id),
        pytest.raises(replay.NotApproved, match="another process"),
    ):
        replay.approve(road.connection, plan_id, "somebody-else", "another reason")
    assert replay.show(road.connection, plan_id)["actor"] == BY[0]


def test_two_processes_do_not_apply_one_plan(road: SmallRoad):
    road.send(submission(1))
    plan_id = choose(road)
    with (
        connect(road.url) as other,
        alone(other, plan_id),
        pytest.raises(replay.NotApproved, match="another process"),
    ):
        do(road, plan_id)
    assert do(road, plan_id).done == 1


def test_killed_in_the_middle_it_is_taken_up_and_each_event_is_replayed_once(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(plans, "CHUNK", 2)
    deaths(road, monkeypatch, *[submission(n) for n in range(9)])
    plan_id = choose(road, statuses=("dead",))
    predicted = look(road, plan_id).changes
    replay.approve(road.connection, plan_id, *BY)
    program = [sys.executable, "-m", "glp1_pipeline_tests.integration.test_replay", road.url, str(plan_id)]
    killed = subprocess.run(program, check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    half = replay.show(road.connection, plan_id)
    assert (half["state"], half["done"]) == ("applying", 4)
    assert road.events() == {"charted": 4} | {k: n for k, n in road.events().items() if k.startswith("dead")}
    assert road.balance().faults == []
    told = replay.apply(road.connection, road.contract, road.cipher, plan_id)
    found = replay.show(road.connection, plan_id)
    assert (told.done, found["state"], found["done"]) == (9, "applied", 9)
    assert found["changed"] == predicted  # counted once each, whatever was killed
    assert road.events() == {"charted": 9}
    assert road.one("select count(*) from ops.writes") == 9
    assert road.balance().faults == []


def test_an_event_that_fails_again_stays_dead_and_holds_no_other(road: SmallRoad, monkeypatch):
    good, bad = submission(1), submission(2)
    deaths(road, monkeypatch, good, bad)
    inner, wanted = reading.map_submission, bad["data"]["submission_id"]

    def mapped(contract: Any, told: Any) -> Any:
        result = inner(contract, told)
        if told.submission_id == wanted:
            result.values["demo.legal_first"] = {"value": "Canary-\0"}  # no JSON document of Postgres may have it
        return result

    with monkeypatch.context() as broken:
        broken.setattr(reading, "map_submission", mapped)
        plan_id = choose(road)
        told = do(road, plan_id)
    assert (told.done, told.dead) == (2, 1)
    assert road.one("select count(*) from phi.events where status = 'dead'") == 1
    assert do(road, choose(road)).dead == 0
    assert road.events() == {"charted": 2}
    assert road.balance().faults == []


if __name__ == "__main__":
    # Applies a plan and dies by SIGKILL after two chunks, in the middle of the third.
    with connect(sys.argv[1]) as own:
        mine = SmallRoad(sys.argv[1], Path("/nowhere"), own)
        seen: list[int] = []

        def mortal(*given: Any) -> Any:
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(1)
            return decide(*given)

        from glp1_pipeline.adapters.charts import run

        run.decide = mortal
        replay.apply(own, mine.contract, mine.cipher, uuid.UUID(sys.argv[2]))
