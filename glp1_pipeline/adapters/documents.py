"""What a drop holds: its lines, or the one document that it is, read strictly and never trusted.

Here: where a line begins and ends, chunks, bytes to a JSON object, whether two say the same. Not here: files and
folders (`landing`), what a document means (`domain.events`), and the ledger's rows (`ledger`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import orjson

from ..domain.events import Refused
from .landing import MAX_LINE_BYTES, Line, count_lines, digest, lines, packed_as, whole

CHUNK_LINES = 1000
CHUNK_BYTES = 8 * 1024 * 1024
_ESCAPE = re.compile(rb"\\.")


def lines_of(stream: BinaryIO, size: int, offset: int) -> Iterator[Line]:
    """The lines of a drop from `offset` on; a document that spans many, or a packed file, is one line."""
    packed = packed_as(stream)
    if packed:
        # All packed files of one producer begin alike: the hash of the whole tells them apart.
        sha256, start = digest(stream)[0], stream.read(64)
        yield Line(1, packed.encode() + b"\0" + sha256 + start, False, size)
        return
    if size <= MAX_LINE_BYTES and _is_one_document(stream):
        stream.seek(0)
        yield whole(stream)
        return
    # The number of a line is its place in the file, blank lines included; resuming counts on from the bytes read.
    yield from lines(stream, offset, count_lines(stream, offset))


def _is_one_document(stream: BinaryIO) -> bool:
    """Whether the file is JSON as a whole, or at least no line of it is JSON by itself: else it is NDJSON."""
    stream.seek(0)
    content = stream.read().removeprefix(b"\xef\xbb\xbf")
    return _is_json(content) or not any(
        line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}") and _is_json(line)
        for line in content.splitlines()
    )


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
        return True
    except orjson.JSONDecodeError:
        return False


def chunks(found: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines by the transaction: so many, or so many bytes."""
    chunk, size = [], 0
    for line in found:
        chunk.append(line)
        size += len(line.content)
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def read_document(content: bytes, is_too_long: bool = False, was_accepted: bool = False) -> dict:
    """Bytes to a JSON object, strictly: UTF-8, no NaN, no key twice, no depth without end.

    What `was_accepted` into the ledger names no key twice, and finding that out costs more than all the rest.
    """
    if is_too_long:
        raise Refused("line_too_long", "one event may have 1 MiB: send photos as references, not inside the event")
    if b"\0" in content[:8]:
        packed = content.split(b"\0", 1)[0]
        if packed.decode("ascii", "replace") in ("gzip", "zip", "zstd", "bzip2", "xz"):
            raise Refused("compressed", "the landing zone takes plain JSON: unpack the drop before you send it")
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if not _is_utf8(content) or content[:2].count(0) == 1:  # UTF-16 of plain letters: each has a NUL
            raise Refused("not_utf8", "the bytes are not UTF-8: export the drop as UTF-8") from None
        if "after document" in error.msg:
            hint = f"something follows the object at character {error.pos}: send one on a line of its own, alone"
            raise Refused("malformed_json", hint) from None
        raise Refused(
            "malformed_json", f"no JSON at character {error.pos}: check that the file was not cut off"
        ) from None
    if not isinstance(document, dict):
        raise Refused("not_an_object", "an event is a JSON object: one per line, or one per file")
    if not was_accepted and not _has_all_words(document, content) and _has_key_twice(content):
        raise Refused("key_twice", "an object names one key twice: which answer holds cannot be known")
    if document.get("data_base64") is not None:
        document["data"] = _decoded(document)
    return document


def _decoded(event: dict[str, Any]) -> dict[str, Any]:
    """The data of a CloudEvent that carries it as base64 of its bytes."""
    hint = "`data_base64` must be the base64 of a JSON object, and stand in place of `data`"
    if event.get("data") is not None:
        raise Refused("wrong_shape", hint)
    try:
        content = base64.b64decode(event["data_base64"], validate=True)
    except (TypeError, ValueError):
        raise Refused("wrong_shape", hint) from None
    try:
        return read_document(content.removeprefix(b"\xef\xbb\xbf"))
    except Refused as refusal:
        raise Refused(refusal.reason, f"in `data_base64`: {refusal.hint}") from None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
        return True
    except UnicodeDecodeError:
        return False


def _has_all_words(document: dict[str, Any], content: bytes) -> bool:
    """Whether as many strings were read as were written: then no key came twice, for of two the first is lost.

    That is true of nearly every document, and counting is ten times as quick as looking at each pair of key and value.
    """
    try:
        written = orjson.dumps(document)
    except orjson.JSONEncodeError:  # after 254 levels; Python's own limit is another in each of its versions
        raise Refused("malformed_json", "it is nested deeper than any form: check what produced it") from None
    return _quotes(content) == _quotes(written)


def _quotes(content: bytes) -> int:
    """How often a string begins or ends; a quote inside one is escaped."""
    return (_ESCAPE.sub(b"", content) if b"\\" in content else content).count(b'"')


def say_the_same(one: bytes, other: bytes) -> bool:
    """Whether two documents are the same JSON: in another order of keys, spacing, or spelling of a number (1e2) or of a
    letter (\\u00e9). Letters composed otherwise are other letters: nobody can say here that they mean the same."""
    try:
        return _alike(*(json.loads(content, parse_float=Decimal, parse_int=Decimal) for content in (one, other)))
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _alike(one: Any, other: Any) -> bool:
    """Numbers by their exact worth, and `true` is no 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and one == other


class _KeyTwice(Exception):
    """An object names one key twice."""


def _has_key_twice(content: bytes) -> bool:
    """Neither JSON library tells: both keep the last silently. The standard one at least shows every pair."""

    def pairs(found: list) -> None:
        if len(found) != len({key for key, _ in found}):
            raise _KeyTwice

    try:
        json.loads(content, object_pairs_hook=pairs)
    except _KeyTwice:
        return True
    return False
