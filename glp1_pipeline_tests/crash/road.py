"""All that a run of the crash tests does: drops, changes in both other systems, a merge, and that it is undone, and what a
patient's clock asks for while a treatment goes on.

Doing it again does what is left. Not here: where it is killed (`tracer`), and what must hold afterwards (`proof`).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import orjson
import psycopg

from glp1_pipeline.adapters import charts, clock, ledger, matches
from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.adapters.crm.changes import notice
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings, Entry, polling
from glp1_pipeline.adapters.ehr.ehr import Capability
from glp1_pipeline.adapters.ehr.polling import KINDS, poll_changes
from glp1_pipeline.adapters.outbox import Contacts, Heard, deliver_pending
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.domain.crm import COPY
from glp1_pipeline_tests.crash.tracer import Tracer
from glp1_pipeline_tests.crm_process import CONTACTS, OTHER_TOKEN, TOKEN, CrmProcess
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, empty_tables, submission
from glp1_pipeline_tests.treatments import BEGAN, dispensed, ordered

MORTAL = "glp1 crash child"
LANGUAGE, MOBILE = "vi", "+12065550177"
"""What a provider corrects of the second person in the EHR, and somebody in sales in the CRM: both write what we write
next, since the merge retires it."""
NO_FILE = "3-no-file.json"
"""A drop that is no readable file: it is refused, and hidden."""
SPOKEN = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": LANGUAGE}]}, "preferred": True}]
WEDDED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]}
"""What nobody but the EHR has a field for: it stays there through all our writes. Said when nobody listens, so that our
next write is the first to hear of it."""
OPENED_ON, WINDOW_ON, EXPIRED_ON = 17.5, 24.9, 60
"""Days of the treatment on which the check-in is asked for, the refill's window is open, the check-in is too old."""


@dataclass
class Round:
    """The input of one run: people whom no other run knows, in three drops, the last of which comes later. The fifth of
    them is treated, and asks for a refill before its window."""

    name: str
    subjects: list[str] = field(default_factory=list)
    drops: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.subjects = [f"crash-{self.name}-{i}" for i in range(5)]
        first, second, third, fourth = (submission(i, subject=s) for i, s in enumerate(self.subjects[:4]))
        treated = self.subjects[4]
        begun = (
            intake(treated),
            ordered(0, 0.25, f"{treated}-order", account=treated),
            dispensed(3, 0.25, f"{treated}-dispense", account=treated),
        )
        weight = {"value": 99.5, "unit": "kg"}
        self.drops = {
            "1-some-and-a-cut-one.ndjson": _lines(first, second, *begun) + orjson.dumps(third)[:300],
            "2-one.json": orjson.dumps(third, option=orjson.OPT_INDENT_2),
            "later.ndjson": _lines(
                amendment(first, 1, {"anthro.weight": weight}), second, fourth,
                checkin(22, account=treated), requested(23, account=treated),
            ),
        }  # fmt: skip


def _lines(*events: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


@dataclass
class World:
    """What all runs of a sweep share."""

    url: str
    ehr_url: str
    crm: CrmProcess
    folder: Path
    asked: Capability | None = None

    def round(self, name: str) -> Round:
        return Round(name)

    def prepare(self, connection: psycopg.Connection, round_: Round) -> None:
        empty_tables(connection)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "landing").mkdir(parents=True)
        for name, content in round_.drops.items():
            place = self.folder / ("landing" if name[0].isdigit() else "")
            (place / name).write_bytes(content)
        (self.folder / "landing" / NO_FILE).symlink_to("/nowhere")
        with closing(sqlite3.connect(self.crm.folder / "contacts.sqlite3")) as contacts:
            for table in ("contacts", "unique_values", "history", "notices"):
                contacts.execute(f"delete from {table}")
            contacts.commit()
        # The server holds all the runs before: to read them again is nothing to look at here.
        began = datetime.now(UTC) - timedelta(milliseconds=1)
        for kind in KINDS:
            connection.execute(
                "insert into ops.poll_cursors (system, kind, since) values (%s, %s, %s)", (EHR, kind, began)
            )

    def road(self, connection: psycopg.Connection) -> SmallRoad:
        return SmallRoad(self.url, self.folder, connection, contract())

    def ehr(self) -> Ehr:
        """One with no connection yet, that asked what the server can before: a look is nothing to die at."""
        ehr = Ehr(EhrSettings(self.ehr_url, connect_timeout=5.0, read_timeout=20.0))
        if self.asked is None:
            self.asked = ehr.capability
            ehr.close()
        ehr._capability = self.asked
        return ehr

    def work(self, name: str) -> None:
        """The whole road: what is there, what comes later and was changed elsewhere, a merge, and that it is undone. The
        clock rings in between."""
        with connect(self.url, name) as connection:
            run = Run(self, self.road(connection), name)
            edited, wedded = self.folder / "edited", self.folder / "wedded"
            # What other people do is no point: nobody dies between it and the note that it is done.
            if not edited.exists():
                run.go_round(listens=False)
                run.edit_in_ehr({"communication": SPOKEN})
                run.edit_in_crm()
                edited.touch()
            run.ring(OPENED_ON)
            if (self.folder / "later.ndjson").exists():
                os.rename(self.folder / "later.ndjson", self.folder / "landing" / "later.ndjson")
            if not wedded.exists():
                run.go_round(listens=True)
                run.edit_in_ehr({"maritalStatus": WEDDED})
                wedded.touch()
            run.decide("merge")
            run.ring(WINDOW_ON)
            run.go_round(listens=False)
            run.decide("unmerge")
            run.ring(EXPIRED_ON)  # for the request
            run.chart()
            run.ring(EXPIRED_ON)  # for its check-in, which is asked for again
            run.go_round(listens=True)
            run.close()

    def die(self, tracer: Tracer) -> NoReturn:
        """As a child: work until a point to die at, and if none comes end."""
        tracer.install()
        self.work(MORTAL)
        os._exit(0)


