"""An auditor asks who changed a field of a patient, and gets the answer: when, from what to what, on whose word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

from glp1_pipeline.adapters import audit, replay
from glp1_pipeline.adapters.history import history
from glp1_pipeline.adapters.matches import decide
from glp1_pipeline.sandbox.samples import samples
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, submission, weight

STORIES = {story.name: story for story in samples()}
TWO_SYSTEMS, DIED = STORIES["two_systems_change_the_same_fields"], STORIES["who_died_is_called_by_nobody"]


def patients(road: SmallRoad) -> list[str]:
    return [patient_id for (patient_id,) in road.rows("select patient_id::text from phi.charts order by received_at")]


def ask(road: SmallRoad, patient_id: str, field: str | None = None, home: Path = Path("none")) -> list[dict[str, Any]]:
    return history(road.connection, road.contract, road.cipher, home, patient_id, field)["history"]


def changed(entries: list[dict[str, Any]], voice: str = "value") -> list[tuple[Any, ...]]:
    """What, by whom, and what the chart held before and after."""
    return [
        (one["what"], one.get("actor"), *(one[when].get(voice, {}).get("value") for when in ("before", "after")))
        for one in entries
        if "before" in one
    ]


def test_of_a_field_that_two_systems_changed_each_word_has_its_author_and_what_it_changed(road: SmallRoad) -> None:
    road = road.under(contract())  # with a CRM
    TWO_SYSTEMS.drop(road.landing)
    road.take()
    road.chart()
    (patient_id,) = patients(road)
    assert changed(ask(road, patient_id, "demo.mobile")) == [
        ("intake.submitted", None, None, "+17435550125"),
        ("contact.updated", "user-31", "+17435550125", "+13125550177"),
        ("chart.updated", "Practitioner/9", "+13125550177", "+13125550188"),
    ]
    *_, last = ask(road, patient_id, "demo.dob")
    assert (last["what"], last["said"], last["before"] == last["after"]) == (
        "intake.amended", {"value": "1971-02-03"}, True,
    )  # fmt: skip
    assert [(one["against"], one["outcome"], one["rule"]) for one in last["disputes"]] == [
        ("ehr", "task", "hold_and_block")
    ]


def test_without_a_field_it_names_and_shows_no_value(road: SmallRoad) -> None:
    TWO_SYSTEMS.drop(road.landing)
    road.take()
    road.chart()
    (patient_id,) = patients(road)
    shown = orjson.dumps(ask(road, patient_id)).decode()
    assert shown.count('"what"') == 5
    for value in ("Canary", "5550188", "1971-03-02", "penicillin"):
        assert value not in shown


def test_a_reason_that_another_system_sends_along_is_no_word_of_ours_and_may_be_a_value(road: SmallRoad) -> None:
    road.send(submission(1, subject="who-died"))
    edit = json.loads((DIED.folder / "input" / "04-ehr-patient.json").read_bytes())
    edit["data"] |= {"reason": "Canary had a stroke", "role": "Canary", "reason_code": "Canary"}
    road.send(edit)
    (patient_id,) = patients(road)
    (told,) = [entry for entry in ask(road, patient_id) if entry["what"] == "chart.updated"]
    assert (told["actor"], told["tells"]) == ("Practitioner/9", "died")
    assert "Canary" not in str(ask(road, patient_id))


def test_a_merge_and_a_replay_stand_in_it_with_who_wanted_them_and_why(road: SmallRoad) -> None:
    first = submission(1)
    road.send(first, submission(2))
    one, other = sorted(patients(road))
    decide(road.connection, road.contract, road.cipher, "merge", (one, other), "steward-1", "one person")
    road.chart()
    road.send(amendment(first, 1, {"anthro.weight": weight(91.0)}))
    (patient_id,) = patients(road)
    found = ask(road, patient_id)
    (merge,) = [entry for entry in found if entry["about"]]
    assert (merge["actor"], merge["reason"], sorted(merge["about"])) == ("steward-1", "one person", [one, other])
    assert len({entry["record"] for entry in found}) == 2
    road.connection.execute(
        "update phi.patient_values set doc = (doc::jsonb - 'hx.men2')::json"
    )  # as an older contract would have it
    chosen = replay.Selection(statuses=("charted",))
    plan_id = replay.choose(road.connection, chosen, road.contract.version)
    replay.dry_run(road.connection, road.contract, road.cipher, plan_id)
    replay.approve(road.connection, plan_id, "engineer-1", "a new spelling")
    replay.apply(road.connection, road.contract, road.cipher, plan_id)
    (told,) = [entry for entry in ask(road, patient_id, "hx.men2") if entry["what"] == "replayed"]
    assert (told["actor"], told["reason"], told["plan_id"]) == ("engineer-1", "a new spelling", str(plan_id))
    assert told["changed"] == {"nothing to value": 2}


def test_what_somebody_decided_of_another_system_is_told_from_the_audit_and_half_a_line_of_it_harms_nothing(
    road: SmallRoad, tmp_path: Path
) -> None:
    road.send(submission(1))
    (patient_id,) = patients(road)
    audit.note(tmp_path, "steward-1", "theirs is newer", "conflict.settled", patient=patient_id, target="ehr",
               decision="theirs")  # fmt: skip
    with (tmp_path / audit.FILE).open("ab") as file:
        file.write(b'{"at": "20')
    *_, last = ask(road, patient_id, home=tmp_path)
    assert (last["what"], last["actor"], last["decision"]) == ("conflict.settled", "steward-1", "theirs")


def test_of_somebody_nobody_knows_there_is_nothing(road: SmallRoad) -> None:
    assert ask(road, "11111111-2222-5333-8444-555555555555", "anthro.weight") == []
