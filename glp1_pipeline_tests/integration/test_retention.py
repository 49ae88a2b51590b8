"""What piles up goes after so many days, and everything that is asked afterwards is answered as before."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.adapters import replay, retention
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.keep import Keep, KeepError
from glp1_pipeline.adapters.retention import chunks, dagster_rows
from glp1_pipeline.adapters.retention.bodies import LAST_KEPT, superseded
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.trace import trace
from glp1_pipeline.cli.prune import prune as command
from glp1_pipeline.defs.maintenance import maintenance, measure_tables
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.sandbox.dagster_home import write_dagster_yaml
from glp1_pipeline.sandbox.drills.proxy import FaultProxy, status
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.deliveries import World
from glp1_pipeline_tests.ehr_changes import Provider, begin_now, events, poll
from glp1_pipeline_tests.small_road import (
    RING,
    SmallRoad,
    amendment,
    connect,
    empty_database,
    small_road,
    submission,
)

from .conftest import EhrProcess

PEOPLE = count(1)
KEEP = Keep(bodies=30, attempts=30, alerts=30, plans=30, drops=30, runs=30, logs=30)


@pytest.fixture
def circle(road: SmallRoad, ehr: EhrProcess) -> Iterator[Circle]:
    with FaultProxy(ehr.url, False) as proxy:
        made = Circle(road, ehr.url, proxy)
        yield made
        made.world.close()


def age(connection: psycopg.Connection, days: int = 40) -> None:
    """As if all that was done were so many days ago, but for what says where we are."""
    for table, columns in {
        "ops.writes": ("created_at", "first_tried_at", "settled_at"),
        "ops.deliveries": ("at", "delivered_on"),
        "ops.incidents": ("opened_at", "detected_at", "resolved_at"),
        "ops.notifications": ("written_at", "settled_at"),
        "ops.replay_plans": ("made_at", "approved_at", "settled_at"),
    }.items():
        changes = ", ".join(
            f"{c} = {c} - {days}" if c.endswith("_on") else f"{c} = {c} - interval '{days} days'" for c in columns
        )
        connection.execute(f"update {table} set {changes}".encode())


def prune(road: SmallRoad, **options: Any) -> dict[str, int]:
    done = retention.prune(road.connection, KEEP, road.cipher.open, road.folder, None, **options)
    assert done.is_over
    return {name: n for name, n in done.gone.items() if n}


# Bodies of writes


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcd"), min_size=1), st.booleans(), st.booleans()), max_size=12),
    st.integers(0, 12),
)
def test_of_each_resource_the_last_three_stay_and_every_link_that_was_ever_written(told, young) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    writes = []
    for n, (names, is_linked, _) in enumerate(told):
        link = [{"type": "replaces", "other": {"reference": f"Patient/{n % 2}"}}]
        resources = [{"resourceType": "Observation", "id": name} for name in sorted(names)]
        resources += [{"resourceType": "Patient", "id": "me", "link": link}] if is_linked else []
        resources += [{"resourceType": "Provenance", "id": str(n)}]
        settled_at = now if n < young else now - timedelta(days=1)
        writes.append((n, settled_at, {"entry": [{"resource": one} for one in resources]}))
    going = set(superseded(writes, now - timedelta(hours=1)))
    assert all(n >= young for n in going)
    stays = [write for write in writes if write[0] not in going]
    for name in "abcd":
        said = [n for n, _, content in writes if f"'{name}'" in str(content)]
        kept = [n for n, _, content in stays if f"'{name}'" in str(content)]
        assert kept[:LAST_KEPT] == said[:LAST_KEPT]
    assert {str(w[2]).count("'Patient/0'") > 0 for w in writes} == {str(w[2]).count("'Patient/0'") > 0 for w in stays}
    assert going.isdisjoint(superseded(stays, now - timedelta(hours=1)))


def test_after_the_bodies_of_old_writes_went_echoes_are_known_conflicts_are_seen_and_the_ehr_compares_as_before(
    url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    with small_road(url, tmp_path) as road:
        world = World(url, ehr.url, "ehr")
        world.cipher = road.cipher
        provider = Provider(world)
        begin_now(world)
        patients = world.patients(3)
        for patient in patients:
            for n in range(1, 9):
                world.plan(patient, patient.chart(n, f"Canary{n}"))
                world.drain()
        before = compare(road.connection, world.ehr(), world.cipher)
        age(road.connection)
        assert prune(road, is_dry_run=True) == prune(road) == {"bodies": 12}  # the first stays: it alone has the flag
        assert prune(road) == {}
        after = compare(road.connection, world.ehr(), world.cipher)
        assert after.holds
        assert (after.missing, after.different, after.doubled) == (before.missing, before.different, before.doubled)
        assert before.resources - after.resources == 12  # provenances of writes whose body went
        assert road.balance().faults == []
        assert poll(world).changes == 0
        first = patients[0]
        weight = provider.place(first, "Observation", "weight")
        provider.edit(weight, valueQuantity={"value": 70.0, "unit": "kg"})
        world.plan(first, first.chart(9, "Canary9"))
        world.drain()
        assert {reason for reason, _ in world.conflicts(first).values()}
        assert world.conflicts(patients[1]) == {}
        assert provider.read(weight)["valueQuantity"]["value"] == 70.0
        assert events(world) == []
        world.close()


# Our tables


def test_after_a_round_fingerprint_balance_trace_and_replay_are_what_they_were(circle: Circle) -> None:
    road = circle.road
    first, second = submission(next(PEOPLE)), submission(next(PEOPLE))
    road.send(first, second, b"no event")
    circle.proxy.plan(status(503), status(503))
    circle.deliver()
    road.send(amendment(first, 1, {"anthro.weight": {"value": 91.0, "unit": "kg"}}))
    circle.deliver()
    age(road.connection)
    (event_id,) = road.rows("select event_id from phi.events where source_id = %s", first["id"])[0]
    fingerprint, found = road.fingerprint(), trace(road.connection, event_id)
    compared = compare(road.connection, circle.client, road.cipher)
    gone = prune(road)
    assert gone["attempts"] >= 1
    assert gone.keys() == {"attempts"}
    assert road.fingerprint() == fingerprint
    assert road.balance().faults == []
    now = trace(road.connection, event_id)
    assert found is not None
    assert now is not None
    assert now["hops"] == found["hops"]
    assert [w | {"attempts": w["attempts"][-1:]} for w in found["writes"]] == now["writes"]
    assert compare(road.connection, circle.client, road.cipher) == compared
    assert circle.poll().changes == 0
    for _ in range(3):
        plan_id = replay.choose(road.connection, replay.Selection(statuses=("charted",)), road.contract.version)
        replay.approve(road.connection, plan_id, "steward-7", "a test")
        done = replay.apply(road.connection, road.contract, road.cipher, plan_id)
        assert (done.new_writes, done.changes) == (0, {})
        assert road.fingerprint() == fingerprint


def test_the_receipt_of_a_plan_outlives_the_list_of_its_events_and_one_that_was_stopped_keeps_all(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glp1_pipeline.adapters.retention.rows.CHUNK", 2)
    road.send(*[submission(n) for n in range(5)])
    done, stopped = (
        replay.choose(road.connection, replay.Selection(statuses=("charted",)), road.contract.version) for _ in range(2)
    )
    for plan_id in (done, stopped):
        replay.approve(road.connection, plan_id, "steward-7", "a test")
    replay.apply(road.connection, road.contract, road.cipher, done)
    replay.stop(road.connection, stopped)
    age(road.connection)
    before = replay.receipt(road.connection, done), replay.receipt(road.connection, stopped)
    assert prune(road) == {"events_of_done_plans": 5}
    assert (replay.receipt(road.connection, done), replay.receipt(road.connection, stopped)) == before
    assert before[0]["done"] == 5
    replay.approve(road.connection, stopped, "steward-7", "go on")
    assert replay.apply(road.connection, road.contract, road.cipher, stopped).done == 5


def test_incidents_that_ended_go_with_their_messages_and_open_ones_keep_theirs(road: SmallRoad) -> None:
    for number, ended in ((1, "now()"), (2, "null")):
        road.connection.execute(
            f"insert into ops.incidents (incident_id, alert, scope, severity, owner, called, link, affected, most_affected,"
            f" opened_at, detected_at, resolved_at) overriding system value values ({number}, 'dead_events', '', 'warning',"
            f" 'team:ops', 'ops', 'x', 1, 1, now(), now(), {ended})".encode()
        )
    for number in (1, 2, None):
        road.connection.execute(
            "insert into ops.notifications (notification_id, incident_id, news, channel, title, message, status,"
            " written_at, next_at, settled_at) values (%s, %s, 'opened', 'mail', 't', 'm', 'sent', now(), now(), now())",
            (uuid.uuid4(), number),
        )
    assert prune(road) == {}
    age(road.connection)
    assert prune(road) == {"incidents_and_messages": 3}
    assert road.rows("select incident_id from ops.incidents") == [(2,)]
    assert road.rows("select incident_id from ops.notifications") == [(2,)]


# Files


def test_an_archived_drop_goes_when_the_ledger_has_every_byte_of_it(road: SmallRoad) -> None:
    road.send(submission(1))
    road.send(submission(2), b"x" * (1024 * 1024 + 100))
    kept = sorted((road.folder / "archive").glob("*.sealed"))
    assert len(kept) == 2
    (road.folder / "archive" / f"{uuid.uuid4()}.sealed").write_bytes(b"of no drop that we know")
    (road.folder / "archive" / "cut-off.tmp").write_bytes(b"half")
    long = road.one("select drop_id from phi.events where reason = 'line_too_long'")
    assert prune(road) == {}
    for path in (road.folder / "archive").iterdir():
        os.utime(path, (0, 0))
    assert prune(road) == {"archived_drops": 2}
    left = [path.stem for path in (road.folder / "archive").iterdir()]
    assert len(left) == 2
    assert str(long) in left
    # The same file again is a duplicate, and is put away again.
    road.drop("again.ndjson", submission(1))
    assert (road.take().duplicates, road.balance().faults) == (1, [])


def test_results_of_the_broker_and_logs_of_nobody_go(road: SmallRoad) -> None:
    for name in ("broker/results/old", "logs/old.log", "logs/old.log.1", "logs/new.log"):
        path = road.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if "old" in name:
            os.utime(path, (0, 0))
    assert prune(road) == {"results_of_the_broker": 1, "logs": 2}
    sizes = {one.folder: (one.files, one.size_bytes) for one in retention.folder_sizes(road.folder)}
    assert sizes == {"archive": (0, 0), "logs": (1, 1), "broker": (0, 0)}


# Rounds


def test_a_round_that_dies_anywhere_is_taken_up_by_the_next_and_two_at_once_are_one(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glp1_pipeline.adapters.retention.rows.CHUNK", 1)

    class Died(Exception):
        pass

    road.send(*[submission(n) for n in range(3)])
    road.connection.execute(
        "insert into ops.deliveries (write_id, attempt, at, ms, outcome, delivered_on) select write_id, a, now(), 1,"
        " 'timeout', (now() at time zone 'utc')::date from ops.writes, generate_series(1, 3) a"
    )
    age(road.connection)
    for steps in range(1, 12):

        def dies(self: chunks.Work, left: list[int] = [steps]) -> bool:  # noqa: B006 - counts on purpose
            left[0] -= 1
            if left[0] < 0:
                raise Died
            return True

        with monkeypatch.context() as mortal, suppress(Died):
            mortal.setattr(chunks.Work, "may_go_on", dies)
            prune(road)
        assert road.one("select count(distinct write_id) from ops.deliveries") == 3
    prune(road)
    assert road.rows("select attempt from ops.deliveries") == [(3,)] * 3
    assert not retention.prune(road.connection, KEEP, road.cipher.open, road.folder, None, seconds=0.0).is_over
    with connect(road.url) as other:
        other.execute("select pg_advisory_lock(hashtextextended('glp1 prune', 0))")
        left = retention.prune(road.connection, KEEP, road.cipher.open, road.folder, None)
        assert (left.is_left_to_another, left.gone) == (True, {})


def test_what_is_kept_for_ever_stays(road: SmallRoad) -> None:
    road.send(submission(1))
    for path in (road.folder / "archive").iterdir():
        os.utime(path, (0, 0))
    for_ever = Keep(0, 0, 0, 0, 0, 0, 0, 0)
    done = retention.prune(road.connection, for_ever, road.cipher.open, road.folder, None)
    assert not any(done.gone.values())
    assert Keep.from_env({"GLP1_KEEP_RUNS_DAYS": "7", "GLP1_KEEP_DROPS_DAYS": "0"}) == Keep(runs=7, drops=0)
    for told in ("-1", "a week", "99999"):
        with pytest.raises(KeepError, match="GLP1_KEEP_LOGS_DAYS must be"):
            Keep.from_env({"GLP1_KEEP_LOGS_DAYS": told})


# Dagster's own


@pytest.fixture(scope="module")
def dagster_url() -> str:
    return empty_database()


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def days() -> None:
    """Of two days."""


@dg.asset(check_specs=[dg.AssetCheckSpec("well", asset="whole")])
def whole() -> dg.MaterializeResult:
    """With a check."""
    return dg.MaterializeResult(metadata={"n": 1}, check_results=[dg.AssetCheckResult(check_name="well", passed=True)])


def test_old_runs_of_dagster_go_and_what_the_ui_shows_of_assets_and_checks_stays(
    dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLP1_DAGSTER_URL", dagster_url.replace("postgresql://", "postgresql+psycopg2://"))
    monkeypatch.setenv("GLP1_BROKER", "filesystem://")
    monkeypatch.setenv("GLP1_BROKER_RESULTS", "file:///nowhere")
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path), "GLP1_KEEP_TICKS_DAYS": "0"})
    settings.make_home()
    with dg.DagsterInstance.from_config(str(write_dagster_yaml(settings))) as instance:
        ids = []
        for part in ("a", "b", "a", None, None):
            asset = days if part else whole
            ids.append(dg.materialize([asset], instance=instance, partition_key=part).run_id)
        with dagster_rows.connect(dagster_url) as connection:
            connection.execute("update runs set create_timestamp = create_timestamp - interval '40 days'")
            running = dg.materialize([whole], instance=instance).run_id
            connection.execute(
                "update runs set status = 'STARTED', create_timestamp = create_timestamp - interval '99 days'"
                " where run_id = %s",
                (running,),
            )
            connection.execute("delete from event_logs where run_id = %s", (running,))
            connection.execute("delete from asset_check_executions where run_id = %s", (running,))
            before = _shown(instance)
            assert dagster_rows.prune_runs(connection, 30, chunks.Work(is_dry_run=True)) == 2
            assert dagster_rows.prune_runs(connection, 30, chunks.Work()) == 2
            assert dagster_rows.prune_runs(connection, 30, chunks.Work()) == 0
            left = {run_id for (run_id,) in connection.execute("select run_id from runs")}
            assert left == {ids[1], ids[2], ids[4], running}
            for table in ("event_logs", "asset_check_executions", "run_tags"):
                rows = connection.execute(f"select distinct run_id from {table} where run_id <> ''".encode()).fetchall()
                assert {run_id for (run_id,) in rows} <= left
            assert {one.table for one in retention.dagster_sizes(connection)} > {"event_logs", "runs"}
        assert _shown(instance) == before
        assert instance.get_run_by_id(ids[0]) is None
        assert instance.all_logs(ids[0]) == []


def _shown(instance: dg.DagsterInstance) -> list[Any]:
    found: list[Any] = [instance.get_materialized_partitions(dg.AssetKey("days"))]
    for name in ("days", "whole"):
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None
        found.append((event.run_id, event.timestamp, event.asset_materialization))
    key = dg.AssetCheckKey(dg.AssetKey("whole"), "well")
    summary = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    return [*found, summary[key].run_id, summary[key].status]


# Doors


def test_the_command_and_the_job_prune_by_the_settings_and_the_asset_tells_how_large_all_is(
    url: str, dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    keys = {name: base64.b64encode(key).decode() for name, key in RING.keys.items()}
    ring = {"active": RING.active, "keys": keys, "patient_key": base64.b64encode(RING.patient_key).decode()}
    (tmp_path / "secrets" / "keys.json").write_text(json.dumps(ring))
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", dagster_url)
    monkeypatch.setenv("GLP1_KEEP_LOGS_DAYS", "3")
    with small_road(url, tmp_path) as road:
        road.send(submission(1))
    log = tmp_path / "logs" / "gone.log"
    log.parent.mkdir(exist_ok=True)
    log.touch()
    os.utime(log, (0, 0))
    told = json.loads(CliRunner().invoke(command, ["--dry-run", "--json"]).stdout)
    assert (told["dry_run"], told["gone"]["logs"], told["keep_days"]["logs"], told["is_over"]) == (True, 1, 3, True)
    assert log.exists()
    by_hand = maintenance.execute_in_process(resources={"road": Road()})
    assert by_hand.success
    assert log.exists()
    output = CliRunner().invoke(command).output
    assert "logs" in output
    assert not log.exists()
    nightly = {"ops": {"prune": {"config": {"dry_run": False}}}}
    assert maintenance.execute_in_process(resources={"road": Road()}, run_config=nightly).success
    done = dg.materialize([measure_tables], resources={"road": Road()})
    (event,) = done.asset_materializations_for_node("measure_tables")
    numbers = {name: value.value for name, value in event.metadata.items()}
    assert float(str(numbers["all (MB)"])) > 0
    assert "phi.events (rows)" in numbers
