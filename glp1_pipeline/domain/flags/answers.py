"""Risk flags that answers raise: a coded answer, a medicine or allergen in a list, a date, a consent, a blank.

Here: one small rule per flag. Not here: a flag's default severity, basis and wording (flags.csv), flags that numbers
raise (`measures`), and flags of labs, check-ins and duplicate search.
"""

from __future__ import annotations

import re
from typing import Any

from ..chart import Chart
from ..contract import Severity
from . import medicines as med
from .facts import Facts, day, texts_of, unanswered
from .registry import NO, NOTHING, Hit, newest_first, register, rule, says, takes

CONSENTS = ("consent.telehealth", "consent.treatment", "consent.privacy_npp")
NOT_SUICIDAL = ("none", "past")
IN_CHECKIN = "checkin.suicidal"
_MILD_REACTIONS = re.compile(
    r"\b(?:nause(?:a|ous)|vomit(?:ed|ing|s)?|threw up|diarrh(?:o?ea)|constipat(?:ed|ion)|headaches?"
    r"|(?:injection|shot)[ -]site(?: (?:reaction|redness|pain|itch(?:ing)?|bruis(?:e|ing)))?)\b"
)
_FILLERS = frozenset({
    "a", "after", "and", "at", "bit", "felt", "from", "got", "had", "i", "just", "light", "little", "mild", "minor",
    "of", "on", "only", "or", "slight", "slightly", "some", "the", "then", "was", "with",
})  # fmt: skip
_WORDS = re.compile(r"\w+")
SURGERY_DAYS = 30
THYROID, LEFT_OPEN = "hx.thyroid_other", ("unknown", "declined", "held")
REPRODUCTIVE = ("preg.status", "preg.planning", "preg.breastfeeding")

for _flag, _rule in {
    "MTC_PERSONAL": says("hx.mtc_personal", "yes"),
    "MEN2": says("hx.men2", "yes"),
    "BREASTFEEDING": says("preg.breastfeeding", "yes"),
    "PANCREATITIS_ACTIVE": says("hx.pancreatitis", "current"),
    "PANCREATITIS_HX": says("hx.pancreatitis", "past"),
    "GALLBLADDER_ACTIVE": says("hx.gallbladder", "stones"),
    "T1DM": says("hx.t1dm", "yes"),
    "DIABETIC_RETINOPATHY": says("hx.retinopathy", "yes"),
    "RENAL_CKD4_5": says("hx.kidney", "ckd"),
    "ESRD_DIALYSIS": says("hx.kidney", "dialysis"),
    "SUICIDE_ATTEMPT_HX": says("hx.suicide", "past"),
    "EATING_DISORDER_ACTIVE": says("hx.eating_disorder", "current"),
    "EATING_DISORDER_HX": says("hx.eating_disorder", "past"),
    "THYROID_CA_NONMTC": says("hx.thyroid_other", "yes"),
    "CANCER_ACTIVE": says("hx.cancer", "active", "remission<5y"),
    "LIVER_CIRRHOSIS": says("hx.liver", "cirrhosis"),
    "TRANSPLANT_IMMUNOSUPP": says("hx.transplant", "yes"),
    "BARIATRIC_RECENT": says("hx.bariatric", "<12mo"),
    "IDENTITY_UNVERIFIED": says("id.verification_status", "failed"),
    "SUD_UNTREATED": says("hx.substance", "untreated"),
    "TRYING_TO_CONCEIVE": says("preg.planning", "within_2mo"),
    "INSULIN_USE": takes(med.INSULIN),
    "SULFONYLUREA": takes(med.SULFONYLUREA),
    "WARFARIN": takes(med.NARROW_INDEX),
}.items():
    register(_flag, *_rule)


@rule("SUICIDAL_ACTIVE", {"hx.suicide": NOT_SUICIDAL, IN_CHECKIN: ("no",)})
def suicidal(chart: Chart, facts: Facts) -> Hit:
    """Any answer that is not known to be none or past: words that we cannot read are no reason to wait. Of who is asked
    in a check-in, not being sure and not wanting to say are none either."""
    told, asked = chart.values.get("hx.suicide", {}), chart.values.get(IN_CHECKIN, {})
    fields = ("hx.suicide",) if "held" in told or told.get("value", "none") not in NOT_SUICIDAL else ()
    if "held" in asked or asked.get("value", "no") != "no" or asked.get("null") in ("unknown", "declined"):
        fields += (IN_CHECKIN,)
    return (None, newest_first(chart, *fields)) if fields else None


@rule("MTC_FAMILY", {"hx.mtc_family": ("no",)})
def mtc_family(chart: Chart, facts: Facts) -> Hit:
    if chart.get("hx.mtc_family") == "yes":
        return "red", ("hx.mtc_family",)
    return ("amber", ("hx.mtc_family",)) if chart.state("hx.mtc_family") in ("unknown", "declined") else None


@rule("PREGNANT", {"preg.status": NO})
def pregnant(chart: Chart, facts: Facts) -> Hit:
    """`possible` counts: the label's answer to doubt is a test first."""
    return (None, ("preg.status",)) if chart.get("preg.status") in ("yes", "possible") else None


@rule("GASTROPARESIS_SEVERE", {"hx.gastroparesis": NO, "med.current_list": NOTHING})
def gastroparesis(chart: Chart, facts: Facts) -> Hit:
    """A prokinetic alone is amber: it may have been given for something else."""
    if chart.get("hx.gastroparesis") == "yes":
        return None, ("hx.gastroparesis",)
    return ("amber", ("med.current_list",)) if med.PROKINETIC in facts.groups else None


