"""Treatments on the whole road: from drops to courses, moves and tasks, whoever says it first, and again after a merge."""

from __future__ import annotations

import itertools
import json
import random
import uuid
from typing import Any

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import ledger
from glp1_pipeline.adapters.charts import save
from glp1_pipeline.adapters.charts.medication import count_findings, count_states, count_transitions, show
from glp1_pipeline.defs import medication as wiring
from glp1_pipeline.domain.fhir.elements import RXNORM, UCUM
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import SmallRoad, empty_tables, submission
from glp1_pipeline_tests.treatments import at, dispensed, message, ordered, taken

from .conftest import EhrProcess

START = [ordered(0, 0.25), dispensed(3, 0.25)]
SKIP = [*START, ordered(28, 1.0), taken(20, 0.25)]


def courses(road: SmallRoad) -> list[tuple]:
    return road.rows(
        "select family, state, dose_mg, jsonb_array_length(findings) from phi.medication_courses order by 1, 2"
    )


def open_tasks(road: SmallRoad) -> set[str]:
    return {f"{c}/{x}" for c, x in road.rows("select code, cause from ops.tasks where status = 'open'")}


def test_a_course_its_moves_and_its_tasks_come_of_events_of_three_systems(road: SmallRoad):
    road.send(submission(1), *SKIP)
    assert courses(road) == [("wegovy_inj", "new_start", 0.25, 1)]
    assert road.rows(
        "select move, from_state, to_state, outcome, reason from ops.medication_transitions order by 1"
    ) == [
        (1, "none", "new_start", "made", "order_of_the_starting_dose"),
        (2, "new_start", "new_start", "rejected", "skip_a_step_up"),
    ]
    assert "provider-review-refill/skip_a_step_up" in open_tasks(road)
    systems = road.rows("select split_part(system, ':', 1), count(distinct record_id) from phi.identifiers group by 1")
    assert dict(systems) == {"intake-account": 1, "ehr": 1, "pharmacy": 1}
    assert road.one("select count(*) from phi.charts") == 1
    assert road.balance().faults == []


def test_whatever_comes_first_and_however_often_the_state_is_the_same(road: SmallRoad):
    events = [submission(1), *SKIP]
    road.send(*events)
    before = {name: road.fingerprint()[name] for name in ("medication_courses", "medication_transitions", "tasks")}
    for seed in range(3):
        empty_tables(road.connection)
        shuffled = [*events, events[2]]
        random.Random(seed).shuffle(shuffled)
        for event in shuffled:
            road.send(event)
        assert {name: road.fingerprint()[name] for name in before} == before


def test_a_replay_leaves_courses_as_they_are_and_writes_nothing(road: SmallRoad):
    road.send(submission(1), *SKIP)
    before = road.fingerprint()
    done = road.replay()
    assert (done.writes, done.tasks_opened, done.tasks_closed) == (0, 0, 0)
    assert road.fingerprint() == before


def test_a_corrected_contract_reads_the_same_events_anew(road: SmallRoad):
    road.send(submission(1), *SKIP)
    rules = road.contract.medication
    family = rules.families["wegovy_inj"]
    fewer = family.model_copy(update={"rungs": tuple(rung for rung in family.rungs if rung.mg != 0.5)})
    steps = tuple(rung.model_copy(update={"step": n}) for n, rung in enumerate(fewer.rungs, 1))
    changed = rules.model_copy(
        update={"families": {**rules.families, "wegovy_inj": fewer.model_copy(update={"rungs": steps})}}
    )
    done = road.under(road.contract.model_copy(update={"medication": changed})).replay()
    assert courses(road) == [("wegovy_inj", "titration", 1.0, 0)]
    assert "provider-review-refill/skip_a_step_up" not in open_tasks(road)
    assert done.tasks_closed == 1


