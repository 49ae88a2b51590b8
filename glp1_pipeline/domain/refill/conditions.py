"""When a rule of the decision table holds: one function a rule, under the rule's name in contracts/refills.yaml.

Each looks at the inputs of a decision alone, so that a record can be decided again. A reason is a name, never a value.
Here: whether, and for which reasons. Not here: the order of the rules and what they lead to (the contract), overrides
(`decide`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from ..flags import SUICIDAL
from ..followup.reading import WEIGHED_ON
from ..refill_model import ADDRESS_CHANGED, CONDITIONS, RefillRules
from .inputs import Inputs


class Held(NamedTuple):
    """Why a rule holds."""

    reasons: tuple[str, ...]
    flags: tuple[str, ...] = ()
    """Where it holds for flags: an override lets those through that it names, and no other."""
    proposal: str = ""
    until: datetime | None = None
    how_much: Mapping[str, float] = {}
    """What tells worse from the same, where the reasons do not: an override lets through what it saw, and no more."""

    @property
    def grounds(self) -> dict[str, float]:
        return {**dict.fromkeys(self.reasons, 0.0), **self.how_much}


Condition = Callable[[RefillRules, Inputs, datetime], Held | None]
RULES: dict[str, Condition] = {}


def condition(name: str) -> Callable[[Condition], Condition]:
    def register(function: Condition) -> Condition:
        assert name in CONDITIONS, name
        RULES[name] = function
        return function

    return register


def value(inputs: Inputs, name: str) -> Any:
    return inputs.get(name, {}).get("value")


def at(inputs: Inputs, name: str) -> datetime | None:
    told = value(inputs, name)
    return datetime.fromisoformat(told) if isinstance(told, str) else None


def _flags(inputs: Inputs) -> list[Mapping[str, Any]]:
    return value(inputs, "flags") or []


def _by_flag(names: list[str]) -> Held | None:
    return Held(tuple(names), tuple(names)) if names else None


@condition("stop_wanted")
def stop_wanted(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return Held(("stop_wanted",)) if value(inputs, "checkin.wants") == "stop" else None


@condition("suicidal")
def suicidal(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    """While the flag stands. Records that were made before a check-in raised it rest on the answer too."""
    told = "suicidal" not in inputs and value(inputs, "checkin.suicidal") == "yes"
    flagged = any(flag["flag"] == SUICIDAL for flag in _flags(inputs))
    return Held((SUICIDAL,)) if told or flagged or value(inputs, "suicidal") is True else None


@condition("red_symptom")
def red_symptom(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return _by_flag([flag["flag"] for flag in _flags(inputs) if flag["flag"] in rules.symptom_flags])


@condition("pregnant")
def pregnant(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    told = value(inputs, "preg.status") in rules.pregnant
    flagged = any(flag["flag"] == "PREGNANT" for flag in _flags(inputs))
    return Held(("PREGNANT",)) if told or flagged else None


@condition("red_flag")
def red_flag(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    """A red one that no provider saw when they ordered, and always one that nobody may override."""
    others = {*rules.symptom_flags, *rules.administrative_flags, SUICIDAL, "PREGNANT"}
    return _by_flag(
        [
            flag["flag"]
            for flag in _flags(inputs)
            if flag["severity"] == "red"
            and flag["flag"] not in others
            and (flag["is_new"] or flag["flag"] in rules.never_overridden)
        ]
    )


@condition("administrative")
def administrative(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    found = [flag["flag"] for flag in _flags(inputs) if flag["flag"] in rules.administrative_flags]
    if value(inputs, "checkin.address_unchanged") == "no":
        found.append(ADDRESS_CHANGED)
    return _by_flag(found)


@condition("no_treatment")
def no_treatment(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    state = value(inputs, "course_state")
    return Held((f"course_{state}",)) if state in (None, "none", "paused", "discontinued") else None


@condition("followup_missing")
def followup_missing(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    """None was ever done, or the one of this supply lacks something; its weight may have grown old since."""
    if missing := value(inputs, "followup_missing"):
        return Held(tuple(missing))
    if value(inputs, "followup_answered_at") is None:
        return None if value(inputs, "followup_before_at") else Held(("followup:absent",))
    ends = weight_expires_on(rules, inputs)
    today = date.fromisoformat(value(inputs, "today"))
    return Held((f"{WEIGHED_ON}:stale",)) if ends is not None and today > ends else None


def weight_expires_on(rules: RefillRules, inputs: Inputs) -> date | None:
    """The last day on which the check-in's weight is recent enough."""
    told = value(inputs, WEIGHED_ON)
    return date.fromisoformat(told[:10]) + timedelta(days=rules.weight_max_age_days) if isinstance(told, str) else None


