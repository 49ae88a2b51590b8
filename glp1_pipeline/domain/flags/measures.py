"""Risk flags that numbers raise: BMI, age, blood pressure, heart rate, a weight that cannot be.

Here: comparison with the programme's thresholds and with the reading before. Not here: the thresholds themselves
(the contract's programme), flags that coded answers raise (`answers`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from ..chart import Chart
from .facts import BMI_PLAUSIBLE, Facts, number
from .registry import Hit, rule

SYSTOLIC_MOST, DIASTOLIC_MOST = 300, 200
UNIT_SLIP_KG, FAST_SHARE, FAST_DAYS, HEIGHT_SLIP_CM = 25, 0.10, 14, 3


@rule("BMI_BELOW")
def bmi_below(chart: Chart, facts: Facts) -> Hit:
    """Between the two thresholds a comorbidity admits; one not yet told is amber, for it may still be told."""
    program, bmi = facts.contract.program, facts.bmi
    if chart.is_followed_up:  # what treatment took away makes nobody ineligible
        return None
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
    measured = "anthro.weight" in chart.decisive or chart.get("anthro.weight_method") in ("clinic", "device")
    stated = facts.bmi is not None and not measured
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


@rule("BP_CRISIS", {"vitals.bp": ()})
def bp_crisis(chart: Chart, facts: Facts) -> Hit:
    """A reading that was held may still hold a number that cannot wait for somebody to clarify the rest."""
    systolic, diastolic, coded = _pressure(chart)
    red = facts.contract.program.bp_red
    told = chart.values.get("vitals.bp")
    if told is not None and "held" in told:
        upper, lower = _held_pressure(told.get("raw"))
        systolic = max((n for n in upper if n <= SYSTOLIC_MOST), default=0)
        diastolic = max((n for n in lower if n <= DIASTOLIC_MOST), default=0)
    return (None, ("vitals.bp",)) if systolic >= red[0] or diastolic >= red[1] or coded == "crisis" else None


def _held_pressure(raw: object) -> tuple[list[float], list[float]]:
    """Numbers that may be the upper and the lower one. Any may be the upper one: the two are often swapped."""
    if isinstance(raw, Mapping):
        named = {str(key).casefold(): _numbers(part) for key, part in raw.items()}
        lower = [n for key, found in named.items() if key.startswith(("dia", "low", "bottom")) for n in found]
        upper = [n for found in named.values() for n in found]
        return upper, lower or upper[1:]
    found = _numbers(raw)
    return found, found[1:]


def _numbers(raw: object) -> list[float]:
    if isinstance(raw, Mapping):
        return [n for part in raw.values() for n in _numbers(part)]
    if isinstance(raw, list | tuple):
        return [n for part in raw for n in _numbers(part)]
    if isinstance(raw, str):
        return [float(found) for found in re.findall(r"(?<![\d.,])\d{2,3}(?![\d])", raw)]
    alone = number(raw)
    return [] if alone is None else [alone]


@rule("BP_STAGE2", {"vitals.bp": (None,)})
def bp_stage2(chart: Chart, facts: Facts) -> Hit:
    """A coded `stage2` starts lower than the threshold and may hide a reading above it, so it counts."""
    systolic, diastolic, coded = _pressure(chart)
    amber = facts.contract.program.bp_amber
    high = systolic >= amber[0] or diastolic >= amber[1] or coded == "stage2"
    return (None, ("vitals.bp",)) if high and bp_crisis(chart, facts) is None else None


@rule("HR_HIGH", {"vitals.hr": (None,)})
def heart_rate_high(chart: Chart, facts: Facts) -> Hit:
    rate = number(chart.get("vitals.hr"))
    return (None, ("vitals.hr",)) if rate is not None and rate > facts.contract.program.hr_amber else None


@rule("WEIGHT_IMPLAUSIBLE")
def weight_implausible(chart: Chart, facts: Facts) -> Hit:
    """A reading held as implausible, a BMI that no unit explains, or a jump from the reading before it."""
    fields = [n for n in ("anthro.weight", "anthro.height") if _held_implausible(chart, n)]
    if facts.bmi is not None and not BMI_PLAUSIBLE[0] <= facts.bmi <= BMI_PLAUSIBLE[1]:
        fields += ["anthro.height", "anthro.weight"]
    if chart.former and not fields:
        fields += [n for n in ("anthro.weight", "anthro.height") if _jumped(chart, n)]
    return (None, tuple(fields)) if fields else None


def _held_implausible(chart: Chart, name: str) -> bool:
    value = chart.values.get(name)
    return value is not None and "held" in value and str(value["held"]).startswith("implausible")


def _jumped(chart: Chart, name: str) -> bool:
    now = number(chart.told(name))
    # From the newest on, and no further than two: every save of a form asks this.
    newest_first = ((r.said_at, number(r.values.get(name, {}).get("value"))) for r in reversed(chart.own_words))
    readings = list(islice(((at, value) for at, value in newest_first if value is not None), 2))
    if now is None or len(readings) < 2:
        return False
    (now_at, _), (before_at, before) = readings
    change = round(abs(now - before), 6)  # else fractions of a computer make a tenth more than a tenth
    if name == "anthro.height":
        return change > HEIGHT_SLIP_CM
    return change > UNIT_SLIP_KG or (change > round(FAST_SHARE * before, 6) and (now_at - before_at).days <= FAST_DAYS)