def test_what_belongs_to_two_records_is_one_course_after_a_merge_and_two_halves_after_an_un_merge(road: SmallRoad):
    mine, other = submission(1), submission(2)
    elsewhere = dispensed(3, 0.25, account="canary-0000002")
    road.send(mine, other, ordered(0, 0.25), elsewhere)
    ids = dict(road.rows("select value, record_id::text from phi.identifiers where system like 'intake-account:%%'"))
    first, second = ids["canary-0000001"], ids["canary-0000002"]
    apart = road.fingerprint()["medication_courses"]
    assert courses(road) == [("wegovy_inj", "new_start", 0.25, 0), ("wegovy_inj", "none", None, 1)]

    def decision(kind: str, day: int, **data: str) -> dict:
        told = {"reason": "said at the desk", "actor": "steward-1", **data}
        steward = {"source": "/steward/desk", "subject": first, "type": f"patient.{kind}"}
        return {**message("ordered", day, kind), **steward, "data": told}

    bring(road, decision("merged", 90, survivor_id=first, retired_id=second))
    assert courses(road) == [("wegovy_inj", "new_start", 0.25, 0)]
    assert "reconcile-medications/dispensed_without_order" not in open_tasks(road)
    assert road.balance().faults == []
    bring(road, decision("unmerged", 91, survivor_id=first, restored_id=second))
    assert road.fingerprint()["medication_courses"] == apart
    assert road.balance().faults == []


def test_what_was_done_by_hand_stays_done_until_something_newer_is_said_of_the_treatment(road: SmallRoad):
    road.send(submission(1), *SKIP)
    task = "provider-review-refill/skip_a_step_up"
    record, newest = road.one("select patient_id::text from phi.charts"), SKIP[2]
    rests_on = uuid.uuid5(ledger.NAMESPACE, f"{newest['source']}\x1f{newest['id']}")
    told = {"task": "provider-review-refill", "cause": "skip_a_step_up", "outcome": "done", "actor": "provider-3"}
    done = {**told, "record_id": record, "rests_on": str(rests_on)}
    desk = {"source": "/steward/desk", "subject": record, "type": "task.completed", "data": done}
    bring(road, {**message("ordered", 29, "done"), **desk})
    assert task not in open_tasks(road)
    road.send(taken(30, 0.25))
    assert task in open_tasks(road)
    assert road.balance().faults == []


def bring(road: SmallRoad, event: dict) -> None:
    """A steward's decision, which does not come by the landing zone."""
    ledger.append(road.connection, road.contract, road.cipher, [json.dumps(event).encode()])
    road.chart()


def test_a_run_that_dies_between_chart_and_courses_leaves_neither(road: SmallRoad, monkeypatch):
    road.drop("a.ndjson", submission(1), *START)
    road.take()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(save, "save_courses", die)
    with pytest.raises(KeyboardInterrupt):
        road.chart()
    assert road.one("select count(*) from phi.charts") == 0
    monkeypatch.undo()
    road.chart()
    assert courses(road) == [("wegovy_inj", "new_start", 0.25, 0)]
    assert road.balance().faults == []


def test_who_is_known_to_the_pharmacy_alone_is_a_patient_with_a_question(road: SmallRoad):
    lone = dispensed(3, 0.25, identifiers=[])
    road.send(lone)
    assert courses(road) == [("wegovy_inj", "none", None, 1)]
    assert open_tasks(road) == {"reconcile-medications/dispensed_without_order"}
    assert road.balance().faults == []


def test_who_tells_of_a_dose_before_the_form_is_a_lead_of_whom_the_ehr_hears_nothing(road: SmallRoad):
    road.send(taken(3, 0.25))
    assert courses(road) == [("wegovy_inj", "none", None, 0)]
    assert road.one("select stage from phi.charts") == "lead"
    assert (road.one("select count(*) from ops.writes"), open_tasks(road)) == (0, set())
    road.send(submission(1))
    assert road.one("select count(*) from phi.charts") == 1
    assert road.balance().faults == []


def test_counts_and_what_people_are_shown_hold_no_dose_and_no_product_of_a_person(road: SmallRoad):
    road.send(submission(1), *SKIP)
    assert count_states(road.connection) == {("wegovy_inj", "new_start"): 1}
    (finding,) = count_findings(road.connection)
    assert (finding["finding"], finding["open"]) == ("skip_a_step_up", 1)
    assert {(row["outcome"], row["times"]) for row in count_transitions(road.connection)} == {
        ("made", 1),
        ("rejected", 1),
    }
    patient_id = road.one("select patient_id::text from phi.medication_courses")
    (found,) = show(road.connection, patient_id)
    assert (found["state"], len(found["transitions"])) == ("new_start", 2)
    assert not {"0.25", "1.0"} & set(itertools.chain(*(str(value).split() for value in found.values())))


