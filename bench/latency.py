"""Latency: from a drop's rename to its patient in the provider queue, beside an empty Dagster run on the same launcher.

Here: one drop each few seconds with the floor in between, and a steady rate. The floor is taken twice: with Dagster's
storage as it comes, and with ours, which keeps its connection (`defs.storage`), by turns with the drops. Not here: the
floor itself (`definitions`).
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import psycopg
import yaml

from glp1_pipeline.adapters.settings import PROJECT, Settings
from glp1_pipeline.domain.crosswalk import ACCOUNT
from glp1_pipeline.sandbox.dagster_home import write_dagster_yaml
from glp1_pipeline.sandbox.demo import prepare
from glp1_pipeline.sandbox.stack import Modules, Stack
from glp1_pipeline_tests.sample_inputs import clean_submission

from .place import fresh_home
from .results import keep, machine, percentile, table

WARM_UP = 3
AT_REST = 11.0
"""The quick drops of the warm-up wait for the daemon's next look, and so might those that follow at once."""
PATIENCE = 120.0


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("latency", help="a drop's way to the provider queue, beside an empty run")
    parser.add_argument("--drops", type=int, default=40)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two drops")
    parser.add_argument("--rate", type=float, help="instead: so many submissions a second")
    parser.add_argument("--minutes", type=float, default=2.0, help="for so long, with --rate")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    with fresh_home() as settings:
        floor = settings.home / "floor"
        floor.mkdir()
        if chosen.rate:
            with _started(settings, floor):
                at_a_rate(settings, chosen, before)
            return
        with _started(settings, floor, own_storage=True):
            plain = plain_floor(settings, floor, chosen)
        with _started(settings, floor):
            one_by_one(settings, floor, plain, chosen, before)


@contextmanager
def _started(settings: Settings, floor: Path, own_storage: bool = False) -> Iterator[None]:
    extra = {"BENCH_FLOOR": str(floor), "PYTHONPATH": str(PROJECT)}
    stack = Stack(
        settings, prepare, say=lambda _: None, modules=Modules(definitions="bench.definitions"), extra_env=extra
    )
    write = _with_its_own_storage if own_storage else write_dagster_yaml
    with patch("glp1_pipeline.sandbox.stack.write_dagster_yaml", write), stack:
        stack.start()
        yield


def _with_its_own_storage(settings: Settings) -> Path:
    folder = write_dagster_yaml(settings)
    said = yaml.safe_load((folder / "dagster.yaml").read_text("utf-8"))
    said["storage"] = {"postgres": {"postgres_url": {"env": "GLP1_DAGSTER_URL"}}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(said), "utf-8")
    return folder


def plain_floor(settings: Settings, floor: Path, chosen: argparse.Namespace) -> list[float]:
    """Seconds of empty runs over Dagster's own storage, one each few seconds and nothing else."""
    dice, empty = random.Random(7), EmptyRuns(settings, floor)
    for _ in range(WARM_UP):
        empty.drop()
        empty.wait()
    empty.at.clear()
    time.sleep(AT_REST)
    for _ in range(chosen.drops):
        began = time.monotonic()
        _sleep_until(began + dice.random() * chosen.every / 6)
        empty.drop()
        _sleep_until(began + chosen.every)
    empty.wait()
    return empty.seconds()


def one_by_one(
    settings: Settings, floor: Path, plain: list[float], chosen: argparse.Namespace, before: dict[str, Any]
) -> None:
    dice = random.Random(7)  # so that drops do not fall in step with the daemon's looks
    road, empty = Drops(settings), EmptyRuns(settings, floor)
    for n in range(WARM_UP):
        road.drop(n)
        road.wait()
        empty.drop()
        empty.wait()
    road.at.clear()
    empty.at.clear()
    time.sleep(AT_REST)
    for n in range(WARM_UP, WARM_UP + chosen.drops):
        began = time.monotonic()
        _sleep_until(began + dice.random() * chosen.every / 6)
        road.drop(n)
        _sleep_until(began + chosen.every / 2 + dice.random() * chosen.every / 6)
        empty.drop()
        _sleep_until(began + chosen.every)
    road.wait()
    empty.wait()
    time.sleep(chosen.every)  # the last run ends a moment after its patients entered the queue
    queued, succeeded, done = road.seconds(), empty.seconds(), road.run_seconds()
    rows = [
        _row("an empty run over Dagster's own storage: drop to success", plain, plain, succeeded),
        _row("the same with the connection kept", succeeded, plain, succeeded),
        _row("glp1_pipeline: drop to provider queue", queued, plain, succeeded),
        _row("glp1_pipeline: drop to success of its run", done, plain, succeeded),
    ]
    columns = ("", "n", "p50 s", "p95 s", "max s", "p50 ratio", "p95 ratio", "p50 to kept", "p95 to kept")
    table(f"Latency: a drop each {chosen.every:g} s, {len(queued)} drops", columns, rows)
    figures = {"columns": columns, "rows": rows, "plain": plain, "floor": succeeded, "queued": queued, "run": done}
    keep("latency", {"chosen": vars(chosen), **figures}, before)


def _row(name: str, seconds: list[float], *floors: list[float]) -> tuple:
    p50, p95 = percentile(seconds, 0.5), percentile(seconds, 0.95)
    ratios = [ratio for of in floors for ratio in (p50 / percentile(of, 0.5), p95 / percentile(of, 0.95))]
    return name, len(seconds), p50, p95, max(seconds), *ratios


