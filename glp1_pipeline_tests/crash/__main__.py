"""The sweep: children that die at points, a run after them that does what is left, and what is wrong then."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg
from psycopg import sql

from glp1_pipeline_tests.crash import mended, proof
from glp1_pipeline_tests.crash.mends import MendWorld
from glp1_pipeline_tests.crash.road import MORTAL, World
from glp1_pipeline_tests.crash.tracer import Point, Tracer
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.small_road import connect

MOST = 36
"""More points than this are sampled, unless all are asked for; each place of our code once at least, before or after."""


DEATHS = 4
"""In a round, of those that are sampled: who died at one point dies at the next on the way on. Where all are asked for, each
death has a round of its own, and a second run alone does what is left."""


@dataclass
class Found:
    deaths: list[Point]
    faults: list[str]


class Sweep:
    """One harness: a world of its own, and what a run without a kill is like."""

    def __init__(self, world: World | MendWorld, proof: Any, connection: psycopg.Connection) -> None:
        self.world, self.proof, self.connection = world, proof, connection
        self.most: dict[str, int] = {}
        self.killed = 0

    def round(self, at: Collection[Point]) -> tuple[list[str], Found]:
        """Runs that die at these points, in the order in which they come, one that does not, and what is wrong then. The
        points it came to."""
        round_: Any = self.world.round(f"{uuid.uuid4().hex[:8]}")
        self.world.prepare(self.connection, round_)
        names: list[str] = []
        found = Found([], [])
        while isinstance(died_at := self._life(set(at) - set(found.deaths), names), Point):
            found.deaths.append(died_at)
            self._outlive()
            found.faults += [
                f"right after the kill {died_at}: {fault}"
                for fault in self.proof.faults_at_any_moment(self.world, self.connection)
            ]
            # What time would do: the leases of the dead end.
            self.connection.execute("update ops.lanes set leased_until = now()")
            self.connection.execute("update ops.breakers set open_until = now()")
            if len(found.deaths) == len(at):
                self.world.work("glp1 second run")
                break
        self.killed += len(found.deaths)
        self._outlive()
        if isinstance(died_at, int):
            found.faults.append(f"the run failed by itself: {died_at}")
        else:
            found.faults += self.proof.faults_at_the_end(
                self.world, self.connection, round_, self.most, deaths=len(found.deaths)
            )
        return names, found

    def _life(self, at: Collection[Point], names: list[str]) -> Point | int | None:
        """A child at work, and the point at which it died, its code if it failed by itself, None where it came to its
        end; `names` becomes longer by the points that it came to."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                self.world.die(Tracer(at, Counter(names), writing))
            finally:
                os._exit(3)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            names += pipe.read().decode().splitlines()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return Point(names[-1], names.count(names[-1]))
        return os.waitstatus_to_exitcode(status) or None

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
        """One run untouched, and rounds until each chosen point of this part was died at, or comes no more."""
        began = time.monotonic()
        gone: list[Point] = []
        names, untouched = self.round(())
        self.most = self.proof.writes(self.world.road(self.connection))
        told = [untouched]
        # By their places, since another harness may come to one once more or less, or in another order.
        mine = [name for name in names if crc32(place_of(name).encode()) % parts == part]
        left = chosen_points(mine, MOST // parts, wants_all, seed, isinstance(self.world, MendWorld))
        while left:
            at = left[: 1 if wants_all else DEATHS]
            _, found = self.round(at)
            told.append(found)
            # Which did not come (a death may take the next point away) comes last; where none comes there is no more.
            missed = [point for point in at if point not in found.deaths]
            left = left[len(at) :] + (missed if found.deaths else [])
            gone += [] if found.deaths else missed
        return {
            "points": len(names),
            "killed": self.killed,
            "rounds": len(told),
            "gone": gone,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "kinds": dict(Counter(names)),
            "found": [vars(found) for found in told if found.faults],
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
    parser.add_argument(
        "--only", metavar="NAME:N", action="append", help="these points in one round, as the sweep names them"
    )
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
            points = [(name, int(n)) for name, _, n in (told_of.rpartition(":") for told_of in told.only)]
            print(one.round([Point(*point) for point in points])[1])
            return
        print(json.dumps(one.sweep(told.part, told.parts, told.all, told.seed)))


if __name__ == "__main__":
    main()
