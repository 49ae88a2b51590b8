"""Killed at every commit, call, rename and flush of the whole road, and of what is heard from other systems and merged:
the next run leaves everything there once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.timeout(1800)
def test_killed_at_any_point_of_the_road_the_next_run_leaves_every_event_write_and_merge_once(
    ehr: EhrProcess, tmp_path: Path
) -> None:
    seed = int(os.environ.get("GLP1_CRASH_SEED", random.randrange(10**6)))
    options = ["--parts", str(PARTS), "--seed", str(seed)]
    options += ["--all"] if os.environ.get("GLP1_CRASH_ALL") == "1" else []
    program = [sys.executable, "-m", "glp1_pipeline_tests.crash"]
    harnesses = [
        subprocess.Popen(
            [*program, migrated_database(), ehr.url, str(tmp_path / str(part)), *options, "--part", str(part)],
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
    print("\n".join(f"{t['killed']} of {t['points']} points, seed {t['seed']}, {t['seconds']} s" for t in told))
    assert [fault for part in told for fault in part["found"]] == []
    kinds = told[0]["kinds"]
    for place in WATCHED:
        seen = {when: sum(n for name, n in kinds.items() if name.startswith(f"{when} {place}")) for when in MOMENTS}
        assert seen["before"] == seen["after"] > 0, f"the tracer no longer sees {place}"
    assert sum(t["killed"] for t in told) > 50