def test_the_command_line_shows_a_patients_course_and_the_drift_of_all(road: SmallRoad, url: str, monkeypatch):
    from glp1_pipeline.cli import medication

    road.send(submission(1), *SKIP)
    monkeypatch.setattr(medication, "question", lambda asked: asked(road.connection))
    runner = CliRunner()
    shown = runner.invoke(medication.medication, ["show", "canary-0000001"])
    assert shown.exit_code == 0
    assert "wegovy_inj: new_start" in shown.output
    assert "amber skip_a_step_up: The order leaves out a step of the ladder." in shown.output
    assert "Canary" not in shown.output
    told = runner.invoke(medication.medication, ["drift", "--json"])
    assert json.loads(told.stdout)["findings"][0]["finding"] == "skip_a_step_up"
    nobody = runner.invoke(medication.medication, ["show", "nobody"])
    assert nobody.exit_code != 0
    assert "no patient is known" in nobody.output


def test_an_order_that_a_provider_writes_in_the_ehr_is_judged_and_what_it_makes_for_people_is_a_task_there(
    road: SmallRoad, ehr: EhrProcess
):
    with FaultProxy(ehr.url, False) as proxy:
        circle = Circle(road, ehr.url, proxy)
        road.send(submission(71))
        circle.deliver()
        assert circle.poll().changes == 0
        order = circle.provider.create(
            "MedicationRequest", status="active", intent="order", authoredOn=at(0),
            subject={"reference": circle.place("Patient")},
            medicationCodeableConcept={"coding": [{"system": RXNORM, "code": "2553803"}], "text": "Wegovy pen"},
            dosageInstruction=[{"doseAndRate": [{"doseQuantity": {"value": 1.0, "system": UCUM, "code": "mg"}}]}],
        )  # fmt: skip
        assert circle.round() == 1
        assert courses(road) == [("wegovy_inj", "none", None, 1)]
        assert "provider-review-refill/start_above_first_step" in open_tasks(road)
        (remote,) = road.rows("select remote from ops.copies where target = 'ehr'")[0]
        tasks = [f"Task/{known[0]}" for key, known in remote.items() if key.startswith("Task/")]
        assert any("start_above_first_step" in str(circle.provider.read(task)) for task in tasks)
        circle.provider.edit(f"MedicationRequest/{order['id']}", status="entered-in-error")
        assert circle.round() == 1
        assert courses(road) == []
        assert "provider-review-refill/start_above_first_step" not in open_tasks(road)
        assert circle.round() == 0
        circle.world.close()
    assert road.balance().faults == []


class Store:
    """The road's door to the store, and the contract."""

    def __init__(self, road: SmallRoad) -> None:
        self.url, self.contract = road.url, road.contract

    def connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, application_name=name)


def test_the_counts_plot_by_state_and_family_and_warn_of_refused_orders_and_of_more_drift(road: SmallRoad):
    def counted(instance: dg.DagsterInstance) -> tuple[dict[str, Any], dict[str, bool]]:
        done = dg.materialize([wiring.count_treatments], instance=instance, resources={"road": Store(road)})
        told = [event.materialization.metadata for event in done.get_asset_materialization_events()]
        numbers = {name: value.value for metadata in told for name, value in metadata.items()}
        return numbers, {check.check_name: check.passed for check in done.get_asset_check_evaluations()}

    with dg.DagsterInstance.ephemeral() as instance:
        road.send(submission(1), *START)
        numbers, passed = counted(instance)
        assert numbers["wegovy_inj new_start"] == numbers["state new_start"] == numbers["made"] == 1
        assert passed == {"drift_does_not_grow": True, "no_illegal_moves": True}
        road.send(SKIP[2])
        numbers, passed = counted(instance)
        assert numbers["finding skip_a_step_up"] == numbers["rejected: skip_a_step_up"] == 1
        assert passed == {"drift_does_not_grow": False, "no_illegal_moves": False}
        road.send(ordered(29, 0.5))
        numbers, passed = counted(instance)
        assert (numbers["wegovy_inj titration"], numbers["open findings"]) == (1, 0)
        # What nobody stands in any more is zero, and does not stay at its last number in the plots.
        assert (numbers["wegovy_inj new_start"], numbers["state new_start"], numbers["state paused"]) == (0, 0, 0)
        assert numbers["finding skip_a_step_up"] == 0
        pen = ordered(29, 2.5, product="zepbound_pen", account="canary-0000002")
        road.send(submission(2), pen)
        numbers, _ = counted(instance)
        assert (numbers["zepbound new_start"], numbers["product zepbound_pen new_start"]) == (1, 1)
        assert passed == {"drift_does_not_grow": True, "no_illegal_moves": True}
