"""The doors of rollback: the command line and Dagster's job, against a real Postgres and a real EHR."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from click.testing import CliRunner

from glp1_pipeline.cli import main
from glp1_pipeline.defs import resources
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.defs.rollback import rollback_writes, rollbacks_due
from glp1_pipeline_tests.rollbacks import Told
from glp1_pipeline_tests.small_road import (
    RING,
    small_road,
    submission,
)

from .conftest import EhrProcess

BY = ("--actor", "steward-7", "--reason", "wrong spelling")


@pytest.fixture
def told(url: str, ehr: EhrProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """One delivered patient, on a road that the doors reach by their settings."""
    ring = tmp_path / "secrets" / "keys.json"
    ring.parent.mkdir()
    keys = {name: base64.b64encode(key).decode() for name, key in RING.keys.items()}
    patient_key = base64.b64encode(RING.patient_key).decode()
    ring.write_text(json.dumps({"active": RING.active, "keys": keys, "patient_key": patient_key}))
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_EHR_URL", ehr.url)
    resources._ehr.cache_clear()
    with small_road(url, tmp_path) as road:
        made = Told(road, ehr.url)
        made.road.connection.execute("select set_config('glp1.run_id', 'run-of-a-mistake', false)")
        made.road.send(submission(1, subject=f"canary-{uuid.uuid4()}"))
        made.deliver()
        yield made
    resources._ehr.cache_clear()


def ask(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, ["rollback", *arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


def test_the_command_plans_shows_is_approved_applies_and_releases(told: Told):
    found = ask("plan", "--run", "run-of-a-mistake", "--since", "2026-01-01", "--target", "ehr")
    assert (found["dry_run"], found["writes"], found["would_write"]) == (True, 1, 1)
    assert found["difference"]["resources"]["Patient"] == {"no_such_status": 1}
    assert (found["left"], found["taken_back"] > 10) == (1, True)
    plan = found["plan_id"]
    (planned,) = ask("list")
    assert (planned["plan_id"], planned["state"], planned["writes"]) == (plan, "planned", 1)
    assert "approve` first" in ask("apply", plan, code=1)
    assert "needs an actor and a reason" in ask("approve", plan, "--actor", "steward-7", code=1)
    assert "only what was taken back" in ask("release", plan, *BY, code=1)
    assert ask("approve", plan, *BY)["state"] == "approved"
    assert ask("stop", plan)["state"] == "stopped"
    done = ask("apply", plan, *BY)
    assert (done["state"], done["done"], done["sent"]) == ("applied", 1, {"ready": 1})
    assert done["changed"] == done["predicted"] == found["difference"]
    assert done["held"] == done["taken_back"] == found["taken_back"]
    told.deliver()
    receipt = ask("show", plan)
    assert (receipt["actor"], receipt["reason"], receipt["sent"]) == ("steward-7", "wrong spelling", {"delivered": 1})
    assert [one["why"] for one in receipt["left"]] == ["no_such_status"]
    assert set(told.statuses().values()) == {"entered-in-error"}
    assert ask("release", plan, *BY)["released"] == done["held"]
    assert "nothing to stop" in ask("stop", plan, code=1)
    assert "no plan has this id" in ask("show", str(uuid.uuid4()), code=1)
    assert "say what to take back: --write" in ask("plan", code=2)
    assert "say what to take back: --write" in ask("plan", "--target", "ehr", code=2)
    assert "no patient" in ask("plan", "--patient", "nobody", code=1)
    for command in ("list", "show", "stop"):
        text = CliRunner().invoke(main, ["rollback", command, *([] if command == "list" else [plan])]).output
        assert "applied" in text


def test_no_door_tells_a_value(told: Told):
    plan = ask("plan", "--run", "run-of-a-mistake")["plan_id"]
    ask("apply", plan, *BY)
    said = json.dumps(ask("show", plan)) + json.dumps(ask("list"))
    for (value,) in told.road.rows(
        "select value ->> 'value' from phi.patient_values, json_each(doc) where starts_with(key, 'demo.')"
    ):
        assert value is None or f'"{value}"' not in said
    assert "Canary" not in said


def launch(**config: Any) -> dg.ExecuteInProcessResult:
    return rollback_writes.execute_in_process(
        run_config={"ops": {"take_back": {"config": config}}}, resources={"road": Road()}, raise_on_error=False
    )


def outputs(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def failure(done: dg.ExecuteInProcessResult) -> str:
    assert not done.success
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_FAILURE"]
    return str(event.step_failure_data.user_failure_data or event.step_failure_data.error)


def test_the_job_is_a_dry_run_until_somebody_says_who_and_why(told: Told):
    before = told.says()
    seen = outputs(launch(run_ids=["run-of-a-mistake"], since="2026-01-01T00:00"))
    assert (seen["dry run"], seen["state"], seen["writes"], seen["held"]) == (True, "planned", 1, 0)
    assert told.road.one("select count(*) from ops.writes") == 1
    assert told.says() == before
    assert "actor and a reason" in failure(launch(plan_id=seen["plan"], dry_run=False))
    assert "say what to take back" in failure(launch())
    assert "`patients`: no UUID" in failure(launch(patients=["nobody"]))
    assert "`since`: an instant" in failure(launch(since="yesterday"))
    assert "`targets`: each must be one of crm, ehr" in failure(launch(targets=["her"], since="2026-01-01T00:00"))
    done = launch(plan_id=seen["plan"], dry_run=False, actor="steward-7", reason="CODE_MAP")
    found = outputs(done)
    assert (found["state"], found["taken back"], found["left"]) == ("applied", seen["taken back"], 1)
    assert found["difference"] == seen["difference"]
    # What a run writes says so: this run's own writes can be chosen by it.
    told.deliver()
    (made,) = told.road.rows("select write_id from ops.writes where run_id = %s", done.run_id)[0]
    assert told.road.one("select max(undone_by) from ops.rollback_plan_writes") == made
    assert ask("plan", "--write", str(made))["writes"] == 1
    assert ask("plan", "--run", done.run_id)["writes"] == 0
    assert set(told.statuses().values()) == {"entered-in-error"}


def test_an_ehr_that_does_not_answer_is_said_in_a_sentence_and_the_plan_goes_on_later(told: Told, monkeypatch):
    plan = ask("plan", "--run", "run-of-a-mistake")["plan_id"]
    monkeypatch.setenv("GLP1_EHR_URL", "http://127.0.0.1:9/fhir")
    resources._ehr.cache_clear()
    assert "the EHR does not tell" in ask("apply", plan, *BY, code=1)
    assert "the EHR does not tell" in failure(launch(plan_id=plan, dry_run=False, actor="steward-7", reason="DRILL"))
    monkeypatch.setenv("GLP1_EHR_URL", told.ehr.settings.url)
    resources._ehr.cache_clear()
    assert ask("apply", plan)["state"] == "applied"


def test_what_was_on_its_way_is_gone_on_with_by_the_sensor_once_it_is_settled(told: Told):
    told.road.connection.execute("select set_config('glp1.run_id', 'run-of-another', false)")
    told.road.send(submission(2, subject=f"canary-{uuid.uuid4()}"))

    def sensed() -> dg.RunRequest | dg.SkipReason:
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(instance=instance, resources={"road": Road()}) as context,
        ):
            return cast(Any, rollbacks_due(context))

    plan = ask("plan", "--run", "run-of-another", "--target", "ehr")["plan_id"]
    assert isinstance(sensed(), dg.SkipReason)
    waiting = ask("apply", plan, *BY, "--wait", "0")
    assert (waiting["state"], waiting["done"], waiting["waiting"]) == ("applying", 0, 1)
    assert isinstance(sensed(), dg.SkipReason)
    told.deliver()
    asked = sensed()
    assert isinstance(asked, dg.RunRequest)
    found = outputs(
        rollback_writes.execute_in_process(
            run_config=asked.run_config, resources={"road": Road()}, raise_on_error=False
        )
    )
    assert (found["state"], found["done"]) == ("applied", 1)
    receipt = ask("show", plan)
    assert (receipt["actor"], receipt["reason"], receipt["sent"]) == ("steward-7", "wrong spelling", {"ready": 1})
    assert isinstance(sensed(), dg.SkipReason)
