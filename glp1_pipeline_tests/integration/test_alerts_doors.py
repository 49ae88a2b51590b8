"""Alerts by their doors: the command line, the sensor, addresses and secrets; nothing of a patient by any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner, Result

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.alerts.channels import read_addresses
from glp1_pipeline.adapters.outlet import sign
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.cli import main
from glp1_pipeline.contracts.reading import ContractError, Fault
from glp1_pipeline.defs import alerts as wiring
from glp1_pipeline.defs import resources
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.alert_world import (
    SECRET,
    AlertWorld,
    Receiver,
    alert_world,
    incidents,
    silent_source,
)
from glp1_pipeline_tests.small_road import connect

CANARIES = ("canary", "1980-02-03", "555-0142", "jane")


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(url, tmp_path / "landing") as made:
        yield made


@pytest.fixture
def installed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: Receiver, world: AlertWorld) -> Path:
    """An installation of its own, as settings know it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    channels = ("integration", "operations", "clinical", "leads")
    for name, value in {
        "GLP1_HOME": str(home), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url,
        "GLP1_LANDING_URL": str(world.landing), "GLP1_ALERT_WEBHOOK_SECRET": SECRET,
        "GLP1_ALERT_URLS": "\n".join(channel.address(name) for name in channels),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(wiring, "load_alerts", lambda: world.book)
    return home


def glp1(*words: str) -> Result:
    return CliRunner().invoke(main, ["alerts", *words])


def test_from_the_command_line_one_looks_lists_answers_tests_and_reports(
    installed: Path, world: AlertWorld, channel: Receiver
):
    assert glp1("check").exit_code == 0
    assert "nothing is open" in glp1("list").output
    world.event(minutes=25)
    # Received and in no drop: the ledger says so as well, at its own pace.
    checked = glp1("check", "--json")
    assert checked.exit_code == 1
    assert json.loads(checked.stdout)["critical_and_unanswered"] >= 1
    assert "integration:opened:event_waiting" in channel.news()
    listed = json.loads(glp1("list", "--json").stdout)
    number = next(one["incident_id"] for one in listed if one["alert"] == "event_waiting")
    assert "integration-" in glp1("list").output
    nobody = glp1("ack", str(number), "--by", " ")
    assert (nobody.exit_code, "say who is at it" in nobody.output) == (2, True)
    assert "nobody answered" in glp1("list").output
    assert "is at event_waiting" in glp1("ack", str(number), "--by", "integration-b").output
    assert glp1("ack", "999999", "--by", "x").exit_code == 1
    assert "integration-b is at it" in glp1("list").output
    tested = glp1("test", "--json")
    assert json.loads(tested.stdout) == dict.fromkeys(("clinical", "integration", "leads", "operations"), "sent")
    assert "leads:test:test" in channel.news()
    reported = json.loads(glp1("report", "--json").stdout)
    assert reported["by_alert"]["event_waiting"]["detect"]["mean"] > 24 * 60
    assert reported["by_alert"]["event_waiting"]["answer"]["n"] == 1
    assert "event_waiting" in glp1("report").output


def test_a_channel_that_does_not_take_the_test_is_named(installed: Path, monkeypatch, channel: Receiver):
    monkeypatch.setenv("GLP1_ALERT_URLS", "integration=webhook+http://127.0.0.1:1/x")
    tested = glp1("test", "--json")
    assert tested.exit_code == 1
    assert json.loads(tested.stdout)["leads"] == "no_address"
    assert "nobody is told over clinical, leads, operations: give each an address in GLP1_ALERT_URLS" in tested.stderr
    assert json.loads(tested.stdout)["integration"] in ("unreachable", "no_answer")
    assert glp1("test", "--channel", "nobody").exit_code == 1


def broken(*places: tuple[str, int]) -> Any:
    def load() -> None:
        raise ContractError([Fault(file, line, "canary-word is no code", "mend it") for file, line in places])

    return load


def test_a_contract_that_was_broken_is_told_by_file_and_keeps_nobody_from_being_called_for_all_else(
    installed: Path, world: AlertWorld, channel: Receiver
):
    world.event(minutes=25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "contract", broken(("codes.csv", 7), ("codes.csv", 9), ("fields/clinical.yaml", 2)))
        assert glp1("check").exit_code == 1
    opened = {(one.alert, one.scope): one.affected for one in alerts.open_incidents(world.connection)}
    assert opened["contract_broken", "codes.csv"] == 2
    assert opened["contract_broken", "clinical.yaml"] == 1
    assert ("event_waiting", "") in opened
    assert {"integration:opened:contract_broken", "integration:opened:event_waiting"} <= {*channel.news()}
    assert "canary" not in b"".join(channel.raw).decode()
    glp1("check")
    assert "contract_broken" not in {one.alert for one in alerts.open_incidents(world.connection)}


def test_a_mistake_in_the_rules_of_alerting_is_told_by_the_rules_that_were_read_before(
    installed: Path, world: AlertWorld, monkeypatch
):
    assert glp1("check").exit_code == 0
    monkeypatch.setattr(wiring, "load_alerts", broken(("oncall.yaml", 3)))
    assert glp1("check").exit_code == 1
    assert [(one.alert, one.scope) for one in alerts.open_incidents(world.connection)] == [
        ("contract_broken", "oncall.yaml")
    ]
    monkeypatch.setattr(wiring, "_known", [])
    first = glp1("check")
    assert (first.exit_code, "oncall.yaml:3" in first.output) == (1, True), (
        "who never read them says why it cannot look"
    )


def test_a_run_and_a_tick_without_a_contract_say_in_the_ui_where_it_is_broken_and_no_word_of_it(
    installed: Path, world: AlertWorld, monkeypatch
):
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    monkeypatch.setattr(resources, "contract", broken(("codes.csv", 7)))

    @dg.asset
    def needs_it(road: Road) -> None:
        _ = road.contract

    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([needs_it], instance=instance, resources={"road": Road()}, raise_on_error=False)
        (failed,) = [event for event in ran.all_events if event.is_step_failure]
    told = str(failed.event_specific_data)
    assert "the contract cannot be used: codes.csv:7" in told
    assert "glp1 dictionary" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "text", ["slack://token", "a=b=c", "a=webhook+http://example.org/x", "a=json://h/ a=json://h/", "A=json://h/"]
)
def test_an_address_that_cannot_be_used_is_told_without_telling_it(text: str):
    _, (fault,) = read_addresses(text, has_secret=True)
    assert "token" not in fault
    assert "example.org" not in fault


