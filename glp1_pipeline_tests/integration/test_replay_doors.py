"""The doors of replay, trace, hops and metrics: the command line and Dagster's job, against a real Postgres."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from glp1_pipeline import contracts
from glp1_pipeline.cli import main
from glp1_pipeline.defs.replay import replay_events
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.small_road import RING, SmallRoad, migrated_database, small_road, submission


@pytest.fixture(scope="module")
def url() -> str:
    return migrated_database()


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    """A road that the doors reach by their settings."""
    ring = tmp_path / "secrets" / "keys.json"
    ring.parent.mkdir()
    told = {name: base64.b64encode(key).decode() for name, key in RING.keys.items()}
    patient_key = base64.b64encode(RING.patient_key).decode()
    ring.write_text(json.dumps({"active": RING.active, "keys": told, "patient_key": patient_key}))
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    with small_road(url, tmp_path) as made:
        yield made.under(contracts.load())


def ask(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


BY = ("--actor", "steward-7", "--reason", "code table corrected")


# Replay


def test_without_apply_the_command_says_what_it_would_change_and_its_plan_can_be_approved(road: SmallRoad):
    road.send(submission(1), submission(2))
    road.connection.execute("update phi.patient_values set doc = doc - 'hx.men2'")  # as an older contract would have it
    before = road.fingerprint()
    found = ask("replay", "--status", "charted")
    assert (found["dry_run"], found["events"], found["would_write"]) == (True, 2, 0)
    assert found["difference"] == {"fields": {"hx.men2": {"nothing to value": 2}}}
    assert road.fingerprint() == before
    (planned,) = ask("replay", "list")
    assert (planned["plan_id"], planned["state"]) == (found["plan_id"], "planned")
    assert "needs an actor and a reason" in ask("replay", "approve", found["plan_id"], code=1)
    done = ask("replay", "approve", found["plan_id"], *BY)
    assert (done["state"], done["events"], done["new_writes"], done["state_changed"]) == ("applied", 2, 0, True)
    receipt = ask("replay", "show", found["plan_id"])
    assert receipt["changed"] == receipt["predicted"] == found["difference"]
    assert (receipt["actor"], receipt["reason"]) == ("steward-7", "code table corrected")
    assert "nothing to stop" in ask("replay", "stop", found["plan_id"], code=1)
    told = CliRunner().invoke(main, ["replay", "show", found["plan_id"]]).output
    assert "nothing to value" in told
    assert "applied" in CliRunner().invoke(main, ["replay", "list"]).output


def test_a_day_or_an_event_is_replayed_at_once_with_an_actor_and_a_reason(road: SmallRoad):
    road.send(submission(1))
    ((event, day),) = road.rows("select event_id::text, received_on::text from phi.events")
    for chosen in (("--day", day), ("--event", event)):
        assert "--actor and --reason" in ask("replay", *chosen, "--apply", code=2)
        done = ask("replay", *chosen, "--apply", *BY)
        assert (done["dry_run"], done["events"], done["new_writes"], done["state_changed"]) == (False, 1, 0, False)
        assert done["writes_tried_again"] == 0
    assert ask("replay", "--dead-writes")["dead_writes"] == 0
    assert ask("replay", "--dead-writes", "--apply", *BY)["writes_tried_again"] == 0
    assert "say what to replay" in ask("replay", code=2)
    assert "no patient" in ask("replay", "--patient", "nobody", code=1)
    assert "no plan has this id" in ask("replay", "show", str(uuid.uuid4()), code=1)


def launch(**config: Any) -> dg.ExecuteInProcessResult:
    return replay_events.execute_in_process(
        run_config={"ops": {"replay": {"config": config}}}, resources={"road": Road()}, raise_on_error=False
    )


def outputs(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def test_the_job_is_a_dry_run_until_somebody_says_who_and_why(road: SmallRoad):
    first = submission(1)
    road.send(first, submission(2))
    before = road.fingerprint()
    seen = outputs(launch(statuses=["charted"]))
    assert (seen["dry run"], seen["events"], seen["difference"], seen["state"]) == (True, 2, {}, "planned")
    refused = launch(plan_id=seen["plan"], dry_run=False)
    assert not refused.success
    assert any("an actor and a reason" in str(e.event_specific_data) for e in refused.all_events if e.is_step_failure)
    done = outputs(launch(plan_id=seen["plan"], dry_run=False, actor="steward-7", reason="looked well"))
    assert (done["state"], done["done"], done["state changed"]) == ("applied", 2, False)
    assert done["receipt"]["actor"] == "steward-7"
    assert road.fingerprint() == before
    assert not launch(event_ids=["not an id"]).success
    assert not launch().success
