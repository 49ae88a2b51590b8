"""The ledger and what a line may be: malformed, spread over many, any bytes; each has its place and holds no other."""

from __future__ import annotations

import gzip
import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters.landing import MAX_LINE_BYTES
from glp1_pipeline_tests.ledgers import assert_in_balance, content_of
from glp1_pipeline_tests.small_road import SmallRoad, submission

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
