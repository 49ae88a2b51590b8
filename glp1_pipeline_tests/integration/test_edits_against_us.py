"""What is one fact and was changed on both sides is never written over: it is heard at once, and somebody is asked."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from glp1_pipeline.adapters import status
from glp1_pipeline.adapters.charts import Scope, attend_disputes, chart_events
from glp1_pipeline.adapters.outbox import conflicts, settle_conflict
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import amendment, submission

PEOPLE = count(1)
WEIGHT = "29463-7"
NOTE = [{"text": "weighed again by the nurse"}]


def both_change_the_weight(circle: Circle) -> tuple[str, str]:
    """Where the EHR has it, and what we call it."""
    first = submission(next(PEOPLE))
    circle.road.send(first)
    circle.deliver()
    assert circle.poll().changes == 0
    place = circle.place("Observation", WEIGHT)
    circle.provider.edit(place, note=NOTE)
    circle.road.send(amendment(first, 1, {"anthro.weight": {"value": 111, "unit": "kg"}}))
    circle.deliver()
    (left,) = conflicts(circle.road.connection, "ehr")
    return place, left.key


def asked(circle: Circle, state: str = "open") -> list[tuple[str, str]]:
    return circle.road.rows(
        "select owner, cause from ops.tasks where code = 'resolve-edit-conflict' and status = %s", state
    )


def tasks_there(circle: Circle) -> list[dict[str, Any]]:
    ((remote,),) = circle.road.rows("select remote from ops.copies where target = 'ehr'")
    found = [circle.provider.read(f"Task/{known[0]}") for key, known in remote.items() if key.startswith("Task/")]
    return [task for task in found if task["code"]["coding"][0]["code"] == "resolve-edit-conflict"]


def test_it_is_heard_at_once_and_a_data_steward_is_asked_here_and_in_the_ehr(circle: Circle) -> None:
    place, key = both_change_the_weight(circle)
    assert circle.provider.read(place)["note"] == NOTE, "nothing is written over that both changed"
    assert circle.events() == 1, "though nobody looked for changes yet"
    assert asked(circle) == [("data-steward", f"edited_in_ehr:{key.replace('/', ':')}")]
    (task,) = tasks_there(circle)
    assert (task["status"], task["performerType"][0]["text"]) == ("requested", "data-steward")
    assert task["focus"]["reference"].endswith(place)
    patient_id = str(circle.road.one("select patient_id from phi.charts"))
    told = status.why(circle.road.connection, patient_id)
    assert [one["resource"] for one in told["conflicts"]] == [key]
    assert "resolve-edit-conflict" in {one["task"] for one in told["tasks"]}
    assert (circle.round(), circle.round()) == (0, 0), "nothing echoes, and it is heard once"
    before = circle.road.fingerprint()
    circle.road.replay()
    assert circle.road.fingerprint() == before


@pytest.mark.parametrize("decision", ["theirs", "ours"])
def test_the_decision_ends_the_task_on_both_sides(circle: Circle, decision: Any) -> None:
    place, key = both_change_the_weight(circle)
    road = circle.road
    patient_id = str(road.one("select patient_id from phi.charts"))
    assert settle_conflict(road.connection, "ehr", patient_id, key, decision)
    if decision == "ours":
        events = tuple(e for (e,) in road.rows("select event_id from phi.events where status = 'charted'"))
        chart_events(road.connection, road.contract, road.cipher, Scope(event_ids=events, is_replay=True))
    circle.deliver()
    there = circle.provider.read(place)
    assert ("note" in there, there["valueQuantity"]["value"] == 111) == (decision == "theirs", decision == "ours")
    assert asked(circle) == []
    assert [task["status"] for task in tasks_there(circle)] == ["completed"]
    assert circle.events() == 1
    assert (circle.round(), circle.round()) == (0, 0)


def test_a_deliverer_killed_before_it_asked_leaves_it_to_the_next(circle: Circle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("glp1_pipeline_tests.circle.attend_disputes", lambda *_: 0)
    both_change_the_weight(circle)
    assert asked(circle) == []
    monkeypatch.undo()
    assert attend_disputes(circle.road.connection, circle.road.contract, circle.road.cipher) == 1
    assert len(asked(circle)) == 1
    assert attend_disputes(circle.road.connection, circle.road.contract, circle.road.cipher) == 0


def test_one_that_is_deleted_there_is_asked_about_too(circle: Circle) -> None:
    first = submission(next(PEOPLE))
    circle.road.send(first)
    circle.deliver()
    circle.provider.delete(circle.place("Observation", WEIGHT))
    circle.road.send(amendment(first, 1, {"anthro.weight": {"value": 111, "unit": "kg"}}))
    circle.deliver()
    ((_, cause),) = asked(circle)
    assert cause.startswith("deleted_in_ehr:Observation:")
    (task,) = tasks_there(circle)
    assert "focus" not in task, "what is gone cannot be pointed at"
