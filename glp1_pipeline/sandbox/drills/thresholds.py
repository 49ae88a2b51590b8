"""The real alert rules with less patience: a copy of the contract in which a minute is a fifth of a second.

Counts stay, and so does all else of the rules. Not here: the rules (`domain.alerts`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from glp1_pipeline import contracts
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.domain.alerts import Book

SECONDS_A_MINUTE = 0.2
DEFAULTS = {"after_minutes": 0.0, "calm_minutes": 2.0, "within_minutes": 60.0}
"""As the contract has them where it says nothing."""


def impatient(folder: Path) -> Book:
    """Copy the files of alerting into `folder`, with ages, calm times and spans shortened, and read them from there."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(contracts.__file__).parent
    for name in ("oncall.yaml", "tasks.csv"):
        shutil.copyfile(source / name, folder / name)
    tree = yaml.safe_load((source / "alerts.yaml").read_text("utf-8"))
    for alert in tree.values():
        for name, default in DEFAULTS.items():
            alert[name] = alert.get(name, default) * SECONDS_A_MINUTE / 60
        alert.pop("every_minutes", None)
    (folder / "alerts.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
    return load_alerts(folder)
