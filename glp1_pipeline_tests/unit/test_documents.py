"""A line of a drop promises: bytes become one JSON object strictly, and an object that names one key twice is refused
wherever it lies and however its words are spelled."""

import base64
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.adapters.documents import lines_of, read_document
from glp1_pipeline.domain.events import Refused

WORDS = st.sampled_from(["a", "b", "", '"', "\\", '\\"', 'x":', "é", "\u2028", "\n", "😀"]) | st.text(max_size=3)
TREES: Any = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(WORDS, inner), max_size=3).map(tuple),
    max_leaves=8,
)
"""Values as they are written: an object is a tuple of its pairs, so that it may name a key twice."""


@st.composite
def written(draw, tree: Any) -> tuple[str, bool]:
    """A tree in any spelling of JSON, and whether an object in it names a key twice."""
    if isinstance(tree, list):
        parts = [draw(written(part)) for part in tree]
        return f"[{' , '.join(text for text, _ in parts)}]", any(twice for _, twice in parts)
    if not isinstance(tree, tuple):
        return json.dumps(tree, ensure_ascii=draw(st.booleans())), False
    pairs = [(key, *draw(written(value))) for key, value in tree]
    said = [f"{draw(_spelled(key))}{draw(st.sampled_from([':', ' : ']))}{text}" for key, text, _ in pairs]
    is_twice = len({key for key, _, _ in pairs}) < len(pairs)
    return "{" + ",".join(said) + "}", is_twice or any(twice for _, _, twice in pairs)


@st.composite
def _spelled(draw, word: str) -> str:
    if draw(st.booleans()):
        return json.dumps(word, ensure_ascii=draw(st.booleans()))
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else json.dumps(c)[1:-1] for c in word) + '"'


@given(st.data())
def test_an_object_is_refused_exactly_where_it_names_a_key_twice(data):
    text, is_twice = data.draw(written((("data", data.draw(TREES)),)))
    if is_twice:
        with pytest.raises(Refused, match="key_twice"):
            read_document(text.encode())
    else:
        assert read_document(text.encode()) == json.loads(text)


def test_what_is_nested_deeper_than_any_form_is_refused_whatever_python_reads_it():
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert read_document(nested(254))
    with pytest.raises(Refused, match="key_twice"):
        read_document(nested(253).replace(b"1", b'{"b":1,"b":2}'))
    for levels in (255, 300, 990, 1010, 5000):
        with pytest.raises(Refused, match="malformed_json"):
            read_document(nested(levels))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_data_that_came_as_base64_is_read_as_the_object_that_it_is():
    event = {"id": "1", "data": None, "data_base64": _base64('{"form_id": "é"}')}
    assert read_document(json.dumps(event).encode())["data"] == {"form_id": "é"}
    event["data_base64"] = _base64('\ufeff{"form_id": "é"}')
    assert read_document(json.dumps(event).encode())["data"] == {"form_id": "é"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"data_base64": "not base64"}, "wrong_shape"),
        ({"data_base64": {"a": 1}}, "wrong_shape"),
        ({"data_base64": _base64("{}"), "data": {}}, "wrong_shape"),
        ({"data_base64": _base64("[]")}, "not_an_object"),
        ({"data_base64": _base64('{"a": 1, "a": 2}')}, "key_twice"),
    ],
)
def test_data_as_base64_is_refused_for_the_reasons_that_any_line_is(more: dict[str, Any], reason: str):
    with pytest.raises(Refused) as refusal:
        read_document(json.dumps(more).encode())
    assert refusal.value.reason == reason
    assert "`data_base64`" in refusal.value.hint


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_named_as_what_it_is(encoding: str):
    with pytest.raises(Refused) as refusal:
        read_document('{"name": "é"}'.encode(encoding))
    assert refusal.value.reason == "not_utf8"


@pytest.mark.parametrize("behind", [",", "{}", ' {"a": 1}', "\x00"])
def test_what_follows_an_object_is_told_from_one_that_was_cut_off(behind: str):
    with pytest.raises(Refused) as followed:
        read_document(b'{"a": 1}' + behind.encode())
    with pytest.raises(Refused) as cut:
        read_document(b'{"a": 1')
    assert (followed.value.reason, cut.value.reason) == ("malformed_json", "malformed_json")
    assert "follows the object at character" in followed.value.hint
    assert "cut off" in cut.value.hint


def test_a_mark_of_byte_order_is_passed_over_at_every_line_where_files_were_joined():
    content = b"\xef\xbb\xbf{}\r\n\xef\xbb\xbf{}\n\xef\xbb\xbf\n{}"
    assert [(line.number, line.content) for line in lines_of(io.BytesIO(content), len(content), 0)] == [
        (1, b"{}"), (2, b"{}"), (4, b"{}"),
    ]  # fmt: skip
