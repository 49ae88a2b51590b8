"""Check-ins and refills computed again: the difference by path, nothing that reached people is done again; kept for ever,
sealed anew, backed up, and on the worklist in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from glp1_pipeline.adapters import backup, clock, replay, retention
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.downtime import bring_back, read_worklist
from glp1_pipeline.adapters.downtime.bring_back import Row
from glp1_pipeline.adapters.keep import Keep
from glp1_pipeline.adapters.refills import explain
from glp1_pipeline.adapters.resealing import reseal
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.domain.charting import GATE
from glp1_pipeline.domain.downtime import cells
from glp1_pipeline.domain.refill_model import RefillRules
from glp1_pipeline_tests.refill_road import (
    NEW_FLAG,
    SIDE_EFFECT,
    WINDOW_ON,
    ask,
    begin,
    begin_lately,
    held,
    patient_of,
    reachable_road,
    ring,
    stands,
)
from glp1_pipeline_tests.refills import checkin, overridden, requested
from glp1_pipeline_tests.sample_inputs import ABSENT
from glp1_pipeline_tests.small_road import SmallRoad, connect, empty_database
from glp1_pipeline_tests.treatments import at, ordered


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    with reachable_road(url, tmp_path, monkeypatch) as made:
        yield made


BY = ("--actor", "steward-7", "--reason", "rules corrected")


# Replay


def test_replaying_all_that_was_ever_said_decides_the_same_and_tells_nobody_again(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    begin(road, "canary-0000002")
    ring(road, 24)
    road.send(overridden(25.5, "request-25", ["side_effect"]))
    before = road.fingerprint()
    counts = "select (select count(*) from ops.writes), (select count(*) from phi.refill_decisions)"
    was = road.rows(counts)
    for _ in range(3):
        found = ask("replay", "--status", "charted", "--apply", *BY)
        assert (found["new_writes"], found["state_changed"]) == (0, False)
        assert ask("replay", "show", found["plan_id"])["changed"] == {}
    assert road.rows(counts) == was
    assert road.fingerprint() == before
    assert stands(road, refill_id) == ("provider_queue", "complete")


def test_what_was_said_on_a_clock_that_is_not_utcs_is_decided_the_same_at_a_replay(road: SmallRoad):
    """One who answers in the evening at home answers on that day, also after the ledger kept it in UTC."""
    home = ZoneInfo("America/Chicago")
    began = datetime.fromisoformat(at(-10))
    filled_in = began.replace(hour=2).astimezone(home).isoformat()
    begin(road, authored_at=filled_in, **{"anthro.weight_measured_at": ABSENT})
    ring(road, 20)
    answers = checkin(22, weighed_on=None)
    answered = datetime.fromisoformat(at(22)).replace(hour=2).astimezone(home)
    answers["data"]["authored_at"] = answers["time"] = answered.isoformat()
    road.send(answers)
    road.send(checkin(22.5))
    ring(road, WINDOW_ON)
    road.send(requested(25))
    before, decisions = road.fingerprint(), road.one("select count(*) from phi.refill_decisions")
    for _ in range(3):
        assert road.replay().all_writes == 0
        assert road.fingerprint() == before
    assert road.one("select count(*) from phi.refill_decisions") == decisions


def test_a_patients_plan_has_the_moments_of_our_clock_and_the_words_of_people(road: SmallRoad, monkeypatch):
    begin_lately(monkeypatch, 25.5)
    held(road, **SIDE_EFFECT)
    held(road, "canary-0000002")
    ask("refill", "override", *_override(road))
    mine = patient_of(road)
    found = ask("replay", "--patient", mine)
    kinds = dict(
        road.rows(
            "select e.type, count(*) from ops.replay_plan_events p join phi.events e using (event_id)"
            " where plan_id = %s group by 1",
            found["plan_id"],
        )
    )
    assert kinds["refill.overridden"] == kinds["followup.requested"] == kinds["refill.requested"] == 1
    assert found["events"] == sum(kinds.values())
    assert ask("replay", "--source", "/pipeline/clock")["events"] == 2
    assert ask("replay", "--type", "followup.completed")["events"] == 2


def _override(road: SmallRoad) -> list[str]:
    refill_id = road.one("select refill_id::text from ops.refills where outcome = 'escalate'")
    return [
        refill_id, "--rule", "side_effect", "--reason", "ASSESSED_PATIENT", "--text", "seen by video, eats well",
        "--until", f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}", "--actor", "p-7", "--role", "provider",
    ]  # fmt: skip


def test_what_was_never_charted_is_planned_together_with_its_person(road: SmallRoad, monkeypatch):
    """Our clock and a steward name the record themselves: a person is never split between two chunks."""
    monkeypatch.setattr(replay.plan, "CHUNK", 1)
    begin(road)
    begin(road, "canary-0000002")
    clock.ring(road.connection, road.contract, road.cipher)
    plan_id = replay.choose(road.connection, replay.Selection(sources=("/pipeline/clock", "/pharmacy/mail-order")), "v")
    chunks = road.rows(
        "select p.chunk, array_agg(e.source order by e.source) from ops.replay_plan_events p"
        " join phi.events e using (event_id) where plan_id = %s group by 1",
        plan_id,
    )
    assert [sources for _, sources in chunks] == [["/pharmacy/mail-order", "/pipeline/clock"]] * 2


def test_the_difference_of_other_rules_is_told_by_path_before_anything_changes(road: SmallRoad):
    held(road, weight={"value": 93.0, "unit": "kg"})
    looser = RefillRules(**{**road.contract.refills.model_dump(), "weight_change_percent": 20.0})
    other = road.under(road.contract.model_copy(update={"refills": looser, "version": "another"}))
    before = road.fingerprint()
    plan_id = replay.choose(road.connection, replay.Selection(types=("refill.requested",)), "another")
    told = replay.dry_run(road.connection, other.contract, road.cipher, plan_id)
    of_refills = {name: n for name, n in told.changes.items() if name.startswith("refills/")}
    assert of_refills == {
        "refills/outcome/hold to provider_queue": 1,
        "refills/rule/weight_change to complete": 1,
    }
    assert told.changes["tasks/verify-weight/closed"] == 1
    assert road.fingerprint() == before
    replay.approve(road.connection, plan_id, "steward-7", "rules corrected")
    done = replay.apply(road.connection, other.contract, road.cipher, plan_id)
    assert done.changes == told.changes
    assert not any(name.startswith(("refills/", "follow_ups/", "queue/")) for name in _again(other).changes)


def _again(road: SmallRoad):
    return road.chart(is_replay=True, tells_changes=True)


def test_other_days_are_told_by_where_check_ins_stand(road: SmallRoad):
    begin(road)
    ring(road, 17.5)
    later = road.contract.followups.model_copy(update={"opens_days": 12})
    other = road.under(road.contract.model_copy(update={"followups": later, "version": "another"}))
    assert {n: c for n, c in _again(other).changes.items() if n.startswith("follow_ups/")} == {
        "follow_ups/open to planned": 1
    }


def test_a_patient_under_treatment_neither_enters_nor_leaves_the_queue_by_a_replay(road: SmallRoad):
    begin(road)
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 0
    assert not any(name.startswith("queue/") for name in _again(road).changes)
    road.send(ordered(40, 0.5))
    assert not any(name.startswith("queue/") for name in _again(road).changes)


# Kept


def test_no_decision_is_ever_pruned_changed_or_deleted(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    road.connection.execute("update ops.refills set requested_at = requested_at - interval '9 years'")
    rows = road.rows("select * from phi.refill_decisions")
    keep = Keep(bodies=1, attempts=1, alerts=1, plans=1, drops=1, runs=1, logs=1)
    assert retention.prune(road.connection, keep, road.cipher.open, road.folder, None).is_over
    assert road.rows("select * from phi.refill_decisions") == rows
    for statement in (
        "delete from phi.refill_decisions", "update phi.refill_decisions set outcome = 'provider_queue'",
        "update phi.refill_decisions set sha256 = '\\x00'",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.RaiseException, match="never changed and never deleted"):
            road.connection.execute(statement)


def test_a_new_key_seals_decisions_anew_and_they_are_what_they_were(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    decision_id = road.one("select decision_id::text from ops.refills where refill_id = %s", refill_id)
    record, _, _ = explain(road.connection, road.cipher, decision_id)
    newer = Cipher(KeyRing("k2", {**road.cipher.ring.keys, "k2": b"2" * 32}, road.cipher.ring.patient_key))
    done = reseal(road.connection, newer, road.folder / "archive")
    assert (done.done["phi.refill_decisions"], done.left) == (1, 0)
    assert road.one("select kid from phi.refill_decisions") == "k2"
    alone = Cipher(KeyRing("k2", {"k2": b"2" * 32}, road.cipher.ring.patient_key))
    again, _, differs = explain(road.connection, alone, decision_id)
    assert (again.doc, differs) == (record.doc, [])


def test_a_backup_brings_decisions_back_as_they_were_with_the_rules_that_decided(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    ring(road, 60)
    file = road.folder / "a.backup"
    backup.make(road.url, road.cipher, file, backup.Programs.of(Settings.from_env({})))
    target = empty_database()
    backup.restore(target, road.cipher, file, backup.Programs.of(Settings.from_env({})))
    with connect(target) as connection:
        decisions = connection.execute("select decision_id::text from phi.refill_decisions").fetchall()
        assert decisions == road.rows("select decision_id::text from phi.refill_decisions")
        for (decision_id,) in decisions:
            record, _, differs = explain(connection, road.cipher, decision_id)
            assert (record.refill_id, differs) == (refill_id, [])
        again = SmallRoad(target, road.folder, connection).under(road.contract)
        assert again.fingerprint() == road.fingerprint()
        with pytest.raises(psycopg.errors.RaiseException, match="never changed and never deleted"):
            connection.execute("delete from phi.refill_decisions")


# On paper


def test_tasks_of_check_ins_and_refills_read_well_on_paper_and_what_was_done_comes_back(road: SmallRoad):
    held(road, **NEW_FLAG)
    begin(road, "canary-0000002")
    ring(road, 24)
    rows = [cells(line, n) for n, line in enumerate(read_worklist(road.connection, road.contract, GATE), 1)]
    urgent, missed = ([row for row in rows if row["task"] == task] for task in ("red symptom", "missed check-in"))
    assert urgent[0]["about"] == road.contract.flags["NECK_MASS"].label
    assert missed[0]["about"] == "check-in of wegovy_inj: missed, and may still be done"
    assert missed[0]["queue"] == "care-coordination"
    done = {"outcome": "done", "done_by": "staff-31", "done_at": "2026-06-01 10:00"}
    answers = bring_back(
        road.connection, road.contract, road.cipher, GATE,
        [Row(row["row"], row | done) for row in (urgent[0], missed[0])], ZoneInfo("UTC"), is_dry_run=False,
    )  # fmt: skip
    assert [answer.status for answer in answers] == ["done", "done"]
    left = "select code from ops.tasks where status = 'open' and code in ('urgent-safety-review', 'checkin-overdue')"
    assert road.rows(left) == []
    road.replay()
    assert road.rows(left) == []
    road.send(requested(27))  # made after it was done: what was made before is done with it
    assert road.rows(left) == [("urgent-safety-review",)], "another request is another work"
