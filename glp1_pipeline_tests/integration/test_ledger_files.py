"""The ledger and files that are hard to read, or long: every line once, whoever dies, shares or takes one away."""

from __future__ import annotations

import errno
import gzip
import io
import os
import threading
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from glp1_pipeline.adapters import documents, ledger
from glp1_pipeline.adapters import landing as zone
from glp1_pipeline.adapters.archive import open_archived
from glp1_pipeline_tests.ledgers import assert_in_balance
from glp1_pipeline_tests.small_road import SmallRoad, connect, submission


def archived(road: SmallRoad) -> list[bytes]:
    return sorted(open_archived(road.cipher, path).read() for path in (road.folder / "archive").glob("*"))


# Files that are hard to read


def big(road: SmallRoad, name: str, count: int, start: int = 0) -> list[uuid.UUID]:
    """A drop of `count` small events; their ids."""
    events = [submission(n) for n in range(start, start + count)]
    for event in events:
        event["data"]["answers"] = {"demo.legal_first": "Wren"}
    road.drop(name, *events)
    return [uuid.uuid5(zone.DROPS, f"{e['source']}\x1f{e['id']}") for e in events]


class Dies(Exception):
    pass


def die_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int) -> None:
    """The `at`-th call of a function does not come to pass."""
    inner, calls = getattr(owner, name), iter(range(1, 10**9))

    def call(*args: Any, **named: Any) -> Any:
        if next(calls) == at:
            raise Dies
        return inner(*args, **named)

    monkeypatch.setattr(owner, name, call)


def test_a_half_read_drop_is_read_on_from_where_it_was_and_each_line_counts_once(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_LINES", 10)
    ids = big(road, "a.ndjson", 45)
    for at in (3, 1, 2):
        with monkeypatch.context() as patch:
            die_at(patch, ledger, "_write_chunk", at)
            with pytest.raises(Dies):
                road.take()
        assert_in_balance(road)
    got = road.take()
    assert (got.lines, got.events, got.duplicates) == (15, 15, 0)
    assert road.drops() == [("settled", 45, 45, 0, 0, 1)]
    rows = dict(road.rows("select event_id, line from phi.events"))
    assert rows == {event_id: line for line, event_id in enumerate(ids, 1)}
    assert road.landing.ready() == []


class Forgetful:
    """A connection on which one statement does not come to pass: the process died just before it."""

    def __init__(self, connection: psycopg.Connection, statement: str) -> None:
        self._connection, self._statement = connection, statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *args: Any, **named: Any) -> Any:
        if self._statement in str(query):
            raise Dies
        return self._connection.execute(query, *args, **named)


@pytest.mark.parametrize("kind", ["one document", "lines", "packed", "empty"])
def test_a_drop_that_was_read_to_its_end_and_not_settled_is_settled_without_reading_it_again(road: SmallRoad, kind):
    one = orjson.dumps(submission(1))
    pretty = orjson.dumps(submission(1), option=orjson.OPT_INDENT_2)
    content = {"one document": pretty, "lines": one + b"\n" + one[:9], "packed": gzip.compress(one), "empty": b""}[kind]
    (road.landing.path / "a.json").write_bytes(content)
    dying: Any = Forgetful(road.connection, "set state = 'settled'")
    with pytest.raises(Dies):
        ledger.take(dying, road.landing, road.contract, road.cipher)
    road.take()
    lines = 2 if kind == "lines" else 1
    ((state, *counts, times),) = road.drops()
    assert (state, sum(counts), counts[-1], times) == ("settled", 2 * lines, 0, 1)
    assert road.landing.ready() == []
    assert_in_balance(road)


@pytest.mark.parametrize("dying", [(zone.Folder, "put_away"), (zone, "keep"), (Path, "unlink")])
@pytest.mark.parametrize("came", [1, 2])
def test_a_drop_that_was_counted_and_not_put_away_is_put_away_by_the_next_run_and_counts_once(
    road: SmallRoad, monkeypatch, dying, came
):
    for n in range(1, came + 1):
        road.drop("a.ndjson", submission(1), submission(2))
        if n < came:
            road.take()
    for _ in range(3):
        with monkeypatch.context() as patch:
            die_at(patch, *dying, at=1)
            with pytest.raises(Dies):
                road.take()
        assert len(road.landing.ready()) == 1
    road.take()
    assert road.landing.ready() == []
    assert road.events() == {"waiting": 2}
    assert road.drops() == [("settled", 2 * came, 2, 0, 2 * (came - 1), came)]
    assert len(archived(road)) == 1
    assert_in_balance(road)


