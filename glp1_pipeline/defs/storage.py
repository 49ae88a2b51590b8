"""Dagster's records in Postgres, over connections that each process keeps.

Dagster's own storage opens a connection for each statement, since there are many instances in a process and each would
have a pool of its own, and asks at each event anew what columns its tables have: a second of each run of ours, on
another machine or by TLS a multiple. Here both are the process's. The web server has pools of its own. Not here: what
is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config, set_pg_statement_timeout
from sqlalchemy import Connection, Engine, create_engine, event

from ..adapters.store import KEPT_SECONDS


@dataclass(frozen=True)
class _Shared:
    """What all instances of a process have together."""

    engine: Engine
    there: set[str] = field(default_factory=set)
    """Tables and columns that were seen. Only a new release of Dagster adds any, and with it each process is new."""
    indexes: dict[str, bool] = field(default_factory=dict)


_shared: dict[tuple[str, int], _Shared] = {}
"""By address and process: a forked one must not speak over its parent's connection."""


def _of_this_process(url: str) -> _Shared:
    """Two connections are kept for a minute, for most work and what is asked within it, and tried before they are used,
    since Postgres may have been restarted; who comes meanwhile gets another for as long."""
    place = url, os.getpid()
    if place not in _shared:
        engine = create_engine(
            url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=-1, pool_pre_ping=True,
            pool_recycle=int(KEPT_SECONDS),
        )  # fmt: skip
        _shared.setdefault(place, _Shared(engine))  # of two threads one is first
    return _shared[place]


def _for_the_web_server(part: Any, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
    """As Dagster does it, and a connection is tried before it is used: else after a restart of Postgres each pool has
    a click of somebody fail first."""
    part._engine = create_engine(
        part.postgres_url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=max_overflow,
        pool_recycle=pool_recycle, pool_pre_ping=True,
    )  # fmt: skip
    event.listen(part._engine, "connect", lambda one, _: set_pg_statement_timeout(one, statement_timeout))


class Storage(DagsterPostgresStorage):
    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Whether the tables are there is asked by the first instance of a process alone.
        is_first = (postgres_url, os.getpid()) not in _shared
        super().__init__(postgres_url, should_autocreate_tables=is_first, inst_data=inst_data)
        shared = _of_this_process(postgres_url)
        self._event_log_storage = _Events(postgres_url, shared)
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = shared.engine
            part.optimize_for_webserver = partial(_for_the_web_server, part)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Storage:
        return cls(pg_url_from_config(config_value), inst_data)


class _Events(PostgresEventLogStorage):
    def __init__(self, url: str, shared: _Shared) -> None:
        super().__init__(url, should_autocreate_tables=False)
        self._there, self._secondary_index_cache = shared.there, shared.indexes

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._there and super().has_table(table_name):
            self._there.add(table_name)
        return table_name in self._there

    def has_asset_key_col(self, column_name: str) -> bool:
        # Within a transaction Dagster asks by the method below; here it would first take a connection for it.
        return self._known(column_name) or super().has_asset_key_col(column_name)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if not self._known(column_name) and super()._has_asset_key_col_on_connection(conn, column_name):
            self._there.add(f"asset_keys.{column_name}")
        return self._known(column_name)

    def _known(self, column_name: str) -> bool:
        return f"asset_keys.{column_name}" in self._there
