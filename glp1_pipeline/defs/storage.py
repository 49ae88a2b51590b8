"""Dagster's records in Postgres, over a connection that each process keeps.

Dagster's own storage opens a connection for each statement, since there are many instances in a process and each would
have a pool of its own: two to five milliseconds of a run's hundred events, on another machine or by TLS a multiple.
Here the pool is the process's. Not here: what is recorded, and the pools of the web server, which Dagster makes itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Engine, create_engine

from ..adapters.store import KEPT_SECONDS


class Storage(DagsterPostgresStorage):
    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        place = postgres_url, os.getpid()
        # Whether the tables are there is asked by the first instance of a process alone.
        super().__init__(postgres_url, should_autocreate_tables=place not in _engines, inst_data=inst_data)
        if place not in _engines:
            _engines[place] = _one_kept(postgres_url)
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = _engines[place]

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Storage:
        return cls(pg_url_from_config(config_value), inst_data)


_engines: dict[tuple[str, int], Engine] = {}
"""By address and process: a forked one must not speak over its parent's connection."""


def _one_kept(url: str) -> Engine:
    """One connection is kept for a minute, and tried before it is used, for Postgres may have been restarted; who comes
    while it is in use gets another for as long."""
    return create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True, pool_recycle=KEPT_SECONDS
    )
