"""The migrations: from nothing, again, two at once, and true to the declared tables."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from alembic import command

from glp1_pipeline.adapters.schema import alembic_config, drift, engine, migrate
from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.cli.telling import told
from glp1_pipeline_tests.small_road import amendment, connect, empty_database, migrated_database, small_road, submission


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


def test_a_database_of_a_later_version_is_told_in_a_sentence_and_left_as_it_is():
    url = migrated_database()
    with connect(url) as connection:
        connection.execute("update ops.schema_version set version_num = '9999'")
    with pytest.raises(click.ClickException, match=r"later version .* schema 9999, .* nothing was changed"):
        told(lambda: migrate(url))
    with connect(url) as connection:
        assert connection.execute("select version_num from ops.schema_version").fetchall() == [("9999",)]


def test_a_start_on_a_database_of_an_older_version_says_from_where_to_where_and_is_silent_the_next_time():
    url, words = migrated_database(), []
    made = engine(url)
    with made.begin() as connection:
        command.downgrade(alembic_config(connection), "0026")
    made.dispose()
    for _ in range(2):
        migrate(url, words.append)
    migrate(empty_database(), words.append)
    assert [line.partition(" …")[0] for line in words] == ["Bringing the database from schema 0026 to 0032"]
    assert drift(url) == []


def test_a_column_that_no_migration_makes_is_told():
    url = empty_database()
    migrate(url)
    with connect(url) as connection:
        connection.execute("alter table ops.tasks drop column cause")
    assert "cause" in str(drift(url))


def test_values_and_charts_that_were_written_as_jsonb_are_the_same_as_json_and_back(tmp_path: Path):
    url = migrated_database()
    made = engine(url)

    def back_to(revision: str) -> None:
        with made.begin() as connection:
            command.downgrade(alembic_config(connection), revision)

    with small_road(url, tmp_path) as road:

        def told() -> tuple:
            return (
                road.fingerprint(),
                road.one("select pg_typeof(doc)::text from phi.patient_values limit 1"),
                sorted(road.rows("select patient_id, field, value::text, event_id from phi.chart_values")),
                road.rows("select code_set, spelling, answers, fields from phi.unmapped_codes"),
            )

        first = submission(1, **{"hx.kidney": 'one "unmapped": kidney'})
        road.send(first, submission(2))
        road.send(amendment(first, 1, {"anthro.weight": {"value": 91, "unit": "kg"}}))
        back_to("0020")
        before = told()
        assert (before[1], len(before[3])) == ("jsonb", 1)
        migrate(url)
        assert road.balance().faults == []  # what came before is counted by day, source and type too
        after = told()
        assert after[1] == "json"
        assert after[0] == before[0]
        assert after[2:] == before[2:]
        assert drift(url) == []
        road.replay()
        assert told() == after
        road.send(amendment(first, 2, {"anthro.weight": {"value": 92, "unit": "kg"}}))
        later = told()
        back_to("0020")
        assert told() == (later[0], "jsonb", *later[2:])
    made.dispose()
