"""Requests of refills: what is decided with what was known, what is let through, and that order and copies change
nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.events import Refused, parse_event
from glp1_pipeline.domain.refill import Refill, decide_again, differences, record_of
from glp1_pipeline.domain.refill_model import RefillRules
from glp1_pipeline_tests.one_patient import CONTRACT, PATIENT, Patient, charted, reached
from glp1_pipeline_tests.refill_patients import amended, treated
from glp1_pipeline_tests.refills import by_provider, checkin, day, intake, overridden, requested
from glp1_pipeline_tests.treatments import at, dispensed, message, ordered, said

START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
FOREVER = datetime(2027, 6, 1, tzinfo=UTC)


def heard(*events: dict[str, Any]) -> Patient:
    patient = Patient()
    patient.hear(*START, *events)
    return patient


def refill(patient: Patient) -> Refill:
    return max(patient.refills.values(), key=lambda one: one.requested_at)


def verdict(patient: Patient) -> tuple[str, str]:
    decision = refill(patient).decision
    return decision.outcome, decision.rule


def way(patient: Patient) -> list[str]:
    return [made.decision.rule for made in refill(patient).made]


# ---- F2: no refill without context


def test_a_request_without_a_check_in_is_not_eligible_whatever_else_holds():
    patient = heard(requested(25))
    assert verdict(patient) == ("not_eligible", "followup_missing")
    assert patient.tasks == {"checkin-overdue/followup.missed:wegovy_inj"}  # one piece of work, and not two


def test_a_check_in_older_than_the_last_hand_over_is_stale():
    patient = heard(checkin(20), dispensed(27, 0.25, "next"), requested(50))
    assert verdict(patient) == ("not_eligible", "followup_stale")


@pytest.mark.parametrize("lacking", ["doses_taken", "doses_missed", "side_effects", "suicidal", "wants", "weight"])
def test_a_check_in_that_lacks_what_a_refill_asks_for_names_it(lacking: str):
    decision = refill(heard(checkin(25, "", "canary-0000001", **{lacking: None}), requested(26))).decision
    assert (decision.outcome, decision.rule) == ("not_eligible", "followup_missing")
    assert [reason.partition(":")[0].rpartition(".")[2] for reason in decision.reasons] == [lacking]


def test_a_whole_check_in_in_the_window_brings_it_to_the_provider_and_no_further():
    patient = heard(checkin(24), requested(25))
    assert verdict(patient) == ("provider_queue", "complete")
    assert refill(patient).status == "open"
    assert patient.tasks == {"provider-review-refill/refill.complete:wegovy_inj"}


def test_payment_is_no_input():
    with_card = heard(checkin(24), requested(25))
    without = Patient()
    without.hear(intake(**{"ins.has_coverage": "no"}), *START[1:], checkin(24), requested(25))
    assert [(m.decision, m.inputs) for m in refill(with_card).made] == [
        (m.decision, m.inputs) for m in refill(without).made
    ]
    assert not [name for name in refill(with_card).made[-1].inputs if name.startswith("ins") or "pay" in name]


# ---- over time


def test_a_request_waits_for_its_window_and_goes_on_by_itself():
    patient = heard(checkin(18), requested(19))
    assert verdict(patient) == ("wait_until", "too_early")
    assert patient.tasks == set()
    assert [tick.moment for tick in patient.ring(refill(patient).decision.until or FOREVER)] == ["refill.window_opened"]
    assert verdict(patient) == ("provider_queue", "complete")
    assert refill(patient).queued_at == refill(patient).made[-1].as_of


def test_a_weight_that_grew_too_old_takes_it_back_out_of_the_queue():
    patient = heard(checkin(24), requested(25))
    rung = patient.ring(FOREVER)
    assert [tick.moment for tick in rung] == ["refill.input_expired", "followup.missed"]  # they are asked again at once
    assert verdict(patient) == ("not_eligible", "followup_missing")
    assert refill(patient).decision.reasons == ("anthro.weight_measured_at:stale",)
    assert way(patient) == ["complete", "followup_missing"]


def test_the_check_in_that_comes_after_the_request_lets_it_go_on():
    patient = heard(requested(24))
    patient.hear(checkin(26))
    assert way(patient) == ["followup_missing", "complete"]


def test_a_decision_knows_nothing_of_what_came_later():
    patient = heard(requested(24), checkin(26))
    assert way(patient) == ["followup_missing", "complete"]
    late = checkin(22, "late")  # written before the request, and received after it
    late["data"]["received_at"] = at(26)
    assert way(heard(requested(24), late)) == ["followup_missing", "complete"]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (lambda: by_provider("refill.approved", 27, refill_id="request-25"), "approved"),
        (lambda: by_provider("refill.denied", 27, refill_id="request-25", reason_code="OTHER"), "denied"),
        (lambda: ordered(27, 0.25, "again"), "approved"),
        (lambda: dispensed(27, 0.25, "again"), "dispensed"),
        (lambda: requested(27), "replaced"),
        (lambda: said("stopped", 27), "closed"),
    ],
)
def test_a_request_ends_by_the_first_word_that_ends_it(word, status: str):
    patient = heard(checkin(24), requested(25))
    patient.hear(word())
    first = min(patient.refills.values(), key=lambda one: one.requested_at)
    assert first.status == status
    assert not {task for task in patient.tasks if "refill.complete" in task} or status == "replaced"


def test_an_order_that_is_refused_ends_no_request_and_the_one_that_is_mended_does():
    patient = heard(checkin(24), requested(25), ordered(26, 1.7, "two-steps-at-once"))
    assert [move.outcome for move in patient.outcome.courses[0].history][-1] == "rejected"  # type: ignore[union-attr]
    assert (refill(patient).status, refill(patient).is_against_hold) == ("open", False)
    held = heard(requested(25), ordered(26, 1.7, "two-steps-at-once"))
    assert (refill(held).status, verdict(held)) == ("open", ("not_eligible", "followup_missing"))
    patient.hear(ordered(27, 0.25, "mended"))
    assert (refill(patient).status, refill(patient).ended_at) == ("approved", datetime.fromisoformat(at(27)))


def test_an_order_that_says_it_is_of_next_month_hides_no_red_flag_that_is_told_until_then():
    ahead = ordered(0.5, 0.25, "ahead", authored_at=at(60))
    new = amended(26, **{"hx.t1dm": "yes"})
    patient = heard(checkin(24), requested(25), ahead, new)
    assert verdict(patient) == ("hold", "red_flag")
    assert refill(patient).status == "open"
    (course,) = patient.outcome.courses  # type: ignore[union-attr]
    assert [move.rule for move in course.history if move.outcome == "held"] == ["time_unreadable"]
    assert verdict(heard(checkin(24), requested(25), new)) == ("hold", "red_flag")
    tomorrow = ordered(26, 0.25, "tomorrow", authored_at=at(26.9))  # a clock that runs ahead, or a zone
    assert refill(heard(checkin(24), requested(25), tomorrow)).status == "approved"


def test_a_supply_that_came_although_the_request_was_held_is_told():
    patient = heard(requested(25))
    patient.hear(dispensed(26, 0.25, "anyway"))
    assert (refill(patient).status, refill(patient).is_against_hold) == ("dispensed", True)
    assert not refill(charted([[*START, checkin(24), requested(25), dispensed(26, 0.25, "well")]])).is_against_hold


def test_the_same_request_from_portal_and_pharmacy_is_one():
    other = {**requested(25.5, "request-25"), "source": "/pharmacy/mail-order", "subject": "rx-canary-0000001"}
    patient = heard(checkin(24), requested(25), other)
    assert len(patient.refills) == 1


# ---- what holds it


def test_red_symptoms_hold_it_at_once_and_somebody_is_called_within_the_hour():
    patient = heard(checkin(24, severe_abdominal_pain="yes"), requested(25))
    assert verdict(patient) == ("hold_urgent", "red_symptom")
    (task,) = patient.outcome.tasks  # type: ignore[union-attr]
    assert (task.code, task.queue, task.due_minutes) == ("urgent-safety-review", "on-call", 60)


def test_thoughts_of_suicide_come_first_and_within_a_quarter_of_an_hour():
    patient = heard(checkin(24, suicidal="yes", severe_abdominal_pain="yes", side_effects=None), requested(25))
    assert verdict(patient) == ("hold_urgent", "suicidal")
    first, *others = sorted(patient.outcome.tasks, key=lambda task: task.due_minutes)  # type: ignore[union-attr]
    assert (first.code, first.queue, first.due_minutes) == ("crisis-protocol", "on-call", 15)
    assert ("urgent-safety-review", "ABD_PAIN_SEVERE") in {(task.code, task.cause) for task in others}


def test_a_symptom_holds_the_next_request_too_until_a_provider_says_that_it_is_none():
    told = [checkin(24, severe_abdominal_pain="yes"), dispensed(27, 0.25, "next"), checkin(50), requested(52)]
    assert verdict(heard(*told)) == ("hold_urgent", "red_symptom")
    refuted = by_provider("flag.resolved", 52.5, flag_id="ABD_PAIN_SEVERE", resolution="refuted", reason_code="SEEN",
                          actor="provider-7")  # fmt: skip
    assert verdict(heard(*told, refuted)) == ("provider_queue", "complete")
    again = heard(*told, refuted, checkin(53, severe_abdominal_pain="yes"))
    assert verdict(again) == ("hold_urgent", "red_symptom")


def test_a_flag_that_stood_when_the_provider_ordered_was_seen_by_them():
    patient = Patient()
    patient.hear(intake(**{"preg.breastfeeding": "yes"}), *START[1:], checkin(24), requested(25))
    assert verdict(patient) == ("provider_queue", "complete")


# ---- override


STEADY = [checkin(24, side_effects=[{"symptom": "nausea", "severity": "severe"}]), requested(25)]


def test_a_provider_lets_it_through_with_a_reason_and_until_a_day():
    patient = heard(*STEADY)
    assert verdict(patient) == ("escalate", "side_effect")
    patient.hear(overridden(26, "request-25", ["side_effect"], days=2))
    assert verdict(patient) == ("provider_queue", "complete")
    assert [name for name, _ in refill(patient).decision.overridden] == ["side_effect"]
    assert [tick.moment for tick in patient.ring(FOREVER)][:1] == ["refill.override_expired"]
    assert way(patient)[:3] == ["side_effect", "complete", "side_effect"]


def test_an_override_means_the_flags_that_it_names_and_no_later_one():
    told = [checkin(24, jaundice="yes"), requested(25)]
    word = overridden(26, "request-25", ["red_symptom"], flags=["BILIARY_SYMPTOMS"])
    assert verdict(heard(*told, word)) == ("provider_queue", "complete")
    assert verdict(heard(*told, word, checkin(27, hypoglycemia="yes"))) == ("hold_urgent", "red_symptom")


def effects(symptom: str, severity: str) -> dict[str, Any]:
    return {"side_effects": [{"symptom": symptom, "severity": severity, "persistent": "yes"}]}


def weighing(kg: float) -> dict[str, Any]:
    return {"weight": {"value": kg, "unit": "kg"}}


def gap(missed: int) -> dict[str, Any]:
    return {"doses_missed": missed}


LET_THROUGH = {
    "a worse side effect": ("side_effect", effects("nausea", "moderate"), effects("nausea", "severe"), False),
    "another side effect": ("side_effect", effects("nausea", "moderate"), effects("reflux", "severe"), False),
    "the same side effect": ("side_effect", effects("nausea", "moderate"), effects("nausea", "moderate"), True),
    "another medicine": ("interaction", {"new_medicines": ["warfarin"]}, {"new_medicines": ["insulin glargine"]}, False),
    "one medicine more": (
        "interaction", {"new_medicines": ["warfarin"]}, {"new_medicines": ["warfarin", "insulin glargine"]}, False,
    ),
    "the same medicine": ("interaction", {"new_medicines": ["warfarin"]}, {"new_medicines": ["Warfarin "]}, True),
    "another one that nobody knows": (
        "interaction", {"new_medicines": ["a powder"]}, {"new_medicines": ["a root from abroad"]}, False,
    ),
    "one of two medicines": ("interaction", {"new_medicines": ["warfarin", "a powder"]}, {"new_medicines": ["a powder"]},
                             True),
    "a weight further down": ("weight_change", weighing(90), weighing(80), False),
    "a weight as far up": ("weight_change", weighing(90), weighing(122), False),
    "a weight nearer": ("weight_change", weighing(90), weighing(91), True),
    "one more missed dose": ("missed_doses", gap(3), gap(4), True),
    "twice as many missed doses": ("missed_doses", gap(3), gap(6), False),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "known", "later", "is_let"), LET_THROUGH.values(), ids=LET_THROUGH)
def test_an_override_lets_through_what_was_known_when_it_was_given_and_nothing_worse(
    rule: str, known: dict, later: dict, is_let: bool
):
    told = [*START, checkin(24, **{**weighing(104), **known}), requested(25)]
    word = overridden(26, "request-25", [rule], days=80)
    worse = checkin(26.5, **{**weighing(104), **later})
    assert verdict(charted([told]))[1] == rule
    assert verdict(charted([[*told, word]])) == ("provider_queue", "complete")
    wanted = "complete" if is_let else rule
    patient = charted([[*told, word, worse]])
    assert verdict(patient)[1] == wanted
    for batches in ([[worse], [word], told], [[*told, worse], [word]], [told, [word], [worse], [word]]):
        assert charted(batches).state == patient.state
    made = refill(patient).made[-1]
    doc = orjson.loads(record_of(refill(patient), made, CONTRACT.refills).body)
    assert differences(doc, decide_again(doc, CONTRACT.refills)) == []


def test_an_override_that_was_given_before_there_was_anything_to_let_through_lets_nothing_through():
    word = overridden(25.5, "request-25", ["side_effect", "interaction"], days=80)
    told = [checkin(24), requested(25), word]
    assert verdict(heard(*told))[1] == "complete"
    assert verdict(heard(*told, checkin(26, **effects("nausea", "severe"))))[1] == "side_effect"


def test_a_gap_that_grows_to_twice_what_was_let_through_is_the_providers_again_by_time_alone():
    *start, asks = treated("saxenda", 0)
    patient = charted([[*start[:-1], checkin(30), {**asks, "time": at(30.5)}]])
    patient.ring(datetime.fromisoformat(at(33.4)))
    assert way(patient) == ["complete", "missed_doses"]  # four of them
    patient.hear(overridden(33.5, "request-25", ["missed_doses"], days=60))
    patient.ring(datetime.fromisoformat(at(37.3)))
    assert way(patient) == ["complete", "missed_doses", "complete"]
    assert [tick.moment for tick in patient.ring(datetime.fromisoformat(at(37.4)))] == ["refill.input_expired"]
    assert way(patient) == ["complete", "missed_doses", "complete", "missed_doses"]
    assert refill(patient).made[-1].inputs["missed_doses"]["value"] == 8


def test_a_record_from_before_overrides_kept_what_they_saw_is_decided_again_to_the_same():
    told = [checkin(24, **effects("nausea", "moderate")), requested(25)]
    word = overridden(26, "request-25", ["side_effect"], days=80)
    patient = heard(*told, word)
    made = refill(patient).made[-1]
    doc = orjson.loads(record_of(refill(patient), made, CONTRACT.refills).body)
    assert doc["overrides"][0].pop("saw") == {"side_effect": {"nausea:moderate": 0.0}}
    assert differences(doc, decide_again(doc, CONTRACT.refills)) == []
    doc["inputs"]["checkin.side_effects"]["value"][0]["severity"] = "severe"
    assert decide_again(doc, CONTRACT.refills)["rule"] == "complete"  # as it was decided then


@pytest.mark.parametrize(
    ("rules", "more", "reason"),
    [
        (["suicidal"], {}, "not_allowed"),
        (["pregnant"], {}, "not_allowed"),
        (["followup_missing"], {}, "not_allowed"),
        (["followup_stale"], {}, "not_allowed"),
        (["red_flag"], {"flags": ["MTC_PERSONAL"]}, "not_allowed"),
        (["red_flag"], {"flags": ["MEN2"]}, "not_allowed"),
        (["red_symptom"], {"flags": ["ALLERGIC_REACTION"]}, "not_allowed"),
        (["red_symptom"], {"flags": ["VISION_CHANGE"]}, "not_allowed"),
        (["administrative"], {"flags": ["CONSENT_MISSING"], "reason_code": "VACATION_SUPPLY", "role": "ops_lead"},
         "not_allowed"),
        (["side_effect"], {"role": "ops_lead"}, "not_allowed"),
        (["side_effect"], {"role": "care_coordinator"}, "not_allowed"),
        (["too_early"], {}, "not_allowed"),
        (["side_effect"], {"expires_at": at(26 + 91)}, "not_allowed"),
        (["side_effect"], {"expires_at": at(25)}, "not_allowed"),
        (["side_effect"], {"text": "fine"}, "wrong_shape"),
        (["side_effect"], {"reason_code": "BECAUSE"}, "wrong_shape"),
        (["red_symptom"], {}, "wrong_shape"),
        (["no_such_rule"], {}, "wrong_shape"),
        ([], {}, "wrong_shape"),
    ],
)  # fmt: skip
def test_what_nobody_or_nobody_of_that_role_may_override_stays_closed(rules: list[str], more: dict, reason: str):
    with pytest.raises(Refused) as refusal:
        parse_event(overridden(26, "request-25", rules, **more), CONTRACT)
    assert refusal.value.reason == reason
    assert "belly" not in refusal.value.hint


def test_an_ops_lead_lets_an_early_fill_for_travel_through():
    word = overridden(20, "request-19", ["too_early"], days=20, reason_code="VACATION_SUPPLY", role="ops_lead",
                      text="leaves on the first, back in six weeks")  # fmt: skip
    assert verdict(heard(checkin(18), requested(19), word)) == ("provider_queue", "complete")


# ---- the record


def test_a_record_is_decided_again_to_the_same_and_says_what_differs_under_other_rules():
    patient = heard(*STEADY)
    rules = CONTRACT.refills
    (made,) = refill(patient).made
    doc = orjson.loads(record_of(refill(patient), made, rules).body)
    kept = RefillRules.model_validate_json(rules.document)
    assert kept.version == rules.version == doc["rules_version"]
    assert differences(doc, decide_again(doc, kept)) == []
    table = tuple(rule for rule in rules.rules if rule.rule != "side_effect")
    lenient = rules.model_copy(update={"rules": table})
    again = decide_again(doc, lenient)
    assert again["outcome"] == "provider_queue"
    assert "outcome" in differences(doc, again)


def test_a_record_from_before_a_check_in_raised_a_flag_for_thoughts_of_suicide_is_decided_again_to_the_same():
    patient = heard(checkin(24, suicidal="yes"), requested(25))
    (made,) = refill(patient).made
    doc = orjson.loads(record_of(refill(patient), made, CONTRACT.refills).body)
    assert doc["inputs"].pop("suicidal")["value"] is True
    doc["inputs"]["flags"]["value"] = []
    assert differences(doc, decide_again(doc, CONTRACT.refills)) == []
    doc["inputs"]["checkin.suicidal"]["value"] = "no"
    assert "rule" in differences(doc, decide_again(doc, CONTRACT.refills))


def test_a_record_says_of_each_answer_who_gave_it_in_which_voice_and_when():
    (made,) = refill(heard(checkin(24), requested(25))).made
    for name, one in made.inputs.items():
        if name.startswith("checkin."):
            assert (one["source"], one["voice"]) == ("followup", "reported")
            assert one["event_id"].endswith("checkin-24")
            assert one["at"] == at(24)
    assert made.inputs["anthro.weight"]["at"] == at(24)[:10]
    for name, on in (("weight_kg", 24), ("weight_before_kg", -12)):
        one = made.inputs[name]
        assert (one["voice"], one["at"]) == ("reported", day(on))
        assert one["source"]
        assert one["event_id"]
    assert made.inputs["dose_mg"]["voice"] == "verified"


def test_a_record_says_of_each_flag_by_whose_word_it_stands_and_since_when():
    (made,) = refill(heard(checkin(24, neck_mass="yes"), requested(25))).made
    (flag,) = made.inputs["flags"]["value"]
    assert (flag["flag"], flag["source"], flag["voice"], flag["at"]) == ("NECK_MASS", "followup", "reported", at(24))


# ---- order


YEAR = [
    *START, checkin(20), requested(24), by_provider("refill.approved", 26, refill_id="request-24"),
    ordered(26.5, 0.5), dispensed(29, 0.5), checkin(47, severe_abdominal_pain="yes"), requested(50),
    by_provider("flag.resolved", 51, flag_id="ABD_PAIN_SEVERE", resolution="refuted", reason_code="SEEN",
                actor="provider-7"),
    dispensed(56, 0.5, "third"), requested(78), checkin(80, side_effects=[{"symptom": "reflux", "severity": "severe"}]),
    overridden(81, "request-78", ["side_effect"], days=3), said("paused", 90), said("resumed", 93), requested(94),
    message("shipment_exception", 60, "lost", dispense_ref="third", reason="lost"),
    checkin(96, suicidal="unsure", neck_mass="yes"), checkin(97),
    by_provider("flag.resolved", 98, flag_id="SUICIDAL_ACTIVE", resolution="refuted", reason_code="SEEN",
                actor="provider-7"),
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), copies=st.integers(0, 6), cuts=st.integers(1, 8), until=st.integers(0, 200))
def test_the_same_events_in_any_order_with_any_copies_end_in_one_state(seed: int, copies: int, cuts: int, until: int):
    chance = random.Random(seed)
    whole = charted([YEAR])
    whole.ring(datetime.fromisoformat(at(until)))
    moments = []
    other = charted([YEAR])
    while other.outcome is not None and (tick := other.outcome.tick) and tick.at <= datetime.fromisoformat(at(until)):
        moments.append(reached(tick))
        other.hear(moments[-1])
    events = [*YEAR, *moments]
    shuffled = [*events, *chance.choices(events, k=copies)]
    chance.shuffle(shuffled)
    batches: list[list] = [[] for _ in range(cuts)]
    for event in shuffled:
        batches[chance.randrange(cuts)].append(event)
    assert charted(batches).state == whole.state


def test_a_year_that_comes_day_by_day_with_the_clock_ends_as_the_year_that_comes_at_once():
    slowly = Patient()
    ordered_in_time = sorted(YEAR, key=lambda event: event["time"])
    for event in ordered_in_time:
        slowly.ring(datetime.fromisoformat(event["time"]))
        slowly.hear(event)
    slowly.ring(FOREVER)
    at_once = charted([YEAR])
    at_once.ring(FOREVER)
    assert slowly.state == at_once.state


def test_charting_it_again_changes_nothing_and_writes_nothing():
    patient = charted([YEAR])
    patient.ring(FOREVER)
    before = patient.state
    assert patient.known.copies[PATIENT].planned
    assert patient.known.contacts[PATIENT].planned
    outcome = patient.hear(*YEAR)
    assert patient.state == before
    assert (outcome.write, outcome.contact, outcome.other_contacts) == (None, None, [])
    again = patient.hear(checkin(99, jaundice="yes"), said("stopped", 100))
    assert again.write is not None  # what is new is told
    assert again.contact is not None


def test_a_clock_that_was_late_says_so_and_the_state_is_the_same():
    one, other = charted([START]), charted([START])
    tick = one.outcome.tick  # type: ignore[union-attr]
    assert tick is not None
    one.hear(reached(tick))
    other.hear(reached(tick, is_late=True))
    assert one.state == other.state
    assert tick.at - datetime.fromisoformat(at(3)) < timedelta(days=15)
