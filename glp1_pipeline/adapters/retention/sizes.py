"""How large everything is: rows (as Postgres estimates them) and bytes of each table, bytes of each folder.

Cheap at any size: no row is counted. Not here: what is done about it (`prune`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

OURS = ("phi", "ops", "analytics")


@dataclass(frozen=True)
class TableSize:
    """A table with its indexes and what lies outside its rows. `rows` is an estimate."""

    schema: str
    table: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class FolderSize:
    folder: str
    files: int
    size_bytes: int


def table_sizes(connection: psycopg.Connection, schemas: tuple[str, ...] = OURS) -> list[TableSize]:
    """The largest first."""
    rows: list[Any] = connection.execute(
        "select n.nspname, c.relname, greatest(case when c.reltuples < 0 then 0 else c.reltuples end,"
        " coalesce(s.n_live_tup, 0))::bigint, pg_total_relation_size(c.oid) from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace left join pg_stat_user_tables s on s.relid = c.oid"
        " where n.nspname = any(%s) and c.relkind in ('r', 'm') order by 4 desc, 1, 2",
        (list(schemas),),
    ).fetchall()
    return [TableSize(*row) for row in rows]


def dagster_sizes(connection: psycopg.Connection) -> list[TableSize]:
    """Tables of Dagster's own database, the largest first."""
    return table_sizes(connection, ("public",))


def folder_sizes(home: Path) -> list[FolderSize]:
    """The folders of the home that pile up. A file that goes meanwhile counts no more."""
    return [_folder(home, name) for name in ("archive", "logs", "broker")]


def _folder(home: Path, name: str) -> FolderSize:
    files = size = 0
    for place, _, names in os.walk(home / name):
        for one in names:
            try:
                size += os.lstat(os.path.join(place, one)).st_size
            except FileNotFoundError:
                continue
            files += 1
    return FolderSize(name, files, size)
