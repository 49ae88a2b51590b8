"""Channels that answer as nobody should: none is waited for, believed or fed without end, and no other one waits for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glp1_pipeline.adapters import alerts, outlet
from glp1_pipeline_tests.alert_world import SECRET, AlertWorld, Receiver, alert_world, incidents
from glp1_pipeline_tests.other_end import Answer, drips_a_body, drips_a_header, other_end


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(url, tmp_path / "landing") as made:
        yield made


def answers_without_end(line: socket.socket, ended: threading.Event) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    while not ended.is_set():
        line.sendall(b"x" * 1_000_000)


def takes_it_and_hangs_up(line: socket.socket, ended: threading.Event) -> None:
    line.close()


@pytest.mark.parametrize("way", ["webhook+http", "json"])
@pytest.mark.parametrize("answer", [drips_a_header, drips_a_body, answers_without_end, takes_it_and_hangs_up])
def test_whatever_a_channel_answers_the_look_ends_and_the_other_channels_hear(
    world: AlertWorld, channel: Receiver, monkeypatch: pytest.MonkeyPatch, answer: Answer, way: str
):
    monkeypatch.setattr(outlet, "MOST_SECONDS", 8.0)
    world.event(minutes=25)
    world.look()
    world.pass_time(20)  # nobody answers: the lead is called as well, after the first message
    assert world.look().escalated == 1
    with other_end(answer) as (port, heard):
        ways = world.ways(f"integration={way}://127.0.0.1:{port}/x", channel.address("leads"))
        sent = world.send(ways)
        assert len(heard) == 1
        assert world.send(ways).failed.total() == 0, "it is not asked again before its pause is over"
    assert "leads:escalated:event_waiting" in channel.news()
    told = dict(world.rows("select channel, status from ops.notifications"))
    # A signed webhook has said that it took it when its status is there; what it says more is nobody's concern.
    is_taken = way == "webhook+http" and answer in (drips_a_body, answers_without_end)
    assert told == {"integration": "sent" if is_taken else "waiting", "leads": "sent"}
    assert sent.failed.total() == (0 if is_taken else 1)


def test_a_word_before_the_answer_is_no_refusal_and_nobody_is_told_twice(world: AlertWorld):
    def thinks_first(line: socket.socket, ended: threading.Event) -> None:
        line.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        ended.wait(0.2)
        line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    world.event(minutes=25)
    world.look()
    with other_end(thinks_first) as (port, heard):
        assert world.send(world.ways(f"integration=webhook+http://127.0.0.1:{port}/x")).sent == 1
        assert len(heard) == 1


def test_a_redirect_is_not_followed_since_the_message_would_not_come_along(world: AlertWorld, channel: Receiver):
    """Whoever follows it asks for the page there, without the message, and has a 200."""

    def redirects(line: socket.socket, ended: threading.Event) -> None:
        line.sendall(
            f"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:{channel.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        )

    world.event(minutes=25)
    world.look()
    with other_end(redirects) as (port, _):
        assert world.send(world.ways(f"integration=json://127.0.0.1:{port}/x")).failed == {"not_taken": 1}
        world.pass_time(1)
        assert world.send(world.ways(f"integration=webhook+http://127.0.0.1:{port}/x")).failed == {"redirected": 1}
    assert (channel.got, channel.raw) == ([], [])


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        (f"webhook+https://{'a' * 70}.example/x", "bad_address"), ("webhook+https://nowhere.invalid/x", "unreachable"),
        ("webhook+http://127.0.0.1:1/x", "unreachable"), ("slack://nothing", "bad_address"),
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_a_word_and_no_error(world: AlertWorld, address: str, outcome: str):
    assert outlet.tell(address, SECRET, {"news": "test", "severity": "warning", "title": "t", "text": "t"}) == outcome


def test_a_channel_that_takes_nothing_is_asked_once_in_a_look_and_the_others_do_not_wait_for_all_it_holds(
    world: AlertWorld, channel: Receiver
):
    """Each try may take as long as the channel likes to hang."""
    world.event(minutes=25)
    world.write("ready", 45)
    world.write("dead", 1, "crm")
    world.look()
    world.connection.execute(
        "insert into ops.tasks select gen_random_uuid(), gen_random_uuid(), 'crisis-protocol', 'cause', 'on-call',"
        " 'provider', 'open', now(), now() + interval '1 hour', null"
    )
    world.look()
    channel.answers = [500]
    sent = world.send(world.ways(channel.address("integration"), channel.address("clinical")))
    assert (sent.failed, sent.sent) == ({"unavailable": 1}, 1)
    assert channel.news() == ["clinical:opened:urgent_task"]
    world.pass_time(1)
    assert world.send(world.ways(channel.address("integration"))).sent == 3, "once it takes them, all of them go"


def test_that_a_channel_takes_nothing_is_told_over_the_others_until_it_does(world: AlertWorld, channel: Receiver):
    world.connection.execute(
        "insert into ops.tasks select gen_random_uuid(), gen_random_uuid(), 'crisis-protocol', 'cause', 'on-call',"
        " 'provider', 'open', now(), now() + interval '1 hour', null"
    )
    integration = channel.address("integration")
    broken = world.ways("clinical=webhook+http://127.0.0.1:1/x", integration, channel.address("leads"))
    world.look()
    assert world.send(broken).failed == {"unreachable": 1}
    world.pass_time(6)
    world.look()
    world.send(broken)
    assert "integration:opened:message_late" in channel.news()
    assert ("message_late", "clinical", True) in incidents(world)
    world.pass_time(25 * 60)
    assert world.send(broken).given_up >= 1
    world.look()
    assert ("message_late", "clinical", True) in incidents(world), "given up is not well again"
    mended = world.ways(channel.address("clinical"), integration, channel.address("leads"))
    world.send(mended)
    alerts.write_test(world.connection, ["clinical"])
    assert world.send(mended).failed.total() == 0
    world.look()
    world.pass_time(3)
    assert world.look().resolved >= 1
    assert ("message_late", "clinical", False) in incidents(world)


def test_a_channel_without_an_address_is_no_channel_that_takes_nothing(world: AlertWorld):
    world.event(minutes=25)
    world.look()
    world.send(world.ways())
    world.pass_time(10)
    world.look()
    assert "message_late" not in {alert for alert, _, _ in incidents(world)}
