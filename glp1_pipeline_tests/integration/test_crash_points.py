"""Killed at every commit, call, rename and flush of the whole road, of what is heard from other systems and merged, and
of what people mend with: the next run leaves everything there once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline_tests.crash import places
from glp1_pipeline_tests.small_road import migrated_database

from .conftest import EhrProcess

PARTS = 2
"""Harnesses side by side, each with a database of its own and every second point."""
MOMENTS = ("before", "after")
WATCHED = (
    "os.rename in adapters.landing", "os.unlink in adapters.landing", "os.fsync in adapters.archive",
    "Cursor.execute in adapters.ledger", "Transaction.__exit__ in adapters.ledger._write_chunk",
    "Transaction.__exit__ in adapters.ledger.append", "Transaction.__exit__ in adapters.charts",
    "Transaction.__exit__ in adapters.outbox.lanes.claim", "Transaction.__exit__ in adapters.outbox.deliver",
    "Session.send in adapters.ehr", "Session.send in adapters.crm",
    "Transaction.__exit__ in adapters.ehr.changes", "Transaction.__exit__ in adapters.ehr.sweep",
    "Transaction.__exit__ in adapters.crm.cursor", "Connection.commit in adapters.outbox.contacts",
)  # fmt: skip
"""Where the tracer must have found points by itself, or it watches the wrong things."""


def swept(ehr: EhrProcess, folder: Path, *more: str) -> list[dict[str, Any]]:
    """What the harnesses of one sweep told."""
    seed = int(os.environ.get("GLP1_CRASH_SEED", random.randrange(10**6)))
    print(f"seed {seed}")
    options = ["--parts", str(PARTS), "--seed", str(seed), *more]
    options += ["--all"] if os.environ.get("GLP1_CRASH_ALL") == "1" else []
    program = [sys.executable, "-m", "glp1_pipeline_tests.crash"]
    harnesses = [
        subprocess.Popen(
            [*program, migrated_database(), ehr.url, str(folder / str(part)), *options, "--part", str(part)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(PARTS)
    ]
    told: list[dict[str, Any]] = []
    for harness in harnesses:
        out, _ = harness.communicate()
        assert harness.returncode == 0
        told.append(json.loads(out))
    print(
        "\n".join(
            f"{t['killed']} of {t['points']} points in {t['rounds']} rounds, seed {t['seed']}, {t['seconds']} s"
            for t in told
        )
    )
    return told


@pytest.fixture(scope="module")
def road(ehr: EhrProcess, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return swept(ehr, tmp_path_factory.mktemp("road"))


@pytest.fixture(scope="module")
def mends(ehr: EhrProcess, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return swept(ehr, tmp_path_factory.mktemp("mends"), "--mends")


@pytest.mark.timeout(1800)
def test_killed_at_any_point_of_the_road_the_next_run_leaves_every_event_write_and_merge_once(
    road: list[dict[str, Any]],
) -> None:
    assert [fault for part in road for fault in part["found"]] == []
    kinds = road[0]["kinds"]
    for place in WATCHED:
        seen = {when: sum(n for name, n in kinds.items() if name.startswith(f"{when} {place}")) for when in MOMENTS}
        assert seen["before"] == seen["after"] > 0, f"the tracer no longer sees {place}"
    assert sum(t["killed"] for t in road) > 30


@pytest.mark.timeout(1800)
def test_killed_at_any_point_of_what_people_mend_with_it_is_done_once_and_the_ehr_is_as_before_the_mistake(
    mends: list[dict[str, Any]],
) -> None:
    assert [fault for part in mends for fault in part["found"]] == []
    assert sum(t["killed"] for t in mends) > 25


def test_every_place_that_changes_the_world_is_walked_or_says_why_not(
    road: list[dict[str, Any]], mends: list[dict[str, Any]]
) -> None:
    walked = {name.rpartition(" in adapters.")[2] for part in (*road, *mends) for name in part["kinds"]}
    named = {*places.READS, *places.KILLED_BY, *places.BY_ITSELF}
    assert places.places() - walked - named == set(), "walk it in crash/road.py or crash/mends.py"
    assert named & walked == set(), "it is walked: it need not be named"
    assert named - places.places() == set(), "it is there no more"
    for test in places.KILLED_BY.values():
        assert "SIGKILL" in (Path(__file__).parent / test).read_text("utf-8")