def test_an_object_that_was_counted_and_not_put_away_counts_once_and_put_there_again_counts_again(
    road: SmallRoad, monkeypatch
):
    bucket = zone.Bucket(f"memory://{uuid.uuid4()}", None, road.cipher)

    def take() -> None:
        ledger.take(road.connection, bucket, road.contract, road.cipher)

    content = orjson.dumps(submission(1))
    for came in (1, 2):
        bucket.put("a.json", io.BytesIO(content))
        with monkeypatch.context() as patch:
            die_at(patch, zone.Bucket, "put_away", 1)
            with pytest.raises(Dies):
                take()
        assert bucket.ready() == ["a.json"]
        if came == 2:  # the producer sends it once more before anybody has put the last one away
            bucket.put("a.json", io.BytesIO(content))
        take()
        assert bucket.ready() == []
    assert road.drops() == [("settled", 3, 1, 0, 2, 3)]
    assert_in_balance(road)


def test_the_same_content_counts_each_time_it_comes_though_its_file_looks_as_the_last_one_did(
    road: SmallRoad, monkeypatch
):
    monkeypatch.setattr(zone, "_file_state", lambda status: (1, 2, status.st_size, 3))
    for _ in range(3):
        road.drop("a.json", submission(1))
        road.take()
    assert road.drops() == [("settled", 3, 1, 0, 2, 3)]


def test_two_readers_at_once_read_each_drop_once_and_none_is_counted_as_sent_twice(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_LINES", 50)
    expected = big(road, "a.ndjson", 400)
    for n in range(12):
        expected += big(road, f"{n}.ndjson", 5, start=1000 + 5 * n)
    contents = sorted((road.landing.path / name).read_bytes() for name in road.landing.ready())
    start, results, failures = threading.Barrier(3), [], []

    def read() -> None:
        with connect(road.url) as own:
            start.wait()
            try:
                results.append(ledger.take(own, road.landing, road.contract, road.cipher))
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert failures == []
    assert sum(r.events for r in results) == len(expected)
    assert {event_id for (event_id,) in road.rows("select event_id from phi.events")} == {*expected}
    assert Counter(times for *_, times in road.drops()) == {1: 13}
    assert sum(r.duplicates for r in results) == 0
    assert archived(road) == contents
    assert road.landing.ready() == []
    assert_in_balance(road)


def test_two_readers_of_files_that_share_their_events_keep_each_once(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_LINES", 40)
    events = [submission(n) for n in range(120)]
    road.drop("forward.ndjson", *events)
    road.drop("backward.ndjson", *reversed(events))
    start = threading.Barrier(2)

    def read(name: str) -> None:
        with connect(road.url) as own:
            only = road.landing
            only.ready = lambda limit=500: [name]
            start.wait()
            ledger.take(own, only, road.contract, road.cipher)

    readers = [threading.Thread(target=read, args=(name,)) for name in ("forward.ndjson", "backward.ndjson")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert road.events() == {"waiting": 120}
    found = road.balance()
    assert (found.lines, found.duplicates, found.faults) == (240, 120, [])


def test_a_file_that_we_may_not_read_stays_is_named_and_holds_no_other(road: SmallRoad, monkeypatch):
    road.drop("a.json", submission(1))
    road.drop("b.json", submission(2))
    fail_open(monkeypatch, "a.json", errno.EACCES)
    got = road.take()
    assert (got.refused_drops, got.reasons, got.events) == (1, {"unreadable": 1}, 1)
    (hidden,) = road.landing.path.iterdir()
    assert hidden.read_bytes() == orjson.dumps(submission(1))
    assert road.landing.ready() == []
    assert_in_balance(road)


def fail_open(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    inner = os.open

    def call(path: Any, *args: Any, **named: Any) -> int:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number))
        return inner(path, *args, **named)

    monkeypatch.setattr(os, "open", call)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ENOMEM])
def test_a_drop_that_the_disk_does_not_open_now_waits_in_place_and_holds_no_other(road, monkeypatch, number):
    road.drop("a.json", submission(1))
    road.drop("b.json", submission(2))
    with monkeypatch.context() as patch:
        fail_open(patch, "a.json", number)
        with pytest.raises(ledger.LandingFault, match="1 drops"):
            road.take()
    assert road.landing.ready() == ["a.json"]
    assert road.events() == {"waiting": 1}
    assert road.take().events == 1
    assert_in_balance(road)


class BadDisk(io.BufferedReader):
    """Readable for so many calls, then an error."""

    def __init__(self, path: Path, good: int) -> None:
        super().__init__(io.FileIO(path))
        self.good = good

    def readline(self, size: int | None = -1, /) -> bytes:
        self.check()
        return super().readline(size)

    def read(self, size: int | None = -1, /) -> bytes:
        self.check()
        return super().read(size)

    def check(self) -> None:
        self.good -= 1
        if self.good < 0:
            raise OSError(errno.EIO, "Canary: a path could be in here")


