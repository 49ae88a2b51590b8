"""Rows into a table by COPY, in its binary form: neither side spells values as text and reads them again.

Here: how a value is put for a column's type. Not here: which rows, and what becomes of those that are there already.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg import DataError

_TYPES = psycopg.adapters.types
_known_types = WeakKeyDictionary[psycopg.Connection, dict[tuple[str, str], list[int]]]()
"""Asked once a connection: a batch fills fifteen tables. Were one changed meanwhile, Postgres would refuse the rows."""


def copy_rows(
    connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Add rows, if there are any. An id may be text; JSON is, for it is written already. DataError for a value that
    is none of its column's type."""
    rows = iter(rows)
    if (first := next(rows, None)) is None:
        return
    names = ", ".join(columns)
    oids = _types_of(connection, table, names)
    with connection.cursor() as cursor:
        ours = [(place, _WRITERS[oid]) for place, oid in enumerate(oids) if oid in _WRITERS]
        with cursor.copy(f"copy {table} ({names}) from stdin (format binary)".encode()) as copy:
            copy.set_types(["bytea" if oid in _WRITERS else oid for oid in oids])
            for row in chain((first,), rows):
                written = list(row)
                try:
                    for place, write in ours:
                        if written[place] is not None:
                            written[place] = write(written[place])
                    copy.write_row(written)
                except (ValueError, TypeError, struct.error):  # their texts quote the value
                    raise DataError(f"a value of a row is none of its column's type in {table}") from None


def _types_of(connection: psycopg.Connection, table: str, names: str) -> list[int]:
    known = _known_types.setdefault(connection, {})
    if (table, names) not in known:
        description = connection.execute(f"select {names} from {table} limit 0".encode()).description
        assert description is not None
        known[table, names] = [column.type_code for column in description]
    return known[table, names]


@lru_cache(maxsize=4096)  # a batch names each of its thousand patients in ten tables
def _id(value: UUID | str) -> bytes:
    written = bytes.fromhex(value.replace("-", "")) if isinstance(value, str) else value.bytes
    if len(written) != 16:
        raise ValueError
    return written


def _jsonb(value: str) -> bytes:
    return b"\1" + value.encode()


def _list_of(oid: int, write: Callable[[Any], bytes]) -> Callable[[Iterable[Any]], bytes]:
    def items(value: Iterable[Any]) -> bytes:
        if isinstance(value, str):  # a list of its letters
            raise TypeError
        written = [write(item) for item in value]
        if not written:
            return struct.pack(">iii", 0, 0, oid)
        head = struct.pack(">iiiii", 1, 0, oid, len(written), 1)
        return head + b"".join(struct.pack(">i", len(item)) + item for item in written)

    return items


_WRITERS: dict[int, Callable[[Any], bytes]] = {
    _TYPES["int2"].oid: struct.Struct(">h").pack,  # the driver would cut a number that is too large
    _TYPES["int4"].oid: struct.Struct(">i").pack,
    _TYPES["uuid"].oid: _id,
    _TYPES["json"].oid: str.encode,
    _TYPES["jsonb"].oid: _jsonb,
    _TYPES["text"].array_oid: _list_of(_TYPES["text"].oid, str.encode),
    _TYPES["uuid"].array_oid: _list_of(_TYPES["uuid"].oid, _id),
}
"""By the type's number in Postgres; for others the driver has a way that is as quick."""
