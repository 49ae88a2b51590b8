"""Alerts in a real Postgres with a real server at the other end: opened by age, told once, escalated, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner, Result

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.alerts.channels import read_addresses, sign
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline.cli import main
from glp1_pipeline.defs import alerts as wiring
from glp1_pipeline.defs.resources import Road
from glp1_pipeline_tests.alert_world import SECRET, AlertWorld, Receiver, receiver
from glp1_pipeline_tests.small_road import connect, empty_tables

CANARIES = ("canary", "1980-02-03", "555-0142", "jane")


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[AlertWorld]:
    landing = tmp_path / "landing"
    landing.mkdir()
    with connect(url) as connection:
        connection.execute("set synchronous_commit = off")
        empty_tables(connection)
        world = AlertWorld(url, connection, landing)
        # How full this machine's own disk is is no matter of the tests.
        quiet = {**world.book.alerts}
        quiet["landing_full"] = quiet["landing_full"].model_copy(update={"at_least": 101})
        world.book = world.book.model_copy(update={"alerts": quiet})
        yield world


@pytest.fixture
def channel() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def incidents(world: AlertWorld) -> list[tuple]:
    return world.rows("select alert, scope, resolved_at is null from ops.incidents order by incident_id")


def test_an_event_that_waits_too_long_is_one_incident_and_one_message_per_channel(world: AlertWorld, channel: Receiver):
    teams = world.book.teams
    two = teams["integration"].model_copy(update={"channels": ("integration", "pager")})
    world.book = world.book.model_copy(update={"teams": {**teams, "integration": two}})
    ways = world.ways(channel.address("integration"), channel.address("pager"))
    world.event(minutes=9)
    assert world.look().opened == 0
    world.event(minutes=25)
    world.event(minutes=40)
    assert world.look().opened == 1
    for _ in range(3):
        assert world.look().opened == 0
        world.send(ways)
    assert sorted(channel.news()) == ["integration:opened:event_waiting", "pager:opened:event_waiting"]
    ((opened, detected, affected),) = world.rows("select opened_at, detected_at, affected from ops.incidents")
    assert timedelta(minutes=40) < detected - opened < timedelta(minutes=41)
    assert affected == 3
    assert channel.got[0]["link"] == "http://127.0.0.1:3000/assets/events"
    assert "3 events; for 40 min" in channel.got[0]["text"]


def test_nobody_answering_calls_the_lead_once_and_when_all_is_well_both_hear_it_once(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"), channel.address("leads"))
    event_id = world.event(minutes=25)
    world.look()
    world.send(ways)
    for _ in range(3):
        world.pass_time(16)
        world.look()
        world.send(ways)
    world.connection.execute("update phi.events set status = 'charted' where event_id = %s", (event_id,))
    world.look()
    assert incidents(world) == [("event_waiting", "", True)], "calm for a moment is not the end"
    world.pass_time(3)
    assert world.look().resolved == 1
    for _ in range(2):
        world.look()
        world.send(ways)
    assert channel.news() == [
        "integration:opened:event_waiting", "leads:escalated:event_waiting",
        "integration:resolved:event_waiting", "leads:resolved:event_waiting",
    ]  # fmt: skip


def test_who_answers_is_noted_and_nothing_is_escalated(world: AlertWorld, channel: Receiver):
    world.write("dead", minutes=1)
    world.look()
    ((number,),) = world.rows("select incident_id from ops.incidents")
    first = alerts.acknowledge(world.connection, number, "integration-a")
    assert first is not None
    again = alerts.acknowledge(world.connection, number, "somebody else")
    assert again is not None
    assert again.acknowledged_by == "integration-a"
    world.pass_time(100)
    assert world.look().escalated == 0
    assert alerts.acknowledge(world.connection, number + 1, "x") is None


def test_many_evaluators_at_once_open_one_incident_and_send_one_message(world: AlertWorld, channel: Receiver):
    world.event(minutes=25)
    ways = world.ways(channel.address("integration"))
    at_once = threading.Barrier(6)
    errors: list[BaseException] = []

    def evaluate() -> None:
        try:
            with connect(world.url, "evaluator") as connection:
                at_once.wait()
                for _ in range(3):
                    alerts.look(connection, world.book, world.around)
                    alerts.send(connection, ways)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=evaluate) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    assert incidents(world) == [("event_waiting", "", True)]
    assert channel.news() == ["integration:opened:event_waiting"]


class Dies:
    """A channel at which the sender is killed: before the call, or after it was answered."""

    def __init__(self, inner, is_before: bool) -> None:
        self.inner, self.is_before = inner, is_before
        self.names = inner.names

    def send(self, channel: str, message) -> str:
        if not self.is_before:
            self.inner.send(channel, message)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


@pytest.mark.parametrize(("is_before", "times"), [(True, 1), (False, 2)])
def test_killed_before_the_call_it_is_sent_once_and_killed_after_it_once_more_under_the_same_id(
    world: AlertWorld, channel: Receiver, is_before: bool, times: int
):
    world.event(minutes=25)
    ways = world.ways(channel.address("integration"))
    child = os.fork()
    if child == 0:
        try:
            with connect(world.url, "mortal") as connection:
                alerts.look(connection, world.book, world.around)
                alerts.send(connection, Dies(ways, is_before))
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    world.look()
    world.send(ways)
    assert len(channel.got) == times - 1, "the dead one's lease is still on"
    world.pass_time(2)
    for _ in range(2):
        world.look()
        world.send(ways)
        world.pass_time(1)
    assert channel.news() == ["integration:opened:event_waiting"] * times
    assert len({one["notification_id"] for one in channel.got}) == 1


def test_a_look_that_comes_while_another_takes_long_waits_its_turn(world: AlertWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[alerts.look.__module__], "PATIENCE_MS", 300)
    world.event(minutes=25)
    with connect(world.url) as other:
        other.execute("select pg_advisory_lock(hashtextextended('glp1 alerts', 0))")
        ends = threading.Timer(1.0, other.execute, ["select pg_advisory_unlock_all()"])
        ends.start()
        assert world.look().opened == 1
        ends.join()


def test_killed_while_it_looks_nothing_is_half_written(world: AlertWorld):
    """The incident, its messages and the time of the look are one transaction."""
    world.event(minutes=25)
    child = os.fork()
    if child == 0:
        try:
            from glp1_pipeline.adapters.alerts import look

            def die(*_):
                os.kill(os.getpid(), signal.SIGKILL)

            with connect(world.url, "mortal") as connection:
                look.__globals__["write"] = die
                look(connection, world.book, world.around)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert incidents(world) == []
    assert world.look().opened == 1
    assert world.rows("select news, channel from ops.notifications") == [("opened", "integration")]


def test_what_a_channel_does_not_take_is_tried_again_and_the_end_is_not_told_before_the_beginning(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    channel.answers = [500, 429]
    event_id = world.event(minutes=25)
    world.look()
    assert world.send(ways).failed.total() == 1
    world.connection.execute("update phi.events set status = 'charted' where event_id = %s", (event_id,))
    world.look()
    world.pass_time(3)
    assert world.look().resolved == 1
    assert world.send(ways).failed.total() == 1
    world.pass_time(3)
    assert world.send(ways).sent == 2
    assert channel.news() == ["integration:opened:event_waiting", "integration:resolved:event_waiting"]


def test_a_channel_without_an_address_is_named_and_its_messages_are_given_up_after_a_day(world: AlertWorld):
    world.event(minutes=25)
    world.look()
    assert world.send(world.ways()).without_address == ("integration",)
    assert alerts.unsent(world.connection) == {"messages late": 0, "messages given up": 0}
    world.pass_time(5)
    assert alerts.unsent(world.connection)["messages late"] == 1
    world.pass_time(24 * 60)
    assert world.send(world.ways()).given_up == 1
    assert alerts.unsent(world.connection) == {"messages late": 0, "messages given up": 1}


def test_a_webhook_is_signed_over_its_time_and_body(world: AlertWorld, channel: Receiver):
    world.event(minutes=25)
    world.look()
    world.send(world.ways(channel.address("integration")))
    (headers,), (body,) = channel.headers, channel.raw
    stamp = headers["X-Signature-Timestamp"]
    assert headers["X-Signature"] == sign(SECRET, stamp, body)
    assert sign("another secret", stamp, body) != headers["X-Signature"]
    assert abs(int(stamp) - time.time()) < 60


def test_any_address_of_apprise_is_a_channel(world: AlertWorld, channel: Receiver):
    ways = world.ways(f"integration=json://127.0.0.1:{channel.port}/integration")
    world.event(minutes=25)
    world.look()
    channel.answers = [500]
    try:
        assert world.send(ways).failed == {"not_taken": 1}
        world.pass_time(1)
        assert world.send(ways).sent == 1
    except KeyError:
        pytest.fail("the receiver could not read it")
    assert world.rows("select status, tries from ops.notifications") == [("sent", 2)]
    told = json.loads(channel.raw[-1])
    assert (told["title"], told["type"]) == ("[critical] Events wait too long to be charted", "failure")


def silent_source(world: AlertWorld, source: str, last: timedelta, per_hour: int = 12, days: int = 16) -> None:
    """A source that sent so many an hour for days, until `last` ago."""
    now = datetime.now(UTC)
    with world.connection.transaction():
        world.connection.execute(
            "insert into phi.events (event_id, drop_id, line, source, source_id, type, sha256, status, received_at,"
            " received_on) select gen_random_uuid(), gen_random_uuid(), 1, %s, g::text, 'intake.submitted', '\\x00',"
            " 'charted', at, (at at time zone 'utc')::date from generate_series(0, %s) as g"
            " cross join lateral (select %s - make_interval(secs => g * %s) as at) as t",
            (source, days * 24 * per_hour, now - last, 3600 / per_hour),
        )


def test_a_feed_that_falls_silent_is_told_under_our_name_and_ends_when_it_speaks_again(
    world: AlertWorld, channel: Receiver
):
    ways = world.ways(channel.address("integration"))
    silent_source(world, "/intake/jane.canary@example.org", timedelta(minutes=5))
    silent_source(world, "/intake/quiet", timedelta(minutes=45), per_hour=1)
    assert world.look().opened == 0, "one is not silent yet, of the other nothing was to be expected"
    world.connection.execute("update phi.events set received_at = received_at - interval '50 minutes'")
    world.connection.execute("delete from phi.feeds")
    assert world.look().opened == 1
    world.send(ways)
    ((scope, opened, affected),) = world.rows("select scope, opened_at, affected from ops.incidents")
    assert re.fullmatch(r"intake(-2)?", scope)
    assert timedelta(minutes=54) < datetime.now(UTC) - opened < timedelta(minutes=56)
    assert affected in (10, 11)
    assert "canary" not in json.dumps(channel.got).lower()
    world.event(minutes=0, status="charted", source="/intake/jane.canary@example.org")
    world.look()
    world.pass_time(3)
    assert world.look().resolved == 1


def test_a_new_feed_is_not_judged_before_a_day_is_known_of_it(world: AlertWorld):
    silent_source(world, "/intake/new", timedelta(hours=2), per_hour=60, days=0)
    world.event(minutes=60 * 20, status="charted", source="/intake/new")
    assert world.look().opened == 0


def test_every_thing_that_is_watched_is_measured_and_fires(world: AlertWorld):
    connection = world.connection
    for _ in range(5):
        world.event(minutes=3, status="rejected", reason="malformed_json")
    world.event(minutes=3, status="dead", reason="KeyError in chart, line 7")
    world.write("ready", 45)
    world.write("dead", 1, "crm")
    day = datetime.now(UTC).date()
    for n in range(25):
        connection.execute(
            "insert into ops.field_conflicts values (gen_random_uuid(), %s, 'crm', 'owner_wins', 'ehr', 'intake',"
            " 'task', gen_random_uuid(), now(), null, %s)",
            (f"field{n}", day),
        )
    connection.execute(
        "insert into ops.poll_cursors (system, kind, polled_at) values ('ehr', 'Patient', now() - interval '1 hour'),"
        " ('ehr', 'sweep', now() - interval '9 days'), ('crm', 'contact', now()), ('crm', 'hint', '2026-01-01')"
    )
    connection.execute(
        "insert into ops.breakers (target, state, failures, changed_at) values ('ehr', 'open', 5, now() - interval '1 min')"
    )
    connection.execute(
        "insert into ops.tasks select gen_random_uuid(), gen_random_uuid(), 'c', 'cause', 'pharmacy', 'pharmacist', 'open',"
        " now() - interval '2 days', now() - interval '3 hours', null"
    )
    world.landing.rmdir()
    looked = world.look()
    assert looked.unmeasured == []
    dear = world.look(is_dear=True)
    assert {(alert, scope) for alert, scope, _ in incidents(world)} == {
        ("breaker_open", "ehr"), ("conflict_growth", "crm"), ("event_dead", ""), ("event_rejected", "malformed_json"),
        ("landing_closed", ""), ("ledger_unbalanced", ""), ("poll_late", "ehr"), ("queue_stuck", "pharmacy"),
        ("write_dead", "crm"), ("write_waiting", "ehr"),
    }  # fmt: skip
    assert dear.opened == 1
    assert looked.seconds < 5
    assert world.rows("select owner from ops.incidents where alert = 'queue_stuck'") == [("operations",)]


def test_a_system_that_we_write_to_and_could_never_read_is_told_once_somebody_might_have_changed_something(
    world: AlertWorld,
):
    told = "insert into ops.copies (target, patient_id) values (%s, gen_random_uuid())"
    for target, minutes in (("crm", 5), ("ehr", 45)):
        world.connection.execute(told, (target,))
        world.write("delivered", minutes, target)
    world.look()
    assert incidents(world) == [("poll_late", "ehr", True)]
    world.connection.execute(
        "insert into ops.poll_cursors (system, kind, polled_at) values ('ehr', 'Patient', now()), ('crm', 'hint', now())"
    )
    world.look()
    world.pass_time(3)
    world.look()
    assert incidents(world) == [("poll_late", "ehr", False)]


def test_a_landing_zone_that_fills_up_calls_somebody(world: AlertWorld):
    alert = world.book.alerts["landing_full"].model_copy(update={"at_least": 1})
    world.book = world.book.model_copy(update={"alerts": {**world.book.alerts, "landing_full": alert}})
    world.look()
    assert ("landing_full", "", True) in incidents(world)


def test_the_ledger_is_counted_only_every_five_minutes(world: AlertWorld):
    world.look(is_dear=True)
    world.event(minutes=1, status="charted")
    assert world.look(is_dear=True).opened == 0
    world.pass_time(6)
    assert world.look(is_dear=True).opened == 1


def test_what_cannot_be_measured_neither_ends_an_incident_nor_stays_unknown(world: AlertWorld):
    world.write("dead", 1)
    world.look()
    world.connection.execute("alter table ops.writes rename to hidden")
    try:
        looked = world.look()
        assert set(looked.unmeasured) == {"write_dead", "write_waiting", "breaker_open", "poll_late"}
        world.pass_time(16)
        world.look()
    finally:
        world.connection.execute("alter table ops.hidden rename to writes")
    assert ("write_dead", "ehr", True) in incidents(world)
    assert ("alert_blind", "write_dead", True) in incidents(world)
    for _ in range(3):
        world.look()
        world.pass_time(3)
    assert [row for row in incidents(world) if row[2]] == [("write_dead", "ehr", True)]


def test_a_daemon_that_is_dead_is_seen_from_cron_and_a_living_one_ends_it(world: AlertWorld):
    assert world.look().opened == 0, "where no sensor ever looked, none is missed"
    world.look(is_sensor=True)
    world.pass_time(6)
    assert world.look().opened == 1
    assert incidents(world) == [("daemon_silent", "", True)]
    world.look(is_sensor=True)
    world.pass_time(3)
    world.look(is_sensor=True)
    assert incidents(world) == [("daemon_silent", "", False)]


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


@pytest.mark.parametrize(
    "text", ["slack://token", "a=b=c", "a=webhook+http://example.org/x", "a=json://h/ a=json://h/", "A=json://h/"]
)
def test_an_address_that_cannot_be_used_is_told_without_telling_it(text: str):
    with pytest.raises(SettingsError) as caught:
        read_addresses(text, has_secret=True)
    assert "token" not in str(caught.value)
    assert "example.org" not in str(caught.value)


def test_addresses_may_lie_in_a_secret_file_and_a_webhook_needs_a_secret(installed: Path, monkeypatch):
    monkeypatch.delenv("GLP1_ALERT_URLS")
    monkeypatch.delenv("GLP1_ALERT_WEBHOOK_SECRET")
    folder = installed / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "alert_urls"
    file.write_text("leads=webhook+https://example.org/x\n")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="cannot be signed"):
        alerts.Channels.from_settings(Settings.from_env())
    file.write_text("leads=json://example.org/x\n")
    assert alerts.Channels.from_settings(Settings.from_env()).names == ("leads",)


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
