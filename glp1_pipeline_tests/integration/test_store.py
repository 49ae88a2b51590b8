"""What our own connection to Postgres does in place of the driver."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import DataError
from psycopg.types.json import Jsonb

from glp1_pipeline.adapters import backup
from glp1_pipeline.adapters.copying import copy_rows
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.store import connect
from glp1_pipeline_tests.small_road import SmallRoad, submission

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


@pytest.mark.parametrize(("more", "seconds"), [("", 30), ("&keepalives_idle=7", 7)])
def test_a_line_that_falls_silent_is_given_up_within_a_minute_unless_its_address_says_otherwise(
    url: str, more: str, seconds: int
):
    with connect(url + more, "test") as connection, socket.socket(fileno=os.dup(connection.fileno())) as line:
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == seconds
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_a_database_that_writes_days_and_lengths_its_own_way_charts_and_is_backed_up_as_any_other(
    road: SmallRoad, tmp_path: Path
):
    road.send(submission(1))
    before = road.fingerprint()
    odd = {"timezone": "Asia/Kathmandu", "datestyle": "German, DMY", "intervalstyle": "sql_standard"}
    database = road.one("select current_database()")
    for name, value in odd.items():
        road.connection.execute(f"alter role current_user in database \"{database}\" set {name} to '{value}'".encode())
    try:
        with connect(road.url, "test") as connection:
            there = replace(road, connection=connection)
            assert there.fingerprint() == before
            assert there.send(submission(2)).events == 1
            assert there.balance().faults == []
            (at, length) = there.rows("select %s::timestamptz, interval '1 day 02:03:04'", NOON)[0]
        assert (at.isoformat(), length) == (NOON.isoformat(), timedelta(days=1, hours=2, minutes=3, seconds=4))
        point = backup.make(road.url, road.cipher, tmp_path / "odd.backup", backup.Programs.of(Settings.from_env({})))
        assert point["fingerprint"] == road.fingerprint()
    finally:
        road.connection.execute(f'alter role current_user in database "{database}" reset all'.encode())


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
JSON = st.dictionaries(TEXTS, TEXTS | st.integers(-(10**9), 10**9) | st.none(), max_size=3)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
ROWS = {
    "id uuid not null": st.uuids(),
    "name text": TEXTS,
    "body bytea": st.binary(max_size=20),
    "doc json": JSON,
    "held jsonb": JSON,
    "names text[]": st.lists(TEXTS, max_size=3),
    "ids uuid[]": st.lists(st.uuids(), max_size=3),
    "at timestamptz": INSTANTS,
    "day date": st.dates(),
    "n int": st.integers(-(2**31), 2**31 - 1),
    "big bigint": st.integers(-(2**63), 2**63 - 1),
    "score float8": st.floats(allow_nan=False),
    "is_it bool": st.booleans(),
}
COLUMNS = [column.split()[0] for column in ROWS]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*(v if "not null" in k else st.none() | v for k, v in ROWS.items())), max_size=4),
    is_text=st.booleans(),
)
def test_rows_arrive_as_they_were_sent(url: str, rows: list[tuple[Any, ...]], is_text: bool):
    def sent(row: tuple[Any, ...]) -> list[Any]:
        given = dict(zip(COLUMNS, row, strict=True))
        if is_text:  # as most of our ids are
            given["id"] = str(given["id"])
            given["ids"] = given["ids"] and [str(one) for one in given["ids"]]
        for name in ("doc", "held"):
            given[name] = None if given[name] is None else orjson.dumps(given[name]).decode()
        return [*given.values()]

    with connect(url, "test") as connection, connection.transaction(force_rollback=True):
        connection.execute(f"create temp table copied ({', '.join(ROWS)})".encode())
        copy_rows(connection, "copied", COLUMNS, map(sent, rows))
        assert connection.execute("select * from copied").fetchall() == rows


def test_rows_of_another_shape_are_no_rows(url: str):
    with connect(url, "test") as connection:
        connection.execute(
            "create temp table copied (id uuid, doc json, name text, names text[], at timestamptz, n int, small int2)"
        )
        columns = ("id", "doc", "name", "names", "at", "n", "small")
        right = {"id": str(uuid.uuid4()), "doc": "{}", "name": "a", "names": ["a"], "at": NOON, "n": 1, "small": 1}
        wrong = {
            "id": ["no id", "ab"],
            "doc": ["{", '"\x00"'],
            "name": ["a\x00"],
            "names": ["abc", ["a", None]],
            "at": ["2026-03-02"],
            "n": [2**31, 2**40, "1"],
            "small": [2**15],
        }
        for column, values in wrong.items():
            for value in values:
                with pytest.raises(DataError):
                    copy_rows(connection, "copied", columns, [[*(right | {column: value}).values()]])
        copy_rows(connection, "copied", columns, [])
        assert connection.execute("select count(*) from copied").fetchone() == (0,)
