"""How long it takes to find one newcomer among a million people in a real Postgres, and how large the buckets are.

Here: invented people, the tables of our own schema filled with them, and the time of one look-up from values to
outcomes. Not here: what is decided about a match (`domain.identity`).
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg

from glp1_pipeline.domain.identity import Features, blocking_keys, compare, features
from glp1_pipeline.domain.identity_model import IdentityModel

from ..place import fresh_postgres
from ..results import percentile, table

MOST_CANDIDATES = 200
"""As in `adapters.charts.likely`: per key."""
QUERY = (
    "select c.record_id, p.features from unnest(%s::bigint[]) k cross join lateral"
    " (select record_id from phi.people_keys s where s.key = k limit %s) c"
    " join phi.people p on p.record_id = c.record_id"
)
Values = dict[str, Any]


def people(model: IdentityModel, count: int, seed: int = 11) -> Iterator[Values]:
    """Invented people with names as uneven as real ones: a Zipf tail, so that common names meet in the same town."""
    dice = random.Random(seed)
    firsts = sorted(model.nicknames)
    dice.shuffle(firsts)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvz" for vowel in "aeiou"]
    lasts = [
        "".join(dice.choices(syllables, k=dice.randint(2, 4))) + dice.choice(("s", "n", "r", "z", ""))
        for _ in range(60_000)
    ]
    first_weights = [1 / (rank + 20) for rank in range(len(firsts))]
    last_weights = [1 / (rank + 15) for rank in range(len(lasts))]
    streets = [f"{name} {kind}" for name in lasts[:3000] for kind in ("st", "ave", "rd")]
    zips = [f"{code:05}" for code in dice.sample(range(1000, 99_000), 30_000)]
    zip_weights = [1 / (rank + 300) for rank in range(len(zips))]
    places = iter(dice.choices(zips, zip_weights, k=count))
    given = dice.choices(firsts, first_weights, k=count)
    family = dice.choices(lasts, last_weights, k=count)
    home: Values = {}
    phone = ""
    for at in range(count):
        if at % 5 < 3 or not home:  # two of five live with the one before them
            home = {
                "line1": f"{dice.randint(1, 9999)} {dice.choice(streets)}",
                "postal_code": next(places),
                "state": "CA",
            }
            phone = f"+1{dice.randint(201, 989)}{dice.randint(200, 999)}{dice.randint(0, 9999):04}"
        yield {
            "demo.legal_first": given[at],
            "demo.legal_last": family[at],
            "demo.dob": f"{dice.randint(1940, 2007)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}",
            "demo.sex_at_birth": dice.choice(("female", "male")),
            "demo.email": f"{given[at]}.{family[at]}{dice.randint(1, 99)}@example.com",
            "demo.mobile": phone,
            "demo.address": home,
        }


def look_up(model: IdentityModel, count: int, lookups: int) -> dict[str, Any]:
    with fresh_postgres() as (settings, _), psycopg.connect(settings.store_url(), autocommit=True) as connection:
        asked = fill(connection, settings.store_url(), model, count, lookups)
        figures = {"people": count, **buckets(connection), **ask(connection, model, asked)}
    table(
        f"One newcomer among {count:,} people",
        ("figure", "value"),
        [[k.replace("_", " "), v] for k, v in figures.items()],
    )
    return figures


def fill(connection: psycopg.Connection, address: str, model: IdentityModel, count: int, lookups: int) -> list[Values]:
    """The tables with everybody in them; every n-th person comes again with a nickname, a slip or a new phone."""
    print(f"Filling Postgres with {count:,} invented people.", flush=True)
    dice, asked, step = random.Random(5), [], max(count // lookups, 1)
    with (
        psycopg.connect(address) as first,
        psycopg.connect(address) as second,
        first.cursor().copy("copy phi.people (record_id, features, first_at) from stdin") as rows,
        second.cursor().copy("copy phi.people_keys (key, record_id) from stdin") as keys,
    ):
        for at, values in enumerate(people(model, count)):
            person, record = features(model, values), uuid.UUID(int=dice.getrandbits(128), version=4)
            rows.write_row((record, orjson.dumps(person.to_doc()).decode(), "2026-01-01T00:00:00Z"))
            for key in blocking_keys(person):
                keys.write_row((key, record))
            if at % step == 0:
                asked.append(again(model, values, dice))
    connection.execute("vacuum analyze phi.people")
    connection.execute("vacuum analyze phi.people_keys")
    return asked[:lookups]


def again(model: IdentityModel, values: Values, dice: random.Random) -> Values:
    """The same person as somebody typed them a second time; every third is a stranger instead."""
    kind = dice.randrange(3)
    if kind == 0:
        return values | {"demo.legal_first": dice.choice(sorted(model.nicknames)), "demo.dob": "1961-05-17",
                         "demo.email": "somebody@example.com", "demo.mobile": "+12125550123"}  # fmt: skip
    if kind == 1:
        return values | {"demo.mobile": f"+1646{dice.randint(200, 999)}{dice.randint(0, 9999):04}"}
    year, month, day = values["demo.dob"].split("-")
    return values | {"demo.dob": f"{year}-{day}-{month}" if int(day) < 13 else values["demo.dob"]}


def buckets(connection: psycopg.Connection) -> dict[str, Any]:
    row = connection.execute(
        "select count(*), percentile_disc(array[0.5, 0.99, 0.9999]) within group (order by n), max(n), sum(n) from"
        " (select count(*) n from phi.people_keys group by key) x"
    ).fetchone()
    size = connection.execute(
        "select pg_total_relation_size('phi.people_keys'), pg_total_relation_size('phi.people')"
    ).fetchone()
    assert row
    assert size
    return {
        "keys": row[0],
        "bucket_p50": row[1][0],
        "bucket_p99": row[1][1],
        "bucket_p9999": row[1][2],
        "bucket_max": row[2],
        "keys_mb": round(size[0] / 2**20),
        "people_mb": round(size[1] / 2**20),
    }


def ask(connection: psycopg.Connection, model: IdentityModel, asked: list[Values]) -> dict[str, Any]:
    """From canonical values to the outcome of every candidate, one newcomer after the other."""
    took: dict[str, list[float]] = {"all": [], "features_and_keys": [], "query": [], "compare": []}
    seen: list[float] = []
    found: dict[str, int] = {"same": 0, "review": 0}
    for values in [*asked[:50], *asked]:  # the first fifty once more: they warm the caches and are not counted
        began = time.perf_counter()
        person = features(model, values)
        keys = list(blocking_keys(person))
        keyed = time.perf_counter()
        rows = dict(connection.execute(QUERY, (keys, MOST_CANDIDATES)).fetchall())
        fetched = time.perf_counter()
        outcomes = {compare(model, person, Features.from_doc(doc)).outcome for doc in rows.values()}
        ended = time.perf_counter()
        for name, seconds in (("all", ended - began), ("features_and_keys", keyed - began), ("query", fetched - keyed),
                              ("compare", ended - fetched)):  # fmt: skip
            took[name].append(seconds * 1000)
        seen.append(len(rows))
        for outcome in found:
            found[outcome] += outcome in outcomes
    took, seen = {name: each[50:] for name, each in took.items()}, seen[50:]
    figures: dict[str, Any] = {}
    for name, each in took.items():
        figures |= {f"{name}_p50_ms": percentile(each, 0.5), f"{name}_p95_ms": percentile(each, 0.95)}
    per = [1000 * t / n for t, n in zip(took["compare"], seen, strict=True) if n]
    figures |= {"lookups": len(seen), "candidates_p50": percentile(seen, 0.5), "candidates_p95": percentile(seen, 0.95)}
    return figures | {"compare_us_per_candidate": percentile(per, 0.5), **{f"found_{k}": v for k, v in found.items()}}
