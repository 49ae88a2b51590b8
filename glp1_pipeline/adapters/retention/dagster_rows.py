"""Dagster's runs and their event log, which Dagster itself never prunes.

What Dagster's own `delete_run` deletes, many runs a transaction, and the executions of asset checks, which it forgets.
Kept however old: the run that the latest materialization or observation of an asset (or of a day of it) is read
from, and the latest execution of a check, since the UI and our sensors read them. Only finished runs go. Ticks are
Dagster's own matter (`retention` in dagster.yaml). Not here: Dagster itself, which adapters do not know; a test holds
this against its API.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from ..store import SESSION, StoreGone, at_the_door
from .chunks import Work

RUNS_AT_A_TIME = 100
FINISHED = ["SUCCESS", "FAILURE", "CANCELED"]
LATEST = (
    "select run_id from (select distinct on (asset_key, dagster_event_type, partition) run_id from event_logs"
    " where asset_key is not null and dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION',"
    " 'ASSET_FAILED_TO_MATERIALIZE') order by asset_key, dagster_event_type, partition, id desc) of_assets"
    " union select run_id from (select distinct on (asset_key, check_name, partition) run_id"
    " from asset_check_executions order by asset_key, check_name, partition, id desc) of_checks"
)


def connect(url: str) -> psycopg.Connection:
    """To Dagster's own database, in autocommit; `url` may name another driver. Raises StoreGone."""
    try:
        connection = psycopg.connect(
            "postgresql://" + url.partition("://")[2],
            autocommit=True,
            application_name="glp1 prune",
            connect_timeout=10,
        )
        connection.execute(SESSION)
    except psycopg.OperationalError as error:
        raise StoreGone(at_the_door(error, "Dagster's database", "GLP1_DAGSTER_DATABASE_URL")) from None
    return connection


def has_tables(connection: psycopg.Connection) -> bool:
    return connection.execute("select to_regclass('runs') is not null").fetchone() == (True,)


def prune_runs(connection: psycopg.Connection, days: int, work: Work) -> int:
    """How many runs went, or would."""
    if not has_tables(connection):
        return 0
    latest = [run_id for (run_id,) in connection.execute(LATEST.encode())]
    values = {"days": days, "finished": FINISHED, "latest": latest, "last": 0, "chunk": RUNS_AT_A_TIME}
    gone = 0
    while work.may_go_on():
        runs = connection.execute(
            "select id, run_id from runs where id > %(last)s and status = any(%(finished)s)"
            " and create_timestamp < (now() at time zone 'utc') - make_interval(days => %(days)s)"
            " and not run_id = any(%(latest)s) order by id limit %(chunk)s",
            values,
        ).fetchall()
        if not runs:
            break
        if not work.is_dry_run:
            _delete(connection, [run_id for _, run_id in runs])
        values["last"] = runs[-1][0]
        gone += len(runs)
    return gone


def _delete(connection: psycopg.Connection, run_ids: list[str]) -> None:
    """The run last: killed before, all of it is found again by it."""
    with connection.transaction():
        connection.execute(
            "delete from asset_event_tags where event_id in (select id from event_logs where run_id = any(%s))",
            (run_ids,),
        )
        for table in ("event_logs", "asset_check_executions", "pending_steps", "run_tags", "runs"):
            statement = sql.SQL("delete from {} where run_id = any(%s)").format(sql.Identifier(table))
            connection.execute(statement, (run_ids,))
