"""What goes wrong, by chance from a seed: processes die, servers go away, answers are lost, the disk is full.

Each fault lasts moments and is put right, as people would. Not here: what is at work meanwhile (`worker`).
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from glp1_pipeline.sandbox.drills.looping import EHR
from glp1_pipeline.sandbox.drills.proxy import (
    COMMIT_THEN_DROP,
    COMMIT_THEN_HTML,
    COMMIT_THEN_WRONG_JSON,
    Fault,
    slow,
    status,
)
from glp1_pipeline.sandbox.drills.site import Site

from .worker import LOOPS

CRM = "crm"


def start_worker(site: Site, name: str, *arguments: str) -> None:
    site.launch(name, [sys.executable, "-W", "ignore", "-m", "bench.soak.worker", name, *arguments], {})


class Nemesis(threading.Thread):
    """Every `calm` seconds, more or less, one of FAULTS, until it is told to end; then everything is well again."""

    def __init__(self, site: Site, seed: int, calm: float) -> None:
        super().__init__(name="nemesis", daemon=True)
        self.site, self.calm = site, calm
        self.random = random.Random(f"nemesis {seed}")
        self.faults: Counter[str] = Counter()
        self.trouble: BaseException | None = None
        self._is_over, self._has_ended = threading.Event(), threading.Event()
        assert site.proxy is not None
        self.proxy = site.proxy
        self.landing = Path(site.settings.landing_url)
        self.landing_is_there = threading.Lock()
        """Held by whoever drops: a producer whose disk is away waits for it."""

    def run(self) -> None:
        try:
            while not self._is_over.wait(self.random.uniform(0.5, 1.5) * self.calm):
                name = self.random.choice([*FAULTS])
                self.faults[name] += 1
                FAULTS[name](self)
        except BaseException as error:  # noqa: BLE001 - told by whoever ends it
            self.trouble = error
        self._has_ended.set()
        # What this thread started dies with it (the system's signal to orphans is of threads): it stays to the end.
        threading.Event().wait()

    def end(self) -> None:
        self._is_over.set()
        if not self._has_ended.wait(180):
            raise SystemExit(f"a fault does not end: {dict(self.faults)}")
        if self.trouble is not None:
            raise SystemExit(f"the nemesis itself failed: {self.trouble!r}")
        self.proxy.heal()
        for name in LOOPS:
            if not self.site.is_up(name):
                start_worker(self.site, name)

    def _moments(self, least: float = 0.2, most: float = 4.0) -> None:
        time.sleep(self.random.uniform(least, most))

    def _kill(self, *names: str) -> None:
        for name in names:
            self.site.stop(name, signal.SIGKILL)
        self._moments(0.1, 1.5)
        for name in names:
            start_worker(self.site, name)

    def kill_one(self) -> None:
        self._kill(self.random.choice([*LOOPS]))

    def kill_all(self) -> None:
        self._kill(*LOOPS)

    def kill_postgres(self) -> None:
        self.site.stop_postgres(signal.SIGKILL)
        self._moments()
        self.site.start_postgres()

    def restart_postgres(self) -> None:
        self.site.stop_postgres()
        self.site.start_postgres()

    def kill_ehr(self) -> None:
        self.site.stop(EHR, signal.SIGKILL)
        self._moments()
        self.site.start_ehr()
        self.site.wait_for(f"{self.site.ehr_url}/metadata", EHR)

    def kill_crm(self) -> None:
        self.site.stop(CRM, signal.SIGKILL)
        self._moments()
        self.site.start_crm()
        self.site.wait_for(f"{self.site.settings.crm_access()[0]}/health", CRM)

    def _ehr(self, fault: Fault) -> None:
        self.proxy.always(fault)
        self._moments(1.0, 5.0)
        self.proxy.heal()

    def ehr_is_slow(self) -> None:
        self._ehr(slow(self.random.uniform(0.5, 3.0)))

    def ehr_wants_a_rest(self) -> None:
        self._ehr(status(429, **({"Retry_After": "2"} if self.random.random() < 0.5 else {})))

    def ehr_is_unavailable(self) -> None:
        self._ehr(status(self.random.choice([500, 502, 503])))

    def ehr_answers_are_lost(self) -> None:
        lost = [COMMIT_THEN_DROP, COMMIT_THEN_HTML, COMMIT_THEN_WRONG_JSON]
        self.proxy.plan(*self.random.choices(lost, k=self.random.randint(1, 12)))

    def landing_is_gone(self) -> None:
        """Its disk is not mounted for a while."""
        away = self.landing.with_name("landing.away")
        with self.landing_is_there:
            self.landing.rename(away)
            self._moments(0.3, 2.0)
            away.rename(self.landing)  # over an empty one, where a worker began meanwhile

    def disk_is_full(self) -> None:
        """For one of those who read drops: nothing can be put away."""
        name = self.random.choice(["intake", "intake-2"])
        self.site.stop(name, signal.SIGKILL)
        start_worker(self.site, name, "--file-limit", str(self.random.choice([0, 100, 5_000])))
        self._moments(2.0, 6.0)
        self._kill(name)


FAULTS: dict[str, Callable[[Nemesis], None]] = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        Nemesis.kill_one, Nemesis.kill_all, Nemesis.kill_postgres, Nemesis.restart_postgres, Nemesis.kill_ehr,
        Nemesis.kill_crm, Nemesis.ehr_is_slow, Nemesis.ehr_wants_a_rest, Nemesis.ehr_is_unavailable,
        Nemesis.ehr_answers_are_lost, Nemesis.landing_is_gone, Nemesis.disk_is_full,
    )
}  # fmt: skip
