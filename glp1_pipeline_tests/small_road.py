"""The road of a test's own: a migrated, empty database, a landing zone, a key ring and the contract; nothing of Dagster.

Here: making them, dropping events, running the steps, reading what came of it. Not here: any expectation of a test.
"""

from __future__ import annotations

import atexit
import base64
import io
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import quote

import orjson
import psycopg
from psycopg import sql

from glp1_pipeline.adapters import charts, ledger
from glp1_pipeline.adapters.balance import Balance, balance, fingerprint
from glp1_pipeline.adapters.balance_parts import Part, balance_by_part
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.landing import Folder
from glp1_pipeline.adapters.postgres import READER, EmbeddedPostgres
from glp1_pipeline.adapters.postgres_cluster import SETUP_ROLE
from glp1_pipeline.adapters.schema import migrate
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import embedded_url
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline_tests.sample_inputs import clean_submission, contract

RING = KeyRing("k1", {"k1": base64.b64decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")}, b"r" * 32)
ROLE = "glp1"
PARTS = import_module("glp1_pipeline.adapters.migrations.versions.0025_parts")
TEMPLATE = f"blank_{uuid.uuid4().hex[:8]}"


@cache
def _server() -> tuple[str, Callable[..., str]]:
    """The address for making databases, and of each database by its name. One server a process, gone at its end."""
    if given := os.environ.get("GLP1_TEST_DATABASE_URL"):
        return given, lambda name, role=ROLE: given.rsplit("/", 1)[0] + f"/{name}"
    folder = tempfile.TemporaryDirectory(prefix="glp1_road_")
    settings = Settings.from_env({"GLP1_HOME": folder.name})
    settings.make_home()
    server = EmbeddedPostgres(settings, say=lambda _: None)
    server.start()
    atexit.register(folder.cleanup)
    atexit.register(server.remove)  # runs first

    def url_of(name: str, role: str = ROLE) -> str:
        return embedded_url("postgresql", role, settings.secrets.get(f"postgres_{role}"), server.port, name)

    return server.url(SETUP_ROLE), url_of


def _create(name: str, template: str = "template1", options: LiteralString = "") -> str:
    making, url_of = _server()
    with psycopg.connect(making, autocommit=True) as connection:
        owner = ROLE if "GLP1_TEST_DATABASE_URL" not in os.environ else connection.info.user
        connection.execute(
            sql.SQL("create database {} owner {} template {} {}").format(
                *map(sql.Identifier, (name, owner, template)), sql.SQL(options)
            )
        )
    atexit.register(_drop, name)
    return url_of(quote(name, safe=""))


def _drop(name: str) -> None:
    with psycopg.connect(_server()[0], autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def address_of_server() -> str:
    """By which databases are made."""
    return _server()[0]


@cache
def _blank() -> str:
    migrate(_create(TEMPLATE))
    return TEMPLATE


def empty_database(more: str = "") -> str:
    """A new database without a table; `more`: how its name goes on."""
    return _create(f"test_{uuid.uuid4().hex[:12]}{more}")


def database_of_bytes() -> str:
    """A new database that knows no encoding."""
    return _create(f"test_{uuid.uuid4().hex[:12]}", "template0", "encoding 'SQL_ASCII' locale_provider libc locale 'C'")


def migrated_database() -> str:
    """A new database with our tables."""
    return _create(f"test_{uuid.uuid4().hex[:12]}", _blank())


def url_of_who_counts(url: str) -> str:
    """The same database, as the role that dbt has."""
    return _server()[1](url.rsplit("/", 1)[1].partition("?")[0], READER)


def empty_tables(connection: psycopg.Connection) -> None:
    """Take every row out of our tables. Those without a row are left: truncating all takes a fifth of a second."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('phi', 'ops') and tablename <> 'schema_version'"
    ).fetchall()
    asked = sql.SQL(" union all ").join(
        sql.SQL("select {}, {} where exists (select from {})").format(*table, sql.Identifier(*table))
        for table in tables
    )
    names = [sql.Identifier(*table) for table in connection.execute(asked).fetchall()]
    if names:
        connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))


def connect(url: str, name: str = "small road") -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, application_name=name)


@cache
def contract_without_crm() -> Contract:
    """That of a program that has no CRM: the EHR is the only one who is told anything. One for all tests, since what is
    worked out of a contract is kept by which it is."""
    return contract().model_copy(update={"crm": {}})


@dataclass
class SmallRoad:
    """One database and one folder, with all that the steps need."""

    url: str = field(repr=False)
    folder: Path
    connection: psycopg.Connection
    contract: Contract = field(default_factory=contract_without_crm, repr=False)
    cipher: Cipher = field(default_factory=lambda: Cipher(RING))
    named: tuple[str, ...] = field(
        default_factory=lambda: tuple(f"/{name}/" for kind in contract().event_types.values() for name in kind.emitters)
    )
    """Sources that drops may speak for: all other systems, in a test."""

    @property
    def landing(self) -> Folder:
        path = self.folder / "landing"
        path.mkdir(parents=True, exist_ok=True)
        return Folder(path, self.folder / "archive", self.cipher)

    def under(self, contract: Contract) -> SmallRoad:
        """The same road after the contract changed."""
        return replace(self, contract=contract)

    def drop(self, name: str, *events: dict[str, Any] | bytes) -> None:
        """Drop a file with these events or bytes, one a line."""
        self.landing.put(name, io.BytesIO(b"\n".join(e if isinstance(e, bytes) else orjson.dumps(e) for e in events)))

    def take(self) -> ledger.Received:
        return ledger.take(self.connection, self.landing, self.contract, self.cipher, named=self.named)

    def chart(self, **scope: Any) -> charts.Charted:
        return charts.chart_events(self.connection, self.contract, self.cipher, charts.Scope(**scope))

    def replay(self, event_ids: Iterable[uuid.UUID] = ()) -> charts.Charted:
        """All events again, or some."""
        return self.chart(is_replay=True, event_ids=tuple(event_ids))

    def send(self, *events: dict[str, Any] | bytes) -> charts.Charted:
        """One drop all the way to the outbox."""
        self.drop(f"{uuid.uuid4()}.ndjson", *events)
        self.take()
        return self.chart()

    def balance(self) -> Balance:
        return balance(self.connection)

    def parts(self) -> list[Part]:
        return balance_by_part(self.connection)

    def count_parts(self) -> None:
        """Of events whose day a test moved: as if they had been read then."""
        self.connection.execute(PARTS.OF_BEFORE)

    def fingerprint(self) -> dict[str, str]:
        return fingerprint(self.connection)

    def rows(self, statement: LiteralString, *values: Any) -> list[tuple]:
        return self.connection.execute(statement, values).fetchall()

    def one(self, statement: LiteralString, *values: Any) -> Any:
        """The only column of the only row."""
        ((found,),) = self.rows(statement, *values)
        return found

    def events(self) -> dict[str, int]:
        """status:reason, or the status alone where there is none -> how many."""
        return dict(
            cast(
                list[tuple[str, int]],
                self.rows("select concat_ws(':', status, reason), count(*) from phi.events group by 1"),
            )
        )

    def drops(self) -> list[tuple]:
        """Of each drop: state, lines, events, rejected, duplicates, times delivered."""
        return self.rows(
            "select state, lines, events, rejected, duplicates, times_delivered from ops.drops order by received_at"
        )


@contextmanager
def small_road(url: str, folder: Path) -> Iterator[SmallRoad]:
    """A road in a database that others used before: its tables are emptied."""
    with connect(url) as connection:
        connection.execute("set synchronous_commit = off")  # no test of this road stops the server
        empty_tables(connection)
        yield SmallRoad(url, folder, connection)


def amendment(first: dict[str, Any], n: int, answers: dict[str, Any], minutes: int = 60) -> dict[str, Any]:
    """The n-th correction of a submission: `answers` alone, by question, authored `minutes` after it."""
    data = first["data"]
    later = {
        key: (datetime.fromisoformat(data[key]) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
        for key in ("authored_at", "received_at")
    }
    name = f"{data['submission_id']}.{n}"
    return {
        **first,
        "id": name,
        "type": "intake.amended",
        "time": later["received_at"],
        "data": {**data, **later, "submission_id": name, "supersedes": data["submission_id"], "answers": answers},
    }


def submission(n: int, **overrides: Any) -> dict[str, Any]:
    return clean_submission(n, **overrides)


if __name__ == "__main__":
    # A run of its own that charts what is pending, from the moment it is told to.
    with connect(sys.argv[1]) as own:
        road = SmallRoad(sys.argv[1], Path("/nowhere"), own)
        print("ready", flush=True)
        sys.stdin.readline()
        done = road.chart()
        print(orjson.dumps([done.events, done.writes, done.dead]).decode(), flush=True)


def event_id(event: dict[str, Any]) -> uuid.UUID:
    return uuid.uuid5(ledger.NAMESPACE, f"{event['source']}\x1f{event['id']}")


def weight(kg: float) -> dict[str, Any]:
    return {"anthro.weight": {"value": kg, "unit": "kg"}}
