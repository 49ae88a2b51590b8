"""What our own connection to Postgres does in place of the driver."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from glp1_pipeline.adapters.store import connect

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("text", ["plain", "", " ", "a,b", "{c}", "NULL", "null", 'say "aye"', "back\\slash", "\\", '\\"', "é🤢\n\t"]),
        ("text", ["one"]),
        ("text", ["a", None, "b"]),
        ("text", []),
        ("text", [None, None]),
        ("bytea", [b"", b"\x00\xff", b'"\\', b"abc"]),
        ("int", [1, -2, 2**31 - 1]),
        ("bigint", [1, 2**40, -(2**63)]),
        ("float8", [1.5, -0.25, float("inf")]),
        ("bool", [True, False]),
        ("uuid", [uuid.UUID(int=7), uuid.UUID(int=2**127)]),
        ("timestamptz", [NOON, NOON + timedelta(microseconds=1)]),
        ("jsonb", [Jsonb({"a": 'say "aye"'}), Jsonb([1])]),
        ("text", [["a", "b"], ["c", 'd"']]),
    ],
)
def test_a_list_arrives_as_it_was_sent(url: str, kind: str, told: list[Any]):
    with connect(url, "test") as connection:
        row = connection.execute(f"select %s::{kind}[]", (told,)).fetchone()  # pyright: ignore[reportArgumentType]
    assert row is not None
    assert row[0] == [item.obj if isinstance(item, Jsonb) else item for item in told]


def test_times_are_read_in_utc_whatever_the_shell_says(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGTZ", "America/New_York")
    with connect(url, "test") as connection:
        row = connection.execute("select %s::timestamptz, '2026-11-28'::date::timestamptz", (NOON,)).fetchone()
    assert row is not None
    assert [at.isoformat() for at in row] == [NOON.isoformat(), "2026-11-28T00:00:00+00:00"]
