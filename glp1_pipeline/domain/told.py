"""The shapes of a chart: what was said, by whom, the chart that it adds up to, and what in it is in dispute.

Here: their own questions of themselves. Not here: how they come about (`chart`, `voices`), whose word counts
(`ownership`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from .contract import ConflictRule, Stage

Value = Mapping[str, Any]
"""A value document: {"value": …} or {"null": …} or {"held": …, "raw": …}, with optional "edges"."""
Outcome = Literal["applied", "refused", "task", "merged"]
INTAKE: Final = "intake"
FOLLOWUP: Final = "followup"
"""Who speaks in a check-in: the patient, under treatment."""
DIED: Final = "died"
"""Kind of the document (`Reported.refill`) of a Patient in the EHR that says so."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A word of a system that does not hold, or that changed what the field's owner said."""

    field: str
    rule: ConflictRule
    owner: str
    source: str
    event_id: str
    since: datetime
    outcome: Outcome
    """refused, task or merged."""
    stage: Stage


@dataclass(frozen=True, slots=True)
class Reported:
    """What one submission, or another system, said: the unit of provenance."""

    event_id: str
    submission_id: str
    form_version: str
    status: str
    """completed, in-progress or amended."""
    authored_at: datetime
    received_at: datetime
    time_zone: str
    values: dict[str, Value]
    contradictions: tuple[str, ...] = ()
    record_id: str = ""
    """Whose account said it: one of the patient's records."""
    source: str = "intake"
    """Who says it, by the owners' names of ownership.csv: intake, crm, ehr, ..."""
    voice: str = "reported"
    """reported: the patient's own word; verified: what a provider found."""
    medication: Mapping[str, Any] | None = None
    """What it says of a treatment (`domain.medication`), beside the values of fields."""
    refill: Mapping[str, Any] | None = None
    """What it says of a refill, a flag, the patient's own clock, or their death (`domain.refill`)."""
    identifiers: tuple[tuple[str, str], ...] = ()
    """System and value of what it calls the person, beside the name that it goes by (`domain.crosswalk`)."""

    def __post_init__(self) -> None:
        # An instant is spelled, and has its day, alike whether it comes from an event or from the ledger.
        object.__setattr__(self, "authored_at", self.authored_at.astimezone(UTC))
        object.__setattr__(self, "received_at", self.received_at.astimezone(UTC))

    @property
    def said_at(self) -> datetime:
        """When it was written; a clock that runs ahead cannot carry it past the moment that it was received."""
        return min(self.authored_at, self.received_at)

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        return (self.said_at, self.received_at, self.event_id)

    @property
    def is_draft(self) -> bool:
        return self.status == "in-progress"

    @property
    def is_of_treatment(self) -> bool:
        """Whether it speaks of a treatment alone: the chart hears nothing in it."""
        return self.source not in (INTAKE, FOLLOWUP) and self.submission_id.startswith(
            ("medication.", "refill.", "followup.", "flag.", "pa.")
        )

    @property
    def is_submitted(self) -> bool:
        """Whether the patient pressed submit on it; what other systems say is no submission."""
        return self.source in (INTAKE, FOLLOWUP) and not self.is_draft


@dataclass(slots=True)
class Chart:
    """All values of a patient, each with the event it came from."""

    patient_id: str
    values: dict[str, Value] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """Field -> id of the event that said it."""
    former: dict[str, list[Value]] = field(default_factory=dict)
    """Field -> what earlier submissions had said and a later one changed, oldest first."""
    submissions: tuple[Reported, ...] = ()
    """All that was said, drafts too, and what other systems said."""
    counted: tuple[Reported, ...] = ()
    """What the patient submitted, or the drafts where nothing was submitted yet."""
    asked: frozenset[str] = frozenset()
    """Fields that at least one of the counted form versions asks."""
    stage: Stage = "lead"
    """Whose stage of ownership it was when the newest report came: `intake` from the patient's first word on, and
    `clinical_review` from the first report after the chart had passed the gate."""
    is_followed_up: bool = False
    """Whether the patient answered a check-in."""
    treated: tuple[tuple[datetime, Stage], ...] = ()
    """When the stage changed with the treatment, oldest first; as the caller said."""
    reviewed_after: str = ""
    """Id of the last event before a provider's review began."""
    conflicts: tuple[Conflict, ...] = ()
    """Words that do not hold, or hold against what the field's owner said; by field and source."""
    verified: dict[str, Value] = field(default_factory=dict)
    """Field -> what a provider found, beside what the patient said in `values`: neither ever replaces the other."""
    verified_by: dict[str, str] = field(default_factory=dict)
    """Field -> id of the event that said what was found."""
    decisive: dict[str, Value] = field(default_factory=dict)
    """Those findings that count for decisions in place of what the patient said."""
    overruled: dict[tuple[str, str], str] = field(default_factory=dict)
    """(field, system) -> id of the event that settled against what that system said; gone when it says it anew. Its own
    record still says otherwise."""

    def copy(self) -> Chart:
        """As it stands now: it may go on growing."""
        return replace(
            self, values={**self.values}, sources={**self.sources}, verified={**self.verified},
            former={name: [*values] for name, values in self.former.items()}, verified_by={**self.verified_by},
            decisive={**self.decisive},
        )  # fmt: skip

    @property
    def known(self) -> Mapping[str, Value]:
        """What counts for decisions: what `get` and `state` look in."""
        return {**self.values, **self.decisive} if self.decisive else self.values

    def get(self, name: str) -> Any:
        """The known value that counts for decisions, or None where there is none (see `state` for why)."""
        value = self.values.get(name) if name not in self.decisive else self.decisive[name]
        return None if value is None else value.get("value")

    def told(self, name: str) -> Any:
        """The known value beside any finding of a provider: what is written as the patient's own word."""
        value = self.values.get(name)
        return None if value is None else value.get("value")

    def state(self, name: str) -> str:
        """value, unknown, declined, not_applicable, absent, held or not_asked."""
        value = self.values.get(name) if name not in self.decisive else self.decisive[name]
        if value is None:
            return "absent" if name in self.asked else "not_asked"
        if "value" in value:
            return "value"
        return "held" if "held" in value else value["null"]

    def event_of(self, name: str) -> str | None:
        """Id of the event that the value of `get` comes from."""
        return self.verified_by[name] if name in self.decisive else self.sources.get(name)

    @property
    def blocked(self) -> frozenset[str]:
        """Fields that are not synced to any system while a person has to settle them."""
        return frozenset(conflict.field for conflict in self.conflicts if conflict.rule == "hold_and_block")

    @property
    def is_complete(self) -> bool:
        """Whether the patient ever pressed submit; a draft alone never reaches a provider."""
        for report in self.counted:  # noqa: SIM110 - asked often, and most often of one report
            if report.is_submitted:
                return True
        return False

    @property
    def own_words(self) -> tuple[Reported, ...]:
        """What the patient submitted, in the intake and in check-ins."""
        if not self.is_followed_up:
            return self.counted
        return tuple(report for report in self.submissions if report.is_submitted)

    @property
    def latest(self) -> Reported:
        """The patient's newest word; of somebody who never spoke to us, the newest of another system."""
        return (self.own_words or self.submissions)[-1]
