"""Risk flags: what raises each, and what comes near and does not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from glp1_pipeline.domain import flags
from glp1_pipeline.domain.chart import Chart, Reported, Value, resolve
from glp1_pipeline.domain.flags.checkins import weights
from glp1_pipeline.domain.flags.medicines import medicine_names
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
NOON = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
GIVEN = {"status": "given", "version": "2026-01", "at": "2026-03-10T12:00:00-06:00"}


def known(**answers: Any) -> dict[str, Value]:
    """Values by field, `hx__kidney="ckd"` for hx.kidney."""
    return {name.replace("__", "."): {"value": value} for name, value in answers.items()}


CLEAN: dict[str, Value] = known(
    demo__legal_first="Ada", demo__legal_last="Test", demo__dob="1985-06-15", demo__sex_at_birth="female",
    demo__state_residence="TX", demo__state_at_visit="TX", demo__mobile="+15125550100", demo__email="ada@example.com",
    id__verification_status="verified", consent__telehealth=GIVEN, consent__treatment=GIVEN,
    consent__privacy_npp=GIVEN, anthro__height=165.0, anthro__weight=95.0, anthro__weight_measured_at="2026-03-08",
    anthro__weight_method="device", vitals__bp={"systolic": 122, "diastolic": 78}, vitals__hr=70.0,
    hx__mtc_personal="no", hx__mtc_family="no", hx__men2="no", hx__pancreatitis="never", hx__gallbladder="none",
    hx__gastroparesis="no", hx__t1dm="no", hx__t2dm="no", hx__kidney="none", hx__liver="none", hx__suicide="none",
    hx__eating_disorder="none", hx__cancer="none", hx__thyroid_other="no", hx__bariatric="none",
    hx__transplant="no", hx__substance="none", hx__comorbidities=["htn"], preg__status="no", preg__planning="no",
    preg__breastfeeding="no", preg__contraception="iud", med__glp1_history="never",
    med__current_list=[{"name": "lisinopril", "class": "ace_arb"}], allergy__any="no", rx__pharmacy="1234567",
    rx__preference="zepbound_pen", ins__has_coverage=False,
)  # fmt: skip


def report(n: int = 1, values: dict[str, Value] | None = None, **changes: Any) -> Reported:
    at = NOON + timedelta(days=n - 1)
    given = {
        "event_id": f"e{n}", "submission_id": f"s{n}", "form_version": "3.0.0", "status": "completed",
        "authored_at": at, "received_at": at, "time_zone": "America/Chicago",
        "values": CLEAN if values is None else values,
    } | changes  # fmt: skip
    return Reported(**given)


def chart_of(values: dict[str, Value] | None = None, *, status: str = "completed", **answers: Any) -> Chart:
    """The clean chart with some answers changed, or a chart of these values alone."""
    merged = {**CLEAN, **known(**answers)} if values is None else values
    return resolve(CONTRACT, "p1", [report(values=merged, status=status)])


def without(*names: str, **answers: Any) -> Chart:
    return chart_of({n: v for n, v in {**CLEAN, **known(**answers)}.items() if n not in names})


def null(name: str, why: str) -> dict[str, Value]:
    return {**CLEAN, name: {"null": why}}


def raised(chart: Chart) -> dict[str, str]:
    return {f.flag_id: f.severity for f in flags.evaluate(CONTRACT, chart).values()}


def takes(*names: str, **answers: Any) -> dict[str, Any]:
    return {"med__current_list": [{"name": name} for name in names], **answers}


def allergic(substance: str, **more: str) -> dict[str, Any]:
    return {"allergy__any": "yes", "allergy__list": [{"substance": substance, **more}]}


REFUSED = GIVEN | {"status": "refused"}
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "MTC_PERSONAL": ({"hx__mtc_personal": "yes"}, "red", {"hx__thyroid_other": "yes"}),
    "MTC_FAMILY": ({"hx__mtc_family": "yes"}, "red", {"hx__mtc_family": "no"}),
    "MEN2": ({"hx__men2": "yes"}, "red", {"hx__men2": "no"}),
    "HYPERSENS_GLP1": (allergic("Mounjaro", reaction="anaphylaxis"), "red", allergic("penicillin", severity="severe")),
    "PREGNANT": ({"preg__status": "possible"}, "red", {"preg__planning": "2-12mo"}),
    "TRYING_TO_CONCEIVE": ({"preg__planning": "within_2mo"}, "red", {"preg__planning": "2-12mo"}),
    "BREASTFEEDING": ({"preg__breastfeeding": "yes"}, "red", {"preg__breastfeeding": "no"}),
    "DUP_GLP1": ({"med__glp1_history": "current"}, "red", {"med__glp1_history": "past<=1mo"}),
    "PANCREATITIS_ACTIVE": ({"hx__pancreatitis": "current"}, "red", {"hx__pancreatitis": "past"}),
    "PANCREATITIS_HX": ({"hx__pancreatitis": "past"}, "amber", {"hx__pancreatitis": "never"}),
    "GALLBLADDER_ACTIVE": ({"hx__gallbladder": "stones"}, "amber", {"hx__gallbladder": "removed"}),
    "GASTROPARESIS_SEVERE": ({"hx__gastroparesis": "yes"}, "red", {"hx__gastroparesis": "no"}),
    "T1DM": ({"hx__t1dm": "yes"}, "red", {"hx__t2dm": "yes"}),
    "INSULIN_USE": (takes("Lantus SoloStar 100 u/mL"), "amber", takes("metformin")),
    "SULFONYLUREA": (takes("GLIPIZIDE ER 5mg"), "amber", takes("sulfasalazine")),
    "DIABETIC_RETINOPATHY": ({"hx__retinopathy": "yes"}, "amber", {"hx__t2dm": "yes", "hx__retinopathy": "no"}),
    "RENAL_CKD4_5": ({"hx__kidney": "ckd"}, "amber", {"hx__kidney": "none"}),
    "ESRD_DIALYSIS": ({"hx__kidney": "dialysis"}, "red", {"hx__kidney": "ckd"}),
    "SUICIDAL_ACTIVE": ({"hx__suicide": "current"}, "red", {"hx__suicide": "past"}),
    "SUICIDE_ATTEMPT_HX": ({"hx__suicide": "past"}, "amber", {"hx__suicide": "none"}),
    "EATING_DISORDER_ACTIVE": ({"hx__eating_disorder": "current"}, "red", {"hx__eating_disorder": "past"}),
    "EATING_DISORDER_HX": ({"hx__eating_disorder": "past"}, "amber", {"hx__eating_disorder": "none"}),
    "BMI_BELOW": ({"anthro__weight": 73.0}, "red", {"anthro__weight": 73.6}),  # 26.81 and 27.03, with hypertension
    "BMI_UNVERIFIED": ({"anthro__weight_method": "home_scale"}, "amber", {"anthro__weight_method": "clinic"}),
    "AGE_OUT": ({"demo__dob": "2008-03-11"}, "red", {"demo__dob": "2008-03-10"}),
    "BP_STAGE2": (
        {"vitals__bp": {"systolic": 150, "diastolic": 100}}, "amber",
        {"vitals__bp": {"systolic": 159, "diastolic": 99}},
    ),
    "BP_CRISIS": (
        {"vitals__bp": {"systolic": 180, "diastolic": 90}}, "red",
        {"vitals__bp": {"systolic": 179, "diastolic": 119}},
    ),
    "WEIGHT_IMPLAUSIBLE": ({"anthro__weight": 220.0}, "amber", {"anthro__weight": 215.0}),  # BMI 80.8 and 79.0
    "HR_HIGH": ({"vitals__hr": 111.0}, "amber", {"vitals__hr": 110.0}),
    "THYROID_CA_NONMTC": ({"hx__thyroid_other": "yes"}, "amber", {"hx__thyroid_other": "no"}),
    "CANCER_ACTIVE": ({"hx__cancer": "remission<5y"}, "amber", {"hx__cancer": "remission>5y"}),
    "LIVER_CIRRHOSIS": ({"hx__liver": "cirrhosis"}, "amber", {"hx__liver": "masld"}),
    "TRANSPLANT_IMMUNOSUPP": ({"hx__transplant": "yes"}, "amber", {"hx__transplant": "no"}),
    "BARIATRIC_RECENT": ({"hx__bariatric": "<12mo"}, "amber", {"hx__bariatric": ">=12mo"}),
    "SUD_UNTREATED": ({"hx__substance": "untreated"}, "amber", {"hx__substance": "in_treatment"}),
    "WARFARIN": (takes("Coumadin"), "amber", takes("apixaban")),
    "ORAL_CONTRACEPTIVE": (
        {"preg__contraception": "oral"}, "amber", {"preg__contraception": "oral", "rx__preference": "wegovy_inj"},
    ),
    "CYP3A4_STRONG": (
        takes("clarithromycin", rx__preference="foundayo"), "amber", takes("clarithromycin"),
    ),
    "LEVOTHYROXINE_ORAL_SEMA": (
        takes("Synthroid", rx__preference="wegovy_tab"), "info", takes("Synthroid", rx__preference="wegovy_inj"),
    ),
    "SURGERY_ANESTHESIA": ({"hx__surgery_planned": "2026-04-09"}, "amber", {"hx__surgery_planned": "2026-04-10"}),
    "COMPOUNDED_SOURCE": ({"rx__preference": "comp_tirz"}, "amber", {"med__glp1_source": "pharmacy"}),
    "STATE_NOT_SERVED": ({"demo__state_at_visit": "GU"}, "red", {"demo__state_at_visit": "CA"}),
    "IDENTITY_UNVERIFIED": (
        {"id__verification_status": "failed"}, "red", {"id__verification_status": "pending"},
    ),
    "CONSENT_MISSING": ({"consent__treatment": REFUSED}, "red", {"consent__marketing": REFUSED}),
}  # fmt: skip


def test_a_clean_chart_raises_nothing():
    assert raised(chart_of()) == {}


@pytest.mark.parametrize("flag_id", CASES)
def test_every_flag_is_raised_by_its_case_with_its_severity(flag_id):
    answers, severity, _ = CASES[flag_id]
    assert raised(chart_of(**answers))[flag_id] == severity


@pytest.mark.parametrize("flag_id", CASES)
def test_no_flag_is_raised_by_its_near_miss(flag_id):
    assert flag_id not in raised(chart_of(**CASES[flag_id][2]))


@pytest.mark.parametrize("name", sorted(CONTRACT.fields))
def test_a_rule_that_an_answer_raises_is_asked_of_it(name):
    """Of every field, also of one that a rule looks at and does not tell of: each code, and each way to give none."""
    plan, codes = flags._plan(CONTRACT), CONTRACT.codes.get(CONTRACT.fields[name].codes or "", {})
    usual = ("yes", "no", "none", "never", "current", "oral", [], [{"name": "Lantus"}], "2026-03-20", "GU", 300.0)
    told = [{"value": value} for value in (*sorted({code.code for code in codes.values()}), *usual)]
    told += [{"held": "unmapped_code", "raw": "190"}]
    told += [{"null": why} for why in ("unknown", "declined", "not_applicable", "absent")]
    for answer in told:
        chart = chart_of({**CLEAN, name: answer})
        facts, asked = flags.Facts(CONTRACT, chart), plan.asked_of(chart)
        assert not [one.flag_id for one in plan.rules if one not in asked and one.fires(chart, facts)], answer


def test_every_intake_flag_has_a_rule_and_a_case_and_every_rule_has_a_flag():
    intake = {f.flag_id for f in CONTRACT.flags.values() if f.input == "intake"}
    assert intake <= flags.RULES.keys()
    assert flags.RULES.keys() <= CONTRACT.flags.keys()
    assert intake == CASES.keys() | {"UNKNOWN_HIGH_RISK_INPUT"}  # which has sentences of its own


def test_an_intake_flag_without_a_rule_stops_the_evaluation_by_name():
    odd = CONTRACT.flags["MEN2"].model_copy(update={"flag_id": "NEW_FLAG"})
    with pytest.raises(LookupError, match="NEW_FLAG"):
        flags.evaluate(CONTRACT.model_copy(update={"flags": {**CONTRACT.flags, "NEW_FLAG": odd}}), chart_of())


@pytest.mark.parametrize("why", ["unknown", "declined"])
def test_family_mtc_not_known_is_amber_not_red(why):
    assert raised(chart_of(null("hx.mtc_family", why)))["MTC_FAMILY"] == "amber"


@pytest.mark.parametrize("why", ["unknown", "declined", "absent", "not_applicable"])
def test_a_red_question_without_yes_or_no_is_named(why):
    flag = flags.evaluate(CONTRACT, chart_of(null("hx.men2", why)))["UNKNOWN_HIGH_RISK_INPUT"]
    assert (flag.severity, flag.fields) == ("amber", ("hx.men2",))


def test_a_red_question_whose_answer_is_held_or_was_never_asked_is_named_too():
    held = chart_of({**CLEAN, "hx.kidney": {"held": "unmapped_code", "raw": "?"}})
    assert flags.evaluate(CONTRACT, held)["UNKNOWN_HIGH_RISK_INPUT"].fields == ("hx.kidney",)
    old = {n: v for n, v in CLEAN.items() if n != "hx.eating_disorder"}
    never = resolve(CONTRACT, "p1", [report(values=old, form_version="1.0.0")])
    assert flags.evaluate(CONTRACT, never)["UNKNOWN_HIGH_RISK_INPUT"].fields == ("hx.eating_disorder",)


@pytest.mark.parametrize(
    "told",
    [{"null": "unknown"}, {"null": "declined"}, {"null": "absent"}, {"held": "unmapped_code", "raw": "a nodule?"}],
)
def test_another_thyroid_cancer_that_is_not_ruled_out_is_named_to_the_provider(told):
    flag = flags.evaluate(CONTRACT, chart_of({**CLEAN, "hx.thyroid_other": told}))["UNKNOWN_HIGH_RISK_INPUT"]
    assert (flag.severity, flag.fields) == ("amber", ("hx.thyroid_other",))


def test_surgery_that_a_check_in_tells_of_is_flagged_as_that_of_the_intake_is():
    told: dict[str, Any] = {"checkin__surgery_on": "2026-04-09"}
    assert raised(chart_of(**told, checkin__surgery_planned="yes"))["SURGERY_ANESTHESIA"] == "amber"
    assert "SURGERY_ANESTHESIA" not in raised(chart_of(**told, checkin__surgery_planned="no"))
    assert "SURGERY_ANESTHESIA" not in raised(chart_of(checkin__surgery_on="2026-04-10"))


def test_an_unanswered_optional_question_is_no_unknown_high_risk_input():
    assert raised(without("preg.lmp", "goal.primary", "hx.substance")) == {}


def test_a_draft_is_not_blamed_for_blanks_but_its_answers_count():
    draft = chart_of(known(hx__suicide="current"), status="in-progress")
    assert raised(draft) == {"SUICIDAL_ACTIVE": "red"}


def test_age_turns_at_midnight_where_the_patient_is_not_in_utc():
    values = {**CLEAN, **known(demo__dob="2008-03-11")}
    late = datetime(2026, 3, 11, 4, 30, tzinfo=UTC)  # 11:30 pm on the 10th in Chicago

    def at(zone: str) -> dict[str, str]:
        return raised(resolve(CONTRACT, "p1", [report(values=values, received_at=late, time_zone=zone)]))

    assert at("America/Chicago")["AGE_OUT"] == "red"
    assert "AGE_OUT" not in at("UTC")
    for nowhere in ("Mars/Olympus", "../etc", "America"):
        assert at(nowhere)["AGE_OUT"] == "red"  # by the zone of the patient's own


def test_age_counts_from_one_march_for_leap_day_births_and_75_is_amber():
    assert raised(chart_of(demo__dob="1951-03-10"))["AGE_OUT"] == "amber"
    assert "AGE_OUT" not in raised(chart_of(demo__dob="1951-03-11"))
    assert flags.facts.age_on(flags.facts.day("2004-02-29"), datetime(2022, 2, 28).date()) == 17
    assert flags.facts.age_on(flags.facts.day("2004-02-29"), datetime(2022, 3, 1).date()) == 18


def test_bmi_is_worked_out_from_height_and_weight_alone():
    assert flags.bmi(chart_of()) == 34.89
    assert flags.bmi(without("anthro.height")) is None


def test_between_27_and_30_a_comorbidity_decides():
    between: dict[str, Any] = {"anthro__weight": 79.0}
    assert "BMI_BELOW" not in raised(chart_of(**between))
    assert raised(chart_of(**between, hx__comorbidities=["none"]))["BMI_BELOW"] == "red"
    assert "BMI_BELOW" not in raised(chart_of(**between, hx__comorbidities=["none"], hx__t2dm="yes"))
    assert raised(without("hx.comorbidities", **between))["BMI_BELOW"] == "amber"


def test_a_mild_or_other_glp1_allergy_is_amber_and_an_unknown_reaction_red():
    assert raised(chart_of(**allergic("tirzepatide", severity="mild")))["HYPERSENS_GLP1"] == "amber"
    assert raised(chart_of(**allergic("Ozempic", severity="severe")))["HYPERSENS_GLP1"] == "amber"
    assert raised(chart_of(**allergic("tirzepatide")))["HYPERSENS_GLP1"] == "red"
    assert raised(chart_of(**allergic("Ozempic"), rx__preference="no_preference"))["HYPERSENS_GLP1"] == "red"
    assert raised(chart_of(**allergic("Zepbound", severity="mild", reaction="angioedema")))["HYPERSENS_GLP1"] == "red"


def test_an_allergy_in_a_list_that_was_held_for_another_row_is_flagged():
    raw = [{"substance": "Zepbound", "reaction": "hives"}, {"substance": "penicillin", "severity": "7 of 10"}]
    held: Value = {"held": "unmapped_code", "raw": raw}
    assert raised(chart_of({**CLEAN, "allergy.list": held}))["HYPERSENS_GLP1"] == "red"
    wegovy = known(rx__preference="wegovy_inj")
    assert raised(chart_of({**CLEAN, **wegovy, "allergy.list": held}))["HYPERSENS_GLP1"] == "amber"
    assert "HYPERSENS_GLP1" not in raised(chart_of({**CLEAN, "allergy.list": held | {"raw": raw[1:]}}))


def test_an_allergy_to_a_glp1_that_is_not_named_may_be_to_the_one_asked_for():
    assert raised(chart_of(**allergic("GLP-1", code="glp1")))["HYPERSENS_GLP1"] == "red"
    assert "HYPERSENS_GLP1" not in raised(chart_of(**allergic("Humalog", code="insulin")))


@pytest.mark.parametrize(
    "name", ["\uff2d\uff4f\uff55\uff4e\uff4a\uff41\uff52\uff4f", "\U0001d40c\U0001d428unjaro", "Mounjaro\u2122"]
)
def test_a_medicine_is_known_in_any_letters_that_a_phone_can_type(name):
    assert raised(chart_of(**allergic(name)))["HYPERSENS_GLP1"] == "red"
    assert raised(chart_of(**takes(name)))["DUP_GLP1"] == "red"


def test_a_compounded_product_in_use_is_flagged_though_no_question_on_its_source_was_asked():
    uses: dict[str, Any] = {"med__glp1_product": {"product": "comp_sema"}}
    assert raised(chart_of(**uses, med__glp1_history="current"))["COMPOUNDED_SOURCE"] == "amber"
    assert "COMPOUNDED_SOURCE" not in raised(chart_of(**uses, med__glp1_history="past>1mo"))
    assert raised(chart_of(**takes("Compounded semaglutide 10 units")))["COMPOUNDED_SOURCE"] == "amber"
    assert "COMPOUNDED_SOURCE" not in raised(chart_of(**takes("compounded progesterone", "Ozempic")))


@pytest.mark.parametrize(
    ("severity", "reaction", "wanted"),
    [
        ("", "nausea", "amber"), ("moderate", "Nausea and some vomiting", "amber"), ("mild", "", "amber"),
        ("mild", "injection site redness", "amber"), ("", "Constipation, headache", "amber"),
        ("severe", "nausea", "red"), ("moderate", "", "red"), ("mild", "my throat closed up", "red"),
        ("mild", "trouble breathing", "red"), ("mild", "swelling of the tongue", "red"), ("", "hives", "red"),
        ("mild", "nausea and my face went numb", "red"), ("mild", "no idea", "red"), ("", "severe vomiting", "red"),
    ],
)  # fmt: skip
def test_a_glp1_allergy_is_red_unless_its_reaction_is_known_to_be_mild(severity, reaction, wanted):
    chart = chart_of(**allergic("tirzepatide", severity=severity, reaction=reaction))
    assert raised(chart)["HYPERSENS_GLP1"] == wanted


@pytest.mark.parametrize(
    ("raw", "crisis"),
    [
        ({"systolic": 196}, True), ({"sys": "188", "dia": "?"}, True), ({"systolic": 110, "diastolic": 125}, True),
        ("190 over something", True), ("90/185", True), ("150/125 abc", True), ([200, 95], True), ("120/190", True),
        ({"systolic": 150}, False), ("179 / 119 / ?", False), ("1900/95", False), ("in 2026", False), (None, False),
        ({"systolic": 999}, False), ({"diastolic": 90}, False), (True, False),
    ],
)  # fmt: skip
def test_a_held_blood_pressure_is_a_crisis_where_a_plausible_part_is(raw, crisis):
    chart = chart_of({**CLEAN, "vitals.bp": {"held": "implausible_blood_pressure", "raw": raw}})
    assert ("BP_CRISIS" in raised(chart)) is crisis


@pytest.mark.parametrize("told", [{"held": "unmapped_code", "raw": "sometimes"}, {"value": "yes"}, {"value": ["x"]}])
@pytest.mark.parametrize("status", ["completed", "in-progress"])
def test_what_is_not_known_to_be_no_suicidal_thought_counts_as_one(told, status):
    assert raised(chart_of({"hx.suicide": told}, status=status))["SUICIDAL_ACTIVE"] == "red"


@pytest.mark.parametrize("why", ["unknown", "declined", "absent"])
def test_a_question_on_suicide_without_an_answer_is_unknown_and_no_crisis(why):
    assert raised(chart_of(null("hx.suicide", why))) == {"UNKNOWN_HIGH_RISK_INPUT": "amber"}


@pytest.mark.parametrize("name", ["preg.status", "preg.planning", "preg.breastfeeding"])
def test_a_woman_to_whom_pregnancy_does_not_apply_is_shown_to_the_provider(name):
    flag = flags.evaluate(CONTRACT, chart_of(null(name, "not_applicable")))["UNKNOWN_HIGH_RISK_INPUT"]
    assert (flag.severity, flag.fields) == ("amber", (name,))
    male = {**null(name, "not_applicable"), **known(demo__sex_at_birth="male")}
    assert raised(chart_of(male)) == {}


def test_medicines_are_recognised_by_code_and_class_as_well_as_by_name():
    rows = [{"name": "?", "rxnorm": "11289"}, {"name": "?", "class": "insulin"}, {"name": "Xultophy 100/3.6"}]
    assert {"WARFARIN", "INSULIN_USE", "DUP_GLP1"} <= raised(chart_of(med__current_list=rows)).keys()


def test_a_prokinetic_alone_is_amber_and_a_hormonal_iud_is_no_pill():
    assert raised(chart_of(**takes("metoclopramide")))["GASTROPARESIS_SEVERE"] == "amber"
    assert raised(chart_of(**takes("levonorgestrel IUD (Mirena)"))) == {}
    assert "ORAL_CONTRACEPTIVE" in raised(chart_of(**takes("birth control pills")))


def test_a_coded_stage2_counts_and_a_crisis_is_said_once():
    assert raised(chart_of(vitals__bp={"category": "stage2"})) == {"BP_STAGE2": "amber"}
    assert raised(chart_of(vitals__bp={"systolic": 200, "diastolic": 130})) == {"BP_CRISIS": "red"}


def test_a_jump_of_weight_within_two_weeks_or_a_held_weight_is_implausible():
    jump = resolve(CONTRACT, "p1", [report(1), report(8, known(anthro__weight=83.0), status="amended")])
    slow = resolve(CONTRACT, "p1", [report(1), report(30, known(anthro__weight=83.0), status="amended")])
    assert flags.evaluate(CONTRACT, jump)["WEIGHT_IMPLAUSIBLE"].fields == ("anthro.weight",)
    assert raised(slow) == {}
    assert raised(chart_of({**CLEAN, "anthro.weight": {"held": "implausible_weight", "raw": "9500"}})) == {
        "WEIGHT_IMPLAUSIBLE": "amber",
    }


def weighed(kg: float, n: int, source: str = "intake") -> Reported:
    """On day n."""
    on = (NOON + timedelta(days=n - 1)).date().isoformat()
    told = known(anthro__weight=kg, anthro__weight_measured_at=on)
    return report(
        n,
        {**CLEAN, **told} if n == 1 else told,
        status="completed" if n == 1 or source == "followup" else "amended",
        source=source,
    )


@pytest.mark.parametrize("kg", [80.0, 92.1, 98.2, 104.3, 131.7])
def test_just_a_tenth_in_two_weeks_is_no_jump_and_a_little_more_is_one(kg):
    def found(now: float) -> bool:
        chart = resolve(CONTRACT, "p1", [weighed(kg, 1), weighed(now, 15)])
        return "WEIGHT_IMPLAUSIBLE" in flags.evaluate(CONTRACT, chart)

    assert (found(round(kg * 0.9, 2)), found(round(kg * 1.1, 2))) == (False, False)
    assert (found(round(kg * 0.9, 2) - 0.05), found(round(kg * 1.1, 2) + 0.05)) == (True, True)


@pytest.mark.parametrize("kg", [80.0, 87.5, 95.0, 110.0, 122.5])
def test_just_a_hundredth_a_week_is_not_too_fast_and_a_little_more_is(kg):
    def found(now: float) -> bool:
        chart = resolve(CONTRACT, "p1", [weighed(kg, 1), weighed(now, 29, "followup")])
        return "WEIGHT_LOSS_TOO_FAST" in flags.evaluate(CONTRACT, chart)

    assert not found(round(kg * 0.96, 2))
    assert found(round(kg * 0.96, 2) - 0.05)


def test_a_flag_names_the_event_that_its_evidence_came_from():
    chart = resolve(CONTRACT, "p1", [report(1), report(2, known(hx__men2="yes"), status="amended")])
    assert flags.evaluate(CONTRACT, chart)["MEN2"].event_id == "e2"


def test_a_weight_without_its_day_is_of_the_day_on_which_it_was_told_at_home() -> None:
    """Wherever it is read from: an event says the instant with the offset of home, the ledger in UTC."""
    evening = datetime(2026, 11, 2, 3, tzinfo=UTC)  # nine o'clock of the day before in Chicago
    weighed = known(anthro__weight=100.0)
    for at in (evening, evening.astimezone(ZoneInfo("America/Chicago")), evening.astimezone(ZoneInfo("Asia/Tokyo"))):
        told = resolve(CONTRACT, "p1", [report(values=weighed, authored_at=at, received_at=at)])
        assert weights(told) == [(date(2026, 11, 1), 100.0)]
        nowhere = resolve(CONTRACT, "p1", [report(values=weighed, authored_at=at, received_at=at, time_zone="")])
        assert weights(nowhere) == [(date(2026, 11, 2), 100.0)]


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("Semaglutida 0.5 mg", {"glp1", "semaglutide"}), ("Ozempik", {"glp1", "semaglutide"}),
        ("Suliqua", {"glp1", "lixisenatide", "insulin"}), ("insulina NPH", {"insulin"}), ("Prograf", {"narrow_index"}),
        ("Kaletra", {"cyp3a4"}), ("Daonil 5", {"sulfonylurea"}), ("levotiroxina", {"levothyroxine"}), ("Janumet", set()),
    ],
)  # fmt: skip
def test_a_medicine_is_of_its_group_by_names_of_other_countries_and_by_its_brands(name: str, groups: set[str]):
    assert medicine_names(CONTRACT.medication).groups_in([{"name": name}]) == groups
