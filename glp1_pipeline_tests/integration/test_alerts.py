"""Alerts in a real Postgres with a real server at the other end: opened by age, told once, escalated, ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.outlet import sign
from glp1_pipeline_tests.alert_world import (
    SECRET,
    AlertWorld,
    Receiver,
    alert_world,
    incidents,
)
from glp1_pipeline_tests.small_road import connect


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(url, tmp_path / "landing") as made:
        yield made


def test_an_event_that_waits_too_long_is_one_incident_and_one_message_per_channel(world: AlertWorld, channel: Receiver):
    teams = world.book.teams
    two = teams["integration"].model_copy(update={"channels": ("integration", "pager")})
    world.book = world.book.model_copy(update={"teams": {**teams, "integration": two}})
    ways = world.ways(channel.address("integration"), channel.address("pager"))
    world.event(minutes=9)
    assert world.look().opened == 0
    world.event(minutes=25)
    world.event(minutes=40)
    assert world.look().opened == 1
    for _ in range(3):
        assert world.look().opened == 0
        world.send(ways)
    assert sorted(channel.news()) == ["integration:opened:event_waiting", "pager:opened:event_waiting"]
    ((opened, detected, affected),) = world.rows("select opened_at, detected_at, affected from ops.incidents")
    assert timedelta(minutes=40) < detected - opened < timedelta(minutes=41)
    assert affected == 3
    assert channel.got[0]["link"] == "http://127.0.0.1:3000/assets/events"
    assert "3 events; for 40 min" in channel.got[0]["text"]


def test_nobody_answering_calls_the_lead_once_and_when_all_is_well_both_hear_it_once(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"), channel.address("leads"))
    event_id = world.event(minutes=25)
    world.look()
    world.send(ways)
    for _ in range(3):
        world.pass_time(16)
        world.look()
        world.send(ways)
    world.connection.execute("update phi.events set status = 'charted' where event_id = %s", (event_id,))
    world.look()
    assert incidents(world) == [("event_waiting", "", True)], "calm for a moment is not the end"
    world.pass_time(3)
    assert world.look().resolved == 1
    for _ in range(2):
        world.look()
        world.send(ways)
    assert channel.news() == [
        "integration:opened:event_waiting", "leads:escalated:event_waiting",
        "integration:resolved:event_waiting", "leads:resolved:event_waiting",
    ]  # fmt: skip


def test_who_answers_is_noted_and_nothing_is_escalated(world: AlertWorld, channel: Receiver):
    world.write("dead", minutes=1)
    world.look()
    ((number,),) = world.rows("select incident_id from ops.incidents")
    first = alerts.acknowledge(world.connection, number, "integration-a")
    assert first is not None
    again = alerts.acknowledge(world.connection, number, "somebody else")
    assert again is not None
    assert again.acknowledged_by == "integration-a"
    world.pass_time(100)
    assert world.look().escalated == 0
    assert alerts.acknowledge(world.connection, number + 1, "x") is None


def test_many_evaluators_at_once_open_one_incident_and_send_one_message(world: AlertWorld, channel: Receiver):
    world.event(minutes=25)
    ways = world.ways(channel.address("integration"))
    at_once = threading.Barrier(6)
    errors: list[BaseException] = []

    def evaluate() -> None:
        try:
            with connect(world.url, "evaluator") as connection:
                at_once.wait()
                for _ in range(3):
                    alerts.look(connection, world.book, world.around)
                    alerts.send(connection, ways)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=evaluate) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    assert incidents(world) == [("event_waiting", "", True)]
    assert channel.news() == ["integration:opened:event_waiting"]


class Dies:
    """A channel at which the sender is killed: before the call, or after it was answered."""

    def __init__(self, inner, is_before: bool) -> None:
        self.inner, self.is_before = inner, is_before
        self.names, self.faults = inner.names, inner.faults

    def send(self, channel: str, message) -> str:
        if not self.is_before:
            self.inner.send(channel, message)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


@pytest.mark.parametrize(("is_before", "times"), [(True, 1), (False, 2)])
def test_killed_before_the_call_it_is_sent_once_and_killed_after_it_once_more_under_the_same_id(
    world: AlertWorld, channel: Receiver, is_before: bool, times: int
):
    world.event(minutes=25)
    ways = world.ways(channel.address("integration"))
    child = os.fork()
    if child == 0:
        try:
            with connect(world.url, "mortal") as connection:
                alerts.look(connection, world.book, world.around)
                alerts.send(connection, Dies(ways, is_before))
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    world.look()
    world.send(ways)
    assert len(channel.got) == times - 1, "the dead one's lease is still on"
    world.pass_time(2)
    for _ in range(2):
        world.look()
        world.send(ways)
        world.pass_time(1)
    assert channel.news() == ["integration:opened:event_waiting"] * times
    assert len({one["notification_id"] for one in channel.got}) == 1


def test_a_look_that_comes_while_another_takes_long_waits_its_turn(world: AlertWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[alerts.look.__module__], "PATIENCE_MS", 300)
    world.event(minutes=25)
    with connect(world.url) as other:
        other.execute("select pg_advisory_lock(hashtextextended('glp1 alerts', 0))")
        ends = threading.Timer(1.0, other.execute, ["select pg_advisory_unlock_all()"])
        ends.start()
        assert world.look().opened == 1
        ends.join()


def test_killed_while_it_looks_nothing_is_half_written(world: AlertWorld):
    """The incident, its messages and the time of the look are one transaction."""
    world.event(minutes=25)
    child = os.fork()
    if child == 0:
        try:
            from glp1_pipeline.adapters.alerts import look

            def die(*_):
                os.kill(os.getpid(), signal.SIGKILL)

            with connect(world.url, "mortal") as connection:
                look.__globals__["write"] = die
                look(connection, world.book, world.around)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert incidents(world) == []
    assert world.look().opened == 1
    assert world.rows("select news, channel from ops.notifications") == [("opened", "integration")]


def test_what_a_channel_does_not_take_is_tried_again_and_the_end_is_not_told_before_the_beginning(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    channel.answers = [500, 429]
    event_id = world.event(minutes=25)
    world.look()
    assert world.send(ways).failed.total() == 1
    world.connection.execute("update phi.events set status = 'charted' where event_id = %s", (event_id,))
    world.look()
    world.pass_time(3)
    assert world.look().resolved == 1
    assert world.send(ways).failed.total() == 1
    world.pass_time(3)
    assert world.send(ways).sent == 2
    assert channel.news() == ["integration:opened:event_waiting", "integration:resolved:event_waiting"]


def test_a_channel_without_an_address_is_named_and_its_messages_are_given_up_after_a_day(world: AlertWorld):
    world.event(minutes=25)
    world.look()
    assert world.send(world.ways()).without_address == ("integration",)
    assert alerts.unsent(world.connection) == {"messages late": 0, "messages given up": 0}
    world.pass_time(5)
    assert alerts.unsent(world.connection)["messages late"] == 1
    world.pass_time(24 * 60)
    assert world.send(world.ways()).given_up == 1
    assert alerts.unsent(world.connection) == {"messages late": 0, "messages given up": 1}


def test_a_webhook_is_signed_over_its_time_and_body(world: AlertWorld, channel: Receiver):
    world.event(minutes=25)
    world.look()
    world.send(world.ways(channel.address("integration")))
    (headers,), (body,) = channel.headers, channel.raw
    stamp = headers["X-Signature-Timestamp"]
    assert headers["X-Signature"] == sign(SECRET, stamp, body)
    assert sign("another secret", stamp, body) != headers["X-Signature"]
    assert abs(int(stamp) - time.time()) < 60


def test_any_address_of_apprise_is_a_channel(world: AlertWorld, channel: Receiver):
    ways = world.ways(f"integration=json://127.0.0.1:{channel.port}/integration")
    world.event(minutes=25)
    world.look()
    channel.answers = [500]
    try:
        assert world.send(ways).failed == {"not_taken": 1}
        world.pass_time(1)
        assert world.send(ways).sent == 1
    except KeyError:
        pytest.fail("the receiver could not read it")
    assert world.rows("select status, tries from ops.notifications") == [("sent", 2)]
    told = json.loads(channel.raw[-1])
    assert (told["title"], told["type"]) == ("[critical] Events wait too long to be charted", "failure")
