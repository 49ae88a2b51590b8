"""The sweep: a child that dies at a point, a second run that does what is left, and what is wrong then."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg
from psycopg import sql

from glp1_pipeline_tests.crash import mended, proof
from glp1_pipeline_tests.crash.mends import MendWorld
from glp1_pipeline_tests.crash.road import MORTAL, World
from glp1_pipeline_tests.crash.tracer import Point
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.small_road import connect

MOST = 36
"""More points than this are sampled, unless all are asked for; each place of our code once at least, before or after."""


@dataclass
class Found:
    point: str
    n: int
    faults: list[str]


class Sweep:
    """One harness: a world of its own, and what a run without a kill is like."""

    def __init__(self, world: World | MendWorld, proof: Any, connection: psycopg.Connection) -> None:
        self.world, self.proof, self.connection = world, proof, connection
        self.most: dict[str, int] = {}

    def attempt(self, at: Point | None) -> tuple[list[str] | None, list[str]]:
        """One run that dies at a point, one that does not, and what is wrong then. Names of points if it never came."""
        round_: Any = self.world.round(f"{uuid.uuid4().hex[:8]}")
        self.world.prepare(self.connection, round_)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                self.world.die(at, writing)
            finally:
                os._exit(3)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not was_killed and os.waitstatus_to_exitcode(status) != 0:
            return None, [f"the run failed by itself: {os.waitstatus_to_exitcode(status)}"]
        self._outlive()
        faults: list[str] = []
        if was_killed:
            faults = [
                f"right after the kill: {fault}"
                for fault in self.proof.faults_at_any_moment(self.world, self.connection)
            ]
            # What time would do: the leases of the dead end.
            self.connection.execute("update ops.lanes set leased_until = now()")
            self.connection.execute("update ops.breakers set open_until = now()")
            self.world.work("glp1 second run")
        faults += self.proof.faults_at_the_end(self.world, self.connection, round_, self.most)
        return (None if was_killed else told.split("\n")), faults

    def _outlive(self) -> None:
        """Wait until the server noticed that the child is gone, as any later run would."""
        ends = time.monotonic() + 20
        while self.connection.execute(
            "select count(*) from pg_stat_activity where application_name = %s and datname = current_database()",
            (MORTAL,),
        ).fetchone() != (0,):
            if time.monotonic() > ends:
                raise TimeoutError("sessions of a killed process stay")
            time.sleep(0.005)

    def sweep(self, part: int, parts: int, wants_all: bool, seed: int) -> dict[str, Any]:
        """One run untouched, and one for each point of this part's places."""
        began = time.monotonic()
        names, faults = self.attempt(None)
        assert names is not None, faults
        self.most = self.proof.writes(self.world.road(self.connection))
        found = [Found("untouched", 0, faults)] if faults else []
        # By their places, since another harness may come to one once more or less, or in another order.
        mine = [name for name in names if crc32(place_of(name).encode()) % parts == part]
        chosen = chosen_points(mine, MOST // parts, wants_all, seed, isinstance(self.world, MendWorld))
        killed = 0
        for point in chosen:
            left, faults = self.attempt(point)
            killed += left is None  # threads may make one run a step shorter than another
            if faults:
                found.append(Found(*point, faults))
        return {
            "points": len(names),
            "killed": killed,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "kinds": dict(Counter(names)),
            "found": [vars(f) for f in found],
        }


def place_of(name: str) -> str:
    """Without whether it is before or after."""
    return name.partition(" ")[2]


def chosen_points(names: list[str], most: int, wants_all: bool, seed: int, is_one_by_one: bool) -> list[Point]:
    """All, or as many as `most`, by chance: a first one of each place, then a second one.

    `is_one_by_one`: where no threads are at work, what is after one point is before the next: one before each place.
    """
    times = Counter(names)
    points = [Point(name, n) for name in times for n in range(1, times[name] + 1)]
    if wants_all or len(names) <= most:
        return points
    dice = random.Random(seed)
    if is_one_by_one:
        return [Point(name, dice.randint(1, times[name])) for name in times if name.startswith("before ")]
    dice.shuffle(points)
    seen: Counter[str] = Counter()
    turn: dict[Point, int] = {}
    for point in points:
        place = place_of(point.name)
        turn[point] = seen[place]
        seen[place] += 1
    return sorted(points, key=turn.__getitem__)[: max(most, len(seen))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("ehr_url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mends", action="store_true", help="what people mend with, in place of the road")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one point alone, as the sweep names it")
    parser.add_argument("--n", type=int, default=1, help="and the how manieth time that a run comes to it")
    told = parser.parse_args()
    (told.folder / "crm").mkdir(parents=True)
    with CrmProcess(told.folder / "crm") as crm, connect(told.url) as connection:
        # What is committed outlives a client's death with or without a flush, and a flush costs most of the time.
        connection.execute(
            sql.SQL("alter database {} set synchronous_commit = off").format(sql.Identifier(connection.info.dbname))
        )
        connection.execute("set synchronous_commit = off")
        if told.mends:
            one = Sweep(MendWorld(told.url, told.ehr_url, told.folder / "mends"), mended, connection)
        else:
            world = World(told.url, told.ehr_url, crm, told.folder / "road")
            world.ehr()
            one = Sweep(world, proof, connection)
        if told.only is not None:
            print(one.attempt(Point(told.only, told.n)), file=sys.stdout)
            return
        print(json.dumps(one.sweep(told.part, told.parts, told.all, told.seed)))


if __name__ == "__main__":
    main()
