"""Whoever is killed while Dagster's tables are made for the first time: the next start has all of them."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
import pytest
from dagster._core.storage.sql import stamp_alembic_rev
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import NullPool, create_engine

from glp1_pipeline.sandbox import dagster_tables
from glp1_pipeline_tests.small_road import empty_database

ALL = {name for part in dagster_tables.PARTS for name in part.tables} | {"alembic_version"}


def there(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'public'")}


def test_there_are_all_tables_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    url = empty_database()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dagster_tables, "stamp_alembic_rev", dies)
        with pytest.raises(KeyboardInterrupt):
            dagster_tables.make(url)
    assert there(url) == set()
    dagster_tables.make(url)
    assert there(url) == ALL
    dagster_tables.make(url)


def test_they_are_those_that_dagster_would_make() -> None:
    ours, dagsters = empty_database(), empty_database()
    dagster_tables.make(ours)
    DagsterPostgresStorage(dagsters, should_autocreate_tables=True).event_log_storage.dispose()
    told = "select indexdef from pg_indexes where schemaname = 'public' order by 1"
    with psycopg.connect(ours) as one, psycopg.connect(dagsters) as other:
        assert one.execute(told).fetchall() == other.execute(told).fetchall()
        version = "select version_num from alembic_version"
        assert one.execute(version).fetchall() == other.execute(version).fetchall()


@pytest.mark.parametrize("made", [{"snapshots"}, {"runs", "snapshots", "alembic_version"}, ALL - {"asset_keys", "kvs"}])
def test_what_dagster_left_half_made_is_completed(made: Collection[str]) -> None:
    url = empty_database()
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for part in dagster_tables.PARTS:
            part.create_all(connection, tables=[table for name, table in part.tables.items() if name in made])
        if "alembic_version" in made:
            stamp_alembic_rev(dagster_tables.pg_alembic_config(dagster_tables.run_storage.__file__), connection)
    assert there(url) == set(made)
    dagster_tables.make(url)
    assert there(url) == ALL
