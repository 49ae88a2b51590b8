"""A world for tests of alerts: rows as old as is wanted, a channel that is a real server, and looks at it all.

Not here: any expectation of a test.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.alerts import Channels, Looked, Sent, World
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.domain.alerts import Book
from glp1_pipeline_tests.small_road import connect, contract, empty_tables

SECRET = "a secret of the tests"


@dataclass
class Receiver:
    """A channel's other end: keeps what it was sent. `answers` are the next statuses; then always 204."""

    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def address(self, channel: str) -> str:
        return f"{channel}=webhook+http://127.0.0.1:{self.port}/{channel}"

    def news(self) -> list[str]:
        return [f"{one['path']}:{one['news']}:{one['alert']}" for one in self.got]


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                status = made.answers.pop(0) if made.answers else 204
                made.raw.append(body)
                made.headers.append(dict(self.headers.items()))
                if status < 300:
                    made.got.append({"path": self.path.strip("/"), **json.loads(body)})
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class AlertWorld:
    url: str
    connection: psycopg.Connection
    landing: Path
    book: Book = field(default_factory=load_alerts)

    def ways(self, *addresses: str) -> Channels:
        return Channels(dict(a.split("=", 1) for a in addresses), SECRET)

    @property
    def around(self) -> World:
        return World(self.landing, contract().event_types, "http://127.0.0.1:3000")

    def look(self, **how: bool) -> Looked:
        return alerts.look(self.connection, self.book, self.around, **how)

    def send(self, ways: Any) -> Sent:
        return alerts.send(self.connection, ways, deadline=30.0)

    def event(
        self, minutes: float = 0, status: str = "waiting", source: str = "/intake/web", reason: str | None = None,
        at: datetime | None = None, **more: Any,
    ) -> uuid.UUID:  # fmt: skip
        """An event that came so many minutes ago, or at `at`."""
        event_id = uuid.uuid4()
        values = {
            "event_id": event_id, "drop_id": uuid.uuid4(), "line": 1, "source": source, "source_id": str(event_id),
            "type": "intake.submitted", "sha256": hashlib.sha256(event_id.bytes).digest(), "status": status,
            "reason": reason, **more,
        }  # fmt: skip
        names = ", ".join(values)
        self.connection.execute(
            f"insert into phi.events ({names}, received_at, received_on)"
            f" select {', '.join(['%s'] * len(values))}, at, (at at time zone 'utc')::date from"
            " (select coalesce(%s::timestamptz, now() - make_interval(secs => %s)) as at) as t",  # type: ignore[arg-type]
            [*values.values(), at, minutes * 60],
        )
        return event_id

    def write(self, status: str, minutes: float, target: str = "ehr") -> None:
        self.connection.execute(
            "insert into ops.writes (target, patient_id, n, kind, resources, status, events, created_at,"
            " settled_at) select %s, %s, 1, 'ehr_chart', 1, %s, '{}', at, at"
            " from (select now() - make_interval(secs => %s) as at) as t",
            (target, uuid.uuid4(), status, minutes * 60),
        )

    def pass_time(self, minutes: float) -> None:
        """All that alerts remember lies so many minutes further back."""
        for table, columns in {
            "incidents": ("opened_at", "detected_at", "calm_since", "acknowledged_at", "escalated_at"),
            "notifications": ("written_at", "next_at", "leased_until"),
            "alert_looks": ("looked_at", "blind_since"),
        }.items():
            moved = ", ".join(f"{c} = {c} - make_interval(secs => {minutes * 60})" for c in columns)
            self.connection.execute(f"update ops.{table} set {moved}")  # type: ignore[arg-type]

    def rows(self, statement: Any, *values: Any) -> list[tuple]:
        return self.connection.execute(statement, values).fetchall()


@contextmanager
def alert_world(url: str, landing: Path) -> Iterator[AlertWorld]:
    """On empty tables, with a landing zone of its own."""
    landing.mkdir()
    with connect(url) as connection:
        connection.execute("set synchronous_commit = off")
        empty_tables(connection)
        world = AlertWorld(url, connection, landing)
        # How full this machine's own disk is is no matter of the tests.
        quiet = {**world.book.alerts}
        quiet["landing_full"] = quiet["landing_full"].model_copy(update={"at_least": 101})
        world.book = world.book.model_copy(update={"alerts": quiet})
        yield world


def incidents(world: AlertWorld) -> list[tuple]:
    return world.rows("select alert, scope, resolved_at is null from ops.incidents order by incident_id")


def silent_source(world: AlertWorld, source: str, last: timedelta, per_hour: int = 12, days: int = 16) -> None:
    """A source that sent so many an hour for days, until `last` ago."""
    now = datetime.now(UTC)
    with world.connection.transaction():
        world.connection.execute(
            "insert into phi.events (event_id, drop_id, line, source, source_id, type, sha256, status, received_at,"
            " received_on) select gen_random_uuid(), gen_random_uuid(), 1, %s, g::text, 'intake.submitted', '\\x00',"
            " 'charted', at, (at at time zone 'utc')::date from generate_series(0, %s) as g"
            " cross join lateral (select %s - make_interval(secs => g * %s) as at) as t",
            (source, days * 24 * per_hour, now - last, 3600 / per_hour),
        )
