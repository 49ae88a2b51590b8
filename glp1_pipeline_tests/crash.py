"""Dies by SIGKILL at every place where the world changes, and looks whether the next run leaves it as it must be.

The places are found by watching: each commit, call out, rename, removal and flush is a point, before and after it. Run
as a program it sweeps the points and prints what it found as JSON. Not here: which findings are faults of the test.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import orjson
import psycopg
import requests
from psycopg import sql

from glp1_pipeline.adapters import charts, ledger
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr.ehr import Capability
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.landing import open_archived
from glp1_pipeline.adapters.outbox import deliver_pending
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, empty_tables, submission

MORTAL = "glp1 crash child"
MOST = 150
"""More points than this are sampled, unless all are asked for."""


class Tracer:
    """Counts points and dies at one of them. Counted from 1; 0 never comes."""

    def __init__(self, die_at: int) -> None:
        self.die_at = die_at
        self.names: list[str] = []
        self._lock = threading.Lock()

    def point(self, name: str) -> None:
        with self._lock:
            self.names.append(name)
            if len(self.names) == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal is on its way

    def around(self, owner: Any, name: str, is_boundary: Callable[..., bool] = lambda *_: True) -> None:
        """Make a function of a class or module a pair of points."""
        inner = getattr(owner, name)
        label = f"{getattr(owner, '__name__', owner)}.{name}"

        def watched(*args: Any, **named: Any) -> Any:
            if not is_boundary(*args):
                return inner(*args, **named)
            self.point(f"before {label}")
            result = inner(*args, **named)
            self.point(f"after {label}")
            return result

        setattr(owner, name, watched)

    def install(self) -> None:
        """For good: only in a process that is about to die."""
        for name in ("rename", "replace", "link", "unlink", "remove", "fsync"):
            self.around(os, name)
        self.around(requests.Session, "send")
        self.around(psycopg.Transaction, "__exit__")
        self.around(psycopg.Connection, "commit")
        self.around(psycopg.Cursor, "execute", _commits_by_itself)


def _commits_by_itself(cursor: psycopg.Cursor, query: Any, *_: Any) -> bool:
    idle = cursor.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    return cursor.connection.autocommit and idle and not str(query).lstrip().lower().startswith("select")


@dataclass
class Round:
    """The input of one run: people whom no other run knows, in three drops, the last of which comes later."""

    name: str
    subjects: list[str] = field(default_factory=list)
    drops: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.subjects = [f"crash-{self.name}-{i}" for i in range(4)]
        first, second, third, fourth = (submission(i, subject=s) for i, s in enumerate(self.subjects))
        weight = {"value": 99.5, "unit": "kg"}
        self.drops = {
            "1-two-and-a-cut-one.ndjson": _lines(first, second) + orjson.dumps(third)[:300],
            "2-one.json": orjson.dumps(third, option=orjson.OPT_INDENT_2),
            "later.ndjson": _lines(amendment(first, 1, {"anthro.weight": weight}), second, fourth),
        }


EVENTS, REJECTED, WRITES = 5, 1, 5
"""What a round is in the end: four people, one of them amended after the delivery, one line cut off, one line twice."""


def _lines(*events: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


@dataclass
class World:
    """What all runs of a sweep share."""

    url: str
    ehr_url: str
    folder: Path
    asked: Capability | None = None

    def prepare(self, round_: Round) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "landing").mkdir(parents=True)
        for name, content in round_.drops.items():
            place = self.folder / ("landing" if name[0].isdigit() else "")
            (place / name).write_bytes(content)

    def ehr(self) -> Ehr:
        """One with no connection yet, that asked what the server can before: a look is nothing to die at."""
        ehr = Ehr(EhrSettings(self.ehr_url, connect_timeout=5.0, read_timeout=20.0))
        if self.asked is None:
            self.asked = ehr.capability
            ehr.close()
        ehr._capability = self.asked
        return ehr

    def work(self, name: str) -> None:
        """The whole road, twice: what is there, then what comes later. Doing it again does what is left."""
        with connect(self.url, name) as connection:
            road = SmallRoad(self.url, self.folder, connection)
            ehr = self.ehr()
            self._round(road, ehr, name)
            if (self.folder / "later.ndjson").exists():
                os.rename(self.folder / "later.ndjson", self.folder / "landing" / "later.ndjson")
            self._round(road, ehr, name)
            ehr.close()

    def _round(self, road: SmallRoad, ehr: Ehr, name: str) -> None:
        ledger.take(road.connection, road.landing, road.contract, road.cipher)
        charts.chart_events(road.connection, road.contract, road.cipher, charts.Scope())
        kind = road.contract.writes["ehr_chart"]
        deliver_pending(lambda: connect(self.url, name), ehr, kind, road.cipher.open, workers=2, deadline=30.0)

    def die(self, at: int, report: int) -> NoReturn:
        """As a child: work until the point, and if it never comes tell the points through a pipe and end."""
        tracer = Tracer(at)
        tracer.install()
        self.work(MORTAL)
        os.write(report, "\n".join(tracer.names).encode())
        os._exit(0)


@dataclass
class Found:
    point: int
    name: str
    faults: list[str]


def attempt(world: World, connection: psycopg.Connection, at: int) -> tuple[list[str] | None, list[str]]:
    """One run that dies at a point, one that does not, and what is wrong then. Names of points if it never came."""
    round_ = Round(f"{uuid.uuid4().hex[:8]}-{at}")
    empty_tables(connection)
    world.prepare(round_)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            world.die(at, writing)
        finally:
            os._exit(3)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not was_killed and os.waitstatus_to_exitcode(status) != 0:
        return None, [f"the run failed by itself: {os.waitstatus_to_exitcode(status)}"]
    _outlive(connection)
    if was_killed:
        # What time would do: the leases of the dead end.
        connection.execute("update ops.lanes set leased_until = now()")
        connection.execute("update ops.breakers set open_until = now()")
        world.work("glp1 second run")
    return (None if was_killed else told.split("\n")), list(_faults(world, connection, round_))


def _outlive(connection: psycopg.Connection) -> None:
    """Wait until the server noticed that the child is gone, as any later run would."""
    ends = time.monotonic() + 20
    while connection.execute(
        "select count(*) from pg_stat_activity where application_name = %s and datname = current_database()", (MORTAL,)
    ).fetchone() != (0,):
        if time.monotonic() > ends:
            raise TimeoutError("sessions of a killed process stay")
        time.sleep(0.005)


def _faults(world: World, connection: psycopg.Connection, round_: Round) -> Iterator[str]:
    road = SmallRoad(world.url, world.folder, connection)
    found = road.balance()
    yield from found.faults
    expected = {"charted": EVENTS, "rejected:malformed_json": REJECTED}
    if road.events() != expected:
        yield f"events are {road.events()} and must be {expected}"
    if found.lines - found.duplicates != EVENTS + REJECTED:
        yield f"{found.lines} lines with {found.duplicates} duplicates"
    if left := [e.name for e in (world.folder / "landing").iterdir()]:
        yield f"{len(left)} files are still in the landing zone"
    kept = sorted(open_archived(road.cipher, p).read() for p in (world.folder / "archive").glob("*.sealed"))
    if kept != sorted(round_.drops.values()):
        yield f"{len(kept)} archived drops, not the three that came"
    if any((world.folder / "archive").glob("*.tmp")) and not kept:
        yield "the archive holds unfinished files alone"
    queued = road.rows(
        "select i.value from ops.provider_queue q join phi.identifiers i on i.record_id = q.patient_id where left_at is null"
    )
    if sorted(s for (s,) in queued) != sorted(round_.subjects):
        yield f"{len(queued)} patients are in the queue, not each of the four once"
    yield from _faults_of_delivery(world, road)


def _faults_of_delivery(world: World, road: SmallRoad) -> Iterator[str]:
    statuses = dict(road.rows("select status, count(*) from ops.writes group by 1"))
    # Killed before the first delivery, the amendment is charted with what it amends: then four say it all.
    if statuses not in ({"delivered": WRITES}, {"delivered": WRITES - 1}):
        yield f"writes are {statuses}"
    ehr = world.ehr()
    there = compare(road.connection, ehr, road.cipher)
    if not there.holds or there.not_sent_yet or not there.resources:
        yield f"the EHR read back: {there.as_dict()}"
    pairs = road.rows("select patient_id, n from ops.writes")
    proofs = [f"Provenance?_summary=count&_tag={WRITE_SYSTEM}|{patient}.{n}" for patient, n in pairs]
    totals = Counter(entry["resource"]["total"] for entry in ehr.batch_get(proofs))
    if totals != {1: len(pairs)}:
        yield f"writes are told of so often in the EHR: {dict(totals)}"
    ehr.close()


def sweep(world: World, part: int, parts: int, wants_all: bool, seed: int) -> dict[str, Any]:
    """Every `parts`-th point, until a run passes untouched."""
    began = time.monotonic()
    with connect(world.url) as connection:
        # What is committed outlives a client's death with or without a flush, and a flush costs most of the time.
        connection.execute(
            sql.SQL("alter database {} set synchronous_commit = off").format(sql.Identifier(connection.info.dbname))
        )
        connection.execute("set synchronous_commit = off")
        world.ehr()
        names, faults = attempt(world, connection, 0)
        assert names is not None, faults
        found = [Found(0, "untouched", faults)] if faults else []
        chosen = [n for n in range(1, len(names) + 1) if n % parts == part]
        if len(names) > MOST and not wants_all:
            step = len(names) / MOST
            offset = random.Random(seed).random()
            chosen = [n for n in sorted({int((i + offset) * step) + 1 for i in range(MOST)}) if n % parts == part]
        killed, at = 0, 0
        for at in chosen:
            left, faults = attempt(world, connection, at)
            killed += left is None
            if faults:
                found.append(Found(at, names[at - 1] if at <= len(names) else "later", faults))
        while True:  # threads may make one run a step longer than another
            at = max(at, len(names)) + 1
            left, faults = attempt(world, connection, at)
            if faults:
                found.append(Found(at, "later", faults))
            if left is not None:
                break
            killed += 1
    return {
        "points": len(names),
        "killed": killed,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "kinds": dict(Counter(names)),
        "found": [vars(f) for f in found],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("ehr_url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one point alone")
    told = parser.parse_args()
    the_world = World(told.url, told.ehr_url, told.folder)
    if told.only is not None:
        with connect(told.url) as one:
            print(attempt(the_world, one, told.only))
        sys.exit()
    print(json.dumps(sweep(the_world, told.part, told.parts, told.all, told.seed)))
