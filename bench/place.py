"""A place of its own for one benchmark: a home in a temporary folder, and a Postgres in it with our tables.

Not here: what is measured there. Everything listens on loopback and is gone at the end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from glp1_pipeline.adapters.cipher import KeyRing
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.schema import migrate
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.defs.resources import KEYS

TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def fresh_home() -> Iterator[Settings]:
    """An empty home; the environment points to it and to nothing else of ours."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="glp1_bench_") as folder:
        for name in [name for name in os.environ if name.startswith("GLP1_")]:
            del os.environ[name]
        os.environ |= {"GLP1_HOME": folder, "GLP1_UI_PORT": str(free_port(set()))}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the processes that are started would start slowly
        try:
            settings = Settings.from_env()
            settings.make_home()
            yield settings
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def fresh_postgres() -> Iterator[tuple[Settings, EmbeddedPostgres]]:
    """An empty home with a running, migrated Postgres and a key ring."""
    with fresh_home() as settings:
        server = EmbeddedPostgres(settings, say=lambda _: None)
        try:
            server.start()
            migrate(settings.store_url())
            KeyRing.create(settings.home / "secrets" / KEYS)
            yield settings, server
        finally:
            server.remove()


def forget(settings: Settings) -> None:
    """Empty our tables: a line that comes again would be a duplicate."""
    with psycopg.connect(settings.store_url(), autocommit=True) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('phi', 'ops')"
            " and tablename not in ('schema_version')"
        ).fetchall()
        connection.execute(f"truncate {', '.join(name for (name,) in tables)}".encode())


def cpu_seconds(pid: int) -> float:
    """CPU of a process, of its children now, and of those that it has waited for."""
    before = None
    while True:
        # A child that ends while we read would be in neither sum: read until its going is over.
        total, children = _read_cpu(pid)
        if children == before:
            return total / TICK
        before = children
        time.sleep(0.3)


def _read_cpu(pid: int) -> tuple[int, set[int]]:
    total, children = 0, set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat.parent.name) == pid:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            children.add(int(stat.parent.name))
            total += sum(map(int, fields[11:13]))
    return total, children