def last_days(rules: RefillRules, inputs: Inputs) -> Iterator[date]:
    """Days on which something that a decision rests on is good for the last time."""
    if (weighed := weight_expires_on(rules, inputs)) is not None:
        yield weighed
    yield from (last_day for _, last_day in _labs(rules, inputs) if last_day is not None)
    if (until := value(inputs, "authorized_until")) is not None:
        yield date.fromisoformat(until)


@condition("followup_stale")
def followup_stale(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return Held(("followup:stale",)) if value(inputs, "followup_answered_at") is None else None


@condition("missed_doses")
def missed(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    if not value(inputs, "is_restart"):
        return None
    proposal, least = value(inputs, "missed_proposal") or "", value(inputs, "restart_from_doses")
    times = value(inputs, "missed_doses") // least if least else 0
    return Held(("restart_after_gap",), proposal=proposal, how_much={f"propose:{proposal}": float(times)})


@condition("side_effect")
def side_effect(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    found = []
    for row in value(inputs, "checkin.side_effects") or ():
        severity, lasts = row.get("severity"), row.get("persistent") == "yes"
        if severity == "severe" or (severity == "moderate" and lasts):
            found.append(f"{row.get('symptom', 'other')}:{severity}")
    return Held(tuple(sorted(set(found)))) if found else None


@condition("early_step_up")
def early_step_up(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    least, since = value(inputs, "min_days_at_dose"), at(inputs, "dose_since")
    if value(inputs, "checkin.wants") != "step_up" or least is None or since is None:
        return None
    return Held(("step_up_before_min_days",)) if as_of - since < timedelta(days=least) else None


@condition("weight_change")
def weight_change(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    now, before = value(inputs, "weight_kg"), value(inputs, "weight_before_kg")
    if now is None or before is None:
        return None
    percent = round(abs(now - before) / before * 100, 6)  # else fractions of a computer make a tenth more than a tenth
    if percent <= rules.weight_change_percent:
        return None
    return Held(("weight_change",), how_much={"down" if now < before else "up": percent})


@condition("interaction")
def interaction(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    """A medicine that no table of ours knows may interact with anything: a provider looks."""
    groups = value(inputs, "interacting") or []
    rows = value(inputs, "checkin.new_medicines") or []
    unknown = ["unknown_medicine"] if any(not row.get("class") for row in rows) else []
    if not groups and not unknown:
        return None
    by = {*inputs["interacting"].get("rows", range(len(rows)))}  # of an older record: any of them
    asked = [row for place, row in enumerate(rows) if not row.get("class") or place in by]
    return Held((*groups, *unknown), how_much={f"medicine:{_name(row)}": 0.0 for row in asked})


def _name(row: Mapping[str, Any]) -> str:
    return " ".join(str(row.get("name") or row.get("rxnorm") or row.get("class") or "").casefold().split())


@condition("new_condition")
def new_condition(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return Held(("new_condition",)) if value(inputs, "checkin.new_conditions") else None


@condition("surgery")
def surgery(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return Held(("surgery_planned",)) if value(inputs, "checkin.surgery_planned") == "yes" else None


@condition("labs_due")
def labs_due(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    today, found = date.fromisoformat(value(inputs, "today")), []
    for lab, last_day in _labs(rules, inputs):
        if last_day is None:
            found.append(f"{lab}:missing")
        elif today > last_day:
            found.append(f"{lab}:old")
    return Held(tuple(found)) if found else None


def _labs(rules: RefillRules, inputs: Inputs) -> Iterator[tuple[str, date | None]]:
    """Each laboratory value that is asked for, with the last day on which its result is recent enough, if any."""
    asked = {lab.lab: timedelta(days=lab.max_age_days) for lab in rules.labs}
    for row in value(inputs, "labs") or ():
        if (age := asked.get(row["lab"])) is not None:
            yield row["lab"], None if row["at"] is None else date.fromisoformat(row["at"]) + age


@condition("authorization_ends")
def authorization_ends(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    until, next_fill = value(inputs, "authorized_until"), value(inputs, "next_fill_on")
    if until is None or until >= (next_fill or value(inputs, "today")):
        return None
    return Held(("authorization_ends",))


@condition("too_early")
def too_early(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    opens = at(inputs, "window_opens_at")
    return Held(("TOOSOON",), until=opens) if opens is not None and as_of < opens else None


@condition("complete")
def complete(rules: RefillRules, inputs: Inputs, as_of: datetime) -> Held | None:
    return Held(())
