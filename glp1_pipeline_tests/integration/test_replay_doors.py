"""The doors of replay, tasks, trace, hops and metrics: the command line and Dagster's job, against a real Postgres."""

from __future__ import annotations

import base64
import json
import re
import socket
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import hops, matches, metrics, replay
from glp1_pipeline.adapters.balance import Balance
from glp1_pipeline.adapters.balance_parts import Part
from glp1_pipeline.cli import main
from glp1_pipeline.defs.delivery import deliver, deliver_to_crm
from glp1_pipeline.defs.hops import measure_hops
from glp1_pipeline.defs.intake import receive
from glp1_pipeline.defs.maintenance import maintenance
from glp1_pipeline.defs.matches import decide_match
from glp1_pipeline.defs.partitions import today
from glp1_pipeline.defs.recovery import count_ledger, of_today
from glp1_pipeline.defs.replay import replay_events
from glp1_pipeline.defs.resources import Road, contract
from glp1_pipeline_tests.small_road import (
    RING,
    SmallRoad,
    amendment,
    connect,
    small_road,
    submission,
)


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
        yield made.under(contract())


def ask(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


BY = ("--actor", "steward-7", "--reason", "code table corrected")


# Open tasks


def test_the_work_of_a_queue_is_listed_by_what_is_due_first_with_whose_it_is_and_what_is_left_out_is_told(
    road: SmallRoad,
):
    road.send(submission(1, **{"hx.suicide": "active"}), submission(2, **{"hx.mtc_personal": "unsure"}))
    found = ask("tasks")
    assert (
        found["in_all"] == len(found["tasks"]) == road.one("select count(*) from ops.tasks where status = 'open'") > 2
    )
    assert [one["due"] for one in found["tasks"]] == sorted(one["due"] for one in found["tasks"])
    urgent = ask("tasks", "--queue", "on-call")["tasks"]
    assert [one["queue"] for one in urgent] == ["on-call"] * len(urgent) != []
    assert ask("tasks", "--overdue") == {"tasks": [], "in_all": 0}
    road.connection.execute("update ops.tasks set due_at = now() - interval '90 min' where queue = 'on-call'")
    assert [one["task"] for one in ask("tasks", "--overdue")["tasks"]] == [one["task"] for one in urgent]
    told = CliRunner().invoke(main, ["tasks", "--limit", "1"]).output
    assert "OVERDUE, due 2 h ago" in told
    assert f"patient {urgent[0]['patient_id']}  {urgent[0]['owner']}" in told
    assert f"and {found['in_all'] - 1} more" in told
    assert "no open task is so" in CliRunner().invoke(main, ["tasks", "--queue", "pharmacy"]).output
    misspelled = CliRunner().invoke(main, ["tasks", "--queue", "oncall"])
    assert misspelled.exit_code == 2, "a misspelled name must not look like a queue without work"
    assert "on-call, " in misspelled.stderr


@pytest.mark.parametrize("listed", [("events", "--status", "charted"), ("mapping", "unmapped")])
def test_a_list_that_its_limit_ends_says_that_more_may_follow(road: SmallRoad, listed: tuple[str, ...]):
    road.send(
        submission(1, **{"hx.gallbladder": "took it out"}), submission(2, **{"hx.gallbladder": "took them all out"})
    )
    say = lambda limit: CliRunner().invoke(main, [*listed, "--limit", limit]).output.splitlines()  # noqa: E731
    assert len(say("3")) == 2
    assert len(say("1")) == 2
    assert say("1")[-1] == "no more than 1 are shown: a larger --limit shows what may follow"


# Replay


def test_without_apply_the_command_says_what_it_would_change_and_its_plan_can_be_approved(road: SmallRoad):
    road.send(submission(1), submission(2))
    road.connection.execute(
        "update phi.patient_values set doc = (doc::jsonb - 'hx.men2')::json"
    )  # as an older contract would have it
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
    looked = CliRunner().invoke(main, ["replay", "--status", "charted"]).stdout
    (planned, *_) = ask("replay", "list")
    assert f"glp1 replay approve {planned['plan_id']}" in looked.splitlines()[-1]
    assert "applied" in CliRunner().invoke(main, ["replay", "list"]).output


def test_a_filter_that_no_event_fits_says_where_the_names_are(road: SmallRoad):
    road.send(submission(1))
    assert "glp1 reconcile --parts" in ask("replay", "--type", "intake.submited")["hint"]
    assert "hint" not in ask("replay", "--type", "intake.submitted")


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


def test_dead_writes_are_tried_again_or_decided_anew_by_somebody_whose_reason_is_kept(road: SmallRoad):
    road.send(submission(1))
    road.connection.execute("update ops.writes set status = 'dead', last_class = 'rejected' where target = 'ehr'")
    looked = ask("replay", "--dead-writes")
    assert (looked["dead_writes"], looked["patients_refused_for_what_is_said"]) == (1, 1)
    assert "--anew is about dead writes" in ask("replay", "--day", "2026-11-23", "--anew", code=2)
    assert "says who wanted it" in ask("replay", "--dead-writes", "--anew", "--apply", code=2)
    done = ask("replay", "--dead-writes", "--anew", "--apply", *BY)
    assert (done["writes_given_up"], done["writes_decided_anew"], done["writes_tried_again"]) == (1, 1, 0)
    found = road.rows("select status from ops.writes where target = 'ehr' order by n")
    assert found == [("cancelled",), ("ready",)]
    (line,) = (road.folder / "audit.ndjson").read_text().splitlines()
    kept = json.loads(line)
    assert (kept["what"], kept["actor"], kept["reason"], kept["writes"], kept["anew"]) == (
        "replay.dead_writes", "steward-7", "code table corrected", 1, True,
    )  # fmt: skip


def test_the_job_is_a_dry_run_until_somebody_says_who_and_why(road: SmallRoad):
    first = submission(1)
    road.send(first, submission(2))
    before = road.fingerprint()
    seen = outputs(launch(statuses=["charted"]))
    assert (seen["dry run"], seen["events"], seen["difference"], seen["state"]) == (True, 2, {}, "planned")
    refused = launch(plan_id=seen["plan"], dry_run=False)
    assert not refused.success
    assert any("an actor and a reason" in str(e.event_specific_data) for e in refused.all_events if e.is_step_failure)
    done = outputs(launch(plan_id=seen["plan"], dry_run=False, actor="steward-7", reason="CODE_MENDED"))
    assert (done["state"], done["done"], done["state changed"]) == ("applied", 2, False)
    assert done["receipt"]["actor"] == "steward-7"
    assert road.fingerprint() == before
    assert not launch().success


@pytest.mark.parametrize("field", ["event_ids", "patients", "days"])
def test_what_cannot_be_read_in_the_launchpad_is_told_by_its_field_and_not_repeated(road: SmallRoad, field: str):
    failed = [str(e.event_specific_data) for e in launch(**{field: ["Canary"]}).all_events if e.is_step_failure]
    assert any(f"`{field}`: " in text for text in failed)
    assert "Canary" not in "".join(failed)


@pytest.mark.parametrize(
    ("field", "typed", "known"),
    [("statuses", "daed", "charted, dead, rejected, waiting"), ("types", "intake.submited", "intake.submitted")],
)
def test_a_typo_in_the_launchpad_is_told_with_the_words_that_there_are_and_is_no_replay_of_nothing(
    road: SmallRoad, field: str, typed: str, known: str
):
    (failed,) = [str(e.event_specific_data) for e in launch(**{field: [typed]}).all_events if e.is_step_failure]
    assert f"`{field}`: each must be one of" in failed
    assert known in failed
    assert typed not in failed


def test_a_choice_in_the_launchpad_that_no_event_fits_says_where_the_names_are(road: SmallRoad):
    told = outputs(launch(sources=["/nobody"]))
    assert told["events"] == 0
    assert "glp1 reconcile --parts" in told["hint"]


@pytest.mark.parametrize("asset", [receive, deliver, deliver_to_crm], ids=lambda asset: asset.op.name)
def test_a_run_that_was_launched_without_a_day_says_how_to_choose_one_and_does_nothing(
    road: SmallRoad, asset: dg.AssetsDefinition
):
    road.drop("a.json", submission(1))
    done = dg.materialize([asset], resources={"road": Road()}, raise_on_error=False)
    (failed,) = [str(e.event_specific_data) for e in done.all_events if e.is_step_failure]
    assert "fill in *Partition*" in failed
    assert road.one("select count(*) from phi.events") == 0


def test_a_number_out_of_its_bounds_is_told_by_its_field(road: SmallRoad, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    done = maintenance.execute_in_process(
        run_config={"ops": {"prune": {"config": {"minutes": 0}}}}, resources={"road": Road()}, raise_on_error=False
    )
    (failed,) = [str(e.event_specific_data) for e in done.all_events if e.is_step_failure]
    assert "`minutes`: input should be greater than 0" in failed


def test_no_words_of_ones_own_reach_dagster(road: SmallRoad):
    """Run config and metadata are kept by Dagster and shown to all who see its UI."""
    road.send(submission(1))
    words = "the mother of Wendell Canary called"
    for config in ({"reason": words}, {"reason": words, "actor": "steward-7", "dry_run": False}):
        with pytest.raises(dg.DagsterInvalidConfigError):
            launch(statuses=["charted"], **config)
        with pytest.raises(dg.DagsterInvalidConfigError):
            decide_match.execute_in_process(
                run_config={"ops": {"decide": {"config": config}}}, resources={"road": Road()}
            )
    plan_id = ask("replay", "--status", "charted")["plan_id"]
    replay.approve(road.connection, uuid.UUID(plan_id), "steward-7", words)
    done = launch(plan_id=plan_id)
    assert done.success
    assert outputs(done)["plan"] == plan_id
    assert not any("Canary" in str(event) for event in done.all_events)


def test_a_steward_chooses_a_reason_in_the_ui_and_it_is_kept_with_the_event(road: SmallRoad):
    road.send(submission(1), submission(2))
    first, second = (str(record) for (record,) in road.rows("select patient_id from phi.charts order by received_at"))
    told = {"action": "MERGE", "first": first, "second": second, "actor": "steward-7", "dry_run": False}

    def launched(**config: Any) -> bool:
        return decide_match.execute_in_process(
            run_config={"ops": {"decide": {"config": told | config}}}, resources={"road": Road()}, raise_on_error=False
        ).success

    assert not launched()  # no reason was chosen
    assert launched(reason="SEEN_TOGETHER")
    ((event_id, kid, body),) = road.rows("select event_id, kid, body from phi.events where type = 'patient.merged'")
    event = json.loads(road.cipher.open(kid, bytes(body), f"events|{event_id}"))
    assert event["data"]["reason"] == "seen together"
    assert road.one("select count(*) from phi.charts") == 1


def test_who_decides_sees_two_records_in_plain_words_and_where_they_are_the_same(road: SmallRoad):
    born = {"demo.dob": "1967-05-16"}
    road.send(submission(1, **born), submission(2, **born))
    pair = [str(record) for (record,) in road.rows("select patient_id from phi.charts order by received_at")]
    shown = CliRunner().invoke(main, ["match", "show", *pair]).stdout.splitlines()
    assert [line for line in shown if re.fullmatch(r"birth date +=  1967-05-16 +\|  1967-05-16", line)]
    assert len({line.index("|") for line in shown}) == 1
    assert not any("[" in line for line in shown)


def test_a_fault_of_ours_in_a_decision_is_told_to_dagster_without_what_it_failed_on(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any) -> None:
        raise ValueError("Jane Canary")

    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    road.send(submission(1), submission(2))
    first, second = (str(record) for (record,) in road.rows("select patient_id from phi.charts order by received_at"))
    told = {"action": "MERGE", "first": first, "second": second, "actor": "steward-7", "dry_run": False}
    monkeypatch.setattr(matches, "append", fails)
    done = decide_match.execute_in_process(
        run_config={"ops": {"decide": {"config": told | {"reason": "SEEN_TOGETHER"}}}},
        resources={"road": Road()}, raise_on_error=False,
    )  # fmt: skip
    assert not done.success
    assert "Canary" not in "".join(map(str, done.all_events))


def test_a_fault_of_ours_in_a_replay_is_not_said_to_be_a_wrong_id(road: SmallRoad, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(replay, "dry_run", fails)
    failed = [str(e.event_specific_data) for e in launch(statuses=["charted"]).all_events if e.is_step_failure]
    assert any("a fault of ours" in text for text in failed)
    assert not any("Launchpad" in text or "UUID" in text for text in failed)


# Trace


def settle_writes(road: SmallRoad) -> None:
    """As if each write had been brought to the EHR: refused once, then taken, two seconds after it was decided."""
    road.connection.execute(
        "update ops.writes set status = 'delivered', tries = 2, settled_at = created_at + interval '2 seconds'"
        " where target = 'ehr'"
    )
    for attempt, status, outcome, trouble in ((1, 503, "retry", "unavailable"), (2, 200, "delivered", None)):
        road.connection.execute(
            "insert into ops.deliveries (write_id, attempt, at, ms, http_status, outcome, trouble, delivered_on) select"
            " write_id, %s, now(), 12.5, %s, %s, %s, (now() at time zone 'utc')::date from ops.writes where target = 'ehr'",
            (attempt, status, outcome, trouble),
        )


def test_the_journey_of_an_event_is_told_from_its_drop_to_the_answer_of_the_ehr(road: SmallRoad):
    first = submission(1)
    for run, event in (
        ("run-1", first),
        ("run-2", amendment(first, 1, {"anthro.weight": {"value": 90, "unit": "kg"}})),
    ):
        road.connection.execute("select set_config('glp1.run_id', %s, false)", (run,))  # as a run of Dagster does
        road.send(event)
    settle_writes(road)
    ids = [str(event) for (event,) in road.rows("select event_id from phi.events order by seq")]
    ask("replay", "--event", ids[0], "--apply", *BY)
    told = [ask("trace", event) for event in ids]
    for n, journey in enumerate(told):
        assert (journey["type"], journey["status"], journey["line"]) == (
            ("intake.submitted", "intake.amended")[n],
            "charted",
            1,
        )
        (write,) = [write for write in journey["writes"] if write["target"] == "ehr"]
        assert (write["n"], write["status"], write["tries"]) == (n + 1, "delivered", 2)
        assert [(a["attempt"], a["http_status"], a["outcome"]) for a in write["attempts"]] == [
            (1, 503, "retry"),
            (2, 200, "delivered"),
        ]
        assert {journey["taken_by_run"], journey["settled_by_run"], write["run"]} == {f"run-{n + 1}"}
        assert [a["trouble"] for a in write["attempts"]] == ["unavailable", None]
        assert journey["hops"][f"change to ehr ({write['write']})"] == 2
        assert 0 <= journey["hops"]["receipt to charted"] < 60  # a replay later is no part of it
    assert told[0]["queue"]["entered_at"] is not None
    assert "receipt to queue" in told[0]["hops"]
    assert [len(journey["replays"]) for journey in told] == [1, 0]
    assert {write["target"] for write in told[0]["writes"]} == {"ehr", "crm"}
    shown = CliRunner().invoke(main, ["trace", ids[0]]).output
    assert "HTTP 503" in shown
    assert "(run run-1)" in shown
    times = [line[:26] for line in shown.splitlines() if line.startswith("20")]
    assert len(times) > 6
    assert times == sorted(times)
    assert "Canary" not in shown + json.dumps(told)
    assert "no event has this id" in ask("trace", str(uuid.uuid4()), code=1)


def test_a_line_that_was_refused_has_a_journey_that_ends_there(road: SmallRoad):
    road.send(b"no event")
    (event,) = [str(event) for (event,) in road.rows("select event_id from phi.events")]
    journey = ask("trace", event)
    assert (journey["status"], journey["reason"], journey["writes"], journey["hops"]) == (
        "rejected",
        "malformed_json",
        [],
        {},
    )
    assert "malformed_json" in CliRunner().invoke(main, ["trace", event]).output


# Hops


def test_hops_are_counted_with_their_times_errors_and_duplicates(road: SmallRoad):
    first = submission(1)
    road.send(first, submission(2))
    road.send(first, b"no event")
    settle_writes(road)
    found = hops.measure(road.connection, ("crm", "ehr"))
    by_name = {(hop.hop, hop.target, hop.window): hop for hop in found.hops}
    assert by_name["receipt_to_charted", "", "1h"].count == 2
    assert by_name["receipt_to_queue", "", "24h"].count == 2
    to_ehr = by_name["change_to_delivered", "ehr", "1h"]
    assert (to_ehr.count, to_ehr.p50, to_ehr.p95) == (2, 2, 2)
    assert (by_name["change_to_delivered", "crm", "1h"].count, by_name["change_to_delivered", "crm", "1h"].p50) == (
        0,
        None,
    )
    assert found.attempts["ehr", "1h", "retry"] == found.attempts["ehr", "1h", "delivered"] == 2
    assert found.error_rate("ehr", "1h") == 0.5
    assert found.error_rates("ehr", "1h") == {"unavailable": 0.5}
    assert (found.duplicates, found.lines, found.queue) == (1, 4, 2)
    assert found.events == {"waiting": 0, "rejected": 1, "dead": 0}
    assert found.writes["crm", "ready"] == 2
    assert found.oldest["change_to_delivered", "crm"] > 0
    assert found.oldest["change_to_delivered", "ehr"] == found.oldest["receipt_to_charted", ""] == 0


def test_the_hops_of_an_empty_ledger_are_no_numbers_of_nothing(road: SmallRoad):
    found = hops.measure(road.connection, ("crm", "ehr"))
    assert {(hop.count, hop.p50, hop.p95) for hop in found.hops} == {(0, None, None)}
    assert found.error_rate("ehr", "1h") == 0


def test_the_asset_hops_has_numbers_that_plot(road: SmallRoad):
    road.send(submission(1))
    settle_writes(road)
    done = dg.materialize([measure_hops], resources={"road": Road()})
    (event,) = done.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert told["change to delivered ehr: seconds (median)"] == 2
    assert (told["ehr: error rate"], told["ehr: error rate, unavailable"]) == (0.5, 0.5)
    assert all(isinstance(value, (int, float)) for value in told.values())


def test_the_asset_of_the_balance_counts_today_by_source_and_type_and_its_check_is_an_error_when_one_is_lost(
    road: SmallRoad,
):
    road.send(submission(1), submission(2), b"no event")

    def counted() -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
        done = dg.materialize([count_ledger], resources={"road": Road()}, raise_on_error=False)
        (event,) = done.get_asset_materialization_events()
        (check,) = done.get_asset_check_evaluations()
        told = dict(event.materialization.metadata)
        table = told.pop("today", None)
        rows = table.records if isinstance(table, dg.TableMetadataValue) else []
        parts = {row.data["source"]: row.data for row in rows}
        return {name: value.value for name, value in told.items()} | {"parts": parts}, check

    told, check = counted()
    parts = told.pop("parts")
    assert (told["received"], told["days, sources and types"], told["of them out of balance"]) == (3, 2, 0)
    (source,) = [name for name in parts if re.fullmatch(r"source-\w{4}", name)]
    assert (parts[source]["type"], parts[source]["charted"]) == ("intake.submitted", 2)
    assert (parts["unreadable"]["rejected"], parts["unreadable"]["waiting"]) == (1, 0)
    assert all(isinstance(value, (int, float, bool)) for value in told.values())
    assert check.passed
    road.connection.execute("delete from phi.events where status = 'rejected'")
    told, check = counted()
    assert (check.passed, check.severity, told["of them out of balance"]) == (False, dg.AssetCheckSeverity.ERROR, 1)
    assert "unreadable: 1 received, 0 in the ledger" in str(check.description)
    parts = json.loads(ask("reconcile", "--no-ehr", "--no-crm", "--parts", code=1))["parts"]
    (part,) = [one for one in parts if not one["type"]]
    assert (part["source"], part["received"], part["rejected"]) == ("unreadable", 1, 0)


def test_a_sender_who_calls_itself_otherwise_in_each_event_makes_no_endless_list_of_numbers():
    parts = [Part(today(), f"source-{n:04x}", "intake.submitted", received=n) for n in range(1_000)]
    told = of_today(Balance(parts=parts))
    assert isinstance(told["today"], dg.TableMetadataValue)
    rows = told["today"].records
    assert len(rows) < 50
    assert (rows[0].data["source"], rows[0].data["received"]) == ("source-03e7", 999)
    assert (told["days, sources and types"], told["of them out of balance"]) == (1_000, 999)


def test_a_port_that_is_taken_is_said_in_a_sentence_with_the_way_on(road: SmallRoad):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = CliRunner().invoke(main, ["metrics", "--serve", str(port)])
    assert told.exit_code == 1
    assert told.stderr.startswith(f"Error: port {port} of 127.0.0.1 cannot be listened on")
    assert "choose another" in told.stderr


NAME = re.compile(r"\bglp1_[a-z_]+")


def test_every_name_of_the_dashboard_is_in_the_exposition_and_no_value_of_a_patient_is(road: SmallRoad):
    road.send(submission(1), b"no event")
    settle_writes(road)
    told = CliRunner().invoke(main, ["metrics"]).output
    assert told.endswith("# EOF\n")
    samples = {line.split("{")[0].split(" ")[0] for line in told.splitlines() if not line.startswith("#")}
    dashboard = json.loads((Path(__file__).parents[2] / "docs" / "grafana" / "hops.json").read_text())
    asked = {
        name for panel in dashboard["panels"] for target in panel["targets"] for name in NAME.findall(target["expr"])
    }
    assert asked
    assert asked <= samples
    assert samples <= asked, "a number that nobody looks at"
    labels = {value for line in told.splitlines() for value in re.findall(r'="([^"]*)"', line)}
    assert labels <= {
        "", "crm", "ehr", "1h", "24h", "0.5", "0.95", "receipt_to_charted", "receipt_to_queue", "change_to_delivered",
        "waiting", "rejected", "dead", "ready", "in_doubt", "delivered", "retry", "unavailable",
    }  # fmt: skip


def test_a_scraper_is_answered_on_loopback_alone_and_several_at_once_cost_one_look(road: SmallRoad):
    looks = []

    def connected() -> Any:
        looks.append(1)
        return connect(road.url)

    server, port = metrics.serve(connected, 0)
    try:
        assert server.server_address[0] == "127.0.0.1"
        for _ in range(3):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert "openmetrics-text" in answer.headers["Content-Type"]
                assert b"glp1_hop_count" in answer.read()
        assert len(looks) <= 2  # registering looks once, too
    finally:
        server.shutdown()
        server.server_close()
