"""When each risk flag of the intake stream fires: one small rule per flag.

Here: the branches and the arithmetic. Not here: a flag's default severity, basis and wording (flags.csv), thresholds
(the contract's programme), and flags that labs, check-ins or duplicate search raise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..chart import Chart
from ..contract import Severity
from . import medicines as med
from .facts import Facts, day, number, unanswered

Hit = tuple[Severity | None, tuple[str, ...]] | None
"""Severity (None: the flag's own) and the fields that the flag rests on."""
Rule = Callable[[Chart, Facts], Hit]

RULES: dict[str, Rule] = {}

CONSENTS = ("consent.telehealth", "consent.treatment", "consent.privacy_npp")
UNIT_SLIP_KG, FAST_SHARE, FAST_DAYS, HEIGHT_SLIP_CM = 25, 0.10, 14, 3
BMI_DOUBTFUL = (15, 80)
"""Beyond these a unit slip is likelier than the body."""
MILD = ("mild", "moderate", "low")
SURGERY_DAYS = 30


def rule(flag_id: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        if flag_id in RULES:
            raise ValueError(f"two rules for {flag_id}")
        RULES[flag_id] = function
        return function

    return register


def says(name: str, *codes: str, severity: Severity | None = None) -> Rule:
    """Fires where the field's value is one of the codes."""
    hit: Hit = (severity, (name,))
    return lambda chart, facts: hit if chart.get(name) in codes else None


def takes(group: str) -> Rule:
    """Fires where the medicine list holds a medicine of the group."""
    hit: Hit = (None, ("med.current_list",))
    return lambda chart, facts: hit if group in facts.groups else None


for _flag, _rule in {
    "MTC_PERSONAL": says("hx.mtc_personal", "yes"),
    "MEN2": says("hx.men2", "yes"),
    "BREASTFEEDING": says("preg.breastfeeding", "yes"),
    "PANCREATITIS_ACTIVE": says("hx.pancreatitis", "current"),
    "PANCREATITIS_HX": says("hx.pancreatitis", "past"),
    "GALLBLADDER_ACTIVE": says("hx.gallbladder", "stones"),
    "GASTROPARESIS_SEVERE": says("hx.gastroparesis", "yes"),
    "T1DM": says("hx.t1dm", "yes"),
    "DIABETIC_RETINOPATHY": says("hx.retinopathy", "yes"),
    "RENAL_CKD4_5": says("hx.kidney", "ckd"),
    "ESRD_DIALYSIS": says("hx.kidney", "dialysis"),
    "SUICIDAL_ACTIVE": says("hx.suicide", "current"),
    "SUICIDE_ATTEMPT_HX": says("hx.suicide", "past"),
    "EATING_DISORDER_ACTIVE": says("hx.eating_disorder", "current"),
    "EATING_DISORDER_HX": says("hx.eating_disorder", "past"),
    "THYROID_CA_NONMTC": says("hx.thyroid_other", "yes"),
    "CANCER_ACTIVE": says("hx.cancer", "active", "remission<5y"),
    "LIVER_CIRRHOSIS": says("hx.liver", "cirrhosis"),
    "TRANSPLANT_IMMUNOSUPP": says("hx.transplant", "yes"),
    "BARIATRIC_RECENT": says("hx.bariatric", "<12mo"),
    "IDENTITY_UNVERIFIED": says("id.verification_status", "failed"),
    "TRYING_TO_CONCEIVE": says("preg.planning", "within_2mo"),
    "INSULIN_USE": takes(med.INSULIN),
    "SULFONYLUREA": takes(med.SULFONYLUREA),
    "WARFARIN": takes(med.NARROW_INDEX),
}.items():
    rule(_flag)(_rule)


@rule("MTC_FAMILY")
def mtc_family(chart: Chart, facts: Facts) -> Hit:
    if chart.get("hx.mtc_family") == "yes":
        return "red", ("hx.mtc_family",)
    return ("amber", ("hx.mtc_family",)) if chart.state("hx.mtc_family") in ("unknown", "declined") else None


@rule("PREGNANT")
def pregnant(chart: Chart, facts: Facts) -> Hit:
    """`possible` counts: the label's answer to doubt is a test first."""
    return (None, ("preg.status",)) if chart.get("preg.status") in ("yes", "possible") else None


@rule("HYPERSENS_GLP1")
def hypersensitivity(chart: Chart, facts: Facts) -> Hit:
    """Red for the ingredient asked for (or any, where none is named) unless the reaction is known to be mild."""
    rows = chart.get("allergy.list")
    if not rows or not isinstance(rows, list):
        return None
    worst: Severity | None = None
    for row in rows:
        groups = med.groups_in([row])
        if med.GLP1 not in groups:
            continue
        same = facts.wanted_ingredient is None or facts.wanted_ingredient in groups
        mild = isinstance(row, dict) and str(row.get("severity", "")).casefold() in MILD and not _anaphylactic(row)
        worst = "red" if same and not mild else worst or "amber"
    return (worst, ("allergy.list",)) if worst else None


def _anaphylactic(row: dict[str, Any]) -> bool:
    return any(word in str(row.get("reaction", "")).casefold() for word in ("anaphyl", "angio"))


@rule("DUP_GLP1")
def duplicate_glp1(chart: Chart, facts: Facts) -> Hit:
    fields = ("med.glp1_history",) if facts.uses_glp1 else ()
    fields += ("med.current_list",) if med.GLP1 in facts.groups else ()
    return (None, fields) if fields else None


@rule("COMPOUNDED_SOURCE")
def compounded(chart: Chart, facts: Facts) -> Hit:
    """`research` is named with it: no pharmacy stands behind that product at all."""
    fields = ("med.glp1_source",) if chart.get("med.glp1_source") in ("compounded", "research") else ()
    fields += ("rx.preference",) if (facts.wanted or "").startswith("comp_") else ()
    return (None, fields) if fields else None


@rule("ORAL_CONTRACEPTIVE")
def oral_contraceptive(chart: Chart, facts: Facts) -> Hit:
    fields = ("preg.contraception",) if chart.get("preg.contraception") == "oral" else ()
    fields += ("med.current_list",) if med.CONTRACEPTIVE in facts.groups else ()
    return (None, fields) if fields and facts.may_get("tirzepatide") else None


@rule("CYP3A4_STRONG")
def cyp3a4(chart: Chart, facts: Facts) -> Hit:
    return (None, ("med.current_list",)) if med.CYP3A4 in facts.groups and facts.may_get("orforglipron") else None


@rule("LEVOTHYROXINE_ORAL_SEMA")
def levothyroxine(chart: Chart, facts: Facts) -> Hit:
    held = med.LEVOTHYROXINE in facts.groups and facts.may_get("semaglutide", "PO")
    return (None, ("med.current_list",)) if held else None


@rule("BMI_BELOW")
def bmi_below(chart: Chart, facts: Facts) -> Hit:
    """Between the two thresholds a comorbidity admits; one not yet told is amber, for it may still be told."""
    program, bmi = facts.contract.program, facts.bmi
    if bmi is None or bmi >= program.bmi_min:
        return None
    if bmi < program.bmi_min_with_comorbidity:
        return "red", ("anthro.height", "anthro.weight")
    told = facts.has_comorbidity
    if told or (told is None and not facts.complete):
        return None
    return "red" if told is False else "amber", ("anthro.height", "anthro.weight", "hx.comorbidities")


@rule("BMI_UNVERIFIED")
def bmi_unverified(chart: Chart, facts: Facts) -> Hit:
    stated = facts.bmi is not None and chart.get("anthro.weight_method") not in ("clinic", "device")
    return (None, ("anthro.weight", "anthro.weight_method")) if stated else None


@rule("AGE_OUT")
def age_out(chart: Chart, facts: Facts) -> Hit:
    program, age = facts.contract.program, facts.age
    if age is None or program.age_min <= age < program.age_elderly:
        return None
    return "red" if age < program.age_min else "amber", ("demo.dob",)


def _pressure(chart: Chart) -> tuple[float, float, str]:
    """Systolic, diastolic (0 where not given) and the coded category."""
    value = chart.get("vitals.bp")
    if not isinstance(value, dict):
        return 0, 0, value if isinstance(value, str) else ""
    sys, dia = value.get("systolic"), value.get("diastolic")
    return number(sys) or 0, number(dia) or 0, str(value.get("category") or "")


@rule("BP_CRISIS")
def bp_crisis(chart: Chart, facts: Facts) -> Hit:
    systolic, diastolic, coded = _pressure(chart)
    red = facts.contract.program.bp_red
    return (None, ("vitals.bp",)) if systolic >= red[0] or diastolic >= red[1] or coded == "crisis" else None


@rule("BP_STAGE2")
def bp_stage2(chart: Chart, facts: Facts) -> Hit:
    """A coded `stage2` starts lower than the threshold and may hide a reading above it, so it counts."""
    systolic, diastolic, coded = _pressure(chart)
    amber = facts.contract.program.bp_amber
    high = systolic >= amber[0] or diastolic >= amber[1] or coded == "stage2"
    return (None, ("vitals.bp",)) if high and bp_crisis(chart, facts) is None else None


@rule("HR_HIGH")
def heart_rate_high(chart: Chart, facts: Facts) -> Hit:
    rate = number(chart.get("vitals.hr"))
    return (None, ("vitals.hr",)) if rate is not None and rate > facts.contract.program.hr_amber else None


@rule("SURGERY_ANESTHESIA")
def surgery(chart: Chart, facts: Facts) -> Hit:
    on = day(chart.get("hx.surgery_planned"))
    return (None, ("hx.surgery_planned",)) if on and 0 <= (on - facts.on).days <= SURGERY_DAYS else None


@rule("WEIGHT_IMPLAUSIBLE")
def weight_implausible(chart: Chart, facts: Facts) -> Hit:
    """A reading held as implausible, a BMI that no unit explains, or a jump from the reading before it."""
    fields = [n for n in ("anthro.weight", "anthro.height") if _held_implausible(chart, n)]
    if facts.bmi is not None and not BMI_DOUBTFUL[0] <= facts.bmi <= BMI_DOUBTFUL[1]:
        fields += ["anthro.height", "anthro.weight"]
    if chart.former and not fields:
        fields += [n for n in ("anthro.weight", "anthro.height") if _jumped(chart, n)]
    return (None, tuple(fields)) if fields else None


def _held_implausible(chart: Chart, name: str) -> bool:
    value = chart.values.get(name)
    return value is not None and str(value.get("held", "")).startswith("implausible")


def _jumped(chart: Chart, name: str) -> bool:
    now = number(chart.get(name))
    readings = [(r.authored_at, number(r.values[name].get("value"))) for r in chart.submissions if name in r.values]
    earlier: list[tuple[datetime, float]] = [(at, value) for at, value in readings if value is not None]
    if now is None or len(earlier) < 2:
        return False
    (before_at, before), (now_at, _) = earlier[-2:]
    change = abs(now - before)
    if name == "anthro.height":
        return change > HEIGHT_SLIP_CM
    return change > UNIT_SLIP_KG or (change > FAST_SHARE * before and (now_at - before_at).days <= FAST_DAYS)


@rule("STATE_NOT_SERVED")
def state_not_served(chart: Chart, facts: Facts) -> Hit:
    served = facts.contract.states_served
    fields = tuple(
        name for name in ("demo.state_residence", "demo.state_at_visit")
        if isinstance(state := chart.get(name), str) and state not in served
    )  # fmt: skip
    return (None, fields) if fields else None


@rule("CONSENT_MISSING")
def consent_missing(chart: Chart, facts: Facts) -> Hit:
    """A blank counts once the patient has submitted; a refusal at once."""
    fields = []
    for name in CONSENTS:
        given = chart.get(name)
        status = given.get("status") if isinstance(given, dict) else None
        if status != "given" and (facts.complete or given is not None):
            fields.append(name)
    return (None, tuple(fields)) if fields else None


@rule("UNKNOWN_HIGH_RISK_INPUT")
def unknown_high_risk(chart: Chart, facts: Facts) -> Hit:
    names = tuple(unanswered(facts))
    return (None, names) if names else None