@rule("HYPERSENS_GLP1", {"allergy.list": ([],)})
def hypersensitivity(chart: Chart, facts: Facts) -> Hit:
    """Red for the ingredient asked for (or any, where either names none) unless the reaction is known to be mild. A
    list that was held for one row still names what another is about."""
    told = chart.known.get("allergy.list", {})
    rows = told.get("value")
    if "held" in told:
        rows = [{"substance": text} for text in texts_of(told.get("raw"))]
    if not rows or not isinstance(rows, list):
        return None
    worst: Severity | None = None
    for row in rows:
        groups = facts.names.groups_in([row])
        if med.GLP1 not in groups:
            continue
        same = facts.wanted_ingredient is None or facts.wanted_ingredient in groups or groups == {med.GLP1}
        mild = isinstance(row, dict) and _is_mild(row)
        worst = "red" if same and not mild else worst or "amber"
    return (worst, ("allergy.list",)) if worst else None


def _is_mild(row: dict[str, Any]) -> bool:
    """Every word of the reaction is a known side effect, or there is none and the patient calls it mild."""
    severity, reaction = str(row.get("severity") or "").casefold(), str(row.get("reaction") or "").casefold()
    if severity == "severe":
        return False
    words = _WORDS.findall(reaction)
    left = [w for w in _WORDS.findall(_MILD_REACTIONS.sub(" ", reaction)) if w not in _FILLERS]
    return severity == "mild" if not words else not left and bool(_MILD_REACTIONS.search(reaction))


@rule("DUP_GLP1", {"med.glp1_history": NO, "med.current_list": NOTHING})
def duplicate_glp1(chart: Chart, facts: Facts) -> Hit:
    fields = ("med.glp1_history",) if facts.uses_glp1 else ()
    fields += ("med.current_list",) if med.GLP1 in facts.groups else ()
    return (None, fields) if fields else None


@rule(
    "COMPOUNDED_SOURCE",
    {
        "med.glp1_source": NO, "med.glp1_product": (None,), "med.current_list": NOTHING,
        "rx.preference": ("no_preference", None),
    },
)  # fmt: skip
def compounded(chart: Chart, facts: Facts) -> Hit:
    """`research` is named with it: no pharmacy stands behind that product at all. Older forms do not ask for the
    source: there the product in use tells it."""
    fields = ("med.glp1_source",) if chart.get("med.glp1_source") in ("compounded", "research") else ()
    fields += ("med.glp1_product",) if facts.uses_glp1 and (facts.product or "").startswith("comp_") else ()
    fields += ("med.current_list",) if facts.lists_compounded_glp1 else ()
    fields += ("rx.preference",) if (facts.wanted or "").startswith("comp_") else ()
    return (None, fields) if fields else None


@rule("ORAL_CONTRACEPTIVE", {"preg.contraception": NO, "med.current_list": NOTHING})
def oral_contraceptive(chart: Chart, facts: Facts) -> Hit:
    fields = ("preg.contraception",) if chart.get("preg.contraception") == "oral" else ()
    fields += ("med.current_list",) if med.CONTRACEPTIVE in facts.groups else ()
    return (None, fields) if fields and facts.may_get("tirzepatide") else None


@rule("CYP3A4_STRONG", {"med.current_list": NOTHING})
def cyp3a4(chart: Chart, facts: Facts) -> Hit:
    return (None, ("med.current_list",)) if med.CYP3A4 in facts.groups and facts.may_get("orforglipron") else None


@rule("LEVOTHYROXINE_ORAL_SEMA", {"med.current_list": NOTHING})
def levothyroxine(chart: Chart, facts: Facts) -> Hit:
    held = med.LEVOTHYROXINE in facts.groups and facts.may_get("semaglutide", "PO")
    return (None, ("med.current_list",)) if held else None


@rule("SURGERY_ANESTHESIA", {"hx.surgery_planned": NO, "checkin.surgery_on": NO})
def surgery(chart: Chart, facts: Facts) -> Hit:
    """Of the intake, and of a check-in that does not say no to it: who is under treatment is whom the label means."""
    asked = ["hx.surgery_planned"]
    if chart.get("checkin.surgery_planned") != "no":
        asked.append("checkin.surgery_on")
    days = {name: on for name in asked if (on := day(chart.get(name)))}
    fields = tuple(name for name, on in days.items() if 0 <= (on - facts.on).days <= SURGERY_DAYS)
    return (None, newest_first(chart, *fields)) if fields else None


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
    names = (*unanswered(facts), *_left_open(chart, facts), *_waved_away(chart))
    return (None, names) if names else None


def _left_open(chart: Chart, facts: Facts) -> list[str]:
    """The red question that holds nobody at the gate: a provider reads that there is no yes or no to it. A cancer of a
    type that is not known counts as medullary until it is."""
    left_open = chart.state(THYROID) in LEFT_OPEN or (facts.complete and chart.state(THYROID) == "absent")
    return [THYROID] if left_open else []


def _waved_away(chart: Chart) -> list[str]:
    """A woman may know why it does not apply to her, and passes; a provider reads which question it was."""
    if chart.get("demo.sex_at_birth") != "female":
        return []
    return [name for name in REPRODUCTIVE if chart.state(name) == "not_applicable"]
