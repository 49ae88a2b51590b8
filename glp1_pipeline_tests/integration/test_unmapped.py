"""Spellings that no code set knows: counted where they lie, and mended by a line in codes.csv and a replay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
from click.testing import CliRunner

from glp1_pipeline import contracts
from glp1_pipeline.adapters.unmapped import count_unmapped, unmapped_spellings
from glp1_pipeline.cli import mapping as cli
from glp1_pipeline.defs.mapping import count_unmapped_codes, grown_sets, told
from glp1_pipeline_tests.small_road import SmallRoad, connect, submission


def with_lines(folder: Path, *lines: str) -> Path:
    """A copy of the contract whose code sets know more."""
    shutil.copytree(contracts.HERE, folder / "contracts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    codes = folder / "contracts" / "codes.csv"
    codes.write_text(codes.read_text("utf-8") + "".join(f"{line}\n" for line in lines), "utf-8")
    return folder / "contracts"


ODD = (
    {"hx.kidney": "  One Kidney "},
    {"hx.kidney": "one kidney", "hx.comorbidities": ["htn", "dropsy"]},
    {"demo.address": {"line1": "7 Teapot Lane", "city": "Austin", "state": "Tejas", "postal_code": "78701"}},
    {"med.current_list": [{"name": "metformin"}, {"name": "Olympic"}]},
    {"anthro.weight": {"value": 13, "unit": "slugs"}},
)
LINES = (
    "kidney,one kidney,ckd,,,,", "comorbidities,dropsy,none,,,,", "states,tejas,TX,,,,", "medicines,olympic,other,,,,",
    "weight_units,slugs,[stone_av],,,,",
)  # fmt: skip


def test_each_spelling_is_counted_with_its_set_and_fields(road: SmallRoad):
    done = road.send(*[submission(n, **odd) for n, odd in enumerate(ODD)], submission(9))
    assert (done.events, done.dead) == (6, 0)  # the rest of each submission went on
    found = {(one.code_set, one.spelling): (one.answers, one.fields) for one in unmapped_spellings(road.connection, 99)}
    assert found == {
        ("kidney", "one kidney"): (2, ["hx.kidney"]),
        ("comorbidities", "dropsy"): (1, ["hx.comorbidities"]),
        ("states", "tejas"): (1, ["demo.address"]),
        ("medicines", "olympic"): (1, ["med.current_list"]),
        ("weight_units", "slugs"): (1, ["anthro.weight"]),
    }
    assert [one.spelling for one in unmapped_spellings(road.connection, 1)] == ["one kidney"]
    counts = count_unmapped(road.connection)
    assert (counts["kidney"].spellings, counts["kidney"].answers) == (1, 2)
    assert counts["kidney"].first_seen_at <= counts["kidney"].last_seen_at


def test_the_command_shows_the_words_to_a_person_and_nothing_that_could_move_the_terminal(road: SmallRoad, monkeypatch):
    monkeypatch.setattr(cli, "question", lambda asked: asked(road.connection))
    assert "every spelling is known" in CliRunner().invoke(cli.mapping, ["unmapped"]).output
    road.send(submission(1, **{"hx.kidney": "One\x1b[2J Kidney\u202e"}))
    shown = CliRunner().invoke(cli.mapping, ["unmapped"]).output
    assert "kidney" in shown
    assert "hx.kidney: one" in shown
    assert not {"\x1b", "\u202e"} & {*shown}
    (one,) = json.loads(CliRunner().invoke(cli.mapping, ["unmapped", "--json"]).stdout)["unmapped"]
    assert (one["code_set"], one["answers"], one["fields"]) == ("kidney", 1, ["hx.kidney"])


def test_a_line_in_the_code_set_and_a_replay_mend_every_answer(road: SmallRoad, tmp_path: Path):
    road.send(*[submission(n, **odd) for n, odd in enumerate(ODD)])
    held = "select count(*) from phi.patient_values where held <> '{}'"
    assert road.one(held) == 4
    mended = road.under(contracts.load(with_lines(tmp_path, *LINES)))
    assert mended.replay().events == len(ODD)
    assert unmapped_spellings(road.connection, 99) == []
    assert road.one(held) == 0
    kidneys = road.rows("select doc -> 'hx.kidney' ->> 'value' from phi.patient_values order by received_at")
    assert sum(kidney == ("ckd",) for kidney in kidneys) == 2


def test_the_index_holds_only_the_rows_that_lack_a_code(road: SmallRoad):
    road.send(*[submission(n) for n in range(30)], submission(30, **{"hx.kidney": "one kidney"}))
    road.connection.execute("set enable_seqscan = off")
    plan = "\n".join(line for (line,) in road.rows("explain (analyze, timing off) select * from phi.unmapped_codes"))
    road.connection.execute("reset enable_seqscan")
    assert "patient_values_unmapped" in plan
    assert "Rows Removed by Filter: 30" not in plan


def test_the_asset_tells_names_of_sets_and_counts_and_warns_when_one_grows(road: SmallRoad):
    class Reached(dg.ConfigurableResource):
        def connect(self, name: str):
            return connect(road.url, name)

    def count() -> tuple[dict, dg.AssetCheckEvaluation]:
        made = dg.materialize([count_unmapped_codes], resources={"road": Reached()}, instance=instance)
        (event,) = made.asset_materializations_for_node("count_unmapped_codes")
        return {name: value.value for name, value in event.metadata.items()}, made.get_asset_check_evaluations()[0]

    with dg.instance_for_test() as instance:
        road.send(submission(1))
        assert (count()[0]["unmapped spellings"], count()[1].passed) == (0, True)
        road.send(submission(2, **{"hx.kidney": "one kidney of canary"}))
        metadata, check = count()
        assert (metadata["spellings of kidney"], metadata["unmapped answers"], check.passed) == (1, 1, False)
        assert "canary" not in f"{metadata}{check}"
        assert count()[1].passed  # nothing is new since
        road.send(submission(3, **{"hx.kidney": "ONE kidney of canary"}))
        assert count()[1].passed  # the same spelling once more
        road.send(submission(4, **{"hx.kidney": "two kidneys"}))
        assert not count()[1].passed


def test_a_set_has_grown_if_it_lacks_more_spellings_than_before(road: SmallRoad):
    road.send(submission(1, **{"hx.kidney": "one"}), submission(2, **{"hx.kidney": "two", "hx.liver": "big"}))
    found = count_unmapped(road.connection)
    assert grown_sets(found, {}) == {"kidney": 2, "liver": 1}
    assert grown_sets(found, {"kidney": 2, "liver": 3}) == {}
    assert grown_sets(found, {"kidney": 1, "states": 7}) == {"kidney": 1, "liver": 1}
    assert told(found)["unmapped spellings"] == 3
