"""What alerts watch, measured in a real Postgres: each thing fires, ends by itself, and is told where it cannot be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from glp1_pipeline_tests.alert_world import (
    AlertWorld,
    Receiver,
    alert_world,
    incidents,
    silent_source,
)


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(url, tmp_path / "landing") as made:
        yield made


def test_a_feed_that_falls_silent_is_told_under_our_name_and_ends_when_it_speaks_again(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    silent_source(world, "/intake/jane.canary@example.org", timedelta(minutes=5))
    silent_source(world, "/intake/quiet", timedelta(minutes=45), per_hour=1)
    assert world.look().opened == 0, "one is not silent yet, of the other nothing was to be expected"
    world.connection.execute("update phi.events set received_at = received_at - interval '50 minutes'")
    world.connection.execute("delete from phi.feeds")
    assert world.look().opened == 1
    world.send(ways)
    ((scope, opened, affected),) = world.rows("select scope, opened_at, affected from ops.incidents")
    assert re.fullmatch(r"intake(-2)?", scope)
    assert timedelta(minutes=54) < datetime.now(UTC) - opened < timedelta(minutes=56)
    assert affected in (10, 11)
    assert "canary" not in json.dumps(channel.got).lower()
    world.event(minutes=0, status="charted", source="/intake/jane.canary@example.org")
    world.look()
    world.pass_time(3)
    assert world.look().resolved == 1


def test_a_new_feed_is_not_judged_before_a_day_is_known_of_it(world: AlertWorld):
    silent_source(world, "/intake/new", timedelta(hours=2), per_hour=60, days=0)
    world.event(minutes=60 * 20, status="charted", source="/intake/new")
    assert world.look().opened == 0


def test_every_thing_that_is_watched_is_measured_and_fires(world: AlertWorld):
    connection = world.connection
    for _ in range(5):
        world.event(minutes=3, status="rejected", reason="malformed_json")
    world.event(minutes=3, status="dead", reason="KeyError in chart, line 7")
    world.write("ready", 45)
    world.write("dead", 1, "crm")
    day = datetime.now(UTC).date()
    for n in range(25):
        connection.execute(
            "insert into ops.field_conflicts values (gen_random_uuid(), %s, 'crm', 'owner_wins', 'ehr', 'intake',"
            " 'task', gen_random_uuid(), now(), null, %s)",
            (f"field{n}", day),
        )
    connection.execute(
        "insert into ops.poll_cursors (system, kind, polled_at) values ('ehr', 'Patient', now() - interval '1 hour'),"
        " ('ehr', 'sweep', now() - interval '9 days'), ('crm', 'contact', now()), ('crm', 'hint', '2026-01-01')"
    )
    connection.execute(
        "insert into ops.breakers (target, state, failures, changed_at) values ('ehr', 'open', 5, now() - interval '1 min')"
    )
    connection.execute(
        "insert into ops.tasks select gen_random_uuid(), gen_random_uuid(), 'c', 'cause', 'pharmacy', 'pharmacist', 'open',"
        " now() - interval '2 days', now() - interval '3 hours', null"
    )
    world.landing.rmdir()
    looked = world.look()
    assert looked.unmeasured == []
    dear = world.look(is_dear=True)
    assert {(alert, scope) for alert, scope, _ in incidents(world)} == {
        ("breaker_open", "ehr"), ("conflict_growth", "crm"), ("event_dead", ""), ("event_rejected", "malformed_json"),
        ("landing_closed", ""), ("ledger_unbalanced", ""), ("poll_late", "ehr"), ("queue_stuck", "pharmacy"),
        ("write_dead", "crm"), ("write_waiting", "ehr"),
    }  # fmt: skip
    assert dear.opened == 1
    assert looked.seconds < 5
    assert world.rows("select owner from ops.incidents where alert = 'queue_stuck'") == [("operations",)]


def test_a_system_that_we_write_to_and_could_never_read_is_told_once_somebody_might_have_changed_something(
    world: AlertWorld,
):
    told = "insert into ops.breakers (target, state, changed_at) values (%s, 'closed', now())"
    for target, minutes in (("crm", 5), ("ehr", 45)):
        world.connection.execute(told, (target,))
        world.write("delivered", minutes, target)
    world.look()
    assert incidents(world) == [("poll_late", "ehr", True)]
    world.connection.execute(
        "insert into ops.poll_cursors (system, kind, polled_at) values ('ehr', 'Patient', now()), ('crm', 'hint', now())"
    )
    world.look()
    world.pass_time(3)
    world.look()
    assert incidents(world) == [("poll_late", "ehr", False)]


def test_a_landing_zone_that_fills_up_calls_somebody(world: AlertWorld):
    alert = world.book.alerts["landing_full"].model_copy(update={"at_least": 1})
    world.book = world.book.model_copy(update={"alerts": {**world.book.alerts, "landing_full": alert}})
    world.look()
    assert ("landing_full", "", True) in incidents(world)


def test_the_ledger_is_counted_only_every_five_minutes(world: AlertWorld):
    world.look(is_dear=True)
    world.event(minutes=1, status="charted")
    assert world.look(is_dear=True).opened == 0
    world.pass_time(6)
    assert world.look(is_dear=True).opened == 1


def test_what_cannot_be_measured_neither_ends_an_incident_nor_stays_unknown(world: AlertWorld):
    world.write("dead", 1)
    world.look()
    world.connection.execute("alter table ops.writes rename to hidden")
    try:
        looked = world.look()
        assert set(looked.unmeasured) == {"write_dead", "write_waiting", "breaker_open", "poll_late"}
        world.pass_time(16)
        world.look()
    finally:
        world.connection.execute("alter table ops.hidden rename to writes")
    assert ("write_dead", "ehr", True) in incidents(world)
    assert ("alert_blind", "write_dead", True) in incidents(world)
    for _ in range(3):
        world.look()
        world.pass_time(3)
    assert [row for row in incidents(world) if row[2]] == [("write_dead", "ehr", True)]


def test_a_daemon_that_is_dead_is_seen_from_cron_and_a_living_one_ends_it(world: AlertWorld):
    assert world.look().opened == 0, "where no sensor ever looked, none is missed"
    world.look(is_sensor=True)
    world.pass_time(6)
    assert world.look().opened == 1
    assert incidents(world) == [("daemon_silent", "", True)]
    world.look(is_sensor=True)
    world.pass_time(3)
    world.look(is_sensor=True)
    assert incidents(world) == [("daemon_silent", "", False)]
