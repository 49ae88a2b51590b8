"""What an ops lead is told of each part: green, amber or red, since when, whose it is, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters.health_page import page
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.domain.alerts import WATCHES, Incident, Measured
from glp1_pipeline.domain.health import (
    COLOURS,
    PLACES,
    STEPS,
    Fault,
    Health,
    Light,
    Part,
    Seen,
    judge_health,
    unreachable,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOOK = load_alerts()
ALL = frozenset(name for name, alert in BOOK.alerts.items() if not alert.every_minutes)
DEAR = {name: NOW for name, alert in BOOK.alerts.items() if alert.every_minutes}


def seen(*measured: Measured, parts: tuple[Part, ...] = (Part("ledger", "charting", "0 events wait"),), **more) -> Seen:
    return replace(Seen(parts, measured, ALL, looked_at=DEAR), **more)


def light(kind: str, name: str, found: Health) -> Light:
    (one,) = [one for one in found.lights if (one.kind, one.name) == (kind, name)]
    return one


def minutes(n: float) -> datetime:
    return NOW - timedelta(minutes=n)


def incident(alert: str, scope: str = "", **more) -> Incident:
    made = Incident(
        alert, scope, BOOK.alerts[alert].severity, "integration", "integration-a", minutes(90), minutes(80), 3, 3
    )
    return replace(made, incident_id=7, **more)


def test_every_watch_that_alerts_know_has_a_part_and_a_next_step_with_its_command():
    assert set(PLACES) == set(STEPS)
    used = {alert.watches for alert in BOOK.alerts.values()}
    assert set(PLACES) <= set(WATCHES)
    assert used & set(WATCHES) >= set(PLACES) & used
    for step, command in STEPS.values():
        assert step.endswith(".")
        assert command.startswith(("glp1 ", "df "))


@pytest.mark.parametrize(("age", "colour"), [(4, "green"), (6, "amber"), (11, "red")])
def test_what_waits_is_amber_at_half_the_age_and_red_when_somebody_is_called(age: float, colour: str):
    found = light("ledger", "charting", judge_health(BOOK, seen(Measured("event_waiting", "", 3, minutes(age))), NOW))
    assert found.colour == colour
    assert found.since == (None if colour == "green" else minutes(age))
    assert found.owner == "integration"
    assert (found.command == "") == (colour == "green")


def test_a_warning_is_amber_and_red_once_nobody_answered_it():
    late = Measured("queue_stuck", "provider", 2, minutes(90))
    amber = light("queue", "provider", judge_health(BOOK, seen(late), NOW))
    assert (amber.colour, amber.owner, amber.called) == ("amber", "clinical", "clinical-a")
    escalated = incident("queue_stuck", "provider", escalated_at=minutes(5))
    red = light("queue", "provider", judge_health(BOOK, seen(late, incidents=(escalated,)), NOW))
    assert red.colour == "red"
    assert "nobody answered" in red.says
    heard = replace(escalated, acknowledged_at=minutes(1), acknowledged_by="clinical-b")
    answered = light("queue", "provider", judge_health(BOOK, seen(late, incidents=(heard,)), NOW))
    assert answered.acknowledged_by == "clinical-b"
    assert "nobody answered" not in answered.says


def test_what_is_well_again_stays_amber_until_its_incident_ends_and_then_says_since_when_it_is_green():
    still = seen(incidents=(incident("write_waiting", "ehr", calm_since=minutes(1)),))
    amber = light("target", "ehr", judge_health(BOOK, still, NOW))
    assert (amber.colour, amber.since) == ("amber", minutes(1))
    ended = seen(parts=(Part("target", "ehr"),), ended_at={("write_waiting", "ehr"): minutes(33)})
    green = light("target", "ehr", judge_health(BOOK, ended, NOW))
    assert (green.colour, green.since) == ("green", minutes(33))


def test_what_could_not_be_measured_or_was_not_looked_at_for_long_is_never_green():
    blind = seen(blind=frozenset({"event_waiting"}), asked=ALL - {"event_waiting"})
    assert light("ledger", "charting", judge_health(BOOK, blind, NOW)).colour == "amber"
    for looked_at in ({}, {"ledger_unbalanced": minutes(60)}):
        found = light("ledger", "balance", judge_health(BOOK, seen(looked_at=looked_at), NOW))
        assert found.colour == "amber"
        assert found.command == "glp1 alerts check"


def test_a_part_shows_its_worst_and_tells_the_rest_beside_it():
    lost = Fault("red", "1 patient is nobody's work", "Send the answers.", "glp1 why PATIENT", minutes(9))
    late = Fault("amber", "2 are overdue", "Staff it.", "glp1 status", minutes(99))
    gate = Part("gate", "clinical-minimum", "5 passed, 3 held", queue="care-coordination", faults=(late, lost))
    found = light("gate", "clinical-minimum", judge_health(BOOK, seen(parts=(gate,)), NOW))
    assert (found.colour, found.since, found.owner) == ("red", minutes(9), "operations")
    assert found.says == "1 patient is nobody's work; 2 are overdue; 5 passed, 3 held"


def test_what_several_troubles_of_a_part_share_is_said_once():
    reasons = [Measured("event_rejected", reason, 30, minutes(90)) for reason in ("bad_date", "no_consent")]
    says = light("feed", "landing zone", judge_health(BOOK, seen(*reasons), NOW)).says
    title = BOOK.alerts["event_rejected"].title
    assert says.count(title) == 1
    assert "events rejected (bad_date), 30 events rejected (no_consent)" in says


def test_a_store_that_does_not_answer_is_red_and_says_what_to_do():
    found = unreachable(BOOK, NOW)
    assert found.colour == "red"
    assert found.lights[0].command == "glp1 up"


measurements = st.builds(
    Measured,
    st.sampled_from(sorted(ALL)),
    st.sampled_from(["", "ehr", "crm", "provider", "<script>alert(1)</script>", "Jane Canary"]),
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(0, 5000).map(minutes)),
)


class Tags(HTMLParser):
    """What tags and addresses a page really has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "style", "onclick")]


