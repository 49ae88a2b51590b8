"""People's word on refills: who may let a held request go on, for what, until when; from the command line and the UI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters.refills import explain, saying
from glp1_pipeline.cli import main
from glp1_pipeline.cli.refill_word import RESOLUTIONS
from glp1_pipeline.defs import override as wiring
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.events import refill as events
from glp1_pipeline.domain.refill import may_override
from glp1_pipeline_tests.refill_road import (
    NEW_FLAG,
    SIDE_EFFECT,
    begin_lately,
    held,
    patient_of,
    reachable_road,
    ring,
    stands,
)
from glp1_pipeline_tests.refills import by_provider, checkin, overridden
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad

CONTRACT = contract()
TEXT = "seen by video, Wendell Canary eats and drinks"


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    begin_lately(monkeypatch, 25.5)
    with reachable_road(url, tmp_path, monkeypatch) as made:
        yield made


def later(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M}"


def override(refill_id: str, rule: str, *more: str, code: int = 0, **changed: str) -> Any:
    told = {
        "reason": "ASSESSED_PATIENT", "text": TEXT, "until": later(7), "actor": "provider-7", "role": "provider",
        **changed,
    }  # fmt: skip
    options = [word for name, value in told.items() for word in (f"--{name}", value)]
    done = CliRunner().invoke(main, ["refill", "override", refill_id, "--rule", rule, *options, *more, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


# By command


def test_a_held_request_goes_on_to_the_queue_by_an_event_whose_words_are_sealed(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    seen = override(refill_id, "side_effect", "--dry-run")
    assert seen["before"] == {"outcome": "escalate", "rule": "side_effect"}
    assert seen["after"] == {"outcome": "provider_queue", "rule": "complete"}
    assert road.one("select count(*) from ops.refill_overrides") == 0
    assert stands(road, refill_id) == ("escalate", "side_effect")
    done = override(refill_id, "side_effect")
    assert (done["outcome"], done["rule"], done["status"]) == ("provider_queue", "complete", "charted")
    assert road.rows("select rules, flags, reason, role, actor from ops.refill_overrides") == [
        (["side_effect"], [], "ASSESSED_PATIENT", "provider", "provider-7")
    ]
    assert road.one("select type from phi.events where event_id = %s", done["event_id"]) == "refill.overridden"
    everything = [
        str(road.rows(f"select * from {table}"))  # type: ignore[arg-type]
        for (table,) in road.rows(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname in ('phi', 'ops')"
        )
    ]
    assert not any("eats and drinks" in rows for rows in everything)
    assert road.balance().faults == []


def test_an_override_ends_by_itself_and_the_request_is_held_again(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    road.send(overridden(25.1, "request-25", ["side_effect"], days=0.2))
    ring(road, 25.2)
    assert stands(road, refill_id) == ("provider_queue", "complete")
    assert "let through by provider-7" in CliRunner().invoke(main, ["refill", "show", refill_id]).output
    ring(road, 25.4)
    assert stands(road, refill_id) == ("escalate", "side_effect")


def test_a_worse_side_effect_is_not_let_through_by_the_override_of_another_and_needs_one_of_its_own(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    override(refill_id, "side_effect")
    assert stands(road, refill_id) == ("provider_queue", "complete")
    road.send(checkin(25.6, side_effects=[{"symptom": "reflux", "severity": "severe"}]))
    assert stands(road, refill_id) == ("escalate", "side_effect")
    decision_id = road.one("select decision_id::text from ops.refills where refill_id = %s", refill_id)
    record, _, differs = explain(road.connection, road.cipher, decision_id)
    assert (list(record.doc["overrides"][0]["saw"]), differs) == (["side_effect"], [])
    seen = override(refill_id, "side_effect", "--dry-run")
    assert (seen["before"]["outcome"], seen["after"]["outcome"]) == ("escalate", "provider_queue")
    done = override(refill_id, "side_effect")
    assert (done["outcome"], stands(road, refill_id)) == ("provider_queue", ("provider_queue", "complete"))
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before


def test_a_flag_that_is_raised_later_is_not_let_through_by_an_override_of_another(road: SmallRoad):
    refill_id = held(road, **NEW_FLAG)
    told = override(refill_id, "red_symptom", code=1)
    assert "`data.flags` must name those that are meant" in told
    override(refill_id, "red_symptom", "--flag", "NECK_MASS")
    assert stands(road, refill_id) == ("provider_queue", "complete")
    road.send(checkin(25.6, **NEW_FLAG, jaundice="yes"))
    assert stands(road, refill_id) == ("hold_urgent", "red_symptom")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"role": "pharmacist"}, "reason ASSESSED_PATIENT is for provider"),
        ({"role": "ops_lead"}, "reason ASSESSED_PATIENT is for provider"),
        ({"role": "janitor"}, "`role` one of access.yaml"),
        ({"reason": "BECAUSE"}, "must be one of override_reasons.csv"),
        ({"reason": "VACATION_SUPPLY", "role": "ops_lead"}, "may be overridden for reasons of class: clinical"),
        ({"text": "fine"}, "must say why in 10 to"),
        ({"until": "2020-01-01"}, "must be within 90 days"),
        ({"until": "2099-01-01"}, "must be within 90 days"),
        ({"actor": " "}, "say who decides"),
        ({"actor": "Dr Jane Canary"}, "`data.actor`"),
    ],
)
def test_who_may_not_is_told_why_and_nothing_is_left_behind(road: SmallRoad, changed: dict[str, str], says: str):
    refill_id = held(road, **SIDE_EFFECT)
    before = road.fingerprint()
    assert says in override(refill_id, "side_effect", code=1, **changed)
    assert road.fingerprint() == before


@pytest.mark.parametrize(
    ("answers", "rule", "more", "says"),
    [
        ({"allergic_reaction": "yes"}, "red_symptom", ("--flag", "ALLERGIC_REACTION"), "nobody may override"),
        ({"suicidal": "yes"}, "suicidal", (), "for reasons of class: nobody"),
        ({"pregnant": "yes"}, "pregnant", (), "for reasons of class: nobody"),
        ({"wants": None}, "followup_missing", (), "for reasons of class: nobody"),
        (SIDE_EFFECT, "weight_change", (), "held by rule side_effect: --rule side_effect"),
        (NEW_FLAG, "side_effect", (), "held by rule red_symptom: --rule red_symptom --flag NECK_MASS"),
        (SIDE_EFFECT, "no_such_rule", (), "must name rules"),
        ({}, "side_effect", (), "it is in the provider's queue"),
    ],
)
def test_what_nobody_may_let_through_and_what_would_change_nothing_is_told(
    road: SmallRoad, answers: dict, rule: str, more: tuple[str, ...], says: str
):
    refill_id = held(road, **answers)
    assert says in override(refill_id, rule, *more, code=1)
    assert road.one("select count(*) from ops.refill_overrides") == 0


def test_a_request_that_is_over_or_unknown_is_let_through_by_nobody(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    road.send(by_provider("refill.denied", 25.4, refill_id="request-25", reason_code="seen"))
    assert "the request is denied" in override(refill_id, "side_effect", code=1)
    assert "no request has this id" in override(patient_of(road), "side_effect", code=1)


def test_a_changed_address_may_be_let_through_by_who_answers_for_the_queues(road: SmallRoad):
    refill_id = held(road, address_unchanged="no")
    assert stands(road, refill_id) == ("hold", "administrative")
    by_lead: dict[str, Any] = {"reason": "VACATION_SUPPLY", "role": "ops_lead"}
    override(refill_id, "administrative", "--flag", "ADDRESS_CHANGED", **by_lead)
    assert stands(road, refill_id) == ("provider_queue", "complete")


def test_an_override_goes_with_its_request_when_records_are_joined_and_parted(road: SmallRoad):
    first = held(road)
    second = held(road, "canary-0000002", **SIDE_EFFECT)
    one, other = patient_of(road), patient_of(road, "canary-0000002")
    merged = ["match", "accept", one, other, "--actor", "s-1", "--reason", "one person"]
    assert CliRunner().invoke(main, merged).exit_code == 0
    ((request, status),) = road.rows("select refill_id::text, status from ops.refills where status = 'open'")
    assert request in (first, second)
    parted = ["match", "undo", one, other, "--actor", "s-1", "--reason", "two people"]
    assert CliRunner().invoke(main, parted).exit_code == 0
    override(second, "side_effect")
    assert CliRunner().invoke(main, merged).exit_code == 0
    assert CliRunner().invoke(main, parted).exit_code == 0
    assert stands(road, second) == ("provider_queue", "complete")
    assert road.rows("select patient_id::text, refill_id::text from ops.refill_overrides") == [(other, second)]
    assert road.balance().faults == []
    assert status == "open"


def resolve(*arguments: str, code: int = 0) -> Any:
    who = ("--reason", "seen-in-clinic", "--actor", "provider-7")
    done = CliRunner().invoke(main, ["refill", "resolve", *arguments, *who, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


def test_a_flag_that_nobody_may_override_is_refuted_by_a_provider_and_counts_again_when_it_is_told_again(
    road: SmallRoad,
):
    refill_id = held(road, allergic_reaction="yes")
    confirmed = resolve("canary-0000001", "ALLERGIC_REACTION", "--resolution", "confirmed")
    assert confirmed["status"] == "active"
    assert stands(road, refill_id) == ("hold_urgent", "red_symptom")
    refuted = resolve(patient_of(road), "ALLERGIC_REACTION", "--resolution", "refuted")
    assert (refuted["status"], refuted["flag"]) == ("cleared", "ALLERGIC_REACTION")
    assert stands(road, refill_id)[1] != "red_symptom"
    assert "those that do: none" in resolve("canary-0000001", "ALLERGIC_REACTION", "--resolution", "refuted", code=1)
    assert "no patient" in resolve("nobody", "ALLERGIC_REACTION", "--resolution", "refuted", code=1)
    road.send(checkin(25.6, name="again", allergic_reaction="yes"))
    assert stands(road, refill_id) == ("hold_urgent", "red_symptom")


# From the UI


def launch(**config: Any) -> dg.ExecuteInProcessResult:
    return wiring.override_refill.execute_in_process(
        run_config={"ops": {"let_through": {"config": config}}}, resources={"road": Road()}, raise_on_error=False
    )


def outputs(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert done.success
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def failure(done: dg.ExecuteInProcessResult) -> str:
    assert not done.success
    return " ".join(str(e.event_specific_data) for e in done.all_events if e.is_step_failure)


def chosen(road: SmallRoad, request: str, **more: Any) -> dict[str, Any]:
    decision_id = road.one("select decision_id::text from ops.refills where refill_id = %s", request)
    told = {
        "refill_id": request, "decision_id": decision_id, "rules": ["SIDE_EFFECT"], "reason": "ASSESSED_PATIENT",
        "role": "PROVIDER", "days": 7, "ground": "SAW_THE_PATIENT", "actor": "provider-7",
    }  # fmt: skip
    return told | more


def test_the_launchpad_offers_what_the_contract_allows_and_no_more():
    overridable = {rule.rule for rule in CONTRACT.refills.rules if may_override(CONTRACT, rule.rule)}
    assert {rule.value for rule in wiring.Rule} == overridable
    assert {reason.value for reason in wiring.Reason} == {"", *CONTRACT.override_reasons}
    assert {role.value for role in wiring.Role} == {"", *(r.role for r in CONTRACT.roles.values() if r.overrides)}
    assert max(reason.max_days for reason in CONTRACT.override_reasons.values()) <= 365
    longest = max(reason.min_text for reason in CONTRACT.override_reasons.values())
    assert [one for one in wiring.Ground if one.value and len(one.value) < longest] == []
    assert events.RESOLUTIONS == RESOLUTIONS


def test_a_fault_of_ours_in_a_persons_word_is_told_to_nobody_with_what_it_failed_on(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    """What Python says of a fault quotes the value, and what a job says of a refusal is kept in Dagster."""

    def fails(*_: Any) -> None:
        raise ValueError("Jane Canary")

    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    refill_id = held(road, **SIDE_EFFECT)
    config = chosen(road, refill_id, dry_run=False)
    monkeypatch.setattr(saying, "decide", fails)
    done = launch(**config)
    assert "error ID" in failure(done)
    assert "Canary" not in "".join(map(str, done.all_events))
    words = ["--rule", "side_effect", "--reason", "ASSESSED_PATIENT", "--text", TEXT, "--until", "2099-01-01"]
    words += ["--actor", "provider-7", "--role", "provider"]
    said = CliRunner().invoke(main, ["refill", "override", refill_id, *words])
    assert "Canary" not in said.output


def test_the_job_is_a_dry_run_until_told_otherwise_and_then_lets_the_request_through(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    seen = outputs(launch(**chosen(road, refill_id)))
    assert seen == {"dry run": True, "stood": "escalate", "would be": "provider_queue"}
    assert stands(road, refill_id) == ("escalate", "side_effect")
    done = outputs(launch(**chosen(road, refill_id, dry_run=False)))
    assert (done["is now"], done["dead"]) == ("provider_queue", 0)
    assert stands(road, refill_id) == ("provider_queue", "complete")
    ((since, until),) = road.rows("select since, expires_at from ops.refill_overrides")
    assert timedelta(days=6.9) < until - since <= timedelta(days=7)


def test_the_flags_are_those_of_the_decision_that_the_person_saw(road: SmallRoad):
    refill_id = held(road, **NEW_FLAG)
    config = chosen(road, refill_id, rules=["RED_SYMPTOM"], dry_run=False)
    road.send(checkin(25.4, **NEW_FLAG, jaundice="yes"))
    assert "was decided again since you looked" in failure(launch(**config))
    assert road.one("select count(*) from ops.refill_overrides") == 0
    config = chosen(road, refill_id, rules=["RED_SYMPTOM"], dry_run=False)
    assert outputs(launch(**config))["is now"] == "provider_queue"
    assert road.rows("select flags from ops.refill_overrides") == [(["BILIARY_SYMPTOMS", "NECK_MASS"],)]


def test_what_may_not_be_is_told_without_a_flag_of_the_patient(road: SmallRoad):
    refill_id = held(road, allergic_reaction="yes")
    told = failure(launch(**chosen(road, refill_id, rules=["RED_SYMPTOM"], dry_run=False)))
    assert "nobody may override a flag" in told
    assert not any(flag in told for flag in CONTRACT.flags)
    for config, says in (
        ({"role": "PHARMACIST"}, "reason ASSESSED_PATIENT is for provider"),
        ({"days": 300}, "must be within 90 days"),
        ({"role": "NOT_SAID"}, "`role` one of access.yaml"),
        ({"refill_id": "nothing"}, "must be ids"),
        ({"refill_id": str(patient_of(road))}, "no request has this id"),
        ({"actor": ""}, "say who decides"),
    ):
        assert says in failure(launch(**chosen(road, refill_id, **config))), config


@pytest.mark.parametrize("told", [{"suicidal": "yes"}, {"pregnant": "yes"}, {"side_effects": ["pancreatitis_pain"]}])
def test_which_rule_holds_a_patient_is_not_told_to_dagster(road: SmallRoad, told: dict[str, Any]):
    refill_id = held(road, **told)
    _, rule = stands(road, refill_id)
    said = failure(launch(**chosen(road, refill_id, rules=["SIDE_EFFECT" if rule != "side_effect" else "RED_FLAG"])))
    assert "it would change nothing" in said
    assert "glp1 refill show" in said
    assert rule not in said


def test_no_words_of_ones_own_and_no_name_of_another_rule_reach_dagster(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    for config in (
        {"ground": TEXT},
        {"reason": TEXT},
        {"text": TEXT},
        {"rules": ["SUICIDAL"]},
        {"rules": ["PREGNANT"]},
    ):
        with pytest.raises(dg.DagsterInvalidConfigError):
            launch(**chosen(road, refill_id, **config))
    done = launch(**chosen(road, refill_id, dry_run=False))
    assert done.success
    everything = " ".join(str(event) for event in done.all_events)
    assert not any(word in everything for word in ("nausea", "Canary", patient_of(road)))
    assert not re.search(r"(?<![\w.:-])104(?![\w:-])", everything)  # their weight; within an id or a time it is none
