"""A small program of a year on the real road: every story ends as it is told, whether it comes at once or as time goes
by, and however often it is told again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from glp1_pipeline.cli import program as commands
from glp1_pipeline.sandbox.program import STORIES, Program, build
from glp1_pipeline.sandbox.program.check import differences, trails_differ, without_an_answer
from glp1_pipeline.sandbox.program.run import Place, load, report, walk
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database, small_road

BY_THE_WAY = {"state", "events", "patient_values", "charts", "identifiers", "copies"}
"""What knows of every moment that a clock reached, also of those that came to nothing; of `copies` see the test."""


@pytest.fixture(scope="module")
def year() -> Program:
    """One patient a story, and half a year: enough for what befalls each."""
    return build(len(STORIES), seed=3, months=6)


@pytest.fixture(scope="module")
def loaded(year: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRoad]:
    with small_road(migrated_database(), tmp_path_factory.mktemp("loaded")) as road:
        load(place_of(road), year)
        yield road


@pytest.fixture(scope="module")
def waited() -> list[tuple[int, list[str]]]:
    """After each period of the walked year: how many waited for somebody, and who was not told why."""
    return []


@pytest.fixture(scope="module")
def walked(year: Program, waited: list, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRoad]:
    with small_road(migrated_database(), tmp_path_factory.mktemp("walked")) as road:
        look = lambda: waited.append(without_an_answer(road.connection))  # noqa: E731
        walk(place_of(road), year, timedelta(days=5), look)
        yield road


def place_of(road: SmallRoad) -> Place:
    return Place(road.connection, road.contract, road.cipher, road.landing)


def test_every_story_ends_as_it_is_told_and_all_that_holds_of_a_program_holds(year: Program, loaded: SmallRoad):
    told = report(place_of(loaded), year)
    assert told.faults == []
    assert told.patients == len(STORIES) == len(year.expected)
    assert told.advanced > 3 * len(STORIES)
    assert told.waiting > 5


def test_the_same_year_as_time_goes_by_ends_in_the_same_state(year: Program, loaded: SmallRoad, walked: SmallRoad):
    assert differences(walked.connection, year) == {}
    at_once, by_and_by = loaded.fingerprint(), walked.fingerprint()
    assert [name for name in at_once.keys() - BY_THE_WAY if at_once[name] != by_and_by[name]] == []
    assert planned(loaded) == planned(walked)


def planned(road: SmallRoad) -> list[tuple]:
    """What the EHR was told of each patient, but for what was asked of people on the way and is over when all of it comes
    at once: work, reminders, proposals, and why a request was held."""
    return road.rows(
        "select target, patient_id, key, value from ops.copies, jsonb_each_text(planned) where split_part(key, '/', 1)"
        " not in ('Task', 'CommunicationRequest', 'MedicationRequest', 'DetectedIssue') order by 1, 2, 3"
    )


def test_every_request_was_decided_by_the_rules_of_its_story_one_after_another(year: Program, walked: SmallRoad):
    assert trails_differ(walked.connection, year) == []


def test_a_replay_of_the_year_three_times_leaves_one_fingerprint_and_writes_nothing(walked: SmallRoad):
    before = walked.fingerprint()
    for _ in range(3):
        assert walked.replay().writes == 0
        assert walked.fingerprint() == before


@pytest.mark.usefixtures("walked")
def test_in_the_midst_of_the_year_too_everybody_who_waits_is_told_why(waited: list[tuple[int, list[str]]]):
    assert [silent for _, silent in waited if silent] == []
    assert max(waiting for waiting, _ in waited) > 5


def test_the_same_seed_makes_the_same_program_and_another_seed_another(tmp_path: Path):
    runner = CliRunner()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        done = runner.invoke(commands.program, ["write", str(tmp_path / name), "--patients", "30", "--seed", str(seed)])
        assert done.exit_code == 0
    read = {n: [f.read_bytes() for f in sorted((tmp_path / n).iterdir())] for n in ("a", "b", "c")}
    assert read["a"] == read["b"] != read["c"]
    expected = json.loads((tmp_path / "a" / "expected.json").read_bytes())
    assert {one["story"] for one in expected.values()} == {*STORIES}


def test_the_command_line_says_whose_story_ended_otherwise(year: Program, loaded: SmallRoad, monkeypatch):
    monkeypatch.setattr(commands, "question", lambda asked: asked(loaded.connection))
    monkeypatch.setattr("glp1_pipeline.sandbox.program.build", lambda *_: year)
    assert CliRunner().invoke(commands.program, ["check"]).exit_code == 0
    account, told = next((account, told) for account, told in year.expected.items() if not told["flags"])
    other = Program(
        year.events, {**year.expected, account: {**told, "flags": ["PREGNANT"]}}, *list(vars(year).values())[2:]
    )
    monkeypatch.setattr("glp1_pipeline.sandbox.program.build", lambda *_: other)
    done = CliRunner().invoke(commands.program, ["check"])
    assert (done.exit_code, "flags: [], not ['PREGNANT']" in done.output, "Canary" in done.output) == (1, True, False)
