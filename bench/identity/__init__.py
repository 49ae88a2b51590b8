"""`python -m bench identity`: who is one person, how surely, and how fast one is found among a million.

Here: what is run. Not here: training (`training`), judging (`judging`) and the look-up (`lookup`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from glp1_pipeline.contracts.identity import load_identity

from ..results import keep, machine
from .judging import judge
from .lookup import look_up
from .sets import everything, to_judge_on
from .training import train


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("identity", help=__doc__)
    parser.add_argument("--data", type=Path, help="folder of linkage sets (febrl, miis, pseudopeople, splink)")
    parser.add_argument("--all-records", action="store_true", help="judge on all of it: data that trained nothing")
    parser.add_argument("--train", action="store_true", help="train first and write contracts/identity.yaml")
    parser.add_argument("--no-peer", action="store_true", help="without splink beside us")
    parser.add_argument("--people", type=int, default=1_000_000, help="people in the look-up's table; 0: no look-up")
    parser.add_argument("--lookups", type=int, default=1_000)


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    if chosen.data is None and (chosen.train or not chosen.people):
        sys.exit("Name the folder of the linkage sets: --data FOLDER")
    if chosen.data and chosen.train:
        train(chosen.data)
    model = load_identity()
    figures: dict[str, Any] = {"model": model.version}
    if chosen.data:
        sets = (everything if chosen.all_records else to_judge_on)(chosen.data)
        figures["sets"] = judge(sets, model, with_peer=not chosen.no_peer)
    if chosen.people:
        figures["lookup"] = look_up(model, chosen.people, chosen.lookups)
    keep("identity", figures, before)
