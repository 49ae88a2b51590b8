"""Check-ins on the patient's own clock: when they open, are due and are missed, and what answers them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.followup import FollowUp, moments
from glp1_pipeline.domain.refill import Snapshot, gather
from glp1_pipeline_tests.one_patient import CONTRACT, Patient
from glp1_pipeline_tests.refills import checkin, intake
from glp1_pipeline_tests.treatments import BEGAN, dispensed, message, ordered, said

RULES = CONTRACT.followups
ZONES = sorted({*RULES.zones.values(), "Pacific/Kiritimati", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"})
START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]


def days(at: datetime) -> float:
    return (at - BEGAN).total_seconds() / 86400


def live(patient: Patient) -> FollowUp:
    assert patient.outcome is not None
    (one,) = [one for one in patient.outcome.follow_ups if one.is_live]
    return one


def heard(*events) -> Patient:
    patient = Patient()
    patient.hear(*START, *events)
    return patient


def runs_out(patient: Patient) -> datetime:
    """As the treatment knows it: when the last of what was handed over is used up."""
    assert patient.outcome is not None
    (course,) = patient.outcome.courses
    assert course.runs_out_at is not None
    return course.runs_out_at


def supplied(zone: str, *supplies: tuple[float, float]) -> Patient:
    """Who was handed over a supply at each moment, of so many days."""
    patient = Patient()
    told = [dispensed(on, 0.25, f"supply-{n}", days_supply=days) for n, (on, days) in enumerate(supplies)]
    patient.hear(intake(**{"demo.timezone": zone}), ordered(supplies[0][0] - 3, 0.25), *told)
    return patient


@settings(max_examples=150, deadline=None)
@given(
    on=st.integers(0, 500),
    minute=st.integers(0, 1439),
    supply=st.integers(RULES.short_supply_days, 400) | st.floats(RULES.short_supply_days, 400),
    left=st.none() | st.integers(1, 40),
    zone=st.sampled_from(ZONES),
)
def test_a_check_in_opens_is_due_and_is_missed_before_the_window_opens_whatever_the_supply_and_the_zone(
    on: int, minute: int, supply: float, left: int | None, zone: str
):
    """Hours of every day of a year and more, changes of the clocks among them; with something left, and without."""
    at = on + minute / 1440
    patient = supplied(zone, *([] if left is None else [(at - 30, 30 + left)]), (at, supply))
    one, there = live(patient), ZoneInfo(zone)
    found = one.moments
    assert found.opens_at < found.due_at < found.missed_at < found.window_at <= found.runs_out_at
    for moment in (found.opens_at, found.due_at, found.missed_at, found.window_at, found.runs_out_at):
        local = moment.astimezone(there)
        assert moment.tzinfo is UTC
        assert (local.hour, local.minute) == (RULES.at_hour, 0)
    began_on = one.began_at.astimezone(there).date()
    assert found.opens_at.astimezone(there).date() >= began_on
    lasts_from = began_on
    if left is not None:
        before_on = patient.outcome.follow_ups[0].began_at.astimezone(there).date()  # type: ignore[union-attr]
        carried = timedelta(days=CONTRACT.medication.carry_over_days)
        lasts_from = min(before_on + timedelta(days=30 + left), began_on + carried)
    assert found.runs_out_at.astimezone(there).date() == lasts_from + timedelta(days=supply)
    assert one.began_at <= one.counts_from <= found.opens_at or one.counts_from == one.began_at
    assert one.refill_window_at == found.window_at


@settings(max_examples=60, deadline=None)
@given(
    on=st.integers(0, 500),
    minute=st.integers(0, 1439),
    supply=st.integers(1, RULES.short_supply_days - 1)
    | st.floats(0.5, RULES.short_supply_days, exclude_max=True, allow_nan=False),
    zone=st.sampled_from(ZONES),
)
def test_the_same_holds_of_the_cycle_of_every_short_supply(on: int, minute: int, supply: float, zone: str):
    one, there = live(supplied(zone, (on + minute / 1440, supply))), ZoneInfo(zone)
    found = one.moments
    assert found.opens_at < found.due_at < found.missed_at < found.window_at <= found.runs_out_at
    lasts = found.runs_out_at.astimezone(there).date() - one.began_at.astimezone(there).date()
    assert lasts == timedelta(days=RULES.short_cycle_days)
    assert one.counts_from == one.began_at  # whoever needs the next pack sooner may answer at once


@settings(max_examples=150, deadline=None)
@given(
    supplies=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1439), st.integers(1, 400) | st.integers(1, 13)),
                      min_size=1, max_size=5),
    zone=st.sampled_from(ZONES),
)  # fmt: skip
def test_no_request_waits_beyond_the_end_of_what_is_in_hand_whatever_was_handed_over(
    supplies: list[tuple[int, int, int]], zone: str
):
    patient = supplied(zone, *sorted((on + minute / 1440, days) for on, minute, days in supplies))
    assert patient.outcome is not None
    one = live(patient)
    assert one.refill_window_at <= one.moments.window_at
    assert one.refill_window_at <= runs_out(patient)
    told = patient.outcome
    known = Snapshot(runs_out(patient), told.chart, told.flags, told.courses, told.follow_ups)
    inputs = gather(CONTRACT, known, "wegovy_inj")
    assert inputs["window_opens_at"]["value"] == one.refill_window_at.isoformat()


def test_the_days_of_a_usual_supply_are_those_that_the_contract_says():
    one = live(heard())
    assert [round(days(at) - 3) for at in (
        one.moments.opens_at, one.moments.due_at, one.moments.missed_at, one.moments.window_at, one.moments.runs_out_at
    )] == [14, 18, 20, 21, 28]  # fmt: skip


def test_the_hour_stays_when_the_clocks_change():
    zone = ZoneInfo("America/Chicago")
    found = moments(RULES, date(2026, 10, 20), date(2026, 11, 17), 28, zone)
    assert {at.astimezone(zone).hour for at in (found.opens_at, found.due_at, found.missed_at)} == {9}
    assert found.due_at - found.opens_at == timedelta(days=4)
    assert moments(RULES, date(2026, 10, 5), date(2026, 11, 2), 28, zone).runs_out_at.hour == 15  # winter: UTC-6


def test_a_reminder_of_the_next_day_comes_at_the_same_hour_when_the_clocks_change_in_the_night_between():
    zone = ZoneInfo("America/Chicago")
    patient = supplied(zone.key, (days(datetime(2026, 10, 13, 15, tzinfo=UTC)), 28))
    rung = {tick.name: tick.at.astimezone(zone) for tick in patient.ring(datetime(2026, 11, 10, tzinfo=UTC))}
    assert [(at.day, at.hour) for at in (rung["due"], rung["overdue"], rung["missed"])] == [(31, 9), (1, 9), (2, 9)]


@pytest.mark.parametrize(
    ("handed", "zone", "runs_out_on"),
    [
        ("2026-10-20T00:30:00-05:00", "America/Chicago", "2026-11-17"),  # the clocks go back on the first of November
        ("2027-02-20T23:30:00-06:00", "America/Chicago", "2027-03-20"),  # and on at the 14th of March
        ("2026-10-20T00:30:00-07:00", "America/Phoenix", "2026-11-17"),  # and never there
        ("2026-09-20T00:10:00+10:30", "Australia/Lord_Howe", "2026-10-18"),
    ],
)
def test_days_of_a_supply_are_those_of_the_calendar_where_the_clocks_change(handed: str, zone: str, runs_out_on: str):
    on = (datetime.fromisoformat(handed) - BEGAN) / timedelta(days=1)
    found = live(supplied(zone, (on, 28))).moments
    assert found.runs_out_at.astimezone(ZoneInfo(zone)).date().isoformat() == runs_out_on
    assert found.opens_at.astimezone(ZoneInfo(zone)).date() == date.fromisoformat(runs_out_on) - timedelta(days=14)


def test_a_short_supply_has_one_check_in_each_cycle():
    vials = [dispensed(3 + 7 * n, 2.5, product="zepbound_vial", days_supply=7, quantity={"value": 1, "unit": "vial"},
                       codes=None) for n in range(6)]  # fmt: skip
    patient = Patient()
    patient.hear(intake(), ordered(0, 2.5, product="zepbound_vial"), *vials)
    assert patient.outcome is not None
    began = [round(days(one.began_at)) for one in patient.outcome.follow_ups]
    assert began == [3, 31]
    first = patient.outcome.follow_ups[0]
    assert round(days(first.moments.runs_out_at)) == 3 + 28
    assert first.moments.missed_at < first.moments.window_at


def test_two_packs_of_one_day_are_one_supply():
    patient = heard(dispensed(3, 0.25, "second-pack"))
    assert patient.outcome is not None
    assert len(patient.outcome.follow_ups) == 1


def test_a_check_in_moves_from_planned_to_missed_as_the_clock_goes_and_the_exception_is_somebodys_before_the_window():
    patient = heard()
    seen = [live(patient).status]
    while patient.outcome is not None and patient.outcome.tick is not None:
        patient.ring(patient.outcome.tick.at)
        seen.append(live(patient).status)
    assert seen == ["planned", "open", "due", "due", "missed"]
    assert patient.outcome is not None
    (task,) = [task for task in patient.outcome.tasks if task.code == "checkin-overdue"]
    one = live(patient)
    assert task.cause == "followup.missed:wegovy_inj"
    assert (task.since, task.due_at) == (one.moments.missed_at, one.moments.window_at)
    assert task.since is not None
    assert task.due_at is not None
    assert task.since < task.due_at


def test_an_answer_closes_the_exception_and_what_was_missed_stays_told():
    patient = heard()
    patient.ring(datetime(2027, 1, 1, tzinfo=UTC))
    assert "checkin-overdue/followup.missed:wegovy_inj" in patient.tasks
    patient.hear(checkin(26))
    one = live(patient)
    assert (one.status, one.was_missed) == ("completed", True)
    assert patient.tasks == set()


def test_a_backdated_answer_was_no_late_one():
    patient = heard()
    patient.ring(datetime(2027, 1, 1, tzinfo=UTC))
    event = checkin(18)
    event["data"]["received_at"] = checkin(27)["time"]
    patient.hear(event)
    one = live(patient)
    assert (one.status, one.was_missed) == ("completed", False)


def test_what_was_answered_before_the_supply_came_is_no_answer_to_its_check_in():
    patient = heard(checkin(2))
    assert live(patient).status == "planned"


def test_an_answer_that_lacks_something_leaves_the_check_in_open_and_names_it():
    patient = heard(checkin(20, side_effects=None, wants=None))
    one = live(patient)
    assert (one.status, one.answered_at) == ("open", None)
    assert one.missing == (("checkin.side_effects", "absent"), ("checkin.wants", "absent"))
    patient.hear(checkin(21, "rest"))
    assert live(patient).status == "completed"


@pytest.mark.parametrize("answer", ["unsure", "prefer not to say", "", None])
def test_a_red_question_that_is_not_answered_yes_or_no_is_missing(answer):
    one = live(heard(checkin(20, severe_abdominal_pain=answer)))
    assert [name for name, _ in one.missing] == ["checkin.severe_abdominal_pain"]


def test_an_explicit_none_is_an_answer():
    patient = heard(checkin(20, side_effects="none", new_medicines=[], new_conditions="nothing"))
    assert "checkin.side_effects" not in dict(live(patient).missing)


def test_a_draft_is_no_answer():
    event = checkin(20)
    event["data"]["status"] = "in-progress"
    assert live(heard(event)).status == "open"


def test_the_next_hand_over_ends_a_check_in_and_begins_the_next():
    patient = heard(checkin(20), dispensed(27, 0.25, "next"))
    assert patient.outcome is not None
    first, second = patient.outcome.follow_ups
    assert (first.status, first.ended_at) == ("completed", second.began_at)
    assert second.status == "planned"
    assert second.is_live


def test_a_supply_that_came_without_a_check_in_leaves_a_missed_one_behind():
    patient = heard(dispensed(27, 0.25, "next"))
    assert patient.outcome is not None
    assert [one.status for one in patient.outcome.follow_ups] == ["missed", "planned"]


def test_a_parcel_that_was_lost_is_no_supply_and_has_no_check_in():
    patient = heard(message("shipment_exception", 6, "lost", dispense_ref="dispense-3-0.25", reason="lost"))
    assert patient.outcome is not None
    assert patient.outcome.follow_ups == []


@pytest.mark.parametrize("word", ["paused", "stopped"])
def test_a_treatment_that_is_held_or_stopped_asks_for_no_check_in(word: str):
    patient = heard(said(word, 10))
    assert patient.outcome is not None
    (one,) = patient.outcome.follow_ups
    assert (one.status, one.is_live) == ("ended", False)
    assert patient.outcome.tick is None


def test_the_crm_hears_where_the_check_in_stands_and_nothing_else():
    patient = heard()
    assert patient.outcome is not None
    assert patient.outcome.contact is not None
    told = patient.outcome.contact.body.decode()
    assert '"glp1_followup_status":"planned"' in told
    assert '"glp1_pipeline_status":"active_treatment"' in told
    patient.ring(live(patient).moments.missed_at)
    patient.hear(checkin(26, severe_abdominal_pain="yes", pregnant="yes"))
    body = patient.outcome.contact.body.decode()
    assert '"glp1_followup_status":"completed"' in body
    for word in ("pain", "pregnan", "104", "wegovy", "semaglutide"):
        assert word not in body


def test_the_dose_of_this_morning_counts_also_where_it_is_yesterday_still_by_utc():
    event = checkin(24, last_dose_on="2026-05-30", weighed_on="2026-05-29")
    there = {"authored_at": "2026-05-30T08:00:00+09:00", "time_zone": "Asia/Tokyo"}
    patient = heard({**event, "time": "2026-05-29T23:00:05Z", "data": {**event["data"], **there}})
    assert patient.outcome is not None
    assert patient.outcome.courses[0].last_dose_at == datetime(2026, 5, 29, 23, tzinfo=UTC)


def test_a_check_in_speaks_of_doses_to_the_treatment_that_is_under_way():
    patient = heard(checkin(24, doses_taken=1, doses_missed=3))
    assert patient.outcome is not None
    (course,) = patient.outcome.courses
    assert "restart_after_gap" in {finding.name for finding in course.findings}
    assert course.last_dose_at is not None
    assert round(days(course.last_dose_at)) == 22


def test_a_supply_of_which_only_the_shipment_is_told_has_its_check_in_on_the_clock_at_once():
    shipped = dispensed(3, 0.25, shipped_at=BEGAN.isoformat())
    del shipped["data"]["when_handed_over"]
    patient = Patient()
    patient.hear(intake(), ordered(0, 0.25), shipped)
    assert live(patient).status == "planned"
    assert round(days(live(patient).began_at)) == CONTRACT.medication.shipped_after_days
    assert "followup.requested" in [tick.moment for tick in patient.ring(datetime(2027, 1, 1, tzinfo=UTC))]
    assert live(patient).status == "missed"
