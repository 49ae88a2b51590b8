"""splink at work: trains our levels, or matches a set with its own defaults. Run by the Python of the peer's environment.

Not here: deciding anything. Called as `peer_splink.py train|match FILE`; FILE holds what `training` or `judging` wrote;
the answer is the last line, as JSON.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import duckdb  # pyright: ignore[reportMissingImports]
import pandas as pd
import splink.comparison_level_library as cll  # pyright: ignore[reportMissingImports]
import splink.comparison_library as cl  # pyright: ignore[reportMissingImports]
from splink import DuckDBAPI, Linker, SettingsCreator, block_on  # pyright: ignore[reportMissingImports]

logging.disable(logging.WARNING)
PAIRS = 1e6
SEED = 7


def train(told: dict[str, Any]) -> dict[str, Any]:
    """m and u of our own levels: the levels are our code, called from splink's SQL; u from pairs of different people,
    m by expectation maximisation with u held."""
    sys.path.append(str(Path(__file__).parents[2]))
    from glp1_pipeline.domain.identity.features import Features
    from glp1_pipeline.domain.identity.levels import levels

    known = [Features.from_doc(doc) for doc in told["features"]]
    seen: dict[tuple[int, int], dict[str, str | None]] = {}

    def level_of(comparison: str, a: int, b: int) -> str:
        found = seen.get((a, b))
        if found is None:
            if len(seen) > 1_000_000:
                seen.clear()
            found = seen[a, b] = levels(known[a], known[b])
        return found[comparison] or ""

    frame = pd.DataFrame([blocks(person, at) for at, person in enumerate(known)])
    for name in told["levels"]:
        frame[f"ref_{name}"] = frame["unique_id"]  # a column each, so that splink sees which comparison a rule touches
    comparisons = [comparison(name, found) for name, found in told["levels"].items()]

    def linker(rows: pd.DataFrame, settings: Any) -> Linker:
        connection = duckdb.connect()
        connection.create_function("level_of", level_of, ["VARCHAR", "BIGINT", "BIGINT"], "VARCHAR", side_effects=False)
        database = DuckDBAPI(connection=connection)
        return Linker(database.register(rows), settings)

    settings = SettingsCreator(
        link_type="dedupe_only", comparisons=comparisons, blocking_rules_to_generate_predictions=[block_on("dob")]
    )
    apart = linker(frame.iloc[told["one_each"]], settings)
    apart.training.estimate_u_using_random_sampling(max_pairs=PAIRS, seed=SEED, min_count_per_level=None)
    with_u = apart.misc.save_model_to_json()
    together = linker(frame, with_u)
    for rule in (
        "l.dob = r.dob and l.ref_dob is not null",
        "l.first_name = r.first_name and l.last_name = r.last_name and l.ref_first is not null and l.ref_last is not null",
        "l.home = r.home and l.dob_year = r.dob_year and l.ref_address is not null and l.ref_dob is not null",
    ):
        together.training.estimate_parameters_using_expectation_maximisation(rule, max_pairs=PAIRS)
    trained = together.misc.save_model_to_json()
    return {
        each["output_column_name"]: {
            level["label_for_charts"]: [level.get("m_probability"), level.get("u_probability")]
            for level in each["comparison_levels"]
            if not level.get("is_null_level")
        }
        for each in trained["comparisons"]
    }


def comparison(name: str, found: list[str]) -> Any:
    call = f"level_of('{name}', ref_{name}_l, ref_{name}_r)"
    levels: list[Any] = [cll.CustomLevel(f"{call} = ''", "null").configure(is_null_level=True)]
    levels += [cll.CustomLevel(f"{call} = '{level}'", level) for level in found[:-1]]
    levels.append(cll.ElseLevel().configure(label_for_charts=found[-1]))
    return cl.CustomComparison(levels, output_column_name=name)


def blocks(person: Any, at: int) -> dict[str, Any]:
    return {
        "unique_id": at,
        "dob": person.dob or None,
        "dob_year": person.dob[:4] or None,
        "first_name": person.given[0] if person.given else None,
        "last_name": person.last or None,
        "home": f"{person.number} {person.street}" if person.number and person.street else None,
    }


COMPARED = {
    "first_name": cl.NameComparison,
    "second_name": cl.NameComparison,
    "surname": cl.NameComparison,
    "dob": lambda name: cl.DateOfBirthComparison(name, input_is_string=True),
    "email": cl.EmailComparison,
    "phone": cl.ExactMatch,
    "street": cl.LevenshteinAtThresholds,
    "city": cl.ExactMatch,
    "postcode": cl.ExactMatch,
    "state": cl.ExactMatch,
    "sex": cl.ExactMatch,
}
"""splink's own comparison for each column, with the thresholds that it comes with."""


def match(told: dict[str, Any]) -> dict[str, Any]:
    """Pairs at or above the threshold, by splink's comparisons and the steps of its tutorial."""
    began = time.monotonic()
    left, names = told["left"], tuple(COMPARED)
    sides: list[Any] = [told["records"]]
    if left is not None:
        firsts = set(left)
        sides = [[row for row in told["records"] if (row["unique_id"] in firsts) == first] for first in (True, False)]
    # A column that one side does not have, or that always says the same, cannot be compared.
    known = [{name: {row[name] for row in side} - {None} for name in names} for side in sides]
    columns = [name for name in names if all(k[name] for k in known) and len(set.union(*(k[name] for k in known))) > 1]
    frames = [pd.DataFrame(side) for side in sides]
    rules = [block_on(name) for name in ("first_name", "surname", "dob", "email", "phone", "street") if name in columns]
    settings = SettingsCreator(
        link_type="dedupe_only" if left is None else "link_only",
        comparisons=[COMPARED[name](name) for name in columns],
        blocking_rules_to_generate_predictions=rules,
    )
    database = DuckDBAPI()
    linker = Linker([database.register(part) for part in frames], settings)
    sure = [block_on("first_name", "surname", "dob")] if "dob" in columns else [block_on("first_name", "surname")]
    linker.training.estimate_probability_two_random_records_match(sure, recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=PAIRS, seed=SEED)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("first_name", "surname"))
    other = "dob" if "dob" in columns else "street"
    linker.training.estimate_parameters_using_expectation_maximisation(block_on(other))
    rows = linker.inference.predict(threshold_match_probability=told["threshold"]).as_record_list()
    pairs = [(row["unique_id_l"], row["unique_id_r"]) for row in rows]
    return {"pairs": pairs, "seconds": time.monotonic() - began, "compared": columns}


given = json.loads(Path(sys.argv[2]).read_text("utf-8"))
print(json.dumps({"train": train, "match": match}[sys.argv[1]](given)))
