"""What answers a check-in: what is recent enough for the refill, and what is asked for again once it is not.

Not here: on which days a check-in is asked for (`test_followups`), and where only an order is known
(`test_followup_orders`).
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.followup import FollowUp
from glp1_pipeline.domain.refill import Refill
from glp1_pipeline_tests.one_patient import CONTRACT, Patient, charted, reached
from glp1_pipeline_tests.refills import by_provider, checkin, day, intake, requested
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, ordered, said

START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
"""The check-in opens on day 17, is due on day 21 and missed on day 23; the window opens on day 24, at nine in California:
an hour after the hour of the messages here."""
OVERDUE = "checkin-overdue/followup.missed:wegovy_inj"
STALE = (("anthro.weight_measured_at", "stale"),)
FOREVER = BEGAN + timedelta(days=400)


def heard(*events: dict[str, Any]) -> Patient:
    return charted([[*START, *events]])


def live(patient: Patient) -> FollowUp:
    assert patient.outcome is not None
    (one,) = [one for one in patient.outcome.follow_ups if one.is_live]
    return one


def long_supply(days: float, *events: dict[str, Any]) -> Patient:
    return charted([[intake(), ordered(0, 0.25), dispensed(3, 0.25, days_supply=days), *events]])


def weight_alone(on: float) -> dict[str, Any]:
    event = checkin(on, f"weight-{on:g}")
    told = event["data"]["answers"]
    event["data"]["answers"] = {name: answer for name, answer in told.items() if name.startswith("anthro.weight")}
    return event


def days_of(patient: Patient) -> list[tuple[float, str]]:
    """Each moment that the clock rings for from now on: on which day, under which name."""
    return [(round((tick.at - BEGAN) / timedelta(days=1), 1), tick.name) for tick in patient.ring(FOREVER)]


# ---- too early


@pytest.mark.parametrize(("supply", "early", "recent"), [(28, 9.9, 10.1), (84, 65.9, 66.1), (20, 3.9, 4.1)])
def test_an_answer_counts_from_the_day_on_which_its_weight_is_recent_still_when_the_window_opens(
    supply: int, early: float, recent: float
):
    one = live(long_supply(supply))
    assert one.counts_from == one.moments.window_at - timedelta(days=CONTRACT.refills.weight_max_age_days)
    assert not live(long_supply(supply, checkin(early))).is_answered
    assert live(long_supply(supply, checkin(recent))).is_answered


@pytest.mark.parametrize(("supply", "on"), [(28, 4), (84, 30), (84, 60)])
def test_an_early_answer_silences_no_exception(supply: int, on: float):
    patient = long_supply(supply, checkin(on), requested(on + 0.5))
    assert [tick.name for tick in patient.ring(FOREVER)] == ["opened", "due", "overdue", "missed"]
    assert live(patient).status == "missed"
    assert OVERDUE in patient.tasks


def test_answers_of_the_day_after_the_hand_over_bring_no_refill_to_a_provider_three_weeks_later():
    """The weight alone is of yesterday."""
    patient = heard(checkin(4), weight_alone(23), requested(25))
    (one,) = patient.refills.values()
    assert one.decision.outcome == "not_eligible"
    assert "checkin.severe_abdominal_pain:absent" in one.decision.reasons


def test_what_is_said_too_early_for_the_check_in_still_raises_its_flags_and_holds():
    patient = heard(checkin(4, severe_abdominal_pain="yes"), requested(5))
    assert patient.outcome is not None
    assert "ABD_PAIN_SEVERE" in patient.outcome.flags
    (one,) = patient.refills.values()
    assert one.decision.rule == "red_symptom"
    assert not live(patient).answer_ids


def test_answers_for_a_short_supply_count_from_its_hand_over_on():
    patient = charted([[intake(), ordered(0, 0.25), dispensed(3, 0.25, days_supply=7), checkin(3.1), requested(3.2)]])
    assert live(patient).status == "completed"
    (one,) = patient.refills.values()
    assert one.decision.rule == "too_early"


# ---- dated after the hand-over


def test_a_weight_measured_before_the_hand_over_is_missing_and_the_reason_is_told():
    fourteen = [intake(), ordered(0, 0.25), dispensed(3, 0.25, days_supply=14)]
    patient = charted([[*fourteen, checkin(4, weighed_on=day(2)), requested(5)]])
    assert live(patient).missing == (("anthro.weight_measured_at", "before_hand_over"),)
    (one,) = patient.refills.values()
    assert one.decision.reasons == ("anthro.weight_measured_at:before_hand_over",)
    assert live(charted([[*fourteen, checkin(4, weighed_on=day(3))]])).is_answered


def test_the_day_of_the_last_dose_may_lie_before_the_hand_over():
    assert live(heard(checkin(20, last_dose_on=day(-4)))).is_answered


# ---- too old


def test_a_check_in_whose_weight_grew_too_old_is_asked_for_again_and_a_fresh_one_closes_it():
    patient = heard(checkin(20))
    (tick,) = patient.ring(FOREVER)
    assert (tick.moment, tick.name) == ("followup.missed", f"weight_until-{day(34)}")
    assert tick.at == datetime.fromisoformat(at(35)) + timedelta(hours=1)
    one = live(patient)
    assert (one.status, one.missing, one.was_missed) == ("missed", STALE, False)
    assert patient.outcome is not None
    assert patient.outcome.contact is not None
    assert '"glp1_followup_status":"missed"' in patient.outcome.contact.body.decode()
    (task,) = [task for task in patient.outcome.tasks if task.code == "checkin-overdue"]
    assert task.since is not None
    assert (task.cause, task.due_at) == ("followup.missed:wegovy_inj", None)
    assert task.since <= tick.at
    patient.hear(checkin(36))
    again = live(patient)
    assert (again.status, again.missing, again.was_missed) == ("completed", (), False)
    assert patient.tasks == set()
    assert (again.answered_at, again.whole_at) == tuple(map(datetime.fromisoformat, (at(20), at(36))))
    assert [name for _, name in days_of(patient)] == [f"weight_until-{day(50)}"]


def test_a_weight_alone_is_enough_where_the_weight_alone_grew_too_old():
    patient = heard(checkin(20))
    patient.ring(FOREVER)
    patient.hear(weight_alone(36))
    assert live(patient).status == "completed"


def test_an_answer_that_lacks_the_weight_leaves_it_missed():
    patient = heard(checkin(11), requested(12))
    patient.ring(BEGAN + timedelta(days=100))
    assert live(patient).status == "missed"
    partial = checkin(101, weight=None, weighed_on=None)
    patient.hear(partial)
    assert (live(patient).status, live(patient).missing) == ("missed", STALE)


def test_a_weight_that_is_too_old_before_the_window_opens_is_an_exception_at_once():
    """Said on day 11, measured on day 5: too old on day 20, and the exception of whoever never answered is on day 23."""
    patient = heard(checkin(11, weighed_on=day(5)), requested(12))
    assert (20.0, f"weight_until-{day(19)}") in days_of(patient)
    (one,) = patient.refills.values()
    assert [made.decision.rule for made in one.made] == ["too_early", "followup_missing"]
    assert OVERDUE in patient.tasks


def test_a_request_in_the_night_before_the_clock_rings_finds_the_exception_too():
    patient = heard(checkin(20))
    midnight = datetime(2026, 6, 9, 7, tzinfo=UTC)  # of day 35 in California
    patient.hear(requested((midnight - BEGAN) / timedelta(days=1) + 1 / 1440))
    assert (live(patient).status, OVERDUE in patient.tasks) == ("missed", True)
    assert patient.outcome is not None
    (task,) = [task for task in patient.outcome.tasks if task.code == "checkin-overdue"]
    assert task.since == midnight
    assert [name for _, name in days_of(patient)] == [f"weight_until-{day(34)}"]


@pytest.mark.parametrize(
    "word",
    [
        by_provider("refill.approved", 27, refill_id="request-25"),
        ordered(27, 0.25, "again"),
        dispensed(27, 0.25, "next"),
        said("paused", 27),
        said("stopped", 27),
    ],
    ids=lambda word: word["type"],
)
def test_a_check_in_that_was_used_or_is_over_is_not_asked_for_again(word: dict[str, Any]):
    patient = heard(checkin(24), requested(25), word)
    patient.ring(FOREVER)
    assert patient.outcome is not None
    assert patient.outcome.follow_ups[0].status == "completed"


def test_an_approval_is_known_by_our_id_of_the_request_too():
    patient = heard(checkin(24), requested(25))
    (refill_id,) = patient.refills
    patient.hear(by_provider("refill.approved", 27, refill_id=refill_id))
    assert days_of(patient) == []


def test_an_approval_of_a_request_that_another_took_the_place_of_uses_no_check_in():
    """The newer one waits still."""
    told = [checkin(24), requested(25), requested(26), by_provider("refill.approved", 27, refill_id="request-25")]
    patient = heard(*told)
    patient.ring(FOREVER)
    assert (live(patient).status, OVERDUE in patient.tasks) == ("missed", True)


def test_who_asks_again_after_an_approval_whose_supply_never_came_is_asked_for_a_fresh_check_in():
    patient = heard(checkin(24), requested(25), by_provider("refill.approved", 27, refill_id="request-25"))
    patient.ring(FOREVER)
    assert live(patient).status == "completed"
    patient.hear(requested(60))
    assert (live(patient).status, OVERDUE in patient.tasks) == ("missed", True)
    assert live(patient).lapsed_at == datetime.fromisoformat(at(60))


def test_what_somebody_did_by_hand_about_the_first_exception_is_not_done_about_the_second():
    patient = heard()
    patient.ring(live(patient).moments.missed_at)
    assert patient.outcome is not None
    (task,) = [task for task in patient.outcome.tasks if task.code == "checkin-overdue"]
    patient.hear(checkin(26))
    patient.ring(FOREVER)
    (again,) = [task for task in patient.outcome.tasks if task.code == "checkin-overdue"]
    assert task.rests_on == live(patient).followup_id != again.rests_on


def test_a_late_answer_told_from_before_takes_the_exception_back():
    patient = heard(checkin(20))
    patient.ring(FOREVER)
    late = checkin(30, "late")
    late["data"]["received_at"] = at(36)
    patient.hear(late)
    one = live(patient)
    assert (one.status, one.was_missed, one.answered_at) == ("completed", False, datetime.fromisoformat(at(20)))


def test_the_clock_rings_once_for_a_weight_whatever_is_charted_again():
    patient = heard(checkin(20), requested(25))
    rung = patient.ring(FOREVER)
    assert [tick.moment for tick in rung] == ["refill.input_expired", "followup.missed"]
    before = patient.state
    for _ in range(3):
        patient.hear(*START, checkin(20), requested(25), *map(reached, rung))
        assert patient.state == before
        assert patient.ring(FOREVER) == []


# ---- for everybody


def step(patient: Patient, events: list[dict[str, Any]], look) -> None:
    """Live it: whatever the clock reaches before each event, and after the last."""
    for event in sorted(events, key=lambda event: event["time"]):
        moment = datetime.fromisoformat(event["time"])
        while patient.outcome is not None and (tick := patient.outcome.tick) is not None and tick.at <= moment:
            patient.hear(reached(tick))
            look(by_time=True)
        patient.hear(event)
        look(by_time=False)
    while patient.outcome is not None and (tick := patient.outcome.tick) is not None and tick.at <= FOREVER:
        patient.hear(reached(tick))
        look(by_time=True)


LIFE = st.fixed_dictionaries(
    {
        "supplies": st.lists(st.tuples(st.floats(3, 5), st.integers(1, 100)), min_size=1, max_size=1)
        | st.lists(st.tuples(st.floats(3, 80), st.integers(1, 60)), min_size=1, max_size=4),
        "answers": st.lists(st.tuples(st.floats(3, 120), st.integers(0, 16), st.booleans()), max_size=5),
        "requests": st.lists(st.floats(3, 130), min_size=1, max_size=3),
        "approved": st.none() | st.floats(10, 130),
    }
)


def told_of(life: dict[str, Any]) -> list[dict[str, Any]]:
    events = [intake(), ordered(0, 0.25)]
    events += [dispensed(on, 0.25, f"s{n}", days_supply=days) for n, (on, days) in enumerate(life["supplies"])]
    for n, (on, before, is_whole) in enumerate(life["answers"]):
        answers: dict[str, Any] = {} if is_whole else {"weight": None, "weighed_on": None}
        events.append(checkin(on, f"c{n}", "canary-0000001", **({"weighed_on": day(on - before)} | answers)))
    events += [requested(on, f"r{n}") for n, on in enumerate(life["requests"])]
    if life["approved"] is not None:
        events.append(by_provider("refill.approved", life["approved"], refill_id="r0"))
    return events


@settings(max_examples=60, deadline=None)
@given(life=LIFE)
def test_no_request_is_held_for_its_check_in_by_time_alone_without_an_exception(life: dict[str, Any]):
    patient, rules = Patient(), dict[str, str]()

    def look(by_time: bool) -> None:
        for one in patient.refills.values():
            before = rules.get(one.refill_id, "")
            rules[one.refill_id] = one.decision.rule
            is_for_it = one.is_open and one.decision.rule.startswith("followup_")
            if not is_for_it or patient.outcome is None or not patient.outcome.follow_ups:
                continue  # before the first supply there is no check-in to miss
            newest = live(patient)
            assert newest.status != "completed"
            turned = by_time and not before.startswith("followup_")
            if turned or newest.answered_at is not None or _last(one) >= newest.moments.missed_at:
                assert newest.status == "missed"
                assert OVERDUE in patient.tasks

    step(patient, told_of(life), look)


def _last(one: Refill) -> datetime:
    return one.made[-1].as_of


@settings(max_examples=25, deadline=None)
@given(life=LIFE, seed=st.integers(0, 2**32))
def test_the_same_words_and_moments_in_any_order_leave_the_same_check_ins(life: dict[str, Any], seed: int):
    slowly, moments = Patient(), list[dict[str, Any]]()
    real = slowly.hear
    slowly.hear = lambda *events: (moments.extend(events), real(*events))[1]
    step(slowly, told_of(life), lambda by_time: None)
    chance = random.Random(seed)
    shuffled = [*moments, *chance.choices(moments, k=3)]
    chance.shuffle(shuffled)
    batches: list[list[dict[str, Any]]] = [[] for _ in range(4)]
    for event in shuffled:
        batches[chance.randrange(4)].append(event)
    assert charted(batches).state == slowly.state
