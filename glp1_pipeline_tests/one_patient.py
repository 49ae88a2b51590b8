"""One patient in memory: events are parsed, read and decided by the domain alone, in batches as they are given.

Here: what the store would keep between two batches. Not here: any expectation; a database (`small_road`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from glp1_pipeline.domain.charting import Claimed, Copy, Known, PatientOutcome, decide, read
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.events import parse_event
from glp1_pipeline.domain.refill import Refill, Tick
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
PATIENT = "11111111-2222-5333-8444-555555555555"
NOW = datetime(2027, 11, 30, tzinfo=UTC)


@dataclass
class Patient:
    contract: Contract = field(default_factory=lambda: CONTRACT)
    known: Known = field(default_factory=lambda: Known({PATIENT: PATIENT}))
    outcome: PatientOutcome | None = None
    refills: dict[str, Refill] = field(default_factory=dict)
    """As the store has them: those of the last batch, and the ended ones of those before."""

    def hear(self, *events: dict[str, Any]) -> PatientOutcome:
        """Chart events as one batch."""
        batch = []
        for event in events:
            envelope, content = parse_event(event, self.contract)
            batch.append(Claimed(f"{envelope.source}/{envelope.source_id}", NOW, envelope, content, PATIENT))
        said = read(self.contract, batch)
        assert not said.dead, said.dead
        ids = {item.event_id for item in batch}
        self.known.reports[PATIENT] = [r for r in self.known.reports.get(PATIENT, []) if r.event_id not in ids]
        ended = {key: (one.status, one.ended_at) for key, one in self.refills.items() if one.ended_at is not None}
        self.known.ended_refills, self.known.over_refills = {PATIENT: ended}, {PATIENT: {*ended}}
        decided = decide(self.contract, batch, said, self.known)
        assert not decided.dead, decided.dead
        (self.outcome,) = decided.patients
        self.known.reports[PATIENT] += self.outcome.reports
        self.known.patients.add(PATIENT)
        self.known.tasks[PATIENT] = [(task.code, task.cause) for task in self.outcome.tasks]
        for write, copies in ((self.outcome.write, self.known.copies), (self.outcome.contact, self.known.contacts)):
            if write is not None:
                copy = copies.setdefault(PATIENT, Copy(0, {}))
                copy.n = write.n
                copy.planned |= write.hashes
        self.refills |= {one.refill_id: one for one in self.outcome.refills}
        return self.outcome

    def ring(self, until: datetime) -> list[Tick]:
        """Let the patient's clock reach every moment until then, each as an event of its own."""
        rung: list[Tick] = []
        while self.outcome is not None and (tick := self.outcome.tick) is not None and tick.at <= until:
            assert tick not in rung, tick
            rung.append(tick)
            self.hear(reached(tick))
        return rung

    @property
    def tasks(self) -> set[str]:
        assert self.outcome is not None
        return {f"{task.code}/{task.cause}" for task in self.outcome.tasks}

    @property
    def state(self) -> dict[str, Any]:
        """All that means something, without what depends on when we heard of it."""
        assert self.outcome is not None
        one = self.outcome
        return {
            "follow_ups": one.follow_ups,
            "refills": sorted(((r.refill_id, r.status, r.ended_at, r.queued_at, r.is_against_hold, tuple(r.overrides),
                                [(m.as_of, m.decision) for m in r.made]) for r in self.refills.values()),
                              key=lambda row: row[0]),
            "flags": one.flags,
            "tasks": self.tasks,
            "stage": one.stage,
            "tick": one.tick,
        }  # fmt: skip


def reached(tick: Tick, is_late: bool = False) -> dict[str, Any]:
    """The event that a moment of the clock becomes."""
    at = tick.at.astimezone(UTC).isoformat()
    return {
        "specversion": "1.0",
        "type": tick.moment,
        "source": "/pipeline/clock",
        "id": f"{tick.moment}/{tick.of}/{tick.name}",
        "subject": tick.record_id,
        "time": at,
        "data": {"record_id": tick.record_id, "of": tick.of, "name": tick.name, "at": at, "is_late": is_late},
    }


def charted(batches: Iterable[Sequence[dict[str, Any]]]) -> Patient:
    patient = Patient()
    for batch in batches:
        if batch:
            patient.hear(*batch)
    return patient
