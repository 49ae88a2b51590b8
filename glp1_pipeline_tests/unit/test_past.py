"""What was known then, worked out with one walk, is what judging it by itself says, at every moment and for everybody."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from glp1_pipeline.domain import followup
from glp1_pipeline.domain.chart import Reported
from glp1_pipeline.domain.charting import GATE, Claimed, read
from glp1_pipeline.domain.events import Refused, parse_event
from glp1_pipeline.domain.gates import passes
from glp1_pipeline.domain.past import Past, judge
from glp1_pipeline.domain.refill import Snapshot, gather
from glp1_pipeline.sandbox.program import STORIES, build
from glp1_pipeline_tests.one_patient import CONTRACT
from glp1_pipeline_tests.refills import by_provider, checkin, intake, requested
from glp1_pipeline_tests.treatments import dispensed, ordered

PASSES = passes(CONTRACT, CONTRACT.gates[GATE])
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def reports_of(events: list[dict]) -> list[Reported]:
    claimed = []
    for event in events:
        try:
            envelope, content = parse_event(event, CONTRACT)
        except Refused:
            continue
        claimed.append(Claimed(event["id"], NOW, envelope, content, "p1"))
    found = read(CONTRACT, claimed)
    assert not found.dead
    return list(found.reports.values())


@cache
def told_by(story: str) -> tuple[Reported, ...]:
    program = build(1, seed=7, months=8, stories=[story])
    return tuple(reports_of([event for _, event in program.events]))


def alone(reports: list[Reported], at: datetime) -> Snapshot:
    heard = [report for report in reports if report.received_at <= at]
    (chart, flags, _), courses = judge(CONTRACT, "p1", heard, PASSES)
    return Snapshot(at, chart, flags, courses, followup.follow_ups(CONTRACT, chart, courses, heard, at), heard)


def moments_of(reports: list[Reported]) -> list[datetime]:
    found = sorted({report.received_at.astimezone(UTC) for report in reports})
    return [*found, *(at + timedelta(hours=5) for at in found)]


def hold_together(reports: list[Reported]) -> None:
    past = Past(CONTRACT, "p1", reports, PASSES)
    moments = moments_of(reports)
    for at in random.Random(len(reports)).sample(moments, min(40, len(moments))):
        one, other = past.look(at), alone(reports, at)
        assert (one.as_of, one.flags, one.courses) == (other.as_of, other.flags, other.courses)
        assert list(one.follow_ups) == list(other.follow_ups)
        assert meant(one) == meant(other)
        for product in ("wegovy_inj", "zepbound_pen", "wegovy_tab"):
            assert gather(CONTRACT, one, product) == gather(CONTRACT, other, product)


def meant(known: Snapshot) -> object:
    """The chart, but for which of the words about a treatment alone had come."""
    return replace(known.chart, submissions=tuple(r for r in known.chart.submissions if not r.is_of_treatment))


@pytest.mark.parametrize("story", STORIES)
def test_every_moment_of_a_story_is_as_if_it_were_judged_by_itself(story: str):
    hold_together(list(told_by(story)))


@pytest.mark.parametrize("seed", range(12))
def test_also_where_much_comes_late(seed: int):
    chance = random.Random(seed)
    reports = list(told_by(chance.choice([*STORIES])))
    late = [
        replace(r, received_at=r.received_at + timedelta(days=chance.randint(1, 60))) if chance.random() < 0.3 else r
        for r in reports
    ]
    chance.shuffle(late)
    hold_together(late)


def test_also_where_drafts_were_saved_before():
    first = intake()
    draft = {**first, "id": "draft", "data": first["data"] | {"status": "in-progress", "submission_id": "draft"}}
    half = checkin(18)
    half["data"]["status"] = "in-progress"
    hold_together(reports_of([draft, first, ordered(0, 0.25), dispensed(3, 0.25), half, checkin(20), requested(25)]))
    hold_together(reports_of([draft, ordered(0, 0.25), dispensed(3, 0.25), half, requested(25)]))


def test_also_where_a_check_in_calls_somebody_and_a_provider_refutes_it():
    worst = checkin(18, suicidal="yes", neck_mass="yes", vomiting_24h="yes")
    half = {**checkin(21, suicidal="unsure"), "id": "half"}
    half["data"] = half["data"] | {"status": "in-progress", "submission_id": "half"}
    refuted = [
        by_provider("flag.resolved", on, flag_id=flag, resolution="refuted", reason_code="SEEN", actor="provider-7")
        for on, flag in ((19, "SUICIDAL_ACTIVE"), (20, "NECK_MASS"))
    ]
    told = [intake(), ordered(0, 0.25), dispensed(3, 0.25), worst, *refuted, checkin(22), requested(23)]
    hold_together(reports_of([*told, checkin(24, suicidal="unsure", neck_mass="yes"), checkin(25)]))
    hold_together(reports_of([*told[1:], half]))
    hold_together(reports_of([*told, half]))


def test_also_where_only_an_order_is_known_at_first_and_weights_grow_too_old():
    late = {**dispensed(3, 0.25), "time": requested(30)["time"]}
    order = ordered(0, 0.25, days_supply=28)
    approved = by_provider("refill.approved", 27, refill_id="request-22")
    said = [intake(), order, checkin(18), requested(22), approved, late, checkin(45, weight=None), requested(50)]
    hold_together(reports_of([*said, checkin(61), dispensed(80, 0.25), checkin(81), requested(97)]))


def test_a_look_back_at_a_year_walks_it_once(monkeypatch):
    walks = []
    real = followup.missing
    monkeypatch.setattr(followup, "missing", lambda *told: (walks.append(told), real(*told))[1])
    past = Past(CONTRACT, "p1", list(told_by("steady")), PASSES)
    judged = []
    monkeypatch.setattr("glp1_pipeline.domain.past.judge", lambda *told: (judged.append(told), judge(*told))[1])
    for at in moments_of(list(told_by("steady"))):
        past.look(at)
    assert len(judged) == 1
    assert len(walks) <= 2 * len([r for r in told_by("steady") if r.source == "followup"])
