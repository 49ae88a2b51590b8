"""The shapes of what people declare of check-ins and refills: days, reminders, rules, roles, reasons of an override.

Here: frozen data of followups.yaml, refills.yaml, access.yaml and override_reasons.csv, and look-ups that need no more
than their own content. Not here: reading files (`contracts`), and any decision about a patient (`followup`, `refill`).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal

import orjson

from .declared import Declared

Outcome = Literal["not_eligible", "hold", "hold_urgent", "escalate", "wait_until", "provider_queue"]
Moment = Literal["opens", "due", "missed"]
ReasonClass = Literal["clinical", "administrative", "break_glass", "data_quality", "other"]
CONDITIONS = (
    "stop_wanted", "suicidal", "red_symptom", "pregnant", "red_flag", "administrative", "no_treatment",
    "followup_missing", "followup_stale", "missed_doses", "side_effect", "early_step_up", "weight_change",
    "interaction", "new_condition", "surgery", "labs_due", "authorization_ends", "too_early", "complete",
)  # fmt: skip
"""The names that `domain.refill.conditions` decides by: each must be declared, and no other unless it waits for what
brings its inputs."""


ADDRESS_CHANGED = "ADDRESS_CHANGED"
"""What the rule `administrative` holds for besides flags of flags.csv: the check-in says that the address changed."""


class CheckinForm(Declared):
    """The form that a patient under treatment answers before each refill."""

    form_id: str
    versions: tuple[str, ...]
    asks: tuple[str, ...]
    """Fields of the intake that it asks anew, beside its own."""


class Reminder(Declared):
    name: str
    moment: Moment
    days_after: int
    text: str
    """As the patient reads it: without a medicine, a date or a name."""


class FollowUpRules(Declared):
    verify: str
    at_hour: int
    """Of the patient's own day."""
    scale_days: int
    opens_days: int
    due_days: int
    missed_days: int
    window_days: int
    window_share: float
    short_supply_days: int
    short_cycle_days: int
    gate: str
    missed_task: str
    reminders: tuple[Reminder, ...]
    remind_within_hours: int
    zones: dict[str, str]
    """State -> zone, for who named none."""


class RefillRule(Declared):
    """One line of the decision table."""

    rule: str
    description: str
    outcome: Outcome | None = None
    """None of a line that only adds (`adds`)."""
    adds: bool = False
    task: str = ""
    minutes: int | None = None
    """Service time of the task, where it is not the task's own."""
    overridden_by: tuple[ReasonClass, ...] = ()
    """Classes of reasons by which a person may let the refill go on; none: nobody may."""
    proposal: str = ""
    """To the provider, never an action."""
    actcode: str = ""
    """v3 ActCode of the issue, for FHIR."""
    severity: Literal["", "high", "moderate", "low"] = ""
    """Of the issue, as FHIR counts."""
    waits_for: str = ""
    """The part of the program that will bring its inputs; until then it is never asked."""
    verify: str = ""


class Lab(Declared):
    """A laboratory value that the program asks for."""

    lab: str
    loinc: tuple[str, ...]
    """Any of these is it."""
    flags: tuple[str, ...]
    """While one of them stands."""
    max_age_days: int


class RefillRules(Declared):
    """The decision table, first line first, and its limits."""

    verify: str
    weight_change_percent: float
    weight_max_age_days: int
    """Of the check-in's gate (gates.yaml): asked again at the decision, for a request may wait."""
    pregnant: tuple[str, ...]
    symptom_flags: tuple[str, ...]
    administrative_flags: tuple[str, ...]
    interacting: tuple[str, ...]
    never_overridden: tuple[str, ...]
    labs: tuple[Lab, ...] = ()
    outcomes: dict[Outcome, str]
    rules: tuple[RefillRule, ...]

    @cached_property
    def version(self) -> str:
        """A record names the rules that it was decided by."""
        return version_of(self.document)

    @cached_property
    def document(self) -> bytes:
        """All of it, the same bytes for the same rules: kept beside the records, so that years later one can be
        decided again."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @cached_property
    def by_name(self) -> dict[str, RefillRule]:
        return {rule.rule: rule for rule in self.rules}


def version_of(document: bytes) -> str:
    """Hash of rules as they were written down, twelve hex digits: what their shape gains later has no part in it."""
    return hashlib.sha256(document).hexdigest()[:12]


class Role(Declared):
    role: str
    description: str
    overrides: tuple[ReasonClass, ...]


class OverrideReason(Declared):
    reason_code: str
    meaning: str
    reason_class: ReasonClass
    mitigation_code: str
    """v3 ActCode of the mitigation, for FHIR."""
    roles: tuple[str, ...]
    max_days: int
    min_text: int
    verify: str = ""