class Run:
    """One process at work."""

    def __init__(self, world: World, road: SmallRoad, name: str) -> None:
        self.world, self.road, self.name = world, road, name
        self.ehr = world.ehr()
        self.crm = Crm(CrmSettings(world.crm.url, TOKEN, connect_timeout=5.0, read_timeout=20.0))

    def close(self) -> None:
        self.ehr.close()
        self.crm.close()

    def connect(self) -> psycopg.Connection:
        return connect(self.road.url, self.name)

    def go_round(self, listens: bool) -> None:
        road = self.road
        ledger.take(road.connection, road.landing, road.contract, road.cipher, named=road.named)
        if listens:
            self.listen()
        self.chart()
        for kind, peer in (
            ("ehr_chart", Heard(self.ehr, self._hear_apart)),
            ("crm_contact", Contacts(self.crm, road.contract, self._append_apart)),
        ):
            write_kind = road.contract.writes[kind]
            deliver_pending(self.connect, peer, write_kind, road.cipher.open, workers=2, deadline=30.0)
        charts.attend_disputes(road.connection, road.contract, road.cipher)

    def chart(self) -> None:
        charts.chart_events(self.road.connection, self.road.contract, self.road.cipher, charts.Scope())

    def listen(self) -> int:
        """Look for changes in both systems; how many there were."""
        road = self.road
        found = poll_changes(road.connection, self.ehr, road.contract, road.cipher, EHR)
        assert not found.trouble
        assert not found.is_elsewhere
        heard = notice(road.connection, self.crm, road.contract, self._append)
        assert not heard.is_left_to_another
        return found.changes + heard.changes

    def _append(self, documents: list[bytes]) -> None:
        ledger.append(self.road.connection, self.road.contract, self.road.cipher, documents)

    def _append_apart(self, documents: list[bytes]) -> None:
        with self.connect() as connection:
            ledger.append(connection, self.road.contract, self.road.cipher, documents)

    def _hear_apart(self, change: Entry, ours: dict[str, Any]) -> None:
        road = self.road
        with self.connect() as connection:
            polling.hear(connection, self.ehr, road.contract, road.cipher, EHR, change, ours)

    def ring(self, day: float) -> None:
        """What the clock reached by that day of the treatment; the next round charts it."""
        road = self.road
        clock.ring(road.connection, road.contract, road.cipher, now=BEGAN + timedelta(days=day))

    def decide(self, action: Any) -> None:
        """A steward decides of the first two people, once."""
        decided = "select count(*) from phi.events where type = %s and status <> 'rejected'"
        if not self.road.one(decided, matches.TYPES[action]):
            first, second = self.records()
            road = self.road
            matches.decide(road.connection, road.contract, road.cipher, action, (first, second), "steward-7", "a test")

    def records(self) -> tuple[str, str]:
        """Of the first two people."""
        found = self.road.rows(
            "select record_id::text from phi.identifiers where value ~ '^crash-.*-[01]$' order by right(value, 1)"
        )
        (first,), (second,) = found
        return first, second

    def _remote(self, target: str, record: str) -> dict[str, list[str]]:
        return self.road.one("select remote from ops.copies where target = %s and patient_id = %s", target, record)

    def edit_in_ehr(self, said: dict[str, Any]) -> None:
        there = self.edited_there()
        _ask("PUT", f"{self.world.ehr_url}/Patient/{there['id']}", there | said)

    def edited_there(self) -> dict[str, Any]:
        """The Patient that is edited in the EHR, as it stands."""
        remote = self._remote(EHR, self.records()[1])
        (place,) = [f"Patient/{ids[0]}" for key, ids in remote.items() if key.startswith("Patient/")]
        return _ask("GET", f"{self.world.ehr_url}/{place}")

    def edit_in_crm(self) -> None:
        contact_id = self._remote("crm", self.records()[1])[COPY][0]
        _ask("PATCH", f"{self.world.crm.url}{CONTACTS}/{contact_id}", {"properties": {"mobilephone": MOBILE}})


def _ask(method: str, url: str, body: Any = None) -> Any:
    """As another program than ours, and unseen by the tracer."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {OTHER_TOKEN}"}
    if "/fhir" in url:
        headers = {"Content-Type": "application/fhir+json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=20) as answer:
        told = answer.read()
    return json.loads(told) if told else None
