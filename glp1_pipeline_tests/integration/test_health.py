"""Health in a real Postgres: by the command line, as a page that an asset writes, and in a browser on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from psycopg import sql

from glp1_pipeline.adapters import alerts, health, hooks, ledger
from glp1_pipeline.adapters.health_page import page_of, write_page
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.cli.health import health as command
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.contracts.reading import ContractError, Fault
from glp1_pipeline.defs import alerts as looking
from glp1_pipeline.defs import health as wiring
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.health import Health
from glp1_pipeline.sandbox.dagster_home import write_dagster_yaml
from glp1_pipeline_tests.alert_world import AlertWorld
from glp1_pipeline_tests.small_road import (
    SmallRoad,
    connect,
    contract,
    empty_database,
    empty_tables,
    migrated_database,
    submission,
)


@pytest.fixture
def world(road: SmallRoad) -> AlertWorld:
    _ = road.landing
    book = load_alerts()
    # How full this machine's own disk is is no matter of the tests.
    roomy = book.alerts["landing_full"].model_copy(update={"at_least": 101})
    book = book.model_copy(update={"alerts": {**book.alerts, "landing_full": roomy}})
    return AlertWorld(road.url, road.connection, road.folder / "landing", book)


def look(world: AlertWorld) -> Health:
    gates = contract().gates
    return health.look_at_health(world.connection, world.book, world.around, gates, ("ehr", "crm"), "care-coordination")


def colours(found: Health) -> dict[str, str]:
    return {f"{one.kind} {one.name}": one.colour for one in found.lights if one.colour != "green"}


def all_is_looked_at(world: AlertWorld) -> None:
    world.look(is_sensor=True)
    world.look(is_dear=True)


def deliver(road: SmallRoad) -> None:
    road.connection.execute("update ops.writes set status = 'delivered', settled_at = now()")
    road.connection.execute("update ops.copies set remote = planned")


def test_a_drop_that_was_replaced_when_half_of_it_was_read_has_its_name_until_the_same_comes_again(
    road: SmallRoad, world: AlertWorld, monkeypatch: pytest.MonkeyPatch
):
    all_is_looked_at(world)
    first, second = submission(1), submission(2)
    road.drop("day.ndjson", first, second)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "_write_apart", dies)
        with pytest.raises(KeyboardInterrupt):
            road.take()
    road.drop("day.ndjson", first)
    road.take()
    road.chart()
    deliver(road)
    assert "feed landing zone" not in colours(look(world)), "it may be read just now"
    road.connection.execute("update ops.drops set received_at = received_at - interval '3 hours'")
    (light,) = (one for one in look(world).lights if (one.kind, one.name) == ("feed", "landing zone"))
    assert (light.colour, light.command) == ("amber", "glp1 status")
    assert light.says.startswith("1 drop begun and not read to the end; ")
    road.drop("again.ndjson", first, second)
    road.take()
    assert "feed landing zone" not in colours(look(world))
    assert road.events() == {"charted": 1, "waiting": 1}


def test_a_road_on_which_all_is_well_is_green_and_what_goes_wrong_is_told_by_part(road: SmallRoad, world: AlertWorld):
    road.send(submission(1), submission(2))
    deliver(road)
    all_is_looked_at(world)
    found = look(world)
    assert colours(found) == {}
    assert {one.kind for one in found.lights} == {"ledger", "feed", "queue", "gate", "target", "program"}
    world.event(minutes=40)
    world.write("dead", minutes=5)
    road.connection.execute("update ops.tasks set due_at = now() - interval '90 min' where queue = 'provider'")
    road.connection.execute("update ops.alert_looks set looked_at = now() - interval '1 hour'")
    assert colours(look(world)) == {
        "ledger charting": "red", "target ehr": "red", "queue provider": "amber", "program sensor of alerts": "red",
        "ledger balance": "amber",
    }  # fmt: skip


def test_a_gate_is_red_when_a_patient_is_held_and_nobody_has_work_for_it(road: SmallRoad, world: AlertWorld):
    road.send(submission(3, **{"hx.mtc_personal": "unsure"}))
    deliver(road)
    all_is_looked_at(world)
    assert colours(look(world)) == {}
    road.connection.execute("update ops.tasks set due_at = now() - interval '1 min'")
    assert colours(look(world)) == {"gate clinical-minimum": "amber"}
    road.connection.execute("update ops.tasks set status = 'done', closed_at = now()")
    found = look(world)
    assert colours(found) == {"gate clinical-minimum": "red"}
    (red,) = [one for one in found.lights if one.colour == "red"]
    assert "1 patient held, and nobody's work" in red.says
    assert red.command == f"glp1 why {road.one('select patient_id from phi.charts')}"


def test_a_patient_who_only_began_is_held_and_nobodys_work_and_that_is_well(road: SmallRoad, world: AlertWorld):
    draft = submission(4)
    draft["data"]["status"] = "in-progress"
    road.send(draft)
    deliver(road)
    all_is_looked_at(world)
    assert colours(look(world)) == {}


def test_one_question_that_fails_is_told_and_hides_no_other(road: SmallRoad, world: AlertWorld):
    all_is_looked_at(world)
    road.connection.execute("alter table phi.feeds rename column last_at to gone")
    try:
        with pytest.raises(Exception, match="last_at"):
            look(world)
    finally:
        road.connection.execute("alter table phi.feeds rename column gone to last_at")
    hidden = world.landing.rename(world.landing.with_name("elsewhere"))
    try:
        found = colours(look(world))
    finally:
        hidden.rename(world.landing)
    assert found == {"feed landing zone": "red"}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path, world: AlertWorld) -> Path:
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setenv("GLP1_DATABASE_URL", url)
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", url)
    monkeypatch.setattr(looking, "load_alerts", lambda: world.book)
    return tmp_path


def run(*arguments: str) -> tuple[Result, Any]:
    result = CliRunner().invoke(command, [*arguments])
    return result, json.loads(result.stdout) if "--json" in arguments else result.output


def test_the_command_says_it_to_people_and_programs_and_fails_while_anything_is_red(
    home: Path, road: SmallRoad, world: AlertWorld
):
    all_is_looked_at(world)
    result, text = run()
    assert result.exit_code == 0, text
    assert "0 red, 0 amber" in text
    world.event(minutes=40)
    world.look()
    result, found = run("--json", "--page")
    assert result.exit_code == 1
    (red,) = [one for one in found["lights"] if one["colour"] == "red"]
    assert (red["name"], red["owner"], red["command"]) == ("charting", "integration", "glp1 events --status waiting")
    assert red["since"] < found["made_at"]
    assert "✕ act now" in Path(found["page"]["file"]).read_text()
    _, text = run()
    assert f"glp1 alerts ack {red['incident_id']} --by" in text


def test_the_command_tells_also_when_the_definitions_do_not_load(
    home: Path, world: AlertWorld, monkeypatch: pytest.MonkeyPatch
):
    all_is_looked_at(world)
    monkeypatch.setitem(sys.modules, "glp1_pipeline.definitions", None)
    result, found = run("--json")
    assert result.exit_code == 1
    assert {one["name"]: one["says"] for one in found["lights"] if one["colour"] != "green"} == {
        "definitions": "they do not load: ModuleNotFoundError"
    }


def test_the_command_tells_also_when_the_store_is_gone(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLP1_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result, found = run("--json")
    assert result.exit_code == 1
    assert [(one["name"], one["colour"]) for one in found["lights"]] == [("store", "red")]


def test_the_command_tells_also_when_the_contract_is_broken_and_where(
    home: Path, road: SmallRoad, world: AlertWorld, monkeypatch: pytest.MonkeyPatch
):
    all_is_looked_at(world)
    world.event(minutes=40)

    def broken() -> None:
        raise ContractError([Fault("codes.csv", 218, "canary-word is declared twice", "take one out")])

    monkeypatch.setattr(looking, "contract", broken)
    result, found = run("--json", "--page")
    assert result.exit_code == 1
    red = {one["name"]: one for one in found["lights"] if one["colour"] == "red"}
    assert set(red) == {"contract", "charting"}
    assert "codes.csv:218" in red["contract"]["says"]
    assert (red["contract"]["owner"], red["contract"]["command"]) == ("integration", "glp1 dictionary")
    page = Path(found["page"]["file"]).read_text()
    assert "codes.csv:218" in page
    assert "canary" not in page


def test_the_asset_writes_the_page_whole_for_its_owner_alone_and_plots_the_lights(
    home: Path, road: SmallRoad, world: AlertWorld
):
    road.send(submission(5))
    all_is_looked_at(world)
    with dg.instance_for_test() as instance:
        result = dg.materialize([wiring.health_page(["alerts"])], instance=instance, resources={"road": Road()})
    (event,) = result.get_asset_materialization_events()
    numbers = {name: value.value for name, value in event.materialization.metadata.items()}
    assert numbers["red lights"] == 0
    assert numbers["amber lights"] == 0
    path = page_of(home)
    assert numbers["page"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["index.html"]
    html = path.read_text()
    told = submission(5)["data"]["answers"]
    assert not [v for v in (told["demo.legal_last"], told["demo.mobile"], told["demo.dob"], "Canary") if str(v) in html]


@contextmanager
def watching(home: Path) -> Iterator[None]:
    """`glp1 alerts watch` as `glp1 up` keeps it, with the settings of this moment."""
    argv = [sys.executable, "-m", "glp1_pipeline.cli", "alerts", "watch", "--every", "0.2"]
    with (home / "watch.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as watch:
        try:
            yield
            assert watch.poll() is None, (home / "watch.log").read_text()
        finally:
            watch.kill()


def test_while_dagster_or_the_database_is_down_the_watch_makes_the_page(home: Path, road: SmallRoad, world: AlertWorld):
    all_is_looked_at(world)
    page = page_of(home)

    def shows(words: str) -> None:
        ends = time.monotonic() + 30
        while not page.exists() or words not in page.read_text():
            assert time.monotonic() < ends, (home / "watch.log").read_text()
            time.sleep(0.1)

    with watching(home):
        shows("Work queues")
        page.write_text("made by Dagster just now")
        time.sleep(1)
        assert page.read_text() == "made by Dagster just now"
        minutes_ago = time.time() - 180
        os.utime(page, (minutes_ago, minutes_ago))
        shows("Work queues")
        name = sql.Identifier(road.connection.info.dbname)
        with connect(migrated_database()) as beside:

            def allow(is_allowed: bool) -> None:
                beside.execute(sql.SQL("alter database {} allow_connections {}").format(name, sql.Literal(is_allowed)))

            allow(False)
            try:
                shows("it does not answer, so nothing else is known")
            finally:
                allow(True)
        shows("Work queues")


def test_the_page_tells_of_runs_that_failed(home: Path, road: SmallRoad, world: AlertWorld):
    @dg.asset
    def fails() -> None:
        raise dg.Failure("it does not matter why")

    all_is_looked_at(world)
    with dg.instance_for_test() as instance:
        for expected in (0, 1):
            result = dg.materialize([wiring.health_page(["alerts"])], instance=instance, resources={"road": Road()})
            (event,) = result.get_asset_materialization_events()
            assert event.materialization.metadata["amber lights"].value == expected
            dg.materialize([fails], instance=instance, raise_on_error=False)
    assert "1 failed in the last hour" in page_of(home).read_text()


def test_the_page_tells_of_a_sensor_that_somebody_turned_off_until_it_is_on_again(
    home: Path, road: SmallRoad, world: AlertWorld
):
    all_is_looked_at(world)
    place = InProcessCodeLocationOrigin(loadable_target_origin=LoadableTargetOrigin(module_name="glp1_pipeline"))
    of = RemoteRepositoryOrigin(code_location_origin=place, repository_name="ours")
    with dg.instance_for_test() as instance:
        told = []
        for status in (InstigatorStatus.STOPPED, InstigatorStatus.RUNNING):
            for name in ("alerts", "of_an_older_release"):
                state = InstigatorState(
                    of.get_instigator_origin(name), InstigatorType.SENSOR, status,
                    SensorInstigatorData(last_tick_timestamp=time.time() - 600),
                )  # fmt: skip
                known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
                (instance.update_instigator_state if known else instance.add_instigator_state)(state)
            dg.materialize([wiring.health_page(["alerts"])], instance=instance, resources={"road": Road()})
            told.append(page_of(home).read_text())
    assert "turned off: alerts<" in told[0]
    assert "amber for 10 min" in told[0]
    assert "turned off" not in told[1]


def test_the_command_tells_of_runs_and_sensors_what_the_page_does(
    home: Path, road: SmallRoad, world: AlertWorld, monkeypatch: pytest.MonkeyPatch
):
    @dg.asset
    def fails() -> None:
        raise dg.Failure("it does not matter why")

    all_is_looked_at(world)
    records = empty_database()
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", records)
    monkeypatch.setenv("GLP1_DAGSTER_URL", records.replace("postgresql://", "postgresql+psycopg2://"))
    monkeypatch.setenv("GLP1_BROKER", "filesystem://")
    monkeypatch.setenv("GLP1_BROKER_RESULTS", "file:///nowhere")
    assert "0 red, 0 amber" in run()[1]  # before Dagster's first start there is nothing to tell
    with dg.DagsterInstance.from_config(str(write_dagster_yaml(Settings.from_env()))) as instance:
        dg.materialize([fails], instance=instance, raise_on_error=False)
        place = InProcessCodeLocationOrigin(loadable_target_origin=LoadableTargetOrigin(module_name="glp1_pipeline"))
        of = RemoteRepositoryOrigin(code_location_origin=place, repository_name="ours")
        origin = of.get_instigator_origin("intake_drops")
        instance.add_instigator_state(
            InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED, SensorInstigatorData())
        )
    _, found = run("--json", "--page")
    told = {one["name"]: one["says"] for one in found["lights"] if one["colour"] == "amber"}
    assert told == {"runs": "1 failed in the last hour", "sensors and schedules": "turned off: intake_drops"}
    assert "turned off: intake_drops" in page_of(home).read_text()
    monkeypatch.setenv("GLP1_DAGSTER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    _, found = run("--json")
    assert [one["name"] for one in found["lights"] if one["colour"] == "amber"] == ["records of Dagster"]


def test_a_writer_that_is_killed_leaves_the_old_page_and_its_draft_is_gone_within_the_hour(tmp_path: Path):
    path = page_of(tmp_path)
    write_page(path, "old")
    draft = path.with_name(".index.html.dead")
    draft.write_text("half a pa")
    assert write_page(path, "new").read_text() == "new"
    assert draft.exists(), "another writer may be at it"
    os.utime(draft, (0, 0))
    write_page(path, "newer")
    assert [one.name for one in path.parent.iterdir()] == ["index.html"]


def asked(app: Any, client: str = "127.0.0.1", host: str = "127.0.0.1:4000", **headers: str) -> tuple[int, bytes, dict]:
    """What a browser at `client` is answered that asks for the page by the name `host`."""
    told = [(b"host", host.encode()), *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())]
    scope = {
        "type": "http", "method": "GET", "path": "/health-page", "raw_path": b"/health-page", "query_string": b"",
        "headers": told, "client": (client, 5), "server": ("127.0.0.1", 4000), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    start, *rest = said
    return start["status"], b"".join(one.get("body", b"") for one in rest), dict(start["headers"])


def test_a_browser_on_this_machine_sees_the_page_and_nobody_who_comes_through_a_proxy_or_by_another_name(
    tmp_path: Path,
):
    app = hooks.make_app(lambda: "postgresql://none", None, health_page=page_of(tmp_path))
    assert asked(app)[0] == 503
    write_page(page_of(tmp_path), "<p>well")
    status, body, headers = asked(app)
    assert (status, body, headers[b"cache-control"]) == (200, b"<p>well", b"no-store")
    assert asked(app, x_forwarded_for="203.0.113.9")[0] == 404
    assert asked(app, host="evil.example.org")[0] == 404
    assert asked(app, client="203.0.113.9")[0] == 404


def test_looking_at_health_changes_nothing(road: SmallRoad, world: AlertWorld):
    road.send(submission(6))
    world.event(minutes=40)
    all_is_looked_at(world)
    before = road.fingerprint(), alerts.history(road.connection, timedelta(days=1))
    look(world)
    after = road.fingerprint(), alerts.history(road.connection, timedelta(days=1))
    assert before == after
    empty_tables(road.connection)
