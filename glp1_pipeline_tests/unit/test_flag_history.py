"""Flags over a patient's submissions: what outlives a change of answers, and that arrival order does not matter."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import flags
from glp1_pipeline.domain.chart import Reported, resolve

from .test_flags import CLEAN, CONTRACT, GIVEN, NOON, REFUSED, known, report


def history(*reports: Reported, refuted: frozenset[str] = frozenset()) -> dict[str, flags.RaisedFlag]:
    return flags.evaluate_history(CONTRACT, "p1", reports, refuted)[1]


def amend(n: int, **answers: Any) -> Reported:
    return report(n, known(**answers), status="amended")


def test_a_red_flag_outlives_the_answer_that_raised_it_until_refuted():
    reports = [report(1, {**CLEAN, **known(hx__men2="yes")}), amend(2, hx__men2="no")]
    flag = history(*reports)["MEN2"]
    assert (flag.severity, flag.sticky, flag.event_id) == ("red", True, "e1")
    assert history(*reports, refuted=frozenset({"MEN2"})) == {}
    assert history(reports[0])["MEN2"].sticky is False


def test_a_red_answer_softened_to_unknown_stays_red():
    softened = report(2, {"hx.mtc_family": {"null": "unknown"}}, status="amended")
    flag = history(report(1, {**CLEAN, **known(hx__mtc_family="yes")}), softened)["MTC_FAMILY"]
    assert (flag.severity, flag.sticky) == ("red", True)


def test_a_symptom_that_calls_somebody_outlives_its_answer_whatever_its_colour():
    urgent = {"GI_SEVERE": {"checkin__vomiting_24h": "yes"}, "NECK_MASS": {"checkin__neck_mass": "yes"},
              "SUICIDAL_ACTIVE": {"checkin__suicidal": "yes"}}  # fmt: skip
    for flag_id, said in urgent.items():
        told = report(2, known(**said), source="followup")
        unsaid = report(3, {name: {"value": "no"} for name in told.values}, source="followup")
        (flag,) = history(report(1), told, unsaid).values()
        assert (flag.flag_id, flag.sticky, flag.event_id) == (flag_id, True, "e2")
        assert flag.severity == CONTRACT.flags[flag_id].severity
        again = report(4, told.values, source="followup")
        assert history(report(1), told, unsaid, again)[flag_id].event_id == "e4"
        assert flag_id not in history(report(1), told, unsaid, refuted=frozenset({flag_id}))


def test_a_flag_is_as_new_as_the_newest_answer_that_raises_it():
    first = report(1, {**CLEAN, **known(hx__suicide="current")})
    asked = report(2, known(checkin__suicidal="yes"), source="followup")
    assert history(first)["SUICIDAL_ACTIVE"].event_id == "e1"
    assert history(first, asked)["SUICIDAL_ACTIVE"].event_id == "e2"
    assert history(first, asked, amend(3, hx__suicide="current"))["SUICIDAL_ACTIVE"].event_id == "e3"


def test_of_who_answered_a_check_in_and_never_an_intake_only_what_cannot_wait_is_raised():
    worst = known(checkin__suicidal="yes", checkin__neck_mass="yes", hx__men2="yes", demo__dob="2015-01-01")
    assert history(report(1, worst, source="followup")).keys() == {"SUICIDAL_ACTIVE", "NECK_MASS"}
    assert history(report(1, worst, source="ehr")) == {}


def test_amber_and_administrative_flags_follow_the_present_chart():
    first = {**CLEAN, **known(hx__kidney="ckd", demo__state_at_visit="GU", consent__telehealth=REFUSED)}
    assert history(report(1, first)).keys() == {"RENAL_CKD4_5", "STATE_NOT_SERVED", "CONSENT_MISSING"}
    mended = amend(2, hx__kidney="none", demo__state_at_visit="TX", consent__telehealth=GIVEN)
    assert history(report(1, first), mended) == {}


def test_no_reports_no_flags():
    assert history() == {}


ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "hx.men2": st.sampled_from([{"value": "yes"}, {"value": "no"}, {"null": "unknown"}, {"null": "absent"}]),
        "hx.mtc_family": st.sampled_from([{"value": "yes"}, {"value": "no"}, {"null": "declined"}]),
        "anthro.weight": st.sampled_from([{"value": 60.0}, {"value": 95.0}, {"held": "implausible_weight"}]),
        "hx.suicide": st.sampled_from([{"value": "current"}, {"value": "none"}]),
        "demo.state_at_visit": st.sampled_from([{"value": "GU"}, {"value": "TX"}]),
        "checkin.suicidal": st.sampled_from(
            [{"value": "yes"}, {"value": "no"}, {"null": "unknown"}, {"null": "absent"}]
        ),
        "checkin.neck_mass": st.sampled_from([{"value": "yes"}, {"value": "no"}, {"null": "absent"}]),
    },
)
STATUS = st.sampled_from(["completed", "amended", "in-progress"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ANSWERS, STATUS, st.integers(1, 3)), min_size=1, max_size=5), st.randoms())
def test_the_order_of_arrival_does_not_change_chart_or_flags(drawn, random):
    reports = [
        report(day, {**(CLEAN if i == 0 else {}), **values}, status=status, event_id=f"e{i}")
        for i, (values, status, day) in enumerate(drawn)
    ]
    expected = flags.evaluate_history(CONTRACT, "p1", reports)
    random.shuffle(reports)
    assert flags.evaluate_history(CONTRACT, "p1", reports) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ANSWERS, STATUS), min_size=1, max_size=4))
def test_more_reports_never_clear_a_clinical_red_flag_nor_a_symptom(drawn):
    reports = [report(n, {**CLEAN, **v} if n == 1 else v, status=s) for n, (v, s) in enumerate(drawn, 1)]
    before: set[str] = set()
    for end in range(1, len(reports) + 1):
        stays = {*CONTRACT.refills.symptom_flags}
        now = {f for f, flag in history(*reports[:end]).items() if flag.severity == "red" or f in stays}
        if all(r.is_draft for r in reports[:end]):
            now -= flags.FLEETING_IN_DRAFTS
        assert before - {"STATE_NOT_SERVED", "CONSENT_MISSING", "IDENTITY_UNVERIFIED"} <= now
        before = now


def test_a_clock_that_runs_ahead_does_not_outrank_what_came_in_later():
    ahead = report(1, {**CLEAN, **known(hx__kidney="none")}, authored_at=NOON + timedelta(days=900))
    assert resolve(CONTRACT, "p1", [ahead, amend(2, hx__kidney="ckd")]).get("hx.kidney") == "ckd"


REVOKED = GIVEN | {"status": "revoked"}


def consented(*reports: Reported) -> str:
    return resolve(CONTRACT, "p1", reports).get("consent.telehealth")["status"]


def test_a_revocation_wins_over_a_consent_received_before_it_or_with_it_whatever_the_clocks_say():
    given, at = known(consent__telehealth=GIVEN), NOON + timedelta(days=5)
    for received in (at, at + timedelta(days=1)):
        slow_clock = amend(3, consent__telehealth=REVOKED)
        slow_clock = report(
            3, slow_clock.values, status="amended", authored_at=NOON - timedelta(days=400), received_at=received
        )
        first = report(6, given, received_at=at)
        assert consented(first, slow_clock) == consented(slow_clock, first) == "revoked"
    again = report(9, given, status="amended")
    assert consented(first, slow_clock, again) == consented(again, slow_clock, first) == "given"


def test_a_revocation_is_not_undone_by_an_older_consent_that_comes_late():
    late = report(1, known(consent__telehealth=GIVEN), received_at=NOON + timedelta(days=9))
    assert consented(late, amend(2, consent__telehealth=REVOKED)) == "revoked"


CONSENTED = st.tuples(st.sampled_from([GIVEN, REVOKED, REFUSED]), st.integers(0, 4), st.integers(0, 4))


@settings(max_examples=150, deadline=None)
@given(st.lists(CONSENTED, min_size=1, max_size=5), st.randoms())
def test_a_consent_stands_only_on_what_came_after_every_refusal(drawn, random):
    reports = [
        report(1, known(consent__telehealth=value), event_id=f"e{i}", authored_at=NOON + timedelta(days=authored),
               received_at=NOON + timedelta(days=received))
        for i, (value, authored, received) in enumerate(drawn)
    ]  # fmt: skip
    found = resolve(CONTRACT, "p1", reports)
    random.shuffle(reports)
    assert resolve(CONTRACT, "p1", reports) == found
    if found.get("consent.telehealth")["status"] == "given":
        source = next(r for r in reports if r.event_id == found.sources["consent.telehealth"])
        against = [r for r in reports if r.values["consent.telehealth"]["value"]["status"] != "given"]
        assert all(r.received_at < source.received_at and r.order < source.order for r in against)


def test_drafts_beside_a_submission_change_no_value_before_or_after_it():
    early = report(1, known(hx__kidney="ckd", demo__preferred_name="Zed"), status="in-progress")
    late = report(3, known(hx__kidney="dialysis"), status="in-progress", form_version="3.0.0")
    alone, among = resolve(CONTRACT, "p1", [report(2)]), resolve(CONTRACT, "p1", [late, report(2), early])
    assert (among.values, among.former, among.latest) == (alone.values, {}, alone.latest)
    assert resolve(CONTRACT, "p1", [early, late]).get("hx.kidney") == "dialysis"
    assert len(among.submissions) == 3


def test_of_a_draft_only_urgent_and_history_reds_stay():
    said = {"hx__suicide": "current", "preg__status": "yes", "vitals__bp": {"systolic": 190, "diastolic": 100}}
    draft = known(**said, hx__men2="yes", anthro__weight=60.0, anthro__height=170.0, demo__dob="2015-01-01")
    wanted = {"SUICIDAL_ACTIVE", "PREGNANT", "BP_CRISIS", "MEN2"}
    for n in (1, 3):
        found = history(report(n, draft, status="in-progress"), report(2))
        assert found.keys() == wanted
        assert all(flag.sticky for flag in found.values())


def test_a_flag_that_stands_no_more_is_told_as_ended_and_a_refuted_one_too():
    first, then = report(1, {**CLEAN, **known(hx__kidney="ckd", hx__men2="yes")}), amend(2, hx__kidney="none")
    assert flags.evaluate_history(CONTRACT, "p1", [first]).ended == frozenset()
    assert flags.evaluate_history(CONTRACT, "p1", [then, first]).ended == {"RENAL_CKD4_5"}
    refuted = flags.evaluate_history(CONTRACT, "p1", [first, then], frozenset({"MEN2"}))
    assert refuted.ended == {"RENAL_CKD4_5", "MEN2"}


@pytest.mark.parametrize("status", ["in-progress", "amended"])
def test_the_cost_of_one_patients_saves_grows_with_their_number_and_not_with_its_square(status: str):
    def cost(saves: int) -> float:
        said = [
            report(1, {**CLEAN, **known(anthro__weight=90 + n / 100)}, event_id=f"e{n}", status=status,
                   authored_at=NOON + timedelta(seconds=n), received_at=NOON + timedelta(seconds=n))
            for n in range(saves)
        ]  # fmt: skip
        start = time.process_time()
        history(*said, report(2))
        return time.process_time() - start

    few, many = (min(cost(saves) for _ in range(3)) for saves in (80, 800))
    assert many / few < 40  # the square would be a hundred