def at_a_rate(settings: Settings, chosen: argparse.Namespace, before: dict[str, Any]) -> None:
    road = Drops(settings)
    for n in range(WARM_UP):
        road.drop(n)
        road.wait()
    road.at.clear()
    count = round(chosen.rate * chosen.minutes * 60)
    made = [(n, orjson.dumps(clean_submission(n))) for n in range(WARM_UP, WARM_UP + count)]
    backlog: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        with psycopg.connect(settings.store_url(), autocommit=True) as connection:
            while not is_over.wait(5):
                backlog.append(len(road.at) - road.entered(connection))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    for index, (n, content) in enumerate(made):
        _sleep_until(began + index / chosen.rate)
        road.drop(n, content)
    took = time.monotonic() - began
    with psycopg.connect(settings.store_url(), autocommit=True) as connection:
        left = len(road.at) - road.entered(connection)
    is_over.set()
    watcher.join()
    road.wait()
    drained = time.monotonic() - began - took
    per_minute = max(1, round(chosen.rate * 60))
    all_seconds = road.seconds()
    rows = []
    for index in range(0, len(all_seconds), per_minute):
        part = all_seconds[index : index + per_minute]
        rows.append(
            (f"minute {index // per_minute + 1}", len(part), percentile(part, 0.5), percentile(part, 0.95), max(part))
        )
    rows.append(
        ("all", len(all_seconds), percentile(all_seconds, 0.5), percentile(all_seconds, 0.95), max(all_seconds))
    )
    columns = ("", "submissions", "p50 s", "p95 s", "max s")
    table(
        f"Latency at {len(made) / took:.1f} submissions a second, a file each, for {took / 60:.1f} minutes",
        columns,
        rows,
    )
    print(f"  Backlog at the end: {left}; gone {drained:.1f} s later. Most at any time: {max(backlog, default=left)}.")
    figures = {"columns": columns, "rows": rows, "backlog": backlog, "backlog_at_end": left, "drained_seconds": drained}
    keep("latency-rate", {"chosen": vars(chosen), **figures}, before)


class Drops:
    """Drops into the landing zone of the road, and when each of their patients entered the queue."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.landing, self.at = settings, Path(settings.landing_url), {}
        self.at: dict[str, float] = {}

    def drop(self, n: int, content: bytes | None = None) -> None:
        event = orjson.loads(content) if content else clean_submission(n)
        draft = self.landing / f".{n}.tmp"
        draft.write_bytes(content or orjson.dumps(event))
        self.at[event["subject"]] = time.time()
        draft.rename(self.landing / f"{n}.json")

    def wait(self) -> None:
        with psycopg.connect(self.settings.store_url(), autocommit=True) as connection:
            _wait(lambda: self.entered(connection) >= len(self.at), "a drop did not reach the queue")

    def entered(self, connection: psycopg.Connection) -> int:
        row = connection.execute(
            "select count(*) from ops.provider_queue where entered_at >= to_timestamp(%s)",
            (min(self.at.values(), default=0.0),),
        ).fetchone()
        assert row is not None
        return row[0]

    def seconds(self) -> list[float]:
        """In the order of the drops."""
        with psycopg.connect(self.settings.store_url(), autocommit=True) as connection:
            entered = dict(
                connection.execute(
                    "select i.value, extract(epoch from q.entered_at)::float8 from phi.identifiers i"
                    " join ops.provider_queue q on q.patient_id = i.record_id where starts_with(i.system, %s)",
                    (ACCOUNT,),
                ).fetchall()
            )
        return [entered[account] - at for account, at in self.at.items()]

    def run_seconds(self) -> list[float]:
        """To the end of the run that brought each drop to the queue."""
        ends = [end for _, end in _runs(self.settings, "intake")]
        seconds = zip(self.at.values(), self.seconds(), strict=True)
        return [next(end for end in ends if end >= at + waited) - at for at, waited in seconds]


class EmptyRuns:
    """Asks for the floor's run, and when each succeeded."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.at: list[float] = []

    def drop(self) -> None:
        draft = self.settings.home / "floor.tmp"
        draft.touch()
        self.at.append(time.time())
        draft.rename(self.folder / f"{len(self.at)}")

    def wait(self) -> None:
        _wait(lambda: len(_ends_after(self.settings, "floor", self.at)) == len(self.at), "an empty run did not end")

    def seconds(self) -> list[float]:
        return _ends_after(self.settings, "floor", self.at)


def _runs(settings: Settings, job: str) -> list[tuple[float, float]]:
    """When each run of a job was made and when it ended."""
    url = settings.dagster_url().replace("postgresql+psycopg2://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        runs = connection.execute(
            "select extract(epoch from create_timestamp at time zone 'utc')::float8, end_time, status from runs"
            " where pipeline_name = %s order by create_timestamp",
            (job,),
        ).fetchall()
    if any(status in ("FAILURE", "CANCELED") for *_, status in runs):
        raise SystemExit(f"a run of {job} failed: there is nothing to compare")
    return [(made, end) for made, end, status in runs if status == "SUCCESS"]


def _ends_after(settings: Settings, job: str, drops: list[float]) -> list[float]:
    """Seconds from each drop to the success of the first run made after it; without those that have none yet."""
    runs = _runs(settings, job)
    ends = [(at, next((end for made, end in runs if made >= at), None)) for at in drops]
    return [end - at for at, end in ends if end is not None]


def _wait(is_done: Callable[[], bool], otherwise: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > ends:
            raise SystemExit(f"{otherwise} within {PATIENCE:.0f} s: the machine is too busy, or it is broken")
        time.sleep(0.1)


def _sleep_until(then: float) -> None:
    time.sleep(max(0.0, then - time.monotonic()))
