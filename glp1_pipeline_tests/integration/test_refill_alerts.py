"""Whom check-ins and refills call: urgent tasks, missed check-ins, clocks that are behind, refills against their hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from glp1_pipeline.adapters import clock, health
from glp1_pipeline.adapters.alerts.feeds import silent_feeds
from glp1_pipeline.adapters.refills import Word, override
from glp1_pipeline_tests.alert_world import AlertWorld
from glp1_pipeline_tests.refill_road import (
    NEW_FLAG,
    SIDE_EFFECT,
    begin,
    begin_lately,
    held,
    patient_of,
    ring,
)
from glp1_pipeline_tests.refills import by_provider, checkin, requested
from glp1_pipeline_tests.small_road import SmallRoad, contract, small_road


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    begin_lately(monkeypatch, 25.5)
    with small_road(url, tmp_path) as made:
        yield made


@pytest.fixture
def world(road: SmallRoad) -> AlertWorld:
    _ = road.landing
    return AlertWorld(road.url, road.connection, road.folder / "landing")


OURS = ("urgent_task", "checkin_missed", "clock_behind", "refill_against_hold")


def open_now(world: AlertWorld) -> set[tuple[str, str, str]]:
    """Alert, scope and owner."""
    return set(
        world.rows(
            "select alert, scope, owner from ops.incidents where resolved_at is null and alert = any(%s)", list(OURS)
        )
    )


def colours(world: AlertWorld) -> dict[str, str]:
    found = health.look_at_health(
        world.connection, world.book, world.around, contract().gates, ("ehr", "crm"), "care-coordination"
    )
    return {one.name: one.colour for one in found.lights}


def says(world: AlertWorld, name: str) -> str:
    found = health.look_at_health(
        world.connection, world.book, world.around, contract().gates, ("ehr", "crm"), "care-coordination"
    )
    (light,) = [one for one in found.lights if one.name == name]
    return light.says


def let_time_pass(road: SmallRoad, hours: float) -> None:
    """All moments of check-ins lie so much nearer."""
    moments = ("opens_at", "due_at", "missed_at", "window_at", "runs_out_at")
    moved = ", ".join(f"{column} = {column} - make_interval(hours => {hours})" for column in moments)
    road.connection.execute(f"update ops.follow_ups set {moved}")  # type: ignore[arg-type]


def test_a_red_symptom_calls_the_clinical_team_at_once_and_ends_with_a_providers_word(
    road: SmallRoad, world: AlertWorld
):
    held(road, **SIDE_EFFECT)
    world.look()
    assert open_now(world) == set()
    held(road, "canary-0000002", **NEW_FLAG)
    assert world.look().opened == 1
    assert open_now(world) == {("urgent_task", "urgent-safety-review", "clinical")}
    assert colours(world)["on-call"] == "red"
    told = {"flag_id": "NECK_MASS", "resolution": "refuted", "reason_code": "seen", "actor": "provider-7"}
    road.send(by_provider("flag.resolved", 25.4, account="canary-0000002", **told))
    world.look()
    world.pass_time(3)
    world.look()
    assert open_now(world) == set()


def test_a_check_in_without_any_request_calls_the_clinical_team_until_a_provider_refutes_it(
    road: SmallRoad, world: AlertWorld
):
    begin(road)
    ring(road, 20)
    road.send(checkin(22, suicidal="not sure"))
    assert road.one("select count(*) from ops.refills") == 0
    world.look()
    assert open_now(world) == {("urgent_task", "crisis-protocol", "clinical")}
    assert road.rows("select cause, due_at - opened_at from ops.tasks where queue = 'on-call'") == [
        ("SUICIDAL_ACTIVE", timedelta(minutes=15))
    ]
    road.send(checkin(23, suicidal="no"))
    road.replay()
    assert road.one("select count(*) from ops.tasks where queue = 'on-call' and status = 'open'") == 1
    told = {"flag_id": "SUICIDAL_ACTIVE", "resolution": "refuted", "reason_code": "seen", "actor": "provider-7"}
    road.send(by_provider("flag.resolved", 23.5, **told))
    world.look()
    world.pass_time(3)
    world.look()
    assert open_now(world) == set()


def test_thoughts_of_suicide_are_another_incident_than_a_red_symptom(road: SmallRoad, world: AlertWorld):
    begin(road)
    ring(road, 20)
    road.send(checkin(22, suicidal="yes", neck_mass="yes"), requested(25))
    world.look()
    assert ("urgent_task", "crisis-protocol", "clinical") in open_now(world)


def test_a_missed_check_in_calls_when_its_window_opens_soon_and_nobody_did_anything(
    road: SmallRoad, world: AlertWorld, monkeypatch: pytest.MonkeyPatch
):
    begin_lately(monkeypatch, 23.6)
    begin(road)
    ring(road, 23.6)
    assert road.one("select status from ops.follow_ups") == "missed"
    left = road.one("select extract(epoch from window_at - now()) / 3600 from ops.follow_ups")
    let_time_pass(road, math.floor(left) - 13)
    world.look()
    assert open_now(world) == set(), "more than twelve hours are left"
    let_time_pass(road, 2)
    world.look()
    assert open_now(world) == {("checkin_missed", "", "operations")}
    assert colours(world)["check-ins"] == "amber"
    assert "1 missed" in says(world, "check-ins")
    road.send(checkin(23.6))
    world.look()
    world.pass_time(11)
    world.look()
    assert open_now(world) == set()


def test_clocks_that_do_not_ring_call_and_a_past_that_was_heard_just_now_does_not(road: SmallRoad, world: AlertWorld):
    begin(road)
    assert road.one("select next_at < now() - interval '1 day' from ops.clocks")
    world.look()
    assert open_now(world) == set(), "it was worked out a moment ago"
    road.connection.execute("update ops.clocks set set_at = set_at - interval '11 min'")
    world.look()
    assert open_now(world) == {("clock_behind", "", "integration")}
    assert colours(world)["patients' clocks"] == "red"
    ring(road, 25.5)
    world.look()
    world.pass_time(3)
    world.look()
    assert open_now(world) == set()


def test_a_moment_that_rang_and_was_never_charted_calls_too(road: SmallRoad, world: AlertWorld):
    begin(road)
    clock.ring(road.connection, road.contract, road.cipher)
    road.connection.execute("update ops.clocks set rung_at = rung_at - interval '11 min'")
    world.look()
    assert open_now(world) == {("clock_behind", "", "integration")}


def test_a_refill_that_went_on_against_its_hold_calls_by_the_rule_that_held_it(road: SmallRoad, world: AlertWorld):
    held(road, **SIDE_EFFECT)
    held(road, "canary-0000002")
    for account in ("canary-0000001", "canary-0000002"):
        road.send(by_provider("refill.approved", 25.3, account=account, refill_id="request-25"))
    world.look()
    assert open_now(world) == {("refill_against_hold", "side_effect", "clinical")}
    assert colours(world)["refill requests"] == "red"


def test_health_says_how_check_ins_requests_and_clocks_stand(road: SmallRoad, world: AlertWorld):
    held(road, **SIDE_EFFECT)
    held(road, "canary-0000002")
    world.look(is_sensor=True)
    assert says(world, "refill requests") == "1 held or not eligible, the oldest for 12 h; 1 in the provider's queue"
    assert says(world, "check-ins") == "0 open, 0 due, 0 missed"
    assert says(world, "patients' clocks") == "2 clocks, 0 moments due"
    assert patient_of(road) not in says(world, "refill requests")


def feeds(road: SmallRoad) -> dict[str, str]:
    silent_feeds(road.connection, 15, road.contract.event_types)
    return dict(road.rows("select source, feed from phi.feeds"))


def test_our_own_clock_is_no_feed_and_a_pharmacy_that_only_asks_for_refills_is_one(road: SmallRoad):
    """On a day on which nothing is due our clock says nothing, and nobody is to be called for that."""
    begin(road)
    ring(road, 25)
    asked = {**requested(25), "source": "/pharmacy/second", "subject": "rx-9"}
    road.send(asked)
    assert feeds(road) == {
        "/intake/web": "intake",
        "/ehr/clinic": "ehr",
        "/pharmacy/mail-order": "pharmacy",
        "/pharmacy/second": "pharmacy-2",
    }


def test_what_a_person_says_of_a_refill_is_no_sign_of_life_of_the_ehr(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    until = datetime.now(UTC) + timedelta(days=1)
    word = Word(("side_effect",), (), "ASSESSED_PATIENT", "seen by video", until, "provider-7", "provider")
    override(road.connection, road.contract, road.cipher, refill_id, word)
    told = feeds(road)
    assert (told["/ehr/clinic"], told["/steward/glp1"]) == ("ehr", "steward")