def test_addresses_may_lie_in_a_secret_file_and_a_webhook_needs_a_secret(installed: Path, monkeypatch):
    monkeypatch.delenv("GLP1_ALERT_URLS")
    monkeypatch.delenv("GLP1_ALERT_WEBHOOK_SECRET")
    folder = installed / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "alert_urls"
    file.write_text("leads=webhook+https://example.org/x\n")
    file.chmod(0o600)
    (fault,) = alerts.Channels.from_settings(Settings.from_env()).faults
    assert "cannot be signed" in fault
    file.write_text("leads=json://example.org/x\n")
    assert alerts.Channels.from_settings(Settings.from_env()).names == ("leads",)
    file.chmod(0o644)
    opened = alerts.Channels.from_settings(Settings.from_env())
    assert (opened.names, "can be read by others" in opened.faults[0]) == ((), True)


def test_a_webhook_secret_in_a_file_that_an_editor_ended_with_a_line_is_the_same_secret(
    installed: Path, monkeypatch, channel: Receiver
):
    monkeypatch.delenv("GLP1_ALERT_WEBHOOK_SECRET")
    folder = installed / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "alert_webhook_secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    assert glp1("test", "--channel", "leads").exit_code == 0
    (headers,), (body,) = channel.headers, channel.raw
    assert headers["X-Signature"] == sign(SECRET, headers["X-Signature-Timestamp"], body)


