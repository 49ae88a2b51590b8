"""Our own database is away: told without it by the same rules, once, and an incident like any other when it is back."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import alerts, store
from glp1_pipeline.adapters.alerts import Absence, away
from glp1_pipeline.adapters.alerts.messages import Message
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.adapters.store import StoreGone
from glp1_pipeline.cli import main
from glp1_pipeline_tests.alert_world import SECRET, AlertWorld, Receiver
from glp1_pipeline_tests.small_road import connect, empty_tables

OPENED, ESCALATED = "integration:opened:store_away", "leads:escalated:store_away"
RESOLVED = ["integration:resolved:store_away", "leads:resolved:store_away"]
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    landing = tmp_path / "landing"
    landing.mkdir()
    with connect(url) as connection:
        connection.execute("set synchronous_commit = off")
        empty_tables(connection)
        yield AlertWorld(url, connection, landing)


@pytest.fixture
def absence(world: AlertWorld, tmp_path: Path) -> Absence:
    return Absence(tmp_path / "run", world.book, "http://127.0.0.1:3000")


def after(minutes: float) -> datetime:
    return LONG_AGO + timedelta(minutes=minutes)


def incidents(world: AlertWorld) -> list[tuple]:
    return world.rows("select alert, opened_at, detected_at, resolved_at is null from ops.incidents")


def test_it_is_told_after_a_minute_escalated_when_it_lasts_and_its_end_is_told_by_the_database_itself(
    world: AlertWorld, absence: Absence, channel: Receiver
):
    ways = world.ways(*map(channel.address, ("integration", "leads", "operations", "clinical")))
    for minutes in (0, 0.5, 0.9):
        absence.lasts(ways, after(minutes))
    assert channel.news() == []
    for minutes in (1.1, 1.4, 5, 15):
        absence.lasts(ways, after(minutes))
    assert channel.news() == [OPENED]
    assert channel.got[0]["text"].splitlines()[0] == "1 database; for 1.1 min"
    assert "docs/runbook.md#our-own-database-is-away" in channel.got[0]["text"]
    assert "answer: glp1 alerts ack store_away --by YOUR-NAME" in channel.got[0]["text"], "it has no number yet"
    for minutes in (17, 18, 60):
        absence.lasts(ways, after(minutes))
    assert channel.news() == [OPENED, ESCALATED]
    assert absence.is_over(world.connection)
    assert not absence.is_over(world.connection)
    assert incidents(world) == [("store_away", after(0), after(1.1), True)]
    assert world.rows("select status, notification_id::text from ops.notifications order by written_at") == [
        ("sent", one["notification_id"]) for one in channel.got
    ]
    assert world.rows("select escalated_at from ops.incidents") == [(after(17),)]
    world.look()
    world.pass_time(3)
    world.look()
    world.send(ways)
    assert sorted(channel.news()[2:]) == RESOLVED
    assert [open_ for *_, open_ in incidents(world)] == [False]


def test_whoever_says_that_they_are_at_it_is_not_escalated_and_is_known_when_the_database_is_back(
    url: str, world: AlertWorld, absence: Absence, channel: Receiver, monkeypatch: pytest.MonkeyPatch
):
    ways = world.ways(*map(channel.address, ("integration", "leads")))
    nowhere = f"postgresql://glp1@127.0.0.1:{free_port(set())}/glp1"
    monkeypatch.setenv("GLP1_HOME", str(absence.folder.parent))
    for name in ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, nowhere)

    def says(*words: str) -> str:
        return CliRunner().invoke(main, ["alerts", *words]).output

    absence.lasts(ways, after(0))
    assert "does not answer" in says("ack", "store_away", "--by", "ops-3"), "nobody was called yet"
    absence.lasts(ways, after(2))
    assert "store_away: 1 for" in says("list")
    assert "ops-3 is at store_away" in says("ack", "store_away", "--by", "ops-3")
    assert "ops-3 is at store_away" in says("ack", "store_away", "--by", "ops-4"), "who was first stays"
    assert "ops-3 is at it" in says("list")
    absence.lasts(ways, after(60))
    assert channel.news() == [OPENED]
    assert absence.is_over(world.connection)
    assert world.rows("select acknowledged_by, escalated_at from ops.incidents") == [("ops-3", None)]
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    assert "ops-3 is at store_away" in says("ack", "store_away", "--by", "ops-5")
    assert "not one open incident" in says("ack", "nobody_knows", "--by", "ops-5")


def test_what_is_back_within_a_minute_calls_nobody_and_is_forgotten(
    world: AlertWorld, absence: Absence, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    absence.lasts(ways, after(0))
    absence.lasts(ways, after(0.9))
    assert not absence.is_over(world.connection)
    absence.lasts(ways, after(2))
    assert channel.news() == []
    assert incidents(world) == []


def test_what_a_channel_does_not_take_is_tried_at_the_next_look_and_by_the_database_when_it_is_back(
    world: AlertWorld, absence: Absence, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    absence.lasts(ways, after(0))
    channel.answers = [503, 503]
    for minutes in (2, 3):
        assert sum(absence.lasts(ways, after(minutes)).failed.values()) == 1
    assert channel.got == []
    absence.is_over(world.connection)
    world.send(ways)
    assert channel.news() == [OPENED]


def test_a_channel_that_does_not_take_it_is_asked_with_growing_pauses(
    world: AlertWorld, absence: Absence, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    channel.answers = [503] * 100
    tries = [sum(absence.lasts(ways, after(quarter / 4)).failed.values()) for quarter in range(40)]  # ten minutes
    assert sum(tries) == 6  # after 15, 30, 60, 120 and 240 seconds more


@pytest.mark.parametrize("found", [b"", b'{"since": "2026', b'{"since": 7, "incident": null, "letters": []}', b"[]"])
def test_a_note_that_cannot_be_read_is_written_anew_and_keeps_no_look_from_its_work(
    world: AlertWorld, absence: Absence, channel: Receiver, tmp_path: Path, found: bytes
):
    ways, note = world.ways(channel.address("integration")), tmp_path / "run" / "store-away.json"
    absence.lasts(ways, after(0))
    note.write_bytes(found)
    absence.lasts(ways, after(1))
    absence.lasts(ways, after(3))
    assert channel.news() == [OPENED]
    note.write_bytes(found)
    assert not absence.is_over(world.connection)
    assert not note.exists()


@pytest.mark.parametrize(("when", "times"), [("before the call", 1), ("after the call", 2)])
def test_killed_while_it_tells_the_next_look_tells_under_the_same_id(
    world: AlertWorld, absence: Absence, channel: Receiver, when: str, times: int
):
    ways = world.ways(channel.address("integration"))
    absence.lasts(ways, after(0))

    class Mortal:
        names, faults = ways.names, ways.faults

        def send(self, channel: str, message: Message) -> str:
            if when == "after the call":
                ways.send(channel, message)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    died(lambda: absence.lasts(Mortal(), after(2)))
    absence.lasts(ways, after(3))
    absence.lasts(ways, after(4))
    assert channel.news() == [OPENED] * times
    assert len({one["notification_id"] for one in channel.got}) == 1


@pytest.mark.parametrize("at", ["_keep", "unlink"])
def test_killed_while_it_is_written_down_there_is_one_incident_and_its_end_is_told_once(
    world: AlertWorld, absence: Absence, channel: Receiver, at: str
):
    ways = world.ways(channel.address("integration"))
    absence.lasts(ways, after(0))
    absence.lasts(ways, after(2))

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write_down() -> None:
        setattr(*((Path, "unlink") if at == "unlink" else (away.Absence, "_keep")), die)
        with connect(world.url, "mortal") as own:
            absence.is_over(own)

    died(write_down)
    assert absence.is_over(world.connection)
    world.look()
    world.pass_time(3)
    world.look()
    world.send(ways)
    assert [open_ for *_, open_ in incidents(world)] == [False]
    assert channel.news() == [OPENED, "integration:resolved:store_away"]


def died(work) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_away_again_before_the_end_was_told_is_one_incident(world: AlertWorld, absence: Absence, channel: Receiver):
    ways = world.ways(channel.address("integration"))
    for begins in (0, 10):
        absence.lasts(ways, after(begins))
        absence.lasts(ways, after(begins + 2))
        absence.is_over(world.connection)
        world.look()
    assert [(opened, open_) for _, opened, _, open_ in incidents(world)] == [(after(0), True)]


def test_many_that_look_at_once_tell_it_once(world: AlertWorld, absence: Absence, channel: Receiver):
    ways = world.ways(channel.address("integration"))
    absence.lasts(ways, after(0))
    at_once = threading.Barrier(6)

    def look() -> None:
        own = Absence(absence.folder, absence.book, absence.ui)
        at_once.wait()
        for minutes in (2, 3, 4):
            own.lasts(ways, after(minutes))

    threads = [threading.Thread(target=look) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert channel.news() == [OPENED]


def test_a_full_disk_keeps_nobody_who_stays_from_telling_it_once(
    world: AlertWorld, absence: Absence, channel: Receiver, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Path, "write_bytes", full)
    ways = world.ways(channel.address("integration"))
    for minutes in (0, 2, 3):
        absence.lasts(ways, after(minutes))
    assert channel.news() == [OPENED]
    assert absence.is_over(world.connection)
    assert [alert for alert, *_ in incidents(world)] == ["store_away"]


def test_a_disk_on_which_no_table_can_grow_is_told_though_the_database_answers(
    world: AlertWorld, absence: Absence, channel: Receiver, monkeypatch: pytest.MonkeyPatch
):
    ways = world.ways(channel.address("integration"))
    absence.data = world.landing
    assert not absence.is_over(world.connection)
    with monkeypatch.context() as full:
        full.setattr(store, "ROOM_BYTES", 1 << 60)
        for minutes in (0, 2):
            with pytest.raises(StoreGone, match="disk of the store is full"):
                absence.is_over(world.connection)
            absence.lasts(ways, after(minutes))
    assert channel.news() == [OPENED]
    assert absence.is_over(world.connection)


@pytest.mark.parametrize("why", ["the store does not answer", "the store takes no writes"])
def test_whoever_looks_from_cron_tells_it_and_fails_and_finds_it_over_when_the_database_is_back(
    url: str, world: AlertWorld, channel: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
):
    as_standby = f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    away = f"postgresql://glp1@127.0.0.1:{free_port(set())}/glp1" if "answer" in why else as_standby
    home = tmp_path / "home"
    for name, value in {
        "GLP1_HOME": str(home), "GLP1_DATABASE_URL": away, "GLP1_DAGSTER_DATABASE_URL": away,
        "GLP1_LANDING_URL": str(world.landing), "GLP1_ALERT_WEBHOOK_SECRET": SECRET,
        "GLP1_ALERT_URLS": channel.address("integration"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    check = ["alerts", "check"]
    first = CliRunner().invoke(main, check)
    assert first.exit_code == 1
    assert why in first.output
    note = home / "run" / "store-away.json"
    told = json.loads(note.read_bytes())
    note.write_text(json.dumps({**told, "since": after(0).isoformat()}))
    assert CliRunner().invoke(main, check).exit_code == 1
    assert channel.news() == [OPENED]
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    CliRunner().invoke(main, check)
    assert not note.exists()
    assert "store_away" in {one.alert for one in alerts.open_incidents(world.connection)}
