"""Trains the model with splink on the training parts and writes `contracts/identity.yaml`.

Here: what is trained on, and the figures that are argued for, not learned. Not here: splink's part (`peer_splink`).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from glp1_pipeline.contracts.identity import HERE, load_identity
from glp1_pipeline.domain.identity import features
from glp1_pipeline.domain.identity_model import LEVELS

from .. import peer
from .sets import LinkageSet, to_train_on

ARGUED = Path(__file__).parent / "argued.yaml"
"""Prior, thresholds, floor and fillers with their reasons: the head of the file that is written."""

HOUSEMATES = 2e-6
"""u of a home: about two of a million people live with somebody. In a sample of one town it is a hundred times that."""


def splink(action: str, told: dict[str, Any]) -> Any:
    """Runs splink in the peer's environment; its answer."""
    with tempfile.TemporaryDirectory(prefix="glp1_bench_splink_") as folder:
        file = Path(folder) / "told.json"
        file.write_text(json.dumps(told), "utf-8")
        argv = [str(peer.python()), str(Path(__file__).parent / "peer_splink.py"), action, str(file)]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])


def train(data: Path) -> None:
    """Writes the contract's file anew: what is argued as it stands, m and u as trained."""
    sets = to_train_on(data)
    # The birth dates of MIIS fall into a few weeks and all its people live in one state: only its phones are learned.
    trained = train_on([linkage for linkage in sets if linkage.entity])
    phones = train_on([linkage for linkage in sets if linkage.labels])["phone"]
    trained["phone"] = {level: [m, None] for level, (m, _) in phones.items()}
    trained["address"]["home"][1] = HOUSEMATES
    write(trained, " + ".join(f"{linkage.name}{' (phones)' if linkage.labels else ''}" for linkage in sets))


def train_on(sets: list[LinkageSet]) -> dict[str, dict[str, list[Any]]]:
    """Comparison -> level -> m and u, None where it was never seen."""
    model = load_identity()
    docs: list[dict[str, Any]] = []
    one_each: list[int] = []
    for linkage in sets:
        met: set[str] = set()
        for record, told in sorted(linkage.records.items()):
            if (person := linkage.entity.get(record, record[2:-1])) not in met:
                met.add(person)
                one_each.append(len(docs))
            docs.append(features(model, told).to_doc())
    print(f"splink trains on {len(docs):,} records of {len(one_each):,} people.", flush=True)
    levels = {name: list(found) for name, found in LEVELS.items()}
    return splink("train", {"features": docs, "one_each": one_each, "levels": levels})


def write(trained: dict[str, dict[str, list[Any]]], trained_on: str) -> None:
    head = ARGUED.read_text("utf-8").rstrip()
    floor = yaml.safe_load(head)["floor"]
    lines = [head, f"trained_on: {trained_on}; the training part of each", "comparisons:"]
    for name, levels in LEVELS.items():
        lines.append(f"  {name}:")
        told = {
            level: [max(f, floor) if isinstance(f, float) else floor for f in trained[name][level]] for level in levels
        }
        for level, (m, u) in told.items():
            if level == levels[-1]:  # what is left to disagreement, where it was too common to be counted or never seen
                u = max(u, 1 - sum(other for _, other in told.values()))
            lines.append(f"    {level}: {{m: {figure(m)}, u: {figure(u)}}}")
    (HERE / "identity.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    print(f"Wrote {HERE / 'identity.yaml'}.", flush=True)


def figure(number: float) -> str:
    """Four digits that count, never in scientific notation (YAML would read text)."""
    return f"{number:.12f}".rstrip("0") if number < 1e-4 else f"{number:.4g}"
