"""`glp1 mapping check`: the share that maps without manual correction, of any files, with nothing touched or told."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from glp1_pipeline.adapters.mapping_check import check_mapping
from glp1_pipeline.cli.mapping import mapping
from glp1_pipeline_tests.refills import checkin
from glp1_pipeline_tests.sample_inputs import clean_submission, contract, lines

SAMPLES = Path(__file__).parents[2] / "data_samples"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(mapping, ["check", *map(str, arguments)])


def found(*arguments: Any) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json").stdout)


def ndjson(path: Path, *events: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"\n".join(e if isinstance(e, bytes) else orjson.dumps(e) for e in events))
    return path


def test_clean_submissions_map_and_the_exit_says_so(tmp_path: Path):
    file = ndjson(tmp_path / "a.ndjson", *[clean_submission(n) for n in range(20)])
    told = found(file)
    assert (told["submissions"], told["mapped"], told["share"], told["answer_share"]) == (20, 20, 1.0, 1.0)
    assert (told["goal"], told["reached"], told["failed"], told["refused"]) == (0.95, True, {}, {})
    assert run(file).exit_code == 0


def test_what_failed_is_named_by_field_and_cause_and_no_value_is_told(tmp_path: Path):
    odd = {
        "anthro.height": "511", "hx.kidney": "vapours-of-canary", "med.current_list": [{"name": "canary-pill"}],
        "demo.sex_at_birth": "male", "preg.status": "yes", "vitals.bp": "",
    }  # fmt: skip
    event = clean_submission(2, **odd)
    event["data"]["answers"]["canary-question"] = "canary-answer"
    file = ndjson(tmp_path / "canary-file.ndjson", clean_submission(1), event)
    result = run(file)
    assert result.exit_code == 1
    assert "NOT REACHED" in result.output
    assert "canary" not in result.output.lower()
    told = found(file)
    assert (told["submissions"], told["accepted"], told["mapped"], told["share"]) == (2, 2, 1, 0.5)
    assert told["failed"] == {
        "(no such question)": {"unknown_question": 1},
        "anthro.height": {"ambiguous_height": 1},
        "hx.kidney": {"unmapped_code": 1},
        "med.current_list": {"unmapped_code": 1},
    }
    assert told["answers"] - told["answers_mapped"] == 4
    assert told["contradictions"] == {"male_and_pregnant": 1}


def test_what_the_landing_zone_would_refuse_counts_against_the_share_with_its_reason(tmp_path: Path):
    clean = clean_submission(1)
    refused = [b"no json", b"[1]", orjson.dumps({"resourceType": "Patient"}), orjson.dumps(clean | {"subject": ""})]
    told = found(ndjson(tmp_path / "a.ndjson", clean, *refused))
    assert told["share"] == 0.2
    assert told["refused"] == {"malformed_json": 1, "missing_subject": 1, "not_an_object": 1, "unknown_type": 1}


def test_a_tree_of_files_is_read_whatever_lies_in_it(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    pretty = json.dumps(clean_submission(1), indent=2).encode()
    (tmp_path / "deep" / "er" / "one.json").write_bytes(pretty)
    ndjson(tmp_path / "deep" / "two.ndjson", clean_submission(2), b"", clean_submission(3))
    response = SAMPLES / "fhir_questionnaire_response" / "input" / "01-response.json"
    (tmp_path / "three.json").write_bytes(response.read_bytes())
    (tmp_path / "SOURCE.txt").write_text("not a submission")
    told = found(tmp_path)
    assert (told["submissions"], told["accepted"], told["files"], told["files_passed_over"]) == (4, 4, 3, 1)
    assert (told["mapped"], told["refused"]) == (4, {})


def test_one_document_over_the_limit_is_one_refusal_and_not_thousands(tmp_path: Path):
    huge = tmp_path / "bundle.json"
    huge.write_text(json.dumps({"resourceType": "Bundle", "entry": [{"n": n} for n in range(60_000)]}, indent=1))
    assert huge.stat().st_size > 1024 * 1024
    assert found(huge)["refused"] == {"line_too_long": 1}


def test_the_first_places_are_listed_on_demand(tmp_path: Path):
    file = ndjson(tmp_path / "a.ndjson", clean_submission(1), clean_submission(2, **{"hx.kidney": "vapours"}), b"{")
    places = found(file, "--places", 9)["places"]
    assert places == [
        {"file": str(file), "line": 2, "field": "hx.kidney", "cause": "unmapped_code"},
        {"file": str(file), "line": 3, "field": "", "cause": "malformed_json"},
    ]
    assert found(file, "--places", 1)["places"] == places[:1]
    assert f"{file}:2: hx.kidney: unmapped_code" in run(file, "--places", 9).output


@pytest.mark.parametrize("goal", [50, 50.0, 0])
def test_a_goal_of_ones_own_decides_the_exit(tmp_path: Path, goal: float):
    file = ndjson(tmp_path / "a.ndjson", clean_submission(1), b"{")
    assert run(file).exit_code == 1
    assert run(file, "--goal", goal).exit_code == 0


def test_nothing_to_check_is_neither_good_nor_bad(tmp_path: Path):
    (tmp_path / "note.txt").write_text("nothing")
    result = run(tmp_path)
    assert (result.exit_code, "nothing to check" in result.output) == (2, True)
    assert run(tmp_path / "not-there").exit_code == 2


def test_our_own_samples_reach_the_goal_though_they_are_made_of_odd_cases():
    told = found(*sorted(SAMPLES.glob("*/input")))
    assert told["submissions"] > 1000
    assert told["dead"] == {}
    assert told["reached"]


def test_a_check_in_is_read_by_its_own_form(tmp_path: Path):
    told = found(ndjson(tmp_path / "a.ndjson", checkin(20, side_effects="a bit of everything")))
    assert (told["submissions"], told["failed"]) == (1, {"checkin.side_effects": {"unmapped_code": 1}})


def test_memory_does_not_grow_with_the_number_of_submissions(tmp_path: Path):
    def peak(count: int) -> int:
        file = ndjson(tmp_path / f"{count}.ndjson", *lines(count, seed=1))
        check_mapping(contract(), [file])  # whatever is kept for the next is kept by now
        tracemalloc.start()
        check_mapping(contract(), [file])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(800) < peak(100) + 100_000
