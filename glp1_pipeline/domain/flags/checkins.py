"""Risk flags that a check-in raises: red symptoms under treatment, and weight that falls too fast.

Here: what a patient under treatment says. Not here: what it means for a refill (`domain.refill`), and flags of the
intake (`answers`, `measures`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, timedelta
from typing import Any

from ..chart import Chart, Reported
from ..contract import Contract, fold
from ..zones import zone_named
from .facts import Facts, day, number, texts_of
from .registry import Hit, Rule, newest_first, register, rule

BMI_LEAST = 22
FAST_SHARE_A_WEEK, SUSTAINED = 0.01, timedelta(days=28)

LISTED = "checkin.side_effects"
_DENIAL = re.compile(r"(?:no|not|nope|none|never|nothing|without|sin|nunca)(?![\w-])")
_ENTRIES = re.compile(r"[,;\n]")


def _told(question: str, *symptoms: str) -> Rule:
    """The question is answered yes, or one of these symptoms is listed as severe: whoever writes it there instead of
    answering yes is in the same danger. So is whoever answers in words that we cannot read, unless they begin with a
    no: somebody has to look at once, not when the answer is clarified."""
    asked = f"checkin.{question}"

    def fires(chart: Chart, facts: Facts) -> Hit:
        known = chart.known
        told, listed = known.get(asked, {}), known.get(LISTED, {})
        is_unread = "held" in told and _is_submitted(chart, asked) and not _denied(told.get("raw"))
        fields = (asked,) if is_unread or told.get("value") == "yes" else ()
        rows = listed.get("value")
        if any(
            isinstance(row, dict) and row.get("symptom") in symptoms and row.get("severity") == "severe"
            for row in (rows if isinstance(rows, list) else ())
        ) or (
            "held" in listed
            and _is_submitted(chart, LISTED)
            and _held_severe(facts.contract, listed.get("raw"), symptoms)
        ):
            fields += (LISTED,)
        return (None, newest_first(chart, *fields)) if fields else None

    return Rule(fires, {asked: ("no", "none", "never"), LISTED: ([],)})


def _is_submitted(chart: Chart, name: str) -> bool:
    """Whether an answer was sent: of a draft, half a word that was saved on the way is nothing to call somebody for."""
    event_id = chart.event_of(name)
    return any(report.event_id == event_id and not report.is_draft for report in chart.submissions)


def _denied(raw: Any) -> bool:
    """Whether no word of it says otherwise than no; a number alone is a form's way to answer, and no word."""
    told = [*raw.values()] if isinstance(raw, Mapping) else raw
    words = (fold(text) for text in texts_of(told) if any(map(str.isalpha, text)))
    return all(map(_DENIAL.match, words))


def _held_severe(contract: Contract, raw: Any, symptoms: Collection[str]) -> bool:
    """Whether an entry of a list that was held names one of the symptoms, and a severity that cannot wait until
    somebody has clarified the others."""
    entries = raw if isinstance(raw, list) else _ENTRIES.split(raw) if isinstance(raw, str) else [raw]
    if isinstance(raw, Mapping) and _named(contract, "side_effects", fold(" ".join(map(str, raw)))):
        entries = [{key: part} for key, part in raw.items()]  # each symptom by its name
    for entry in entries:
        text = fold(" ".join(texts_of(entry)))
        is_severe = "severe" in _named(contract, "side_effect_severities", text) and not _DENIAL.match(text)
        if is_severe and _named(contract, "side_effects", text).intersection(symptoms):
            return True
    return False


def _named(contract: Contract, codes: str, text: str) -> set[str]:
    words = re.sub(r"[^\w/']+", " ", text)
    return {code.code for spelling, code in contract.codes[codes].items() if f" {spelling} " in f" {words} "}


for _flag, _rule in {
    "GI_SEVERE": _told("vomiting_24h", "vomiting", "diarrhea"),
    "ABD_PAIN_SEVERE": _told("severe_abdominal_pain", "abdominal_pain"),
    "BILIARY_SYMPTOMS": _told("jaundice"),
    "ALLERGIC_REACTION": _told("allergic_reaction"),
    "NECK_MASS": _told("neck_mass"),
    "VISION_CHANGE": _told("vision_change", "vision"),
    "HYPOGLYCEMIA_SEVERE": _told("hypoglycemia", "hypoglycemia"),
}.items():
    register(_flag, *_rule)


@rule("WEIGHT_LOSS_TOO_FAST")
def weight_loss_too_fast(chart: Chart, facts: Facts) -> Hit:
    """More than a hundredth a week over four weeks or longer, or a body that weighs too little."""
    if not chart.is_followed_up:
        return None
    fields = ("anthro.weight",)
    if facts.bmi is not None and facts.bmi < BMI_LEAST:
        return None, ("anthro.weight", "anthro.height")
    readings = weights(chart)
    if not readings:
        return None
    on, now = readings[-1]
    earlier = [(then, kg) for then, kg in readings if on - then >= SUSTAINED]
    if not earlier:
        return None
    then, before = earlier[-1]
    weeks = (on - then).days / 7
    # Rounded: else fractions of a computer make a hundredth more than a hundredth.
    return (None, fields) if round((before - now) / before / weeks, 9) > FAST_SHARE_A_WEEK else None


def weights(chart: Chart) -> list[tuple[date, float]]:
    """What the patient weighed, by the day that they were weighed on, else told; oldest first, one a day."""
    return [(on, kg) for on, kg, _ in weighings(chart)]


def weighings(chart: Chart) -> list[tuple[date, float, Reported]]:
    """The same, with who told it."""
    found: dict[date, tuple[float, Reported]] = {}
    for report in chart.own_words:
        kg = number(report.values.get("anthro.weight", {}).get("value"))
        if kg is not None and kg > 0:
            weighed = day(report.values.get("anthro.weight_measured_at", {}).get("value"))
            told = report.said_at.astimezone(zone_named(report.time_zone) or UTC)
            found[weighed or told.date()] = (kg, report)
    return [(on, *found[on]) for on in sorted(found)]
