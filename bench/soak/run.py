"""The course of a long run: servers, workers, the stream with the nemesis at work, quiet, and the proof.

Not here: what is sent (`stream`), what goes wrong (`nemesis`), what must hold (`proof`).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import psycopg

from glp1_pipeline.adapters.balance import on_the_way
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.sandbox.drills.site import Site

from ..results import keep, machine, table
from . import proof
from .nemesis import Nemesis, start_worker
from .others import Others
from .stream import Stream
from .worker import LOOPS

AHEAD = 400
"""Events and writes that may be pending; then nothing more is sent until the pipeline has caught up."""
TROUBLES = (psycopg.Error, ConnectionError)
TELLS_EVERY = 10.0
OTHERS_SECONDS = 60.0
"""So long nobody is found for what others want to do; then they leave it."""


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("soak", help="a long run under a random nemesis; fails when anything does not hold")
    parser.add_argument("--events", type=int, default=100_000, help="events, edits and decisions that are made")
    parser.add_argument("--seed", type=int, help="that of a run before makes the same stream; else a new one")
    parser.add_argument("--calm", type=float, default=6.0, help="seconds between two faults, on average")
    parser.add_argument("--settle", type=float, default=900.0, help="seconds to come to rest without progress")
    parser.add_argument("--wait", action="store_true", help="where it does not hold, leave all as it is until Enter")


def run(chosen: argparse.Namespace) -> None:
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    soak = Soak(seed, chosen)
    soak.say(f"seed {seed}: {chosen.events:,} events")
    found = soak.run()
    if found:
        raise SystemExit(f"seed {seed} does not hold:\n  " + "\n  ".join(found))
    soak.say(f"seed {seed} holds: nothing lost, nothing doubled")


class Soak:
    """One run."""

    def __init__(self, seed: int, chosen: argparse.Namespace) -> None:
        self.seed, self.chosen = seed, chosen
        self.began = time.monotonic()
        self.machine = machine()
        self.stream = Stream(seed, chosen.events)
        self.fed = 0
        self.is_enough = threading.Event()
        """Nothing more is sent, and what was sent is proven."""
        self.peaks: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._told_at = 0.0

    def say(self, words: str) -> None:
        print(f"{time.monotonic() - self.began:8.1f} s  {words}", flush=True)

    def run(self) -> list[str]:
        before = dict(os.environ)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._enough)
        try:
            with Site() as self.site:
                for name in [name for name in os.environ if name.startswith("GLP1_")]:
                    del os.environ[name]
                os.environ |= self.site.env
                self.road = Road()
                found = self._run()
                if found and self.chosen.wait:
                    self.say(
                        "\n  ".join([f"left as it is: GLP1_HOME={self.site.home} glp1 ...; Enter ends it", *found])
                    )
                    input()
                return found
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _enough(self, number: int, _: Any) -> None:
        if self.is_enough.is_set():
            raise KeyboardInterrupt
        self.say("enough is sent: what there is is proven now; the same once more ends it at once")
        self.is_enough.set()

    def _run(self) -> list[str]:
        for name in LOOPS:
            start_worker(self.site, name)
        self.others = Others(self.site, self.road, self.stream)
        self.nemesis = Nemesis(self.site, self.seed, self.chosen.calm)
        self.landing_is_there = self.nemesis.landing_is_there
        self.nemesis.start()
        at = time.monotonic()
        self._feed()
        self.seconds["sent under the nemesis"] = time.monotonic() - at
        self.nemesis.end()
        at = time.monotonic()
        found = self._settle()
        self.seconds["came to rest"] = time.monotonic() - at
        for name in LOOPS:
            self.site.stop(name)
        at = time.monotonic()
        for fault in proof.faults(self.site, self.road, self.stream.sent, self.others.done, self.seed, self.say):
            self.say(f"DOES NOT HOLD: {fault}")
            found.append(fault)
        self.seconds["proof, with three replays"] = time.monotonic() - at
        self._report(found)
        return found

    def _feed(self) -> None:
        landing = Path(self.site.settings.landing_url)
        wished: deque[str] = deque()
        for n, step in enumerate(self.stream.steps()):
            if isinstance(step, str):
                wished.append(step)
            else:
                with self.landing_is_there:
                    (landing / f".{n}.tmp").write_bytes(step)
                    (landing / f".{n}.tmp").rename(landing / f"{n}.ndjson")
            self.fed = sum(self.stream.sent.kinds.values())
            self._do_one(wished)
            if n % 20 == 0:
                self._tell()
                while not self.is_enough.is_set() and (self._left() or 0) + self._in_landing() * 30 > AHEAD:
                    self._tell()
                    self._do_one(wished)
                    time.sleep(0.5)
            if self.is_enough.is_set() and not isinstance(step, str):
                break  # here all lines that the stream has counted are dropped
        # Whom it can be done to must be charted and told first: the rest while the pipeline catches up, still in trouble.
        ends = time.monotonic() + OTHERS_SECONDS
        while wished and time.monotonic() < ends:
            if self._do_one(wished):
                ends = time.monotonic() + OTHERS_SECONDS
            self._tell()
            time.sleep(0.1)

    def _do_one(self, wished: deque[str]) -> bool:
        """What somebody wants to do; where nobody is there for it yet, another one's wish comes first."""
        if wished and self.others.do(wished[0]):
            wished.popleft()
            return True
        wished.rotate(-1)
        return False

    def _settle(self) -> list[str]:
        """Until nothing is pending and what others said last is in the charts."""
        last, since = -1, time.monotonic()
        while True:
            left = self._left()
            unheard = 0
            if left == 0 and not self._in_landing():
                with self.road.connect("soak") as connection:
                    unheard = sum(proof.of_words_left(connection, self.others.done))
                if not unheard:
                    return []
            now = (left or 0) + unheard + self._in_landing()
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > self.chosen.settle:
                return [
                    f"it does not come to rest: {left} pending, {self._in_landing()} drops, {unheard} edits unheard"
                ]
            self._tell()
            time.sleep(1.0)

    def _in_landing(self) -> int:
        try:
            return sum(not name.startswith(".") for name in os.listdir(self.site.settings.landing_url))
        except FileNotFoundError:  # its disk is away just now
            return 0

    def _left(self) -> int | None:
        """None: the store is away just now."""
        try:
            with self.road.connect("soak") as connection:
                return sum(on_the_way(connection).values())
        except TROUBLES:
            return None

    def _tell(self) -> None:
        if time.monotonic() - self._told_at < TELLS_EVERY:
            return
        self._told_at = time.monotonic()
        self._weigh()
        faults = sum(self.nemesis.faults.values())
        rate = self.fed / (time.monotonic() - self.began)
        heaviest = max(self.peaks, key=self.peaks.__getitem__)
        self.say(
            f"{self.fed:,} of {self.chosen.events:,} sent, {self._left()} pending, {faults} faults, {rate:.0f} a second;"
            f" heaviest: {heaviest} {self.peaks[heaviest]:.0f} MB"
        )

    def _weigh(self) -> None:
        pids = {name: program.pid for name, program in self.site.programs.items() if name in LOOPS}
        for name, pid in {**pids, "the bench": os.getpid()}.items():
            try:
                resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            self.peaks[name] = max(self.peaks.get(name, 0.0), resident * os.sysconf("SC_PAGE_SIZE") / 1024**2)

    def _report(self, found: list[str]) -> None:
        sent, others = self.stream.sent, self.others.done
        rows: list[tuple[Any, ...]] = [(f"sent: {kind}", n) for kind, n in sent.kinds.items() if n]
        rows += [(f"done by others: {kind}", n) for kind, n in others.kinds.items()]
        rows += [(f"fault: {name}", n) for name, n in sorted(self.nemesis.faults.items())]
        rows += [(f"turns that failed: {name}", n) for name, n in sorted(self._failures().items())]
        rows += [(f"peak MB: {name}", peak) for name, peak in sorted(self.peaks.items())]
        rows += [(f"seconds: {name}", seconds) for name, seconds in self.seconds.items()]
        table(f"Soak, seed {self.seed}: {'holds' if not found else 'DOES NOT HOLD'}", ("", ""), rows)
        keep("soak", {"seed": self.seed, "events": self.chosen.events, "rows": rows, "faults": found}, self.machine)

    def _failures(self) -> Counter[str]:
        """By the name of the error, as the workers told."""
        found: Counter[str] = Counter()
        for name in LOOPS:
            log = self.site.log_of(name)
            if log.exists():
                told = log.read_text("utf-8", "replace").splitlines()
                found.update(line.rpartition(" ")[2] for line in told if line.startswith("a turn failed"))
        return found
