"""The migrations: from nothing, again, two at once, and true to the declared tables."""

from concurrent.futures import ThreadPoolExecutor

from glp1_pipeline.adapters.schema import drift, migrate
from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline_tests.small_road import connect, empty_database


def tables(url: str) -> set[str]:
    with connect(url) as connection:
        rows = connection.execute(
            "select schemaname || '.' || tablename from pg_tables where schemaname in ('phi', 'ops', 'analytics')"
        ).fetchall()
    return {name for (name,) in rows}


def test_an_empty_database_gets_every_table_and_nothing_that_is_not_declared():
    url = empty_database()
    migrate(url)
    assert tables(url) == {*metadata.tables} | {"ops.schema_version"}
    assert drift(url) == []


def test_migrating_a_second_time_changes_nothing_and_keeps_the_rows():
    url = empty_database()
    migrate(url)
    with connect(url) as connection:
        connection.execute("insert into ops.breakers (target, state, changed_at) values ('ehr', 'closed', now())")
    migrate(url)
    with connect(url) as connection:
        assert connection.execute("select target from ops.breakers").fetchall() == [("ehr",)]
        assert connection.execute("select count(*) from ops.schema_version").fetchone() == (1,)
    assert drift(url) == []


def test_two_starts_at_once_migrate_once_and_both_succeed():
    url = empty_database()
    with ThreadPoolExecutor(3) as pool:
        assert [f.result() for f in [pool.submit(migrate, url) for _ in range(3)]] == [None] * 3
    assert drift(url) == []


def test_a_column_that_no_migration_makes_is_told():
    url = empty_database()
    migrate(url)
    with connect(url) as connection:
        connection.execute("alter table ops.tasks drop column cause")
    assert "cause" in str(drift(url))
