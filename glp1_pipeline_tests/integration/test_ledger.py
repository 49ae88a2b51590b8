"""The ledger, against a real Postgres: every line once, under its name, whatever the file does."""

from __future__ import annotations

import errno
import gzip
import io
import json
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters import documents, ledger
from glp1_pipeline.adapters import landing as zone
from glp1_pipeline.adapters.archive import open_archived
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.landing import MAX_LINE_BYTES
from glp1_pipeline_tests.small_road import RING, SmallRoad, connect, submission


def archived(road: SmallRoad) -> list[bytes]:
    return sorted(open_archived(road.cipher, path).read() for path in (road.folder / "archive").glob("*"))


def content_of(road: SmallRoad) -> list[bytes]:
    rows = road.rows("select event_id, kid, body from phi.events order by seq")
    return [road.cipher.open(kid, bytes(body), f"events|{event_id}") for event_id, kid, body in rows]


def assert_in_balance(road: SmallRoad) -> None:
    found = road.balance()
    assert found.faults == []
    assert found.lines == found.received + found.duplicates
    assert all(lines == events + rejected + again for _, lines, events, rejected, again, _ in road.drops())


# By day, source and type


def test_what_is_missing_of_one_source_is_told_though_another_has_as_many_too_much(road: SmallRoad):
    web = {**submission(2), "source": "/intake/kiosk"}
    road.drop("a.ndjson", submission(1), submission(1), web, b"no event")
    road.take()
    road.connection.execute("insert into phi.feeds values ('/intake/kiosk', 'intake-2', now(), now())")
    assert_in_balance(road)
    told = [(part.source, part.type, part.received, part.waiting, part.rejected) for part in road.parts()]
    assert sorted(told)[0] == ("intake-2", "intake.submitted", 1, 1, 0)
    assert sorted(told)[2] == ("unreadable", "", 1, 0, 1)
    assert len(told) == 3
    road.connection.execute("update phi.events set source = '/intake/kiosk' where type is not null")
    day = road.one("select received_on from phi.events limit 1")
    (more, less) = sorted(road.balance().faults)  # in all there are as many as were received
    assert more == f"{day} intake-2 intake.submitted: 1 received, 2 in the ledger"
    assert less.endswith("intake.submitted: 1 received, 0 in the ledger")


def test_what_is_missing_of_one_day_is_told_with_its_day_and_no_source_by_its_own_name(road: SmallRoad):
    road.drop("a.ndjson", *[submission(n) for n in range(3)])
    road.take()
    road.connection.execute("update phi.events set received_on = received_on - 1 where line = 2")
    assert [fault.partition(": ")[2] for fault in road.balance().faults] == [
        "0 received, 1 in the ledger",
        "3 received, 2 in the ledger",
    ]
    assert "/intake" not in str(road.balance().faults)


# Each once


def test_an_event_twice_in_one_file_is_one_event_and_a_duplicate(road: SmallRoad):
    road.drop("a.ndjson", submission(1), submission(2), submission(1))
    got = road.take()
    assert (got.drops, got.lines, got.events, got.duplicates) == (1, 3, 2, 1)
    assert road.events() == {"waiting": 2}
    assert_in_balance(road)


def test_an_event_in_two_files_is_one_event_and_a_duplicate(road: SmallRoad):
    road.drop("a.json", submission(1))
    road.drop("b.ndjson", submission(2), submission(1))
    got = road.take()
    assert (got.drops, got.events, got.duplicates) == (2, 2, 1)
    assert_in_balance(road)


def test_the_same_file_again_and_renamed_is_counted_and_changes_nothing(road: SmallRoad):
    events = [submission(n) for n in range(3)]
    road.drop("a.ndjson", *events, b"no event")
    road.take()
    before = road.fingerprint()
    for times, name in enumerate(("a.ndjson", "b.ndjson", "c.json"), 2):
        road.drop(name, *events, b"no event")
        got = road.take()
        assert (got.lines, got.events, got.rejected, got.duplicates) == (4, 0, 0, 4)
        assert road.drops() == [("settled", 4 * times, 3, 1, 4 * (times - 1), times)]
        assert road.landing.ready() == []
    assert road.fingerprint() == before
    assert_in_balance(road)


def test_a_redelivery_in_the_middle_of_a_run_is_settled_once_more(road: SmallRoad):
    road.drop("a.ndjson", submission(1))
    road.drop("b.ndjson", submission(1))
    got = road.take()
    assert (got.drops, got.events, got.duplicates) == (2, 1, 1)
    assert road.drops() == [("settled", 2, 1, 0, 1, 2)]