@pytest.mark.parametrize("good", [0, 1, 2, 5, 40])
def test_a_drop_whose_reading_fails_does_not_hold_the_others_and_is_whole_in_the_end(road, monkeypatch, good):
    monkeypatch.setattr(documents, "CHUNK_LINES", 10)
    road.drop("a.ndjson", *[submission(n) for n in range(60)])
    road.drop("b.json", submission(100))
    path, inner = road.landing.path / "a.ndjson", zone.Folder.open
    with monkeypatch.context() as patch:
        patch.setattr(
            zone.Folder, "open", lambda self, name: BadDisk(path, good) if name[0] == "a" else inner(self, name)
        )
        with pytest.raises(ledger.LandingFault) as fault:
            road.take()
    assert "Canary" not in str(fault.value)
    assert fault.value.__cause__ is None
    assert "a.ndjson" in road.landing.ready()
    assert "b.json" not in road.landing.ready()
    assert_in_balance(road)
    road.take()
    assert road.events() == {"waiting": 61}
    assert [drop[1:] for drop in road.drops() if drop[1] == 60] == [(60, 60, 0, 0, 1)]
    assert_in_balance(road)


def test_a_link_and_a_folder_are_refused_by_name_and_nothing_outside_is_read(road: SmallRoad, tmp_path: Path):
    outside = tmp_path / "outside.json"
    outside.write_bytes(orjson.dumps(submission(1)))
    (road.landing.path / "link.json").symlink_to(outside)
    (road.landing.path / "folder.json").mkdir()
    road.drop("good.json", submission(2))
    got = road.take()
    assert got.reasons == {"symlink": 1, "not_a_file": 1}
    assert got.events == 1
    assert outside.exists()
    assert road.take().drops == 0
    assert road.balance().refused_drops == 2
    assert_in_balance(road)


def test_a_drop_that_is_taken_away_between_the_look_and_the_open_is_nobodys_fault(road: SmallRoad, monkeypatch):
    road.drop("a.json", submission(1))
    monkeypatch.setattr(zone.Folder, "ready", lambda self, limit=500: ["gone.json", "a.json"])
    assert road.take().events == 1


def test_our_own_failure_on_a_line_makes_that_line_dead_and_the_rest_goes_on(road: SmallRoad, monkeypatch):
    poison = submission(1)["id"]
    inner = ledger.parse_event

    def parse(document: Any, contract: Any) -> Any:
        if document["id"] == poison:
            raise KeyError("Canary")
        return inner(document, contract)

    monkeypatch.setattr(ledger, "parse_event", parse)
    road.drop("a.ndjson", submission(0), submission(1), submission(2))
    assert road.take().lines == 3
    ((reason, hint),) = road.rows("select reason, hint from phi.events where status = 'dead'")
    assert reason.startswith("KeyError in parse")
    assert "Canary" not in reason + hint
    assert_in_balance(road)


# Memory


def highest_memory(reset: bool = False) -> int:
    """Bytes that this process had at most since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def test_a_file_of_twenty_thousand_lines_takes_no_more_memory_than_one_of_three_thousand(road: SmallRoad):
    big(road, "warm.ndjson", 3000)
    road.take()
    line = orjson.dumps(submission(0))

    def write(name: str, count: int) -> int:
        with (road.landing.path / f".{name}").open("wb") as file:
            for n in range(count):
                file.write(b'{"n":%d,' % n + line[1:] + b"\n")
        (road.landing.path / f".{name}").rename(road.landing.path / name)
        return (road.landing.path / name).stat().st_size

    write("warm.ndjson", 3000)
    road.take()
    size = write("long.ndjson", 20_000)
    before = highest_memory(reset=True)
    assert road.take().lines == 20_000
    assert size > 60_000_000
    assert highest_memory() - before < size / 3


def test_reading_on_near_the_end_of_a_long_file_does_not_read_the_rest_into_memory(road: SmallRoad, monkeypatch):
    path = road.landing.path / "long.ndjson"
    with path.open("wb") as file:
        for _ in range(30):
            file.write(b"x" * 1_000_000 + b"\n" + b"\n" * 1_000_000)
        file.write(b"last one\n")
    size = path.stat().st_size
    with path.open("rb") as stream:
        before = highest_memory(reset=True)
        found = list(documents.lines_of(stream, size, size - 9))
        assert [(line.number, line.content) for line in found] == [(30_000_031, b"last one")]
    assert highest_memory() - before < size / 4


def test_a_value_that_postgres_refuses_is_dead_alone_and_holds_no_other_line(road: SmallRoad, monkeypatch):
    events = [submission(n) for n in range(9)]
    wanted = events[4]["id"]

    def reads(contract, content: bytes, is_too_long: bool = False):
        event = read_event(contract, content, is_too_long)
        return replace(event, subject="Canary\0Okafor") if event.source_id == wanted else event

    read_event = ledger.read_event
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "read_event", reads)
        road.drop("a.ndjson", *events)
        road.take()
    found = road.rows("select status, reason from phi.events")
    assert [status for status, _ in found].count("waiting") == 8
    ((_, reason),) = [row for row in found if row[0] == "dead"]
    assert reason.startswith("CharacterNotInRepertoire in ")
    assert "Canary" not in reason
    assert road.landing.ready() == []
    assert_in_balance(road)
    assert road.replay().events == 9
    assert road.events() == {"charted": 9}
    assert_in_balance(road)
