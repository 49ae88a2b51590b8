"""`python -m bench squeeze`: what lies sealed, squeezed against our dictionary and without one; `--train` makes the next.

The documents are those that submissions of invented people in every form version and the sample stories leave in the database. Not
here: the squeezing itself (`adapters.squeezing`).
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import zstandard

from glp1_pipeline.adapters import squeezing
from glp1_pipeline.adapters.resealing import SEALED
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.sandbox.samples import samples
from glp1_pipeline_tests.sample_inputs import clean_submission

from . import work
from .place import fresh_postgres
from .results import keep, machine, table

LONGEST = 256 * 1024
"""Longer ones are hostile lines: they say nothing of what documents have in common."""
DICTIONARY_BYTES = 64 * 1024
ROUNDS = 5


def add_arguments(benches: Any) -> None:
    parser = benches.add_parser("squeeze", help="what is sealed, with and without a dictionary")
    parser.add_argument("--people", type=int, default=1_200, help="people whose submissions are squeezed")
    parser.add_argument("--train", action="store_true", help="train first: a new file in adapters/zstd_dictionaries")


def run(chosen: argparse.Namespace) -> None:
    before = machine()
    with fresh_postgres() as (settings, _):
        documents = _documents(settings, chosen.people)
    # Each second one to train on, the others to measure with.
    if chosen.train:
        _train([content for bodies in documents.values() for content in bodies[::2]])
    plain = zstandard.ZstdCompressor(level=squeezing.LEVEL)
    columns = ("", "bytes", "plain", "us", "by the dictionary", "us", "plain / by it")
    rows = []
    for name, bodies in documents.items():
        held = bodies[1::2]
        (bytes_, us), (less, less_us) = _measure(plain.compress, held), _measure(squeezing.squeeze, held)
        rows.append((name, sum(map(len, held)) / len(held), bytes_, us, less, less_us, bytes_ / less))
    table(f"Squeeze: means of {sum(map(len, documents.values())) // 2:,} documents", columns, rows)
    keep("squeeze", {"chosen": vars(chosen), "columns": columns, "rows": rows}, before)


def _documents(settings: Settings, people: int) -> dict[str, list[bytes]]:
    """By table, what lies sealed there after these people and all stories."""
    landing = Path(settings.landing_url)
    versions = ("3.0.0", "3.0.0", "2.0.0", "1.0.0")  # most speak the newest
    with (landing / ".people.tmp").open("wb") as file:
        for n in range(people):
            file.write(orjson.dumps(clean_submission(n, versions[n % len(versions)])) + b"\n")
    (landing / ".people.tmp").rename(landing / "people.ndjson")
    road, found = Road(), {}
    for story in samples():
        story.drop(road.landing)
    work.in_child()
    with road.connect("bench") as connection:
        for kind in SEALED:
            rows = connection.execute(kind.words("select {key}, kid, body from {table} order by {key}")).fetchall()
            opened = (road.cipher.open(kid, bytes(body), f"{kind.place}|{key}") for key, kid, body in rows)
            found[kind.name] = [content for content in opened if len(content) <= LONGEST]
            random.Random(1).shuffle(found[kind.name])  # bodies of the EHR and of the CRM take turns
    return found


def _train(documents: Iterable[bytes]) -> None:
    number = squeezing.CURRENT + 1
    made = zstandard.train_dictionary(DICTIONARY_BYTES, [*documents], dict_id=number)
    squeezing.path_of(number).write_bytes(made.as_bytes())
    print(f"Dictionary {number} is made; name it in `squeezing.CURRENT`, and measure again.")


def _measure(squeeze: Callable[[bytes], bytes], documents: list[bytes]) -> tuple[float, float]:
    """Bytes a document, and us of CPU: the best of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for content in documents:
            squeeze(content)
        times.append(time.process_time() - began)
    return sum(len(squeeze(content)) for content in documents) / len(documents), 1e6 * min(times) / len(documents)