def test_the_same_key_with_other_content_is_a_conflict_and_the_first_stays(road: SmallRoad):
    first = submission(1)
    other = submission(1, channel="web", locale="es-US")
    third = submission(1, channel="ios", locale="fr-CA")
    road.drop("a.ndjson", first, other, other)
    road.drop("b.ndjson", third, first, other)
    got = road.take()
    assert (got.events, got.rejected, got.duplicates) == (1, 2, 3)
    assert road.events() == {"waiting": 1, "rejected:conflict": 2}
    assert sorted(content_of(road)) == sorted(orjson.dumps(e) for e in (first, other, third))
    assert_in_balance(road)


def turned(told: Any) -> Any:
    """The same with the keys of every object in the opposite order."""
    if isinstance(told, dict):
        return {key: turned(told[key]) for key in reversed(list(told))}
    return [turned(one) for one in told] if isinstance(told, list) else told


def test_the_same_content_written_otherwise_is_a_duplicate_and_what_only_looks_so_is_a_conflict(road: SmallRoad):
    event = submission(1, duration_s=300, **{"demo.legal_first": "José", "anthro.weight": {"value": 100, "unit": "kg"}})
    first = orjson.dumps(event)

    def weighing(number: bytes) -> bytes:
        return first.replace(b'"value":100,', b'"value":' + number + b",")

    alike = [
        orjson.dumps(turned(event)), json.dumps(event, indent=1).replace("\n", " ").encode(), weighing(b"100.0"),
        weighing(b"1e2"), first.replace(b"/intake/web", b"\\/intake\\/web"),
    ]  # fmt: skip
    other = [
        weighing(b"101"), weighing(b"100.00000000000000001"), weighing(b'"100"'),
        first.replace(b'"duration_s":300', b'"duration_s":true'), first.replace("é".encode(), "e\u0301".encode()),
    ]  # fmt: skip
    assert len({first, *alike, *other}) == 11
    road.drop("a.ndjson", first, *alike, *other)
    got = road.take()
    assert (got.events, got.duplicates, got.reasons) == (1, 5, {"conflict": 5})
    for number, line in enumerate([*alike, *other]):
        road.drop(f"{number}.ndjson", line + b" ")  # as drops of their own, beside the first in the ledger
    got = road.take()
    assert (got.events, got.rejected, got.duplicates) == (0, 0, 10)  # a conflict that comes again is no second one
    assert content_of(road)[0] == first
    assert_in_balance(road)


def test_beside_a_first_that_no_key_opens_another_writing_is_kept_as_a_conflict(road: SmallRoad):
    event = submission(1)
    road.drop("a.ndjson", event)
    road.take()
    without = replace(road, cipher=Cipher(KeyRing("k2", {"k2": b"k" * 32}, RING.patient_key)))
    without.drop("b.ndjson", orjson.dumps(turned(event)))
    got = without.take()
    assert (got.events, got.duplicates, got.reasons) == (0, 0, {"conflict": 1})
    assert_in_balance(road)


def test_ids_of_two_sources_do_not_meet(road: SmallRoad):
    road.drop("a.ndjson", submission(1), submission(1, source="/intake/kiosk"))
    assert road.take().events == 2


# Malformed, each by its name


def nested(depth: int) -> bytes:
    return b'{"data":' * depth + b"1" + b"}" * depth


