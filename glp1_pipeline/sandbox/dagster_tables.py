"""Dagster's tables: made all at once, and then brought up to date by what Dagster has for it.

Run as `python -m glp1_pipeline.sandbox.dagster_tables`. By itself Dagster makes one after the other, each for good, and
takes the first of them for all: who is killed in between leaves a database that no later start completes. Not here:
when it is done (`stack`).
"""

import os

from dagster import DagsterInstance
from dagster._core.storage.event_log import SqlEventLogStorageMetadata
from dagster._core.storage.runs import RunStorageSqlMetadata
from dagster._core.storage.schedules import ScheduleStorageSqlMetadata
from dagster._core.storage.sql import check_alembic_revision, stamp_alembic_rev
from dagster_postgres.run_storage import run_storage
from dagster_postgres.utils import pg_alembic_config
from sqlalchemy import NullPool, create_engine

PARTS = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)


def make(url: str) -> None:
    """Those that are not there, in one transaction. Those of another release of Dagster are left to its migrations."""
    config = pg_alembic_config(run_storage.__file__)
    with create_engine(url, poolclass=NullPool).begin() as connection:
        there, head = check_alembic_revision(config, connection)
        if there in (None, head):
            for part in PARTS:
                part.create_all(connection)
            stamp_alembic_rev(config, connection)


def main() -> None:
    make(os.environ["GLP1_DAGSTER_URL"])
    with DagsterInstance.get() as instance:
        instance.upgrade(print)
        if not instance.get_runs_count():  # of none it takes no time, and is never done again
            instance.reindex(print)


if __name__ == "__main__":
    main()
