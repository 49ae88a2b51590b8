"""A provider lets a refused order go: that order, against the rules that they name, until the next one; and no other."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.events import Change, Refused, parse_event
from glp1_pipeline.domain.medication import Fact, fold, told
from glp1_pipeline.domain.medication_model import NEVER_OVERRIDDEN
from glp1_pipeline_tests.one_patient import Patient
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, let_through, ordered, request, resource, said, taken
from glp1_pipeline_tests.unit.test_medication import (
    START,
    STEP,
    course,
    courses,
    fact,
    made,
    shown,
)
from glp1_pipeline_tests.unit.test_medication_told import ANY_JSON

CONTRACT = contract()
RULES = CONTRACT.medication
SKIP, EARLY, KEEPS, ABOVE = (
    "skip_a_step_up", "step_up_before_min_days", "maintenance_at_starting_dose", "start_above_first_step",
)  # fmt: skip


def history(found) -> list[tuple[str, str]]:
    return [(move.outcome, move.rule) for move in found.history]


@pytest.mark.parametrize(
    ("documents", "rule", "moves"),
    [
        ([*START, ordered(28, 1.0, "o")], SKIP, ["new_start > titration"]),
        ([*START, ordered(10, 0.5, "o")], EARLY, ["new_start > titration"]),
        ([*START, ordered(28, 0.25, "o", keeps_dose=True)], KEEPS, ["new_start > maintenance"]),
        ([ordered(0, 1.0, "o")], ABOVE, ["none > titration"]),
        ([*START, said("stopped", 20), ordered(200, 1.0, "o")], ABOVE, ["discontinued > restart"]),
        ([*START, said("stopped", 32), ordered(40, 1.0, "o")], SKIP, ["discontinued > restart"]),
        ([*START, said("stopped", 8), ordered(10, 0.5, "o")], EARLY, ["discontinued > restart"]),
    ],
)
def test_the_move_that_the_order_asked_for_is_made_and_the_history_says_by_which_override(documents, rule, moves):
    refused = course(*documents)
    assert history(refused)[-1] == ("rejected", rule)
    found = course(*documents, let_through(201, "o", rule))
    order = documents[-1]["data"]
    assert made(found) == made(refused) + moves
    assert (found.mg, shown(found)) == (order["dose"]["mg"], [])
    assert ("overridden", f"{rule}:PRIOR_THERAPY_DOCUMENTED") in history(found)
    assert "rejected" not in {outcome for outcome, _ in history(found)}
    assert [fact.ref for fact in found.kept_orders][-1] == "o"


def test_an_override_lets_no_other_rule_through_and_an_order_against_two_needs_both():
    both = [*START, ordered(10, 1.0, "o")]
    assert history(course(*both, let_through(11, "o", EARLY)))[-1] == ("rejected", SKIP)
    assert history(course(*both, let_through(11, "o", SKIP)))[-1] == ("rejected", EARLY)
    for words in ([let_through(11, "o", SKIP, EARLY)], [let_through(11, "o", SKIP), let_through(12, "o", EARLY)]):
        found = course(*both, *words)
        assert (found.mg, shown(found)) == (1.0, [])
        assert [rule.split(":")[0] for outcome, rule in history(found) if outcome == "overridden"] == [SKIP, EARLY]


@pytest.mark.parametrize(
    "between",
    [
        ordered(12, 0.25, "again"),
        ordered(12, 0.6, "no-step"),
        ordered(12, 2.5, "other", "zepbound_pen", replaces="wegovy_inj"),
        ordered(13, 0.25, "of-that-moment"),
        ordered(12, 0.5, "unreadable", codes={}, dose={}),
    ],
)
def test_an_override_that_comes_after_the_next_order_lets_nothing_through(between):
    found = courses(*START, ordered(10, 0.5, "o"), between, let_through(13, "o", EARLY))
    assert ("rejected", EARLY) in history(found["wegovy_inj"])
    assert "overridden" not in {outcome for one in found.values() for outcome, _ in history(one)}


def test_an_override_does_not_reach_the_next_order_nor_another_one():
    found = course(*START, ordered(10, 0.5, "o"), let_through(11, "o", EARLY), ordered(20, 1.0, "next"))
    assert (found.mg, history(found)[-1]) == (0.5, ("rejected", EARLY))
    assert history(course(*START, ordered(10, 0.5, "o"), let_through(11, "p", EARLY)))[-1] == ("rejected", EARLY)


def test_an_order_that_names_no_product_is_no_next_order():
    unknown = ordered(11, 1, "what", product="", text="the weekly pen")
    found = course(*START, ordered(10, 0.5, "o"), unknown, let_through(12, "o", EARLY))
    assert found.mg == 0.5


def test_an_order_that_is_changed_under_its_reference_needs_an_override_of_its_own():
    versions = [resource(request(0.25), 0), resource({**request(0.5), "id": "two", "authoredOn": at(10)}, 10)]
    higher = resource({**request(1.0), "id": "two", "authoredOn": at(10)}, 12, "2")
    word = let_through(11, "MedicationRequest/two", EARLY, SKIP)
    assert course(*versions, word).mg == 0.5
    found = course(*versions, word, higher)
    assert (found.mg, history(found)[-1][0]) == (0.5, "rejected")


def test_an_order_that_is_signed_after_its_override_was_told_is_let_through_too():
    found = course(*START, let_through(9.9, "o", EARLY), ordered(10, 0.5, "o"))
    last = found.orders[-1]
    assert (found.mg, found.stands_since(last.event_id, last.at)) == (0.5, last.at)
    found = course(*START, let_through(9, "o", EARLY), ordered(9.5, 0.25, "another"), ordered(10, 0.5, "o"))
    assert found.mg == 0.25


def test_the_same_override_told_twice_is_one_and_the_first_word_of_two_is_shown():
    first, second = let_through(11, "o", EARLY), let_through(12, "o", EARLY, reason_code="ASSESSED_PATIENT")
    found = course(*START, ordered(10, 0.5, "o"), second, first, first)
    assert [rule for outcome, rule in history(found) if outcome == "overridden"] == [
        f"{EARLY}:PRIOR_THERAPY_DOCUMENTED"
    ]


def test_days_at_the_dose_count_from_its_hand_over_also_where_that_came_before_the_override():
    told = [*START, ordered(10, 0.5, "o"), dispensed(12, 0.5), let_through(15, "o", EARLY)]
    found = course(*told)
    assert found.dose_since is not None
    assert (found.dose_since - BEGAN).days == 12
    assert course(*told, ordered(32, 1.0)).mg == 0.5
    assert course(*told, ordered(33, 1.0)).mg == 1.0


def test_a_hand_over_and_a_dose_of_an_order_that_was_let_leave_out_a_step_are_no_drift():
    told = [*START, ordered(28, 1.0, "o"), dispensed(31, 1.0), taken(33, 1.0)]
    assert "skipped_rung" in shown(course(*told))
    assert shown(course(*told, let_through(34, "o", SKIP))) == []
    assert "skipped_rung" in shown(course(*told, let_through(34, "o", SKIP), dispensed(62, 2.4)))


def test_what_was_done_between_the_order_and_its_override_stays_done():
    told = [*START, ordered(10, 0.5, "o")]
    assert course(*told, said("stopped", 11), let_through(12, "o", EARLY)).state == "discontinued"
    assert course(*told, said("paused", 11), let_through(12, "o", EARLY)).state == "paused"


def test_nobody_lets_a_step_up_through_over_a_gap_that_is_open():
    told = [*STEP, taken(40, 0.5, doses_missed=4), ordered(41, 1.0, "o")]
    assert history(course(*told))[-1] == ("rejected", EARLY)
    assert history(course(*told, let_through(42, "o", EARLY)))[-1] == ("rejected", EARLY)


# Who may


@pytest.mark.parametrize("rule", sorted(NEVER_OVERRIDDEN))
def test_some_rules_nobody_may_override(rule):
    with pytest.raises(Refused) as refused:
        parse_event(let_through(1, "o", rule), CONTRACT)
    assert (refused.value.reason, "nobody" in refused.value.hint) == ("not_allowed", True)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"role": "pharmacist", "reason_code": "CONSULTED_PRESCRIBER"}, "not_allowed"),
        ({"role": "care_coordinator"}, "not_allowed"),
        ({"reason_code": "DOSE_CHANGE_EARLY"}, "not_allowed"),
        ({"reason_code": "EMERGENCY_AUTH"}, "not_allowed"),
        ({"reason_code": "OTHER", "text": "long enough for this reason, twenty"}, "not_allowed"),
        ({"reason_code": "BECAUSE"}, "wrong_shape"),
        ({"text": "too short"}, "wrong_shape"),
        ({"text": None}, "wrong_shape"),
        ({"rules": []}, "wrong_shape"),
        ({"rules": ["no_such_rule"]}, "wrong_shape"),
        ({"rules": ["dispensed_without_order"]}, "wrong_shape"),
        ({"actor": "Ann Canary"}, "wrong_shape"),
        ({"actor": None}, "wrong_shape"),
        ({"medication_request_ref": "Ann Canary"}, "wrong_shape"),
    ],
)
def test_a_word_that_is_not_whole_or_not_theirs_to_say_does_not_enter(more, reason):
    with pytest.raises(Refused) as refused:
        parse_event(let_through(1, "o", EARLY, **more), CONTRACT)
    assert refused.value.reason == reason
    assert "Canary" not in str(refused.value)


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("rules", "reason_code", "text", "actor", "role"), ANY_JSON)))
def test_whatever_a_word_holds_it_is_read_or_refused_and_never_fails(content):
    event = let_through(1, "o", EARLY)
    with suppress(Refused):
        parse_event({**event, "data": {**event["data"], **content}}, CONTRACT)


def test_a_rule_that_the_contract_closes_later_is_let_through_no_more_by_a_replay():
    found = [RULES.findings[EARLY].model_copy(update={"overridden_by": ()})]
    closed = RULES.model_copy(update={"findings": RULES.findings | {EARLY: found[0]}})
    told_of = [*START, ordered(10, 0.5, "o"), let_through(11, "o", EARLY)]
    facts = [one for document in told_of if (one := fact(document)) is not None]
    (refused,) = fold(closed, facts)
    assert history(refused)[-1] == ("rejected", EARLY)


def test_what_is_kept_of_an_override_is_codes_and_names_and_no_word_of_the_text():
    _, change = parse_event(let_through(11, "o", EARLY), CONTRACT)
    assert isinstance(change, Change)
    found = told(CONTRACT, change)
    assert found is not None
    assert Fact.from_doc(found.to_doc(), "e", found.source).to_doc() == found.to_doc()
    assert {"rules", "reason_code", "role", "actor", "ref"} <= found.to_doc().keys()
    assert "records" not in str(found.to_doc())


# What follows


def test_the_finding_and_its_task_are_gone_with_the_override_and_a_request_is_approved_by_it():
    task = f"provider-review-refill/{EARLY}"
    patient = Patient()
    patient.hear(intake(), *START, checkin(9), requested(9), ordered(10, 0.5, "o"))
    (asked,) = patient.refills.values()
    assert task in patient.tasks
    assert asked.is_open
    patient.hear(let_through(12, "o", EARLY))
    assert task not in patient.tasks
    (asked,) = patient.refills.values()
    assert (asked.status, asked.ended_at) == ("approved", BEGAN + timedelta(days=12))


def test_a_step_up_that_is_let_through_under_a_red_flag_asks_a_provider_whatever_the_day_of_its_order():
    patient = Patient()
    patient.hear(intake(), *STEP, ordered(40, 1.0, "o"), checkin(41, severe_abdominal_pain="yes"))
    asks = {task for task in patient.tasks if "step_up:" in task}
    patient.hear(let_through(42, "o", EARLY))
    assert {task for task in patient.tasks if "step_up:" in task} - asks


def test_the_order_and_its_override_charted_in_any_order_and_twice_come_to_the_same():
    told_of = [intake(), *START, checkin(9), requested(9), ordered(10, 0.5, "o"), dispensed(12, 0.5)]
    word = let_through(12.5, "o", EARLY)
    at_once = Patient()
    at_once.hear(*told_of, word)
    for batches in ([[word], told_of], [told_of, [word]], [told_of[:2], [word], told_of[2:], [word]]):
        patient = Patient()
        for batch in batches:
            patient.hear(*batch)
        assert patient.outcome is not None
        assert at_once.outcome is not None
        assert patient.outcome.courses == at_once.outcome.courses
        assert patient.tasks == at_once.tasks
