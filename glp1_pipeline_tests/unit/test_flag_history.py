"""Flags over a patient's submissions: what outlives a change of answers, and that arrival order does not matter."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import flags
from glp1_pipeline.domain.chart import Reported

from .test_flags import CLEAN, CONTRACT, GIVEN, REFUSED, known, report


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
def test_more_reports_never_clear_a_clinical_red_flag(drawn):
    reports = [report(n, {**CLEAN, **v} if n == 1 else v, status=s) for n, (v, s) in enumerate(drawn, 1)]
    before: set[str] = set()
    for end in range(1, len(reports) + 1):
        now = {f for f, flag in history(*reports[:end]).items() if flag.severity == "red"}
        assert before - {"STATE_NOT_SERVED", "CONSENT_MISSING", "IDENTITY_UNVERIFIED"} <= now
        before = now
