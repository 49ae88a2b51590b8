"""What a person is called for: once, in time, by the right team, and not again because something flaps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.contracts import HERE, ContractError
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.domain.alerts import WATCHES, Book, Change, Incident, Measured, body_of, figures, judge, title_of
from glp1_pipeline.domain.alerts.judging import UNNAMED, called, on_call, plain_scope
from glp1_pipeline.domain.alerts.silence import expected, window

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOOK = load_alerts()
ROOT = Path(__file__).parents[2]


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def look(book: Book, incidents: Iterable[Incident], measured: Iterable[Measured], now: datetime = NOW) -> list[Change]:
    return judge(book, measured, dict.fromkeys(book.alerts), incidents, now)


def kinds(changes: list[Change]) -> list[str]:
    return [change.kind for change in changes]


def going_on(changes: list[Change]) -> list[Incident]:
    return [c.incident for c in changes if c.kind != "resolved"]


def test_an_incident_begins_when_the_oldest_thing_began_not_when_somebody_looked():
    old = Measured("event_waiting", "", 3, NOW - minutes(25))
    (change,) = look(BOOK, [], [old])
    assert change.kind == "opened"
    assert change.incident.opened_at == NOW - minutes(25)
    assert change.incident.detected_at == NOW
    assert change.incident.owner == "integration"


def test_what_is_young_or_few_calls_nobody():
    assert look(BOOK, [], [Measured("event_waiting", "", 900, NOW - minutes(9.9))]) == []
    assert look(BOOK, [], [Measured("event_rejected", "malformed_json", 4, NOW - minutes(50))]) == []


def test_a_last_look_that_lies_ahead_is_none_of_just_now_for_the_clock_was_set_back_since():
    (change,) = look(BOOK, [], [Measured("daemon_silent", "", 1, NOW + minutes(59))])
    assert (change.kind, change.incident.opened_at) == ("opened", NOW)
    assert look(BOOK, [], [Measured("daemon_silent", "", 1, NOW + minutes(1))]) == []


def test_an_incident_ends_after_it_began_whatever_the_clock_did_meanwhile():
    ahead = NOW + minutes(60)
    opened = going_on(look(BOOK, [], [Measured("write_dead", "ehr", 1, ahead)], ahead))
    calm = going_on(look(BOOK, opened, [], ahead + minutes(1)))
    (change,) = look(BOOK, calm, [], NOW)
    assert change.kind == "resolved"
    assert change.incident.resolved_at == ahead + minutes(1)
    calm = going_on(look(BOOK, opened, [], NOW))
    (change,) = look(BOOK, calm, [], NOW + minutes(3))
    assert change.incident.resolved_at == ahead


def test_what_has_no_age_began_at_the_earliest_after_the_look_before():
    full = Measured("landing_full", "", 95)
    (change,) = judge(BOOK, [full], {"landing_full": NOW - minutes(1)}, [], NOW)
    assert change.incident.opened_at == NOW - minutes(1)


def test_each_target_has_an_incident_of_its_own_and_a_second_look_opens_no_other():
    both = [Measured("write_dead", target, 1, NOW) for target in ("ehr", "crm")]
    opened = look(BOOK, [], both)
    assert [c.incident.scope for c in opened] == ["crm", "ehr"]
    assert kinds(look(BOOK, going_on(opened), both, NOW + minutes(1))) == ["kept", "kept"]


def test_an_incident_ends_by_itself_once_it_was_well_for_long_enough():
    opened = going_on(look(BOOK, [], [Measured("write_dead", "ehr", 1, NOW)]))
    calm = going_on(look(BOOK, opened, [], NOW + minutes(1)))
    assert calm[0].calm_since == NOW + minutes(1)
    (change,) = look(BOOK, calm, [], NOW + minutes(3))
    assert change.kind == "resolved"
    assert change.incident.resolved_at == NOW + minutes(1)


def test_what_was_not_measured_neither_opens_nor_ends():
    opened = going_on(look(BOOK, [], [Measured("write_dead", "ehr", 1, NOW)]))
    (change,) = judge(BOOK, [Measured("event_dead", "", 9, NOW)], {}, opened, NOW + timedelta(days=1))
    assert change.kind == "escalated", "and yet nobody may sleep through it"
    assert change.incident.calm_since is None


def test_an_alert_that_was_taken_out_of_the_contract_ends():
    opened = going_on(look(BOOK, [], [Measured("write_dead", "ehr", 1, NOW)]))
    fewer = BOOK.model_copy(update={"alerts": {k: a for k, a in BOOK.alerts.items() if k != "write_dead"}})
    assert kinds(look(fewer, opened, [Measured("write_dead", "ehr", 1, NOW)])) == ["resolved"]


def test_nobody_answering_is_escalated_once_and_an_answer_prevents_it():
    dead = [Measured("write_dead", "ehr", 1, NOW)]
    opened = going_on(look(BOOK, [], dead))
    assert kinds(look(BOOK, opened, dead, NOW + minutes(14))) == ["kept"]
    escalated = look(BOOK, opened, dead, NOW + minutes(15))
    assert kinds(escalated) == ["escalated"]
    assert kinds(look(BOOK, going_on(escalated), dead, NOW + minutes(60))) == ["kept"]
    answered = [replace(opened[0], acknowledged_at=NOW, acknowledged_by="a")]
    assert kinds(look(BOOK, answered, dead, NOW + minutes(60))) == ["kept"]
    assert getattr(called(BOOK, opened[0], is_escalation=True), "team", "") == "operations-lead"


def test_overdue_tasks_call_the_team_that_attends_the_queue():
    late = [Measured("queue_stuck", q, 2, NOW - minutes(90)) for q in ("provider", "pharmacy", "data-steward")]
    owners = {c.incident.scope: c.incident.owner for c in look(BOOK, [], late)}
    assert owners == {"provider": "clinical", "pharmacy": "operations", "data-steward": "data-steward"}


@settings(deadline=None)
@given(
    firing=st.lists(st.booleans(), min_size=1, max_size=120),
    calm=st.integers(0, 10),
    step=st.integers(1, 5),
)
def test_flapping_is_one_incident_until_it_was_calm_and_nothing_is_ever_missed(firing, calm: int, step: int):
    alert = BOOK.alerts["write_dead"].model_copy(update={"calm_minutes": calm})
    book = BOOK.model_copy(update={"alerts": {"write_dead": alert}})
    incidents: list[Incident] = []
    opened: list[datetime] = []
    escalated = 0
    ended: list[tuple[datetime, datetime]] = []
    for n, is_firing in enumerate(firing):
        now = NOW + minutes(n * step)
        found = [Measured("write_dead", "ehr", 1, now)] if is_firing else []
        changes = look(book, incidents, found, now)
        assert len(changes) <= 1
        opened += [now for c in changes if c.kind == "opened"]
        escalated += sum(c.kind == "escalated" for c in changes)
        ended += [(c.incident.resolved_at or now, now) for c in changes if c.kind == "resolved"]
        incidents = going_on(changes)
        assert bool(incidents) or not is_firing, "what is wrong now is open now"
    assert escalated <= len(opened)
    assert len(ended) in (len(opened), len(opened) - 1)
    for since, noticed in ended:
        assert noticed - since >= minutes(calm)
        assert not any(firing[n] for n in range(len(firing)) if since <= NOW + minutes(n * step) <= noticed)
    for (_, noticed), again in zip(ended, opened[1:], strict=False):
        assert again > noticed
    assert len(opened) <= 1 + len(firing) * step / max(calm, step)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=70), st.integers(1, 9)), max_size=6))
def test_any_scope_makes_one_incident_a_name_and_no_name_from_outside_is_told(found: list[tuple[str, int]]):
    changes = look(BOOK, [], [Measured("write_dead", scope, n, NOW) for scope, n in found])
    scopes = [c.incident.scope for c in changes]
    assert len(set(scopes)) == len(scopes)
    assert sum(c.incident.affected for c in changes) == sum(n for _, n in found)
    assert all(re.fullmatch(r"[a-z0-9_.:-]*", scope) for scope in scopes)


@pytest.mark.parametrize("scope", ["Canary", "/intake/jane.canary@example.org", "a b", "x" * 61, "1980-02-03", "é"])
def test_a_scope_that_could_be_a_person_is_not_told(scope: str):
    assert plain_scope(scope) == UNNAMED


@settings(deadline=None)
@given(st.datetimes(datetime(2026, 11, 3), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_somebody_is_on_call_at_every_instant_and_turns_change_at_nine_by_the_teams_clock(now: datetime):
    team = BOOK.teams["integration"]
    assert on_call(team, now) in team.members
    assert on_call(team, now + timedelta(weeks=3)) in team.members
    start = datetime(2026, 11, 2, 14, tzinfo=UTC)
    assert [on_call(team, start + timedelta(days=7 * n)) for n in range(4)] == [*team.members, team.members[0]]
    assert on_call(team, datetime(2027, 3, 15, 12, 59, tzinfo=UTC)) != on_call(
        team, datetime(2027, 3, 15, 13, tzinfo=UTC)
    )


def test_a_message_says_what_how_many_since_when_whose_and_what_to_do():
    incident = replace(look(BOOK, [], [Measured("write_dead", "ehr", 3, NOW - minutes(90))])[0].incident, incident_id=7)
    alert = BOOK.alerts["write_dead"]
    assert title_of(alert, incident, "opened") == "[critical] Changes were given up (ehr)"
    text = body_of(alert, incident, "opened", incident.called, "http://127.0.0.1:3000/assets/deliveries", NOW)
    assert text.splitlines()[0] == "3 changes; for 1.5 h"
    assert "docs/runbook.md#changes-were-given-up" in text
    assert "glp1 alerts ack 7 --by" in text


def test_time_to_detect_and_to_recover_come_from_the_incidents_and_open_ones_are_not_averaged_in():
    made = Incident("write_dead", "ehr", "critical", "integration", "a", NOW, NOW + minutes(2), 1, 1)
    settled = replace(made, acknowledged_at=NOW + minutes(5), resolved_at=NOW + minutes(30))
    found = figures([made, settled], NOW + minutes(60))["all"]
    assert found["detect"]["mean"] == 120
    assert found["answer"] == {"n": 1, "is_few": True, "sum": 180, "mean": 180, "median": 180, "p95": 180}
    assert (found["recover"]["n"], found["recover"]["mean"]) == (1, 1800)
    assert (found["open"], found["oldest_open_seconds"]) == (1, 3600)
    assert figures([], NOW)["all"]["recover"]["mean"] is None


def test_everything_that_can_be_watched_is_watched():
    assert {alert.watches for alert in BOOK.alerts.values()} == set(WATCHES)


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("alerts.yaml", "owner: data-steward", "owner: data-stewart", "owned by no team"),
        ("alerts.yaml", "severity: critical", "severity: urgent", "input should be 'critical' or 'warning'"),
        ("alerts.yaml", "watches: dead_writes", "watches: select 1", "alerts.yaml"),
        ("oncall.yaml", "queues: [provider, on-call]", "queues: [provider]", "`on-call` of tasks.csv is attended by no team"),
        ("oncall.yaml", "queues: [integration]", "queues: [integration, provider]", "as does `integration`"),
        ("oncall.yaml", "escalates_to: operations-lead", "escalates_to: nobody", "escalates to `nobody`"),
        ("oncall.yaml", "America/New_York", "America/Canary", "no time zone"),
        ("oncall.yaml", "members: [integration-a", 'members: ["+1 555 0100"', "oncall.yaml"),
    ],
)  # fmt: skip
def test_a_fault_in_the_files_is_told_with_its_place(tmp_path: Path, file: str, before: str, after: str, said: str):
    folder = tmp_path / "contracts"
    shutil.copytree(HERE, folder)
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    with pytest.raises(ContractError) as caught:
        load_alerts(folder)
    assert said in str(caught.value)


def test_a_new_threshold_does_not_change_the_version_that_charts_are_stamped_with(tmp_path: Path):
    from glp1_pipeline.contracts import load

    folder = tmp_path / "contracts"
    shutil.copytree(HERE, folder)
    before = load(folder).version
    (folder / "alerts.yaml").write_text(
        (folder / "alerts.yaml").read_text().replace("after_minutes: 10", "after_minutes: 11")
    )
    assert load(folder).version == before


def test_turns_begin_on_a_day_in_the_past():
    assert all(team.starts_on <= date(2026, 11, 23) for team in BOOK.teams.values())


def test_every_alert_has_a_section_in_the_runbook_that_names_it_and_every_section_an_alert():
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    sections = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-"): text
        for head, text in re.findall(r"^### (.+)\n((?:(?!### ).*\n?)*)", page, re.MULTILINE)
    }
    assert {alert.runbook for alert in BOOK.alerts.values()} == set(sections)
    assert [a.name for a in BOOK.alerts.values() if f"`{a.name}`" not in sections[a.runbook]] == []


def test_every_alert_leads_to_an_asset_that_is_there():
    from glp1_pipeline.definitions import defs

    there = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {alert.asset for alert in BOOK.alerts.values()} <= there


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(0.01, 20), st.floats(0, 30))
def test_a_silence_is_compared_with_days_that_are_known_and_lie_before_it(known_days, silent_days, more):
    first, last = NOW - timedelta(days=known_days + silent_days), NOW - timedelta(days=silent_days)
    compared = window(first, last, NOW)
    if compared is None:
        assert known_days < 2 or silent_days > 14
        return
    for days in compared.days_back:
        end = NOW - timedelta(days=days)
        assert end <= last
        assert end - compared.length >= first
    assert len(compared.days_back) <= 14


def test_a_day_on_which_nothing_ever_comes_expects_nothing_and_a_busy_one_all_the_same():
    workdays = {days: 0 if days % 7 in (0, 1) else 60 for days in range(1, 15)}
    assert expected(workdays) == 0
    assert 0 < expected({days: 60 if days % 7 else 50 for days in range(1, 15)}) <= 50
    assert expected({1: 10}) == 10