@settings(max_examples=30, deadline=None)
@given(st.lists(measurements, max_size=6))
def test_whatever_is_measured_each_part_has_one_light_and_the_page_loads_nothing_and_names_nobody(
    found: list[Measured],
):
    health = judge_health(BOOK, seen(*found), NOW)
    assert len({(one.kind, one.name) for one in health.lights}) == len(health.lights)
    assert sum(health.counts.values()) == len(health.lights)
    assert all(one.step and one.command for one in health.lights if one.colour != "green")
    worst = min((COLOURS.index(one.colour) for one in health.lights), default=2)
    assert health.colour == COLOURS[worst]
    html = page(health)
    tags = Tags(html)
    assert tags.links == []
    assert tags.tags.count("script") == 1
    assert "Canary" not in html


def test_the_page_says_when_it_was_made_when_it_is_old_and_gives_every_colour_a_word_and_a_sign():
    late = Measured("queue_stuck", "provider", 2, minutes(90))
    waits = Measured("event_waiting", "", 3, minutes(40))
    html = page(judge_health(BOOK, seen(late, waits, parts=(Part("feed", "intake"), Part("gate", "a<b"))), NOW))
    assert html.count('<div class="light') == 2 * 2, "what is well takes one line, and no box"
    assert 'datetime="2026-11-23T12:00:00Z">2026-11-23 12:00:00 UTC' in html
    assert "more than 10 minutes ago, the page is old" in html
    for words in ("✕ act now", "! watch", "✓ well", "a&lt;b", "glp1 events --status waiting", "Next: "):
        assert words in html
    assert html.index("Events wait too long") < html.index("Tasks of a queue are overdue"), "the worst first"
