"""What goes into the decision about a batch of events, and what comes out of it.

Here: shapes. Not here: what makes one of another (`reading`, `deciding`, `leaving`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .. import flags, followup, gates, medication, refill, tasks
from ..chart import Chart, Reported
from ..contract import EHR, Stage
from ..events import Content, Event
from ..overruling import Insistence


@dataclass(slots=True)
class Claimed:
    """An event that was claimed, opened and parsed."""

    event_id: str
    received_at: datetime
    event: Event
    content: Content
    record_id: str = ""
    """To whom it belongs, whoever's patient that record is part of."""


@dataclass(slots=True)
class Read:
    """What the events of a batch say."""

    reports: dict[str, Reported] = field(default_factory=dict)
    """By event. A decision about two records reports nothing."""
    dead: dict[str, str] = field(default_factory=dict)
    """Event -> where our own code failed on it: class and line, never a value."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Event -> field:cause of each answer that could not be read."""

    def add(self, other: Read) -> None:
        """What more events say; their problems were counted when they came."""
        self.reports |= other.reports
        self.dead |= other.dead

    def forget(self, event_ids: Collection[str]) -> None:
        """These events are left for another batch."""
        for told in (self.reports, self.dead, self.problems):
            for event_id in event_ids:
                told.pop(event_id, None)


@dataclass(slots=True)
class Copy:
    """What a target was told of a patient."""

    n: int
    """Number of writes so far."""
    planned: dict[str, str]
    """Resource -> hash of its content as last decided."""
    insisted: Collection[str] = ()
    """What was told once over what stood there (`overruling`)."""


@dataclass(slots=True)
class Known:
    """What the database already knows of the patients of a batch."""

    patient_of: dict[str, str] = field(default_factory=dict)
    """Record -> the patient it is part of, for every record of every patient here."""
    moved: set[str] = field(default_factory=set)
    """Patients whose records are others than before: all that they ever said is in this batch."""
    again: set[str] = field(default_factory=set)
    """Patients to be judged again although none of these events is theirs: somebody may be the same person."""
    reviews: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> records of others of whom a person must say whether they are the same."""
    reports: dict[str, list[Reported]] = field(default_factory=dict)
    """Record -> what other events of theirs said."""
    copies: dict[str, Copy] = field(default_factory=dict)
    """Patient -> what the EHR was told."""
    contacts: dict[str, Copy] = field(default_factory=dict)
    """Patient -> what the CRM was told."""
    tasks: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Patient -> (code, cause) of every task ever opened."""
    accounts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Record -> its identifiers that the EHR may show."""
    asked: dict[frozenset[str], datetime] = field(default_factory=dict)
    """Pairs of records that the EHR made one after they were told apart here, and since when that is so."""
    disputes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Record -> resources that somebody changed in another system against us, and why; nobody has decided yet."""
    events: set[str] = field(default_factory=set)
    """Claimed events that were charted before: this is a replay of them."""
    patients: set[str] = field(default_factory=set)
    """Patients who have a chart already."""
    ended_refills: dict[str, dict[str, tuple[str, datetime]]] = field(default_factory=dict)
    """Patient -> requests that ended, by this contract: how and when."""
    over_refills: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> requests that ended, by whatever contract."""
    sent: Callable[[str], Mapping[str, dict[str, Any]]] = field(default=lambda _: {})
    """Patient -> resource -> its content as last decided; asked only for what has to be taken back."""

    def members(self) -> dict[str, list[str]]:
        """Patient -> records."""
        found: dict[str, list[str]] = defaultdict(list)
        for record_id, patient_id in sorted(self.patient_of.items()):
            found[patient_id].append(record_id)
        return found


@dataclass(slots=True)
class Write:
    """One change of a patient that another system must hear."""

    patient_id: str
    n: int
    hashes: dict[str, str]
    body: bytes
    event_ids: list[str]
    target: str = EHR
    kind: str = "ehr_chart"
    insists: Insistence | None = None
    """What of it is told over what stands there."""


@dataclass(slots=True)
class PatientOutcome:
    """All that is decided for one patient, from all that is known."""

    chart: Chart
    reports: list[Reported]
    """The reports of this batch alone."""
    received_at: datetime
    """When the first event of this batch reached our ledger."""
    flags: dict[str, flags.RaisedFlag]
    gate: gates.GateResult
    tasks: list[tasks.TaskNeed]
    closed: list[tuple[str, str]]
    write: Write | None
    contact: Write | None = None
    """What the CRM must hear: how far the patient is, nothing clinical."""
    courses: list[medication.Course] = field(default_factory=list)
    """Of treatments, one per product family."""
    follow_ups: list[followup.FollowUp] = field(default_factory=list)
    """All check-ins of the treatments."""
    refills: list[refill.Refill] = field(default_factory=list)
    """Requests, but for those that ended before this batch."""
    tick: refill.Tick | None = None
    """When something about the patient changes by itself next."""
    other_contacts: list[Write] = field(default_factory=list)
    """What it must hear of the contacts that other records of the patient have there."""

    @property
    def stage(self) -> Stage:
        if self.chart.treated:
            return self.chart.treated[-1][1]
        return "clinical_review" if self.gate.outcome == "passed" else self.chart.stage

    @property
    def waits_for_review(self) -> bool:
        """Whether a provider has still to look at the intake: who ordered a treatment has reviewed it."""
        return self.gate.outcome == "passed" and not self.chart.treated


@dataclass(slots=True)
class Retired:
    """A record that is part of another's patient now: it has no chart of its own, and the EHR is told so."""

    patient_id: str
    write: Write | None


@dataclass(slots=True)
class Decided:
    """What to write for a batch."""

    patients: list[PatientOutcome] = field(default_factory=list)
    retired: list[Retired] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> list[Write]:
        """All that other systems must hear."""
        told = [write for o in self.patients for write in (o.write, o.contact, *o.other_contacts)]
        return [write for write in (*told, *(r.write for r in self.retired)) if write is not None]
