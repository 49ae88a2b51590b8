"""A provider's word on a refused order: from the command line to the treatment, its task, and what `glp1 why` tells."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import matches, orders
from glp1_pipeline.cli import main
from glp1_pipeline.defs import override_order as wiring
from glp1_pipeline.defs.medication import count_treatments
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.fhir.elements import RXNORM, UCUM
from glp1_pipeline.domain.medication import may_let_through
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.refill_road import Store, ask, begin_lately, patient_of, reachable_road, say
from glp1_pipeline_tests.refills import intake
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, empty_tables, submission
from glp1_pipeline_tests.treatments import at, dispensed, let_through, ordered

from .conftest import EhrProcess

CONTRACT = contract()
TEXT = "Wendell Canary brought the records of three months"
SKIP, EARLY = "skip_a_step_up", "step_up_before_min_days"
TREATMENTS = ("medication_courses", "medication_transitions", "tasks")


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    begin_lately(monkeypatch, 40)
    with reachable_road(url, tmp_path, monkeypatch) as made:
        yield made


def refused(road: SmallRoad, mg: float = 1.0, day: float = 38) -> str:
    """A treatment whose last order left out a step; the event of that order."""
    road.send(intake(), ordered(0, 0.25), dispensed(3, 0.25), dispensed(30, 0.25, "second"), ordered(day, mg, "high"))
    return road.one("select event_id::text from ops.medication_transitions where outcome = 'rejected'")


def override(order: str, rule: str, *more: str, code: int = 0, **changed: str) -> Any:
    told = {
        "reason": "PRIOR_THERAPY_DOCUMENTED", "text": TEXT, "actor": "provider-7", "role": "provider", **changed,
    }  # fmt: skip
    options = [word for name, value in told.items() for word in (f"--{name}", value)]
    return ask("medication", "override", order, "--rule", rule, *options, *more, code=code)


def history(road: SmallRoad) -> list[tuple]:
    return road.rows("select outcome, reason from ops.medication_transitions order by family, move")


def open_tasks(road: SmallRoad) -> set[str]:
    return {f"{c}/{x}" for c, x in road.rows("select code, cause from ops.tasks where status = 'open'")}


def test_a_refused_order_is_let_through_by_an_event_whose_words_are_sealed(road: SmallRoad):
    order = refused(road)
    assert f"provider-review-refill/{SKIP}" in open_tasks(road)
    seen = override(order, SKIP, "--dry-run")
    assert (seen["before"]["outcome"], seen["after"]["outcome"]) == ("rejected", "overridden")
    assert history(road)[-1] == ("rejected", SKIP)
    done = override(order, SKIP)
    assert (done["status"], done["outcome"], done["state"]) == ("charted", "overridden", "titration")
    assert history(road)[-2:] == [("overridden", f"{SKIP}:PRIOR_THERAPY_DOCUMENTED"), ("made", "step_up_order")]
    assert road.one("select dose_mg from phi.medication_courses") == 1.0
    assert f"provider-review-refill/{SKIP}" not in open_tasks(road)
    assert (
        road.one("select type from phi.events where event_id = %s", done["event_id"]) == "medication.order_overridden"
    )
    everything = [
        str(road.rows(f"select * from {table}"))  # type: ignore[arg-type]
        for (table,) in road.rows(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname in ('phi', 'ops')"
        )
    ]
    assert not any("brought the records" in rows for rows in everything)
    assert road.balance().faults == []


def test_why_tells_who_may_let_it_through_and_then_who_did(road: SmallRoad):
    order = refused(road)
    patient = patient_of(road)
    before = say("why", patient)
    assert f"(event {order})" in before
    assert f"rule {SKIP}: The order leaves out a step of the ladder." in before
    assert "may be let through by provider (THERAPY_APPROPRIATE, ASSESSED_PATIENT," in before
    assert "task provider-review-refill" in before
    override(order, SKIP)
    after = say("why", patient)
    assert "refused" not in after
    assert (
        f"provider provider-7 lets an order of wegovy_inj through against {SKIP}, reason PRIOR_THERAPY_DOCUMENTED"
        in after
    )
    assert "brought" not in after
    found = ask("why", patient)
    assert (found["refused_orders"], found["order_overrides"][0]["family"]) == ([], "wegovy_inj")
    assert f"overridden: {SKIP}:PRIOR_THERAPY_DOCUMENTED" in say("medication", "show", patient)


def test_an_override_that_would_change_nothing_or_is_nobodys_to_make_is_said_and_leaves_no_event(road: SmallRoad):
    order = refused(road, mg=0.6)
    assert "dose_not_on_ladder may be overridden for reasons of class: nobody" in override(
        order, "dose_not_on_ladder", code=1
    )
    assert "refused by rule dose_not_on_ladder, which nobody may override" in override(order, SKIP, code=1)
    road.send(ordered(38.5, 1.0, "higher"))
    higher = road.one("select event_id::text from ops.medication_transitions where reason = %s", SKIP)
    assert f"refused by rule {SKIP}: --rule {SKIP}" in override(higher, EARLY, code=1)
    assert "let through by provider alone" in override(
        higher, SKIP, code=1, role="pharmacist", reason="CONSULTED_PRESCRIBER"
    )
    assert "is for pharmacist" in override(higher, SKIP, code=1, reason="DOSE_CHANGE_EARLY")
    assert "10 to 2000 characters" in override(higher, SKIP, code=1, text="because")
    assert "--rule" in CliRunner().invoke(main, ["medication", "override", higher]).output
    started = road.one("select event_id::text from ops.medication_transitions where reason like 'order_of_the_start%%'")
    assert "nothing refuses this order" in override(started, SKIP, code=1)
    assert "no order is known by this event" in override(patient_of(road), SKIP, code=1)
    assert road.one("select count(*) from phi.events where type = 'medication.order_overridden'") == 0
    override(higher, SKIP)
    assert "let through already" in override(higher, SKIP, code=1)


def test_an_override_by_a_message_that_nobody_may_send_is_rejected_at_the_door_and_the_order_stays_refused(
    road: SmallRoad,
):
    refused(road)
    road.send(let_through(39, "high", "overlap_two_glp1"), let_through(39.1, "high", SKIP, role="pharmacist"))
    assert road.events()["rejected:not_allowed"] == 2
    assert history(road)[-1] == ("rejected", SKIP)


def test_whatever_comes_first_and_however_often_the_treatment_is_the_same(road: SmallRoad):
    story = [intake(), ordered(0, 0.25), dispensed(3, 0.25), ordered(10, 0.5, "o"), dispensed(12, 0.5),
             let_through(15, "o", EARLY), ordered(33, 1.0)]  # fmt: skip
    road.send(*story)
    assert road.one("select dose_mg from phi.medication_courses") == 1.0
    before = {name: road.fingerprint()[name] for name in TREATMENTS[:2]}
    for seed, late in itertools.product(range(2), (story[3], story[5])):
        empty_tables(road.connection)
        shuffled = [*story, story[5]]
        random.Random(seed).shuffle(shuffled)
        for event in [one for one in shuffled if one is not late] + [late]:
            road.send(event)
        assert {name: road.fingerprint()[name] for name in before} == before
        assert road.balance().faults == []


def test_a_replay_of_an_override_writes_nothing_and_changes_nothing(road: SmallRoad):
    override(refused(road), SKIP)
    before = road.fingerprint()
    for _ in range(2):
        done = road.replay()
        assert (done.all_writes, done.tasks_opened, done.tasks_closed) == (0, 0, 0)
        assert road.fingerprint() == before


def test_a_word_that_was_put_into_the_ledger_by_who_died_then_is_charted_by_the_next_run_once(road: SmallRoad):
    order = uuid.UUID(refused(road))
    word = orders.Word((SKIP,), "PRIOR_THERAPY_DOCUMENTED", TEXT, "provider-7", "provider")
    orders.override(road.connection, road.contract, road.cipher, order, word)
    assert (history(road)[-1], road.events()["waiting"]) == (("rejected", SKIP), 1)
    assert road.balance().faults == []
    assert road.chart().events == 1
    assert history(road)[-1] == ("made", "step_up_order")
    assert road.chart().events == 0
    assert road.balance().faults == []


def test_an_override_goes_with_the_record_of_its_order_when_two_are_joined_and_parted(road: SmallRoad):
    order = refused(road)
    road.send(intake("canary-0000002"))
    first, second = patient_of(road), patient_of(road, "canary-0000002")
    told = {"actor": "steward-1", "reason": "said at the desk"}
    decide = partial(matches.decide, road.connection, road.contract, road.cipher)
    decide("merge", (second, first), **told)
    road.chart()
    done = override(order, SKIP)
    assert road.one("select record_id::text from phi.events where event_id = %s", done["event_id"]) == first
    assert road.rows("select patient_id::text, dose_mg from phi.medication_courses") == [(second, 1.0)]
    assert f"lets an order of wegovy_inj through against {SKIP}" in say("why", second)
    decide("unmerge", (second, first), **told)
    road.chart()
    assert road.rows("select patient_id::text, dose_mg from phi.medication_courses") == [(first, 1.0)]
    assert "lets" not in say("why", second)
    assert road.balance().faults == []


def test_an_order_of_the_ehr_that_is_let_through_ends_its_task_there_and_is_audited_there_once(
    road: SmallRoad, ehr: EhrProcess
):
    with FaultProxy(ehr.url, False) as proxy:
        circle = Circle(road, ehr.url, proxy)
        road.send(submission(72))
        circle.deliver()
        circle.provider.create(
            "MedicationRequest", status="active", intent="order", authoredOn=at(0),
            subject={"reference": circle.place("Patient")},
            medicationCodeableConcept={"coding": [{"system": RXNORM, "code": "2553803"}], "text": "Wegovy pen"},
            dosageInstruction=[{"doseAndRate": [{"doseQuantity": {"value": 1.0, "system": UCUM, "code": "mg"}}]}],
        )  # fmt: skip
        circle.round()
        (order,) = road.rows("select event_id::text, reason from ops.medication_transitions")
        assert order[1] == "start_above_first_step"
        task = circle.place("Task", "provider-review-refill")
        assert circle.provider.read(task)["status"] == "requested"
        override(order[0], "start_above_first_step")
        circle.deliver()
        assert road.rows("select state, dose_mg from phi.medication_courses") == [("titration", 1.0)]
        assert circle.provider.read(task)["status"] == "completed"
        audit = circle.provider.read(circle.place("AuditEvent"))
        ref = road.one("select medication ->> 'ref' from phi.patient_values where event_id = %s", order[0])
        assert (audit["outcome"], audit["entity"][1]["what"]["identifier"]["value"]) == ("0", ref)
        assert "brought" not in str(audit)
        writes = road.one("select count(*) from ops.writes")
        road.replay()
        assert (circle.round(), road.one("select count(*) from ops.writes")) == (0, writes)
        circle.world.close()
    assert road.balance().faults == []


def test_an_override_of_an_order_that_nobody_knows_waits_for_it_and_is_told(road: SmallRoad):
    road.send(intake(), let_through(37, "high", SKIP))
    assert f"lets no order through against {SKIP}" in say("why", patient_of(road))
    road.send(ordered(0, 0.25), dispensed(3, 0.25), dispensed(30, 0.25, "second"), ordered(36, 1.0, "high"))
    assert "lets an order of wegovy_inj through" in say("why", patient_of(road))
    assert road.one("select dose_mg from phi.medication_courses") == 1.0


# From the UI


def launch(**config: Any) -> dg.ExecuteInProcessResult:
    return wiring.override_order.execute_in_process(
        run_config={"ops": {"let_order_through": {"config": config}}}, resources={"road": Road()}, raise_on_error=False
    )


def chosen(order: str, **more: Any) -> dict[str, Any]:
    told = {
        "order_event_id": order, "rules": ["SKIP_A_STEP_UP"], "reason": "PRIOR_THERAPY_DOCUMENTED", "role": "PROVIDER",
        "ground": "READ_THE_RECORD", "actor": "provider-7",
    }  # fmt: skip
    return told | more


def outputs(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert done.success
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def failure(done: dg.ExecuteInProcessResult) -> str:
    assert not done.success
    return " ".join(str(e.event_specific_data) for e in done.all_events if e.is_step_failure)


def test_the_launchpad_offers_what_the_contract_allows_and_no_more():
    findings = CONTRACT.medication.findings
    assert {rule.value for rule in wiring.OrderRule} == {name for name in findings if may_let_through(CONTRACT, name)}
    given = [may_let_through(CONTRACT, name) for name in findings]
    longest = max(CONTRACT.override_reasons[code].min_text for may in given for codes in may.values() for code in codes)
    assert [one for one in wiring.OrderGround if one.value and len(one.value) < longest] == []


def test_the_job_is_a_dry_run_until_told_otherwise_and_then_lets_the_order_through(road: SmallRoad):
    order = refused(road)
    assert outputs(launch(**chosen(order))) == {"dry run": True, "stood": "rejected", "would be": "overridden"}
    assert history(road)[-1] == ("rejected", SKIP)
    done = outputs(launch(**chosen(order, dry_run=False)))
    assert (done["is now"], done["dead"]) == ("overridden", 0)
    assert history(road)[-1] == ("made", "step_up_order")


def test_what_may_not_be_is_told_to_dagster_without_the_rule_and_no_words_of_ones_own_reach_it(road: SmallRoad):
    order = refused(road)
    for config, says in (
        ({"rules": ["STEP_UP_BEFORE_MIN_DAYS"]}, "it would change nothing"),
        ({"role": "PHARMACIST", "reason": "CONSULTED_PRESCRIBER"}, "let through by provider alone"),
        ({"reason": "NOT_SAID"}, "`reason_code` must be one of"),
        ({"ground": "NOT_SAID"}, "must say why"),
        ({"order_event_id": "nothing"}, "must be an id"),
        ({"order_event_id": str(patient_of(road))}, "no order is known by this event"),
        ({"actor": ""}, "must be a string of 1 to 255"),
    ):
        told = failure(launch(**chosen(order, dry_run=False, **config)))
        assert says in told, config
        assert SKIP not in told
    for config in ({"ground": TEXT}, {"text": TEXT}, {"rules": ["OVERLAP_TWO_GLP1"]}):
        with pytest.raises(dg.DagsterInvalidConfigError):
            launch(**chosen(order, **config))
    assert road.one("select count(*) from phi.events where type = 'medication.order_overridden'") == 0
    done = launch(**chosen(order, dry_run=False))
    everything = " ".join(str(event) for event in done.all_events)
    assert not any(word in everything for word in ("Canary", "wegovy", patient_of(road)))


def test_a_fault_of_ours_in_a_persons_word_is_told_to_dagster_without_what_it_failed_on(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any) -> None:
        raise ValueError("Jane Canary")

    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    order = refused(road)
    monkeypatch.setattr(orders, "judge", fails)
    done = launch(**chosen(order, dry_run=False))
    assert "error ID" in failure(done)
    assert "Canary" not in "".join(map(str, done.all_events))


def test_orders_that_were_let_through_are_counted_by_rule_reason_and_role(road: SmallRoad):
    override(refused(road), SKIP)
    told = {"rule": SKIP, "reason": "PRIOR_THERAPY_DOCUMENTED", "role": "provider", "orders": 1, "lately": 1}
    assert ask("medication", "drift")["overrides"] == [told]
    assert f"let through by provider against {SKIP}, reason PRIOR_THERAPY_DOCUMENTED: 1" in say("medication", "drift")
    assert f"overridden {SKIP}:PRIOR_THERAPY_DOCUMENTED  " in say("medication", "drift")
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([count_treatments], instance=instance, resources={"road": Store(road)})
        told_of = [event.materialization.metadata for event in done.get_asset_materialization_events()]
        passed = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
    numbers = {name: value.value for metadata in told_of for name, value in metadata.items()}
    assert numbers["let through"] == numbers["let through in 30 days"] == numbers["overridden"] == 1
    assert numbers["let through, reason PRIOR_THERAPY_DOCUMENTED"] == numbers["let through, role provider"] == 1
    assert passed["no_illegal_moves"]