VALID = submission(7)
MALFORMED: dict[str, tuple[str, bytes]] = {
    "cut off": ("malformed_json", orjson.dumps(VALID)[:-40]),
    "not a number": ("malformed_json", b'{"specversion":NaN}'),
    "endless number": ("malformed_json", b'{"specversion":1e400}'),
    "number of 5000 digits": ("malformed_json", b'{"specversion":' + b"9" * 5000 + b"}"),
    "lone surrogate": ("malformed_json", b'{"id":"\\ud800"}'),
    "comment": ("malformed_json", b'{"id":1} // yes'),
    "two documents": ("malformed_json", b'{"id":1}{"id":2}'),
    "nested a thousand deep": ("malformed_json", nested(1000)),
    "nested without end": ("malformed_json", nested(100_000)),
    "empty object": ("wrong_shape", b"{}"),
    "list": ("not_an_object", b"[" + orjson.dumps(VALID) + b"]"),
    "text": ("not_an_object", b'"hello"'),
    "number": ("not_an_object", b"42"),
    "latin 1": ("not_utf8", '{"id":"é"}'.encode("latin-1")),
    "utf 16": ("not_utf8", '{"id":"é"}'.encode("utf-16")),
    "key twice": ("key_twice", b'{"id":"a","id":"b"}'),
    "key twice by an escape": ("key_twice", b'{"id":"a","\\u0069d":"b"}'),
    "key twice, deep": ("key_twice", b'{"data":{"answers":[{"x":1,"x":1}]}}'),
    "too long": ("line_too_long", b'{"id":"' + b"a" * MAX_LINE_BYTES + b'"}'),
    "gzip": ("compressed", gzip.compress(orjson.dumps(VALID))),
    "other version of the envelope": ("wrong_shape", orjson.dumps({**VALID, "specversion": "0.3"})),
    "unknown type": ("unknown_type", orjson.dumps({**VALID, "type": "intake.deleted"})),
    "type of a wrong kind": ("unknown_type", orjson.dumps({**VALID, "type": ["intake.submitted"]})),
    "NUL in an id": ("wrong_shape", orjson.dumps({**VALID, "id": "a\0b"})),
    "NUL in a subject": ("missing_subject", orjson.dumps({**VALID, "subject": "a\0b"})),
    "an address as subject": ("missing_subject", orjson.dumps({**VALID, "subject": "a@example.org"})),
    "an endless id": ("wrong_shape", orjson.dumps({**VALID, "id": "a" * 256})),
    "a huge number as id": ("wrong_shape", orjson.dumps({**VALID, "id": 2**64 - 1})),
    "no zone": ("bad_time", orjson.dumps({**VALID, "time": "2026-11-20T15:00:00"})),
    "30 February": ("bad_time", orjson.dumps({**VALID, "time": "2026-02-30T15:00:00Z"})),
    "year 9999": ("bad_time", orjson.dumps({**VALID, "time": "9999-12-31T23:59:59Z"})),
    "data as a list": ("wrong_shape", orjson.dumps({**VALID, "data": []})),
    "a form of next year": ("unknown_version", orjson.dumps(submission(7, form_version="9.0.0"))),
    "another form": ("unknown_form", orjson.dumps(submission(7, form_id="intake-dental"))),
    "a lab result": ("unknown_type", b'{"resourceType":"Observation","id":"1"}'),
    "a response of nobody": ("unknown_form", b'{"resourceType":"QuestionnaireResponse"}'),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_quarantined_by_reason_and_place(road: SmallRoad, case: str):
    reason, content = MALFORMED[case]
    (road.landing.path / "x.json").write_bytes(content)
    got = road.take()
    assert got.reasons == {reason: 1}
    ((status, told, hint, line, source, patient),) = road.rows(
        "select status, reason, hint, line, source, record_id from phi.events"
    )
    assert (status, told, line, source, patient) == ("rejected", reason, 1, None, None)
    assert hint
    assert "Canary" not in hint
    assert road.landing.ready() == []
    assert_in_balance(road)


def test_every_kind_of_malformed_line_lies_between_good_ones_and_holds_none_of_them(road: SmallRoad):
    lines: list[Any] = []
    for n, (_, content) in enumerate(MALFORMED.values()):
        lines += [submission(100 + n), content.replace(b"\n", b"")]
    road.drop("a.ndjson", *lines)
    got = road.take()
    assert got.events == len(MALFORMED)
    assert got.rejected == len(MALFORMED)
    places = road.rows("select line from phi.events where status = 'rejected' order by line")
    assert [line for (line,) in places] == list(range(2, 2 * len(MALFORMED) + 1, 2))
    assert_in_balance(road)


def test_what_is_quarantined_keeps_its_bytes(road: SmallRoad):
    kept = [content for reason, content in MALFORMED.values() if reason not in ("line_too_long", "compressed")]
    road.drop("a.ndjson", *[content for content in kept if b"\n" not in content])
    road.take()
    assert set(content_of(road)) == {content for content in kept if b"\n" not in content}


def test_two_packed_drops_that_begin_alike_are_two(road: SmallRoad):
    for n in range(2):
        (road.landing.path / f"{n}.json.zip").write_bytes(b"PK\x03\x04" + bytes(1000) + bytes([n]))
    got = road.take()
    assert got.reasons == {"compressed": 2}
    assert_in_balance(road)


def test_an_empty_file_is_named_and_gone(road: SmallRoad):
    (road.landing.path / "empty.json").write_bytes(b"")
    (road.landing.path / "blank.json").write_bytes(b"\n \n\n")
    assert road.take().drops == 2
    assert road.landing.ready() == []
    assert_in_balance(road)


# What is one document and what is many


def test_a_document_over_many_lines_is_one_event_even_if_a_line_of_it_is_an_object_by_itself(road: SmallRoad):
    text = json.dumps(submission(1), indent=1)
    assert road.contract.fields["med.current_list"]
    by_hand = text.replace('"answers": {', '"answers": {\n"x.y": [\n{"name": "by hand"}\n],', 1)
    road.drop("a.json", by_hand.encode())
    got = road.take()
    assert (got.lines, got.events, got.rejected) == (1, 1, 0)


def test_good_lines_after_many_bad_ones_are_events(road: SmallRoad):
    road.drop("a.ndjson", *[b"no event %d" % n for n in range(80)], submission(1), submission(2))
    got = road.take()
    assert (got.lines, got.events, got.rejected) == (82, 2, 80)
    assert_in_balance(road)


def test_line_ends_of_windows_a_byte_order_mark_and_blank_lines_change_no_event(road: SmallRoad):
    one, two = orjson.dumps(submission(1)), orjson.dumps(submission(2))
    road.drop("a.ndjson", b"\xef\xbb\xbf" + one + b"\r\n\r\n" + two + b"\r\n")
    road.drop("b.json", b"\xef\xbb\xbf" + one + b"\n\n")
    got = road.take()
    assert (got.events, got.duplicates, got.rejected) == (2, 1, 0)


# Any bytes

HUGE = [2**63, 2**64, -(2**63) - 1, 10**300, 1e308, 5e-324, -0.0, float("nan"), float("inf")]
TEXTS = ["", " ", "\0", "a\0b", "\ufffe", "\ud800", "\udfff\ud83d", "\u202e", "NaN", "1e400", "0001-01-01"]
TEXTS += ["9" * 20, "9" * 4400, "x" * 70_000]
SPECIAL: st.SearchStrategy[Any] = st.sampled_from([*HUGE, *TEXTS])
NASTY: st.SearchStrategy[Any] = st.recursive(
    st.one_of(SPECIAL, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["value", "unit", "code", "name", "status", "\0", "\ud800", "item"]), inner),
    ),
    max_leaves=6,
)
FIELDS = sorted(VALID["data"]["answers"])


