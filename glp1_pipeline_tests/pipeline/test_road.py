"""The whole road, as its users see it: a drop becomes a chart in the EHR, watched in the Dagster UI."""

import io
import json
import time
import uuid

import orjson
import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters.balance import fingerprint
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.cli import main
from glp1_pipeline.definitions import defs
from glp1_pipeline.defs.chart import chart
from glp1_pipeline.metrics_definitions import defs as metrics
from glp1_pipeline.sandbox.samples import differences
from glp1_pipeline_tests.sample_inputs import clean_submission

pytestmark = pytest.mark.timeout(600)

LATEST = """
query Latest($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 5) {
    timestamp partition metadataEntries { label ... on IntMetadataEntry { intValue } }
  } } }
}"""

LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}"""


def drop(running, event) -> None:
    running.road.landing.put(f"{uuid.uuid4()}.json", io.BytesIO(orjson.dumps(event)))


def patient_of(connection, event):
    row = connection.execute("select record_id from phi.identifiers where value = %s", (event["subject"],)).fetchone()
    return row and row[0]


def test_every_sample_reaches_the_state_that_its_story_tells(running, stories):
    with running.connect() as connection:
        wrong = {s.name: found for s in stories if (found := differences(connection, s))}
    assert wrong == {}


def test_a_drop_made_by_hand_is_in_the_queue_and_in_the_ui_within_seconds(running):
    event = clean_submission(900_001)
    begun = time.time()
    drop(running, event)

    def is_queued():
        with running.connect() as connection:
            return connection.execute(
                "select 1 from ops.provider_queue where patient_id = %s", (patient_of(connection, event),)
            ).fetchone()

    running.wait(is_queued, 20, "not in the provider's queue within 20 s")

    def is_shown():
        asset = running.ask(LATEST, {"key": {"path": ["provider_queue"]}})["assetOrError"]
        return [m for m in asset["assetMaterializations"] if float(m["timestamp"]) / 1000 > begun]

    (shown, *_) = running.wait(is_shown, 20, "no fresh materialization in the UI")
    assert {e["label"]: e.get("intValue") for e in shown["metadataEntries"]}["entered"] == 1


def test_the_ehr_and_the_crm_hold_what_we_wrote_and_the_ledger_is_in_balance(running, stories):
    running.settle()
    with running.connect() as connection:
        assert running.faults(connection) == []
        there = compare(connection, running.road.ehr, running.road.cipher)
        told = connection.execute(
            "select count(*) from ops.copies where target = 'crm' and remote ? 'contact'"
        ).fetchone()
    assert there.resources > 20
    assert told > (20,)


def test_replaying_the_day_once_from_the_ui_and_twice_by_command_leaves_the_same_state(running, stories):
    running.settle()
    with running.connect() as connection:
        before = fingerprint(connection)
        (day,) = connection.execute("select max(received_on) from phi.events").fetchone()
        (writes,) = connection.execute("select count(*) from ops.writes").fetchone()
    launched = running.ask(
        LAUNCH,
        {
            "params": {
                "selector": None,
                "assetSelection": [{"path": list(spec.key.path)} for spec in chart.specs],
                "partitionNames": [day.isoformat()],
                "fromFailure": False,
            }
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def is_done(backfill=launched["backfillId"]):
        status = running.ask(
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }",
            {"id": backfill},
        )["partitionBackfillOrError"]["status"]
        assert "FAIL" not in status
        assert "CANCEL" not in status
        return status == "COMPLETED_SUCCESS"

    running.wait(is_done, 120, "the backfill did not end")
    for _ in range(2):
        replayed = CliRunner().invoke(
            main, ["replay", "--day", day.isoformat(), "--apply", "--actor", "test", "--reason", "again", "--json"]
        )
        assert (json.loads(replayed.stdout)["new_writes"], json.loads(replayed.stdout)["state_changed"]) == (0, False)
    with running.connect() as connection:
        assert fingerprint(connection) == before
        assert connection.execute("select count(*) from ops.writes").fetchone() == (writes,)


def test_all_that_is_defined_is_in_the_ui_and_every_sensor_is_at_work(running):
    """What each tells a newcomer is held by the test of the definitions."""
    found = running.ask(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name }"
        " assetNodes { assetKey { path } description }"
        " sensors { name sensorState { status } } schedules { name } jobs { name } } } } }"
    )["repositoriesOrError"]["nodes"]
    there = {repository["location"]["name"]: repository for repository in found}
    assert there.keys() == {"glp1_pipeline", "glp1_metrics"}
    for name, here in (("glp1_pipeline", defs), ("glp1_metrics", metrics)):
        specs = {tuple(spec.key.path): spec.description for spec in here.resolve_all_asset_specs() if spec.description}
        shown = {tuple(a["assetKey"]["path"]): a["description"] for a in there[name]["assetNodes"]}
        assert specs.items() <= shown.items()
        for kind, defined in (("sensors", here.sensors), ("schedules", here.schedules), ("jobs", here.jobs)):
            assert {one.name for one in defined or ()} <= {one["name"] for one in there[name][kind]}
        assert {s["sensorState"]["status"] for s in there[name]["sensors"]} <= {"RUNNING"}
    assert len(there["glp1_pipeline"]["assetNodes"]) == len(list(defs.resolve_all_asset_specs()))


def test_the_command_line_answers_in_json(running, stories):
    runner = CliRunner()
    answer = json.loads(runner.invoke(main, ["status", "--json"]).stdout)
    assert answer["events"]["charted"] > 0
    reconciled = runner.invoke(main, ["reconcile", "--json"])
    assert (reconciled.exit_code, json.loads(reconciled.stdout)["holds"]) == (0, True)
    assert "clear_case_pen" in {s.name for s in stories}
    found = json.loads(runner.invoke(main, ["why", "clear-case-pen", "--json"]).stdout)
    assert found["gates"][0]["outcome"] == "passed"
    assert "Canary" not in json.dumps(found)
    assert runner.invoke(main, ["why", "nobody"]).exit_code == 1
