"""The program on the real road: landing zone, ledger, charts, outbox, and the patients' clocks; all at once, or as time
goes by.

Here: bringing it there, in a place of its own if need be. Not here: what it must come to (`year`, `check`), sending
anything to an EHR or a CRM.
"""

from __future__ import annotations

import io
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from ... import contracts
from ...adapters import charts, clock, ledger
from ...adapters.balance import balance
from ...adapters.cipher import Cipher, KeyRing
from ...adapters.landing import Folder
from ...adapters.postgres import EmbeddedPostgres
from ...adapters.schema import migrate
from ...adapters.settings import Settings
from ...domain.contract import Contract
from . import check
from .year import Program, lines

SOURCES = ("/ehr/", "/pharmacy/")
"""Whose word the program's drops bring, beside the portal's."""


@dataclass(frozen=True)
class Place:
    """What the road is walked with."""

    connection: psycopg.Connection
    contract: Contract
    cipher: Cipher
    landing: Folder

    def bring(self, events: Iterable[dict[str, Any]]) -> None:
        """One drop, into the ledger."""
        self.landing.put(f"{uuid.uuid4()}.ndjson", io.BytesIO(lines(list(events))))
        ledger.take(self.connection, self.landing, self.contract, self.cipher, named=SOURCES)

    def chart(self) -> int:
        return charts.chart_events(self.connection, self.contract, self.cipher, charts.Scope()).events

    def ring(self, now: datetime) -> int:
        """Let every clock reach what it has to until then; how often one rang."""
        rung = 0
        while due := clock.ring(self.connection, self.contract, self.cipher, now):
            rung += due
            self.chart()
        return rung


def load(place: Place, program: Program) -> int:
    """The whole year at once, and then the clocks; how often one rang."""
    for events in program.months().values():
        place.bring(events)
    place.chart()
    return place.ring(program.settled_at)


def walk(place: Place, program: Program, period: timedelta, look: Callable[[], None] = lambda: None) -> int:
    """As time goes by: what was said in each period, and the clocks up to its end; how often one rang. Whoever wants to
    may `look` after each."""
    rung = 0
    for end, events in program.by(period):
        if events:
            place.bring(events)
            place.chart()
        rung += place.ring(end)
        look()
    return rung + place.ring(program.settled_at)


@dataclass
class Report:
    """What came of a run: counts, seconds, and what is not as it should be, in words and opaque ids."""

    patients: int = 0
    events: int = 0
    rung: int = 0
    refills: int = 0
    advanced: int = 0
    waiting: int = 0
    writes: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"holds": not self.faults}


def report(place: Place, program: Program) -> Report:
    """Hold what stands in the store against the stories."""
    connection = place.connection

    def count(sql: str) -> int:
        row = connection.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0]

    told = Report(
        patients=count("select count(*) from phi.charts"),
        events=count("select count(*) from phi.events"),
        refills=count("select count(*) from ops.refills"),
        writes=count("select count(*) from ops.writes"),
    )
    for account, lines_ in check.differences(connection, program).items():
        told.faults += [f"{account}: {line}" for line in lines_]
    told.advanced, lacking = check.advanced_without_context(connection, place.cipher, program)
    told.waiting, silent = check.without_an_answer(connection)
    told.faults += [f"a refill went on without context: {line}" for line in lacking]
    told.faults += [f"`glp1 why` does not say what {patient_id} waits for" for patient_id in silent]
    refused = count("select count(*) from phi.events where status = 'rejected' and reason = 'not_allowed'")
    if refused != program.refused:
        told.faults.append(f"{refused} overrides were refused, not {program.refused}")
    told.faults += balance(connection).faults
    return told


def run(program: Program, say: Callable[[str], None]) -> Report:
    """All of it in a place of its own, which is gone afterwards."""
    began = time.monotonic()
    with own_place() as place:
        ready = time.monotonic()
        say(f"A place of its own after {ready - began:.1f} s.")
        rung = load(place, program)
        say(f"The year after {time.monotonic() - ready:.1f} s more; clocks rang {rung} times.")
        told = report(place, program)
        told.rung, told.seconds = rung, round(time.monotonic() - ready, 1)
        return told


@contextmanager
def own_place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="glp1_program_", ignore_cleanup_errors=True) as folder:
        settings = Settings.from_env({"GLP1_HOME": folder})
        settings.make_home()
        server = EmbeddedPostgres(settings, say=lambda _: None)
        try:
            server.start()
            migrate(settings.store_url())
            ring = KeyRing.create(settings.home / "secrets" / "keys.json")
            cipher, landing = Cipher(ring), settings.home / "landing"
            landing.mkdir(exist_ok=True)
            with psycopg.connect(settings.store_url(), autocommit=True, application_name="glp1 program") as connection:
                yield Place(connection, contracts.load(), cipher, Folder(landing, None, cipher))
        finally:
            server.remove()