def test_one_wrong_address_is_told_and_keeps_nobody_from_looking_and_no_other_channel_from_its_messages(
    installed: Path, world: AlertWorld, channel: Receiver, monkeypatch
):
    wrong = "clinical=webhook+http://secret.example/x oops"
    monkeypatch.setenv("GLP1_ALERT_URLS", f"{channel.address('integration')} {wrong} {channel.address('leads')}")
    world.event(minutes=25)
    with dg.build_sensor_context(resources={"road": Road()}) as context:
        wiring.alerts_sensor(context)
        again = wiring.alerts_sensor(context)
    assert isinstance(again, dg.SkipReason)
    said = str(again.skip_message)
    assert "integration:opened:event_waiting" in channel.news()
    checked, tested = glp1("check", "--json"), glp1("test")
    assert (checked.exit_code, tested.exit_code) == (1, 1)
    assert len(json.loads(checked.stdout)["address_faults"]) == 2
    assert "leads:test:test" in channel.news()
    for text in (said, tested.stderr):
        assert "The webhook of channel clinical must be https" in text
        assert "Entry 3 of the alert addresses is not channel=address" in text
        assert "secret.example" not in text
    assert "clinical            bad_address" in tested.stdout
    with dg.DagsterInstance.ephemeral() as instance:
        counted = dg.materialize([wiring.count_incidents], instance=instance, resources={"road": Road()})
    passed = {found.check_name: found.passed for found in counted.get_asset_check_evaluations()}
    assert not passed["somebody_is_told"]


def test_the_sensor_looks_and_the_asset_counts_and_warns_while_nobody_answers(
    installed: Path, world: AlertWorld, channel: Receiver
):
    world.event(minutes=25)
    with dg.build_sensor_context(resources={"road": Road()}) as context:
        asked, again = wiring.alerts_sensor(context), wiring.alerts_sensor(context)
    assert isinstance(asked, dg.RunRequest), "the page of health shows it at once"
    assert asked.tags["glp1/alerts"].endswith("new, 0 escalated, 0 ended")
    assert isinstance(again, dg.SkipReason)
    assert " 0 new" in str(again.skip_message)
    assert "integration:opened:event_waiting" in channel.news()

    def counted() -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize([wiring.count_incidents], instance=instance, resources={"road": Road()})

    def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}

    result = counted()
    assert checks(result) == {"critical_acknowledged": False, "somebody_is_told": True}
    (made,) = result.get_asset_materialization_events()
    numbers = {name: value.value for name, value in made.materialization.metadata.items()}
    assert numbers["open event_waiting"] == 1
    assert numbers["seconds to detect (p95)"] == pytest.approx(25 * 60, abs=60)
    for one in alerts.open_incidents(world.connection):
        alerts.acknowledge(world.connection, one.incident_id or 0, "integration-a")
    assert checks(counted())["critical_acknowledged"]


def test_no_message_row_or_listing_tells_anything_of_a_patient(installed: Path, world: AlertWorld, channel: Receiver):
    """Whatever senders write where, and whatever our own tables hold of a person."""
    person = "Jane Canary 1980-02-03 555-0142"
    silent_source(world, f"/intake/{person}", timedelta(minutes=50))
    for _ in range(6):
        world.event(
            3,
            "rejected",
            reason=f"no such {person}",
            hint=person,
            subject=person,
            source="/intake/jane",
            version=person,
        )
    world.event(25, subject=person)
    world.event(3, "dead", reason=person)
    world.connection.execute(
        "insert into ops.tasks select gen_random_uuid(), gen_random_uuid(), 'c', %s, %s, %s, 'open',"
        " now() - interval '2 days', now() - interval '3 hours', null",
        (person, person, person),
    )
    shown = [glp1("check").output, glp1("check", "--json").output]
    assert len(incidents(world)) >= 5
    shown += [glp1(*words.split()).output for words in ("list", "list --all --json", "report", "report --json", "test")]
    shown += [json.dumps(channel.got), *(raw.decode() for raw in channel.raw)]
    for table in ("incidents", "notifications", "alert_looks"):
        shown += [str(row) for row in world.rows(f"select t::text from ops.{table} as t")]
    text = "\n".join(shown).lower()
    assert "unnamed" in text
    assert [canary for canary in CANARIES if canary in text] == []
    ((found,),) = world.rows("select count(*) from phi.events where subject ilike '%%canary%%'")
    assert found > 0, "it was there to be found"


def test_a_store_that_goes_away_is_an_error_and_not_a_quiet_all_is_well(world: AlertWorld):
    with connect(world.url, "cut") as other:
        world.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut'"
        )
        with pytest.raises(psycopg.Error):
            alerts.look(other, world.book, world.around)
