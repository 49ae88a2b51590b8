"""The completeness gate: what holds a patient, what does not apply, and that it never breaks on a chart."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import flags, gates
from glp1_pipeline.domain.chart import Chart, resolve
from glp1_pipeline.domain.contract import APPLICABILITY, Gate, Requirement
from glp1_pipeline.domain.flags.facts import CONDITIONS

from .test_flags import CLEAN, CONTRACT, GIVEN, chart_of, null, report, without

GATE = CONTRACT.gates["clinical-minimum"]
NULLS = ("unknown", "declined", "not_applicable", "absent")


def verdict(chart: Chart, gate: Gate = GATE) -> gates.GateResult:
    return gates.evaluate(CONTRACT, gate, [chart], [flags.evaluate(CONTRACT, chart)])[0]


def small(**requirement: Any) -> Gate:
    return Gate(gate_id="g", version="1", blocks="", requirements=(Requirement(name="r", **requirement),))


def test_a_clean_chart_passes_with_a_full_score():
    result = verdict(chart_of())
    assert (result.outcome, result.missing, result.score) == ("passed", (), 1.0)
    assert (result.patient_id, result.gate_id, result.version) == ("p1", "clinical-minimum", GATE.version)


@pytest.mark.parametrize("line", [r for r in GATE.requirements if not r.when and r.need == "all"], ids=lambda r: r.name)
def test_every_requirement_holds_a_chart_that_lacks_its_fields(line):
    lost = ("anthro.height", "anthro.weight") if line.fields == ("bmi",) else line.fields
    result = verdict(without(*lost))
    assert result.outcome == "held"
    assert {(name, "absent") for name in line.fields} <= set(result.missing)


@pytest.mark.parametrize("why", NULLS)
@pytest.mark.parametrize("name", ["hx.mtc_personal", "hx.men2", "hx.suicide", "med.glp1_history", "allergy.any"])
def test_a_red_question_passes_only_with_an_answer(name, why):
    assert verdict(chart_of(null(name, why))).missing == ((name, why),)


def test_family_mtc_unknown_passes_by_task_and_declined_does_not():
    result = verdict(chart_of(null("hx.mtc_family", "unknown")))
    assert (result.outcome, result.by_task, result.score) == ("passed", ("hx.mtc_family",), 1.0)
    assert verdict(chart_of(null("hx.mtc_family", "declined"))).missing == (("hx.mtc_family", "declined"),)


def test_an_eased_answer_that_no_flag_shows_is_held():
    chart = chart_of(null("hx.mtc_family", "unknown"))
    assert gates.evaluate(CONTRACT, GATE, [chart], [{}])[0].missing == (("hx.mtc_family", "unflagged"),)


def test_any_one_name_and_any_one_contact_are_enough():
    assert verdict(without("demo.legal_first", "demo.mobile")).outcome == "passed"
    result = verdict(without("demo.email", "demo.mobile"))
    assert result.missing == (("contact", "absent"),)


def test_a_consent_that_was_revoked_or_an_id_that_is_pending_is_not_accepted():
    revoked = GIVEN | {"status": "revoked"}
    result = verdict(chart_of(consent__telehealth=revoked, id__verification_status="pending"))
    assert set(result.missing) == {("consent.telehealth", "not_accepted"), ("id.verification_status", "not_accepted")}


def test_a_weight_is_recent_for_thirty_days_and_not_from_the_future():
    assert verdict(chart_of(anthro__weight_measured_at="2026-02-08")).outcome == "passed"
    assert verdict(chart_of(anthro__weight_measured_at="2026-02-07")).missing == (
        ("anthro.weight_measured_at", "stale"),
    )
    assert verdict(chart_of(anthro__weight_measured_at="2026-03-13")).missing == (
        ("anthro.weight_measured_at", "not_accepted"),
    )


def test_a_bmi_that_no_body_has_is_not_accepted():
    assert verdict(chart_of(anthro__weight=300.0)).missing == (("bmi", "not_accepted"),)


def test_a_held_answer_holds_the_patient():
    chart = chart_of({**CLEAN, "demo.dob": {"held": "ambiguous_date", "raw": "03/04/1985"}})
    assert verdict(chart).missing == (("demo.dob", "held"),)


def test_pregnancy_is_asked_unless_sex_at_birth_is_male():
    repro = ("preg.status", "preg.planning", "preg.breastfeeding")
    assert verdict(without(*repro, demo__sex_at_birth="male")).outcome == "passed"
    assert verdict(without(*repro)).outcome == "held"
    unknown = {n: v for n, v in null("demo.sex_at_birth", "declined").items() if n not in repro}
    assert {name for name, _ in verdict(chart_of(unknown)).missing} == set(repro)


def test_comorbidities_retinopathy_and_last_dose_are_asked_where_they_matter():
    assert verdict(without("hx.comorbidities")).outcome == "passed"
    assert verdict(without("hx.comorbidities", anthro__weight=79.0)).missing == (("hx.comorbidities", "absent"),)
    assert verdict(chart_of(hx__t2dm="yes")).missing == (("hx.retinopathy", "absent"),)
    past = verdict(chart_of(med__glp1_history="past>1mo", med__glp1_product={"product": "ozempic"}))
    assert past.missing == (("med.glp1_last_dose", "absent"),)


def test_a_question_newer_than_every_form_the_patient_saw_does_not_hold():
    old = {n: v for n, v in CLEAN.items() if n not in ("hx.eating_disorder", "preg.planning")}
    assert verdict(resolve(CONTRACT, "p1", [report(values=old, form_version="1.0.0")])).outcome == "passed"
    both = [report(1, old, form_version="1.0.0"), report(2, {}, form_version="3.0.0")]
    assert {name for name, _ in verdict(resolve(CONTRACT, "p1", both)).missing} == {
        "hx.eating_disorder",
        "preg.planning",
    }


def test_a_draft_is_held_as_in_progress_whatever_it_holds():
    result = verdict(chart_of(status="in-progress"))
    assert (result.outcome, result.missing) == ("held", (("submission", "in_progress"),))
    assert verdict_of_nothing().missing == (("submission", "absent"),)


def verdict_of_nothing() -> gates.GateResult:
    return gates.evaluate(CONTRACT, GATE, [Chart("p1")])[0]


def test_a_red_question_weighs_three_times():
    full = sum(3 if r.high_risk else 1 for r in GATE.requirements if not r.when or r.when == "may_be_pregnant")
    assert verdict(chart_of(null("hx.men2", "declined"))).score == round((full - 3) / full, 4)
    assert verdict(without("rx.pharmacy")).score == round((full - 1) / full, 4)


ODD = st.one_of(
    st.builds(lambda v: {"value": v}, st.one_of(
        st.text(max_size=12), st.booleans(), st.integers(-5, 10**6), st.floats(allow_nan=True),
        st.lists(st.text(max_size=4), max_size=3), st.dictionaries(st.text(max_size=6), st.integers(), max_size=2),
        st.lists(st.dictionaries(st.sampled_from(["name", "class"]), st.text(max_size=8)), max_size=2), st.none(),
        st.sampled_from(["yes", "no", "current", "2026-02-30", "0000-00-00", "9999-12-31", GIVEN]),
    )),
    st.sampled_from([{"null": why} for why in NULLS]),
    st.just({"held": "unmapped_code", "raw": "x"}),
)  # fmt: skip
CHARTS = st.builds(
    lambda odd, kept, version, status, zone: resolve(
        CONTRACT, "p1",
        [report(values={**(CLEAN if kept else {}), **odd}, form_version=version, status=status, time_zone=zone)],
    ),
    st.dictionaries(st.sampled_from(sorted(CONTRACT.fields)), ODD, max_size=12), st.booleans(),
    st.sampled_from(CONTRACT.form_versions), st.sampled_from(["completed", "amended", "in-progress"]),
    st.sampled_from(["America/New_York", "", "Nowhere", "\x00", "Pacific/Kiritimati"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(CHARTS)
def test_flags_and_gate_never_raise_on_any_chart(chart):
    result = verdict(chart)
    assert result.outcome == ("held" if result.missing else "passed")
    assert 0 <= result.score <= 1
    assert (result.score == 1) or result.outcome == "held"


LOOKED_AT = sorted(
    {name for rule in flags.RULES.values() for name in rule.quiet} | {f for r in GATE.requirements for f in r.fields}
)


def answers_to(name: str) -> st.SearchStrategy[dict[str, Any]]:
    field = CONTRACT.fields.get(name)
    codes = {code.code for code in CONTRACT.codes[field.codes].values()} if field and field.codes else set()
    usual = [*sorted(codes | {"yes", "no", "none", "never"}), [], "2019-01-01"]
    return ODD | st.sampled_from([{"value": value} for value in usual])


SAID = st.lists(st.sampled_from(LOOKED_AT), max_size=12, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: answers_to(name) for name in names})
)


@st.composite
def with_findings(draw: st.DrawFn) -> Chart:
    """A chart of one or two reports, and with what a provider found in place of some answers."""
    status, version = st.sampled_from(["completed", "in-progress"]), st.sampled_from(CONTRACT.form_versions)
    reports = [
        report(n, (CLEAN if draw(st.booleans()) else {}) | draw(SAID), status=draw(status), form_version=draw(version))
        for n in range(1, draw(st.integers(2, 3)))
    ]
    chart = resolve(CONTRACT, "p1", reports)
    chart.decisive = {**draw(st.just({}) | SAID)}
    chart.verified_by = dict.fromkeys(chart.decisive, "e1")
    chart.is_followed_up = draw(st.booleans())
    return chart


def look_closely(chart: Chart) -> None:
    """As the quick ways have it, so it is where every rule is asked and every line is looked at."""
    facts, plan = flags.Facts(CONTRACT, chart), flags._plan(CONTRACT)
    asked = plan.asked_of(chart)
    assert [one for one in plan.rules if one in asked or one.fires(chart, facts) is not None] == [*asked]

    raised = flags.evaluate(CONTRACT, chart)
    lines = gates._lines(GATE)
    closely = tuple(replace(line, enough=None) for line in lines)
    for shown in (None, raised):
        quick, whole = (gates._judge(CONTRACT, GATE, looked, chart, shown) for looked in (lines, closely))
        assert quick == whole


@settings(max_examples=400, deadline=None)
@given(with_findings())
def test_what_is_not_looked_at_more_closely_would_change_nothing(chart):
    look_closely(chart)


@pytest.mark.parametrize(
    "answers",
    [
        {"allergy__any": "yes", "allergy__list": []},
        {"anthro__weight_measured_at": "2019-01-01"},
        {"anthro__height": 20.0},
        {"consent__treatment": GIVEN | {"status": "refused"}},
        {"id__verification_status": "pending"},
        {"demo__sex_at_birth": "male", "hx__t2dm": "yes"},
        {"med__glp1_history": "current"},
    ],
)
def test_nor_where_more_than_a_value_matters(answers):
    look_closely(chart_of(**answers))
    look_closely(without("rx.pharmacy", "demo.legal_first", **answers))


@settings(max_examples=25, deadline=None)
@given(st.lists(CHARTS, min_size=1, max_size=6))
def test_the_verdicts_are_what_pandera_says_of_the_same_charts(charts):
    failed = gates.failures(GATE, gates.frame(CONTRACT, GATE, charts))
    for row, (chart, result) in enumerate(zip(charts, gates.evaluate(CONTRACT, GATE, charts), strict=True)):
        if chart.is_complete:
            assert (result.outcome == "held") == any(at == row for at, _ in failed)


def test_the_schema_has_one_column_for_each_requirement():
    assert list(gates.schema(GATE).columns) == [r.name for r in GATE.requirements]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f.drop(columns="men2"),
        lambda f: f.assign(extra="value"),
        lambda f: f.assign(men2=1.5),
        lambda f: f.assign(men2=None),
    ],
)
def test_a_malformed_frame_is_a_fault_of_our_own_without_pandera_or_values(spoil):
    frame = gates.frame(CONTRACT, GATE, [chart_of()]).assign(birth_date="1985-06-15")
    with pytest.raises(gates.GateFault) as caught:
        gates.failures(GATE, spoil(frame))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "1985" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_column_is_named():
    with pytest.raises(gates.GateFault, match="men2"):
        gates.failures(GATE, gates.frame(CONTRACT, GATE, [chart_of()]).drop(columns="men2"))


def test_states_that_fail_come_back_by_row_and_requirement():
    frame = pd.DataFrame({"r": pd.Series(["value", "absent", "exempt"], dtype=object)})
    assert gates.failures(small(fields=("hx.men2",)), frame) == {(1, "r")}


def test_a_gate_that_names_an_unknown_condition_is_refused():
    with pytest.raises(gates.GateFault, match="on_tuesdays"):
        gates.evaluate(CONTRACT, small(fields=("hx.men2",), when="on_tuesdays"), [chart_of()])


def test_the_conditions_that_contract_files_may_name_are_those_that_exist():
    assert set(APPLICABILITY) == CONDITIONS.keys()


def test_a_list_satisfies_by_one_accepted_code():
    gate = small(fields=("hx.comorbidities",), values=("htn", "osa"))
    assert verdict(chart_of(hx__comorbidities=["asthma", "osa"]), gate).outcome == "passed"
    assert verdict(chart_of(hx__comorbidities=["none"]), gate).missing == (("hx.comorbidities", "not_accepted"),)