@st.composite
def hostile_lines(draw: st.DrawFn) -> bytes:
    """Bytes of no sense, or an event of which some part says something nasty, cut or with a byte turned."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=80))
    event = json.loads(json.dumps(submission(draw(st.integers(0, 40)))))
    for _ in range(draw(st.integers(0, 3))):
        tree = draw(st.sampled_from([event, event["data"], event["data"]["answers"], event["data"]["answers"]]))
        tree[draw(st.sampled_from([*sorted(tree), "id"]) | st.text(max_size=3))] = draw(NASTY)
        if not isinstance(event.get("data"), dict) or not isinstance(event["data"].get("answers"), dict):
            break
    if draw(st.booleans()):
        line = json.dumps(event).encode()
    else:
        line = json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")
    damage, place = draw(st.sampled_from(["", "", "", "cut", "turn", "double"])), draw(st.integers(0, len(line) - 1))
    if damage == "cut":
        return line[:place]
    if damage == "turn":
        return line[:place] + bytes([draw(st.integers(0, 255))]) + line[place + 1 :]
    return line + line if damage == "double" else line


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(hostile_lines(), min_size=1, max_size=8))
def test_no_bytes_stop_the_ledger_or_the_chart_and_none_are_lost(road: SmallRoad, lines: list[bytes]):
    road.drop("any.ndjson", *lines)
    road.take()
    assert road.landing.ready() == []
    done = road.chart()
    assert done.dead == 0
    assert {name.partition(":")[0] for name in road.events()} <= {"charted", "rejected"}
    assert_in_balance(road)


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


def test_a_drop_read_and_not_put_away_is_put_away_by_the_next_run(road: SmallRoad, monkeypatch):
    road.drop("a.ndjson", submission(1), submission(2))
    with monkeypatch.context() as patch:
        die_at(patch, zone.Folder, "put_away", 1)
        with pytest.raises(Dies):
            road.take()
    assert road.landing.ready() == ["a.ndjson"]
    road.take()
    assert road.landing.ready() == []
    assert road.events() == {"waiting": 2}
    assert len(archived(road)) == 1
    assert_in_balance(road)


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
