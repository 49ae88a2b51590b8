"""Several systems speak of one patient: what holds of each field, what a person has to settle, and when that closes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import flags, gates, tasks
from glp1_pipeline.domain.changes.crm import read_contact
from glp1_pipeline.domain.chart import Chart, Reported, Treated, resolve
from glp1_pipeline.domain.charting import GATE
from glp1_pipeline.domain.events import Change, Submission, parse_event
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline.domain.ownership import withdrawal
from glp1_pipeline_tests import sample_inputs

from .test_flags import CLEAN, CONTRACT, GIVEN, known, report

PASSES = gates.passes(CONTRACT, CONTRACT.gates[GATE])
REVOKED = GIVEN | {"status": "revoked"}


_, SUBMISSION = parse_event(sample_inputs.clean_submission(1, subject="story"), CONTRACT)
assert isinstance(SUBMISSION, Submission)
START = SUBMISSION.authored_at
FIRST = report(
    1, dict(map_submission(CONTRACT, SUBMISSION).values), event_id="intake 001.0", authored_at=START, received_at=START
)
"""It passes the gate: the patient is under review from then on."""
DOB = FIRST.values["demo.dob"]["value"]


def first_without(name: str) -> Reported:
    return replace(FIRST, values={n: v for n, v in FIRST.values.items() if n != name})


def say(n: float, source: str, resource: str = "", voice: str = "reported", **answers: Any) -> Reported:
    """What a system says on the n-th day; the patient by an amendment, another by a copy of its record."""
    at = START + timedelta(days=n - 1)
    return Reported(
        event_id=f"{source} {n:05.1f} {resource}",
        submission_id=resource or f"{source}/1",
        form_version="3.0.0" if source == "intake" else "",
        status="amended" if source == "intake" else "completed",
        authored_at=at,
        received_at=at,
        time_zone="America/Chicago" if source == "intake" else "",
        values=known(**answers),
        source=source,
        voice=voice,
    )


def charted(*reports: Reported) -> Chart:
    return resolve(CONTRACT, "p1", [FIRST, *reports], PASSES)


def open_now(chart: Chart) -> dict[tuple[str, str], tuple[str, str]]:
    return {(c.field, c.source): (c.rule, c.outcome) for c in chart.conflicts}


def work(*reports: Reported) -> set[tuple[str, str]]:
    history = flags.evaluate_history(CONTRACT, "p1", [FIRST, *reports], passes=PASSES)
    (gate,) = gates.evaluate(CONTRACT, CONTRACT.gates[GATE], [history.chart], [history.flags])
    needed = {(need.code, need.cause) for need in tasks.derive(CONTRACT, history.chart, history.flags, gate)}
    return needed - {("provider-review-initial", GATE)}


def latex(n: float) -> Reported:
    return say(n, "ehr", "AllergyIntolerance/1", allergy__any="yes", allergy__list=[{"substance": "latex"}])


def test_two_systems_change_a_phone_an_allergy_and_a_birth_date_at_once_and_each_field_ends_by_its_rule() -> None:
    by_patient = say(
        2, "intake", demo__mobile="+15125550111", demo__dob="1990-01-01", allergy__any="yes",
        allergy__list=[{"substance": "peanut"}],
    )  # fmt: skip
    by_ehr = say(2.1, "ehr", "Patient/1", demo__mobile="+15125550122", demo__dob="1991-02-02")
    chart = charted(by_patient, by_ehr, latex(2.2))
    assert chart.get("demo.mobile") == "+15125550122"  # latest_verified: nobody verified, so the latest
    assert [row["substance"] for row in chart.get("allergy.list")] == ["latex", "peanut"]  # union
    assert chart.get("demo.dob") == "1991-02-02"  # hold_and_block: the owner's, and a person settles it
    assert open_now(chart) == {("demo.dob", "intake"): ("hold_and_block", "task")}
    assert chart.blocked == {"demo.dob"}
    assert ("resolve-identity", "demo.dob") in work(by_patient, by_ehr, latex(2.2))


def test_a_birth_date_is_settled_when_the_owner_takes_it_and_not_when_it_sends_its_record_for_another_reason() -> None:
    wrong = say(2, "intake", demo__dob="1990-01-01")
    moved = say(3, "ehr", "Patient/1", demo__dob=DOB, demo__language="es")
    assert ("resolve-identity", "demo.dob") in work(wrong, moved)
    taken = say(4, "ehr", "Patient/1", demo__dob="1990-01-01", demo__language="es")
    assert work(wrong, moved, taken) == set()
    assert charted(wrong, moved, taken).get("demo.dob") == "1990-01-01"
    back = say(4, "intake", demo__dob=DOB)
    assert work(wrong, back) == set()
    kept = say(4, "steward", demo__dob=DOB)
    assert work(wrong, kept) == set()
    assert charted(wrong, kept).get("demo.dob") == DOB


def test_a_conflict_tells_its_rule_owner_speaker_and_since_when_and_repeating_it_makes_it_no_younger() -> None:
    once, again = say(2, "crm", demo__legal_last="Canary-Two"), say(3, "intake", demo__legal_last="Canary-Three")
    (crm, intake) = charted(once, again, say(4, "intake", demo__legal_last="Canary-Three")).conflicts
    assert (crm.field, crm.rule, crm.owner, crm.source) == ("demo.legal_last", "hold_for_steward", "ehr", "crm")
    assert (intake.event_id, intake.since, intake.stage) == (again.event_id, again.said_at, "clinical_review")
    assert work(once) == {("resolve-identity", "demo.legal_last")}


def test_before_the_gate_is_passed_the_patient_corrects_themselves() -> None:
    gap = first_without("hx.men2")
    fixed = say(2, "intake", demo__dob="1990-01-01", hx__men2="no")
    chart = resolve(CONTRACT, "p1", [gap, fixed], PASSES)
    assert (chart.get("demo.dob"), chart.conflicts, chart.stage) == ("1990-01-01", (), "intake")
    late = resolve(CONTRACT, "p1", [gap, fixed, say(3, "intake", demo__dob="1992-02-02")], PASSES)
    assert (late.get("demo.dob"), late.stage) == ("1990-01-01", "clinical_review")


def test_under_review_weights_are_added_consents_tightened_and_allergies_kept() -> None:
    chart = charted(
        say(2, "intake", anthro__weight=80.0, consent__treatment=REVOKED, allergy__any="yes",
            allergy__list=[{"substance": "latex"}]),
        say(3, "intake", consent__treatment=GIVEN, allergy__any="no", allergy__list=[]),
    )  # fmt: skip
    assert chart.get("anthro.weight") == 80.0
    assert chart.former["anthro.weight"] == [FIRST.values["anthro.weight"]]
    assert chart.get("consent.treatment")["status"] == "revoked"
    assert chart.get("allergy.list") == [{"substance": "latex"}]
    assert open_now(chart) == {
        ("consent.treatment", "intake"): ("most_restrictive", "merged"),
        ("allergy.any", "intake"): ("union", "merged"),
        ("allergy.list", "intake"): ("union", "merged"),
    }


def test_a_move_to_another_state_holds_and_somebody_rechecks_the_licence() -> None:
    moved = say(2, "intake", demo__state_residence="NY")
    assert charted(moved).get("demo.state_residence") == "NY"
    assert ("licensure-recheck", "demo.state_residence") in work(moved)
    # The address is still in the state of before: whether that moved as well, somebody asks the patient.
    address = ("clarify-contradiction", "residence_and_address_differ")
    assert address in work(moved)
    assert work(moved, say(3, "ehr", "Patient/1", demo__state_residence="NY")) == {address}


def test_what_a_provider_measured_decides_and_never_replaces_what_the_patient_said() -> None:
    measured = say(2, "ehr", "Observation/1", "verified", anthro__weight=70.0)
    chart = charted(measured, say(3, "intake", anthro__weight=90.0))
    assert (chart.get("anthro.weight"), chart.told("anthro.weight")) == (70.0, 90.0)
    assert chart.verified == {"anthro.weight": {"value": 70.0}}
    assert chart.event_of("anthro.weight") == measured.event_id


HOME = FIRST.values["demo.address"]["value"]


def by_crm(n: float, **properties: str) -> Reported:
    """A contact on the n-th day, read as the CRM sends it."""
    said = say(n, "crm")
    change = Change("crm", "contact", "1", str(n), False, said.authored_at, properties)
    return replace(said, values=read_contact(CONTRACT, change).values)


@pytest.mark.parametrize("treated", [False, True])
def test_parts_of_an_address_replace_no_whole_one_whoever_owns_it(treated: bool) -> None:
    stage: Treated = [(START + timedelta(days=1), "active_treatment")] if treated else []

    def hears(*reports: Reported) -> Chart:
        return resolve(CONTRACT, "p1", [FIRST, *reports], PASSES, stage)

    for part in ({"zip": "73301"}, {"state": "TX"}, {"city": "Austin", "zip": HOME["postal_code"]}):
        chart = hears(by_crm(3, **part), by_crm(4, **part, mobilephone="512-555-0147"))
        assert chart.values["demo.address"]["value"] == HOME
        assert [(c.field, c.outcome) for c in chart.conflicts] == [("demo.address", "task")]
        whole = {"address": "9 Birch Road", "city": "Austin", "state": "TX", "zip": "73301"}
        chart = hears(by_crm(3, **part), by_crm(5, **whole))
        assert chart.values["demo.address"]["value"]["line1"] == "9 Birch Road"
        assert not chart.conflicts
    chart = hears(by_crm(3, zip=HOME["postal_code"], city=HOME["city"].upper()))
    assert (chart.values["demo.address"]["value"], chart.conflicts) == (HOME, ())


def test_parts_of_an_address_are_better_than_none() -> None:
    chart = resolve(CONTRACT, "p1", [first_without("demo.address"), by_crm(3, zip="73301")], PASSES)
    assert chart.values["demo.address"]["value"] == {"postal_code": "73301"}


def test_a_pregnancy_that_is_possible_is_ruled_out_by_a_provider_and_not_by_what_a_patient_writes_in_the_ehr() -> None:
    under_treatment: Treated = [(START + timedelta(days=1), "active_treatment")]
    told = replace(say(3, "followup", preg__status="possible"), status="completed")
    for voice, holds in (("reported", "possible"), ("verified", "no")):
        denied = say(4, "ehr", "Observation/1", voice, preg__status="no")
        chart = resolve(CONTRACT, "p1", [FIRST, told, denied], PASSES, under_treatment)
        assert chart.values["preg.status"] == {"value": holds}
        assert [(c.field, c.outcome) for c in chart.conflicts] == [("preg.status", "merged")]


def test_a_weight_that_a_provider_took_is_verified_and_moves_the_bmi() -> None:
    by_hand = say(1.5, "intake", anthro__weight_method="home_scale")
    measured = say(2, "ehr", "Observation/1", "verified", anthro__weight=60.0)
    before = flags.evaluate_history(CONTRACT, "p1", [FIRST, by_hand], passes=PASSES).flags
    after = flags.evaluate_history(CONTRACT, "p1", [FIRST, by_hand, measured], passes=PASSES).flags
    assert {"BMI_UNVERIFIED", "BMI_BELOW"} & before.keys() == {"BMI_UNVERIFIED"}
    assert {"BMI_UNVERIFIED", "BMI_BELOW"} & after.keys() == {"BMI_BELOW"}
    assert after["BMI_BELOW"].event_id in (measured.event_id, FIRST.event_id)


def test_of_two_blood_pressures_the_newer_counts_whoever_took_it() -> None:
    taken = say(2, "ehr", "Observation/2", "verified", vitals__bp={"systolic": 118, "diastolic": 76})
    told = say(3, "intake", vitals__bp={"systolic": 150, "diastolic": 99})
    assert charted(taken).get("vitals.bp")["systolic"] == 118
    assert charted(taken, told).get("vitals.bp")["systolic"] == 150
    assert charted(taken, told).verified["vitals.bp"]["value"]["systolic"] == 118


def test_a_weight_measured_before_the_review_counts_from_the_review_on() -> None:
    gap = first_without("hx.men2")
    measured = say(2, "ehr", "Observation/1", "verified", anthro__weight=70.0)
    early = resolve(CONTRACT, "p1", [gap, measured], PASSES)
    assert (early.get("anthro.weight"), open_now(early)) == (
        FIRST.values["anthro.weight"]["value"], {("anthro.weight", "ehr"): ("owner_wins", "refused")},
    )  # fmt: skip
    then = resolve(CONTRACT, "p1", [gap, measured, say(3, "intake", hx__men2="no")], PASSES)
    assert (then.get("anthro.weight"), then.conflicts) == (70.0, ())


def test_a_problem_that_the_patient_adds_after_a_provider_looked_is_a_task() -> None:
    looked = say(2, "ehr", "Condition/1", "verified", hx__comorbidities=["htn"])
    assert work(looked) == set()
    added = say(3, "intake", hx__comorbidities=["htn", "osa"])
    assert ("resolve-field-conflict", "hx.comorbidities") in work(looked, added)
    assert charted(looked, added).get("hx.comorbidities") == ["htn"]


def test_a_list_that_an_ehr_keeps_in_many_resources_is_read_as_one_and_a_deleted_one_drops_out() -> None:
    two = (
        say(2, "ehr", "Condition/1", "verified", hx__comorbidities=["htn"]),
        say(3, "ehr", "Condition/2", "verified", hx__comorbidities=["osa"]),
    )
    assert charted(*two).get("hx.comorbidities") == ["htn", "osa"]
    assert charted(*two, say(4, "ehr", "Condition/1", "verified")).get("hx.comorbidities") == ["osa"]


def back(n: float, resource: str, name: str, taken: Any) -> Reported:
    return replace(say(n, "ehr", resource, "verified"), status="deleted", values={name: withdrawal({"value": taken})})


def test_a_finding_that_is_deleted_in_the_ehr_decides_no_more() -> None:
    measured = say(2, "ehr", "Observation/1", "verified", anthro__weight=70.0)
    chart = charted(measured, back(3, "Observation/1", "anthro.weight", 70.0))
    assert (chart.get("anthro.weight"), chart.verified) == (FIRST.values["anthro.weight"]["value"], {})
    two = (
        say(2, "ehr", "Condition/1", "verified", hx__comorbidities=["htn"]),
        say(3, "ehr", "Condition/2", "verified", hx__comorbidities=["osa"]),
    )
    assert charted(*two, back(4, "Condition/2", "hx.comorbidities", ["osa"])).get("hx.comorbidities") == ["htn"]


def test_an_allergy_deleted_in_the_ehr_stays_on_the_list_and_is_told() -> None:
    told = say(2, "intake", allergy__any="yes", allergy__list=[{"substance": "latex"}])
    chart = charted(told, back(3, "AllergyIntolerance/9", "allergy.list", [{"substance": "Latex"}]))
    assert chart.get("allergy.list") == [{"substance": "latex"}]
    assert open_now(chart) == {("allergy.list", "ehr"): ("union", "merged")}
    other = charted(told, back(3, "AllergyIntolerance/9", "allergy.list", [{"substance": "peanut"}]))
    assert other.conflicts == ()


def test_a_consent_entered_in_error_is_no_consent_and_a_birth_date_taken_back_waits_for_a_person() -> None:
    given = back(2, "Consent/1", "consent.treatment", FIRST.values["consent.treatment"]["value"])
    chart = charted(given, back(3, "Patient/1", "demo.dob", DOB))
    assert chart.values["consent.treatment"] == {"null": "unknown"}
    assert (chart.get("demo.dob"), chart.blocked) == (DOB, {"demo.dob"})
    assert charted(back(3, "Patient/1", "demo.dob", DOB), say(4, "ehr", "Patient/1", demo__dob=DOB)).conflicts == ()


def test_a_contact_sent_again_for_another_reason_does_not_bring_an_old_phone_back_unseen() -> None:
    lead = say(0, "crm", "contact/1", demo__mobile="+15125550199", demo__preferred_name="Jo")
    renamed = say(3, "crm", "contact/1", demo__mobile="+15125550199", demo__preferred_name="Joe")
    chart = charted(lead, renamed)
    assert chart.get("demo.mobile") == FIRST.values["demo.mobile"]["value"]
    assert chart.get("demo.preferred_name") == "Joe"
    assert open_now(chart) == {("demo.mobile", "crm"): ("latest_verified", "refused")}
    heard = say(4, "crm", "contact/1", demo__preferred_name="Joe")
    assert charted(lead, renamed, heard).conflicts == ()
    again = say(5, "crm", "contact/1", demo__mobile="+15125550199")
    assert charted(lead, renamed, heard, again).get("demo.mobile") == "+15125550199"


def test_an_ehr_that_first_speaks_with_what_the_chart_held_before_may_not_have_heard_of_the_change() -> None:
    old = FIRST.values["demo.mobile"]["value"]
    changed = say(2, "intake", demo__mobile="+15125550111")
    moved = say(2.1, "ehr", "Patient/1", "verified", demo__mobile=old, demo__language="es")
    chart = charted(changed, moved)
    assert (chart.get("demo.mobile"), chart.get("demo.language")) == ("+15125550111", "es")
    assert open_now(chart)["demo.mobile", "ehr"] == ("latest_verified", "refused")
    heard = say(3, "ehr", "Patient/1", "verified", demo__mobile="+15125550111", demo__language="es")
    assert charted(changed, moved, heard).conflicts == ()


def test_somebody_whom_only_the_crm_knows_has_a_chart_and_passes_no_gate() -> None:
    lead = say(1, "crm", "contact/1", demo__mobile="+15125550199", demo__legal_first="Ada")
    history = flags.evaluate_history(CONTRACT, "p1", [lead], passes=PASSES)
    (gate,) = gates.evaluate(CONTRACT, CONTRACT.gates[GATE], [history.chart], [history.flags])
    assert (history.chart.get("demo.legal_first"), history.chart.stage, history.flags) == ("Ada", "lead", {})
    assert (gate.outcome, gate.missing) == ("held", (("submission", "absent"),))
    assert tasks.derive(CONTRACT, history.chart, history.flags, gate) == []


def test_a_wish_not_to_be_contacted_is_kept_though_no_question_asks_it() -> None:
    assert charted(say(2, "ehr", do_not_contact=True), say(3, "intake", do_not_contact=False)).get("do_not_contact")


VALUES = {
    "demo__dob": ["1990-01-01", "1991-02-02", DOB],
    "demo__legal_last": ["Canary", "Canary-Two"],
    "demo__mobile": ["+15125550111", "+15125550122"],
    "demo__state_residence": ["TX", "NY"],
    "allergy__list": [[], [{"substance": "latex"}], [{"substance": "peanut"}, {"substance": "latex"}]],
    "allergy__any": ["yes", "no"],
    "anthro__weight": [70.0, 95.0],
    "vitals__bp": [{"systolic": 118, "diastolic": 76}, {"systolic": 150, "diastolic": 99}],
    "preg__status": ["yes", "possible", "no"],
    "consent__marketing": [GIVEN, REVOKED],
    "ins__member_id": ["A1", "B2"],
    "lead__source": ["search", "friend"],
}
SAID = st.fixed_dictionaries({}, optional={name: st.sampled_from(said) for name, said in VALUES.items()})
TAKEN_BACK = st.sampled_from(
    [
        ("demo.dob", "1990-01-01"),
        ("allergy.list", [{"substance": "latex"}]),
        ("anthro.weight", 70.0),
        ("preg.status", "no"),
    ]
)
REPORT = st.tuples(
    st.integers(0, 6), st.sampled_from(["intake", "crm", "ehr", "payer", "steward"]), st.sampled_from(["a", "b"]),
    st.sampled_from(["reported", "verified"]), SAID, st.none() | TAKEN_BACK,
)  # fmt: skip


def told(drawn: list[tuple[int, str, str, str, dict[str, Any], tuple[str, Any] | None]]) -> list[Reported]:
    reports = []
    for i, (day, source, resource, voice, said, taken) in enumerate(drawn):
        made = say(day + i / 100, source, resource, voice, **said)
        if taken is not None and source in ("crm", "ehr"):
            made.values[taken[0]] = withdrawal({"value": taken[1]})
        if source == "intake" and resource == "b":
            made = replace(made, status="in-progress")
        reports.append(made)
    return reports


@settings(max_examples=200, deadline=None)
@given(st.lists(REPORT, max_size=7), st.booleans(), st.randoms())
def test_any_order_and_any_duplicates_end_in_the_same_chart_conflicts_and_flags(drawn, has_submitted, random) -> None:
    reports = [*told(drawn), *([FIRST] if has_submitted else [])]
    expected = flags.evaluate_history(CONTRACT, "p1", reports, passes=PASSES)
    again = [*reports, *random.choices(reports, k=3)] if reports else []
    random.shuffle(again)
    assert flags.evaluate_history(CONTRACT, "p1", again, passes=PASSES) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(REPORT, max_size=7))
def test_no_report_takes_an_allergy_off_the_list_or_a_reported_value_away(drawn) -> None:
    before: set[str] = set()
    for end in range(len(drawn) + 1):
        chart = charted(*[r for r in told(sorted(drawn, key=lambda d: d[0]))[:end] if r.said_at > FIRST.said_at])
        now = {row["substance"] for row in chart.get("allergy.list") or []}
        assert before <= now
        assert chart.values.keys() >= FIRST.values.keys()
        before = now


@settings(max_examples=150, deadline=None)
@given(st.lists(REPORT, min_size=1, max_size=7))
def test_an_identity_under_review_changes_only_by_its_owner_a_steward_or_what_both_say(drawn) -> None:
    reports = [r for r in told(drawn) if r.said_at > FIRST.said_at]
    chart = charted(*reports)
    speakers = {"ehr", "steward"}
    allowed = {DOB} | {
        r.values["demo.dob"]["value"]
        for r in reports
        if r.source in speakers and "value" in r.values.get("demo.dob", {})
    }
    assert chart.get("demo.dob") in allowed
    assert ("demo.dob" in chart.blocked) == any(c.field == "demo.dob" for c in chart.conflicts)


def test_a_patient_who_said_one_thing_once_is_never_asked_whether_the_gate_is_passed() -> None:
    asked: list[Chart] = []
    flags.evaluate_history(CONTRACT, "p1", [report(1, CLEAN)], passes=lambda chart: bool(asked.append(chart)))
    assert asked == []
