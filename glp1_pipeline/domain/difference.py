"""What a batch changes against what stood before, in names and counts: for a replay's dry run and its receipt.

Here: comparing; a value is compared and never told. Not here: reading what stood before (`adapters.charts.before`), and
what is decided (`charting`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from .charting import Decided

NOTHING = "nothing"
OF_REFILL = ("status", "outcome", "rule")


@dataclass(slots=True)
class Before:
    """What stood of the events and patients of a batch."""

    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Event -> what it said, by field; an event that was never charted is not in it."""
    gates: dict[tuple[str, str], str] = field(default_factory=dict)
    """(patient, gate) -> outcome."""
    flags: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> flags that are not cleared."""
    tasks: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Patient -> (code, cause) of tasks that are open."""
    queue: set[str] = field(default_factory=set)
    """Patients in the provider's queue."""
    follow_ups: dict[str, dict[str, str]] = field(default_factory=dict)
    """Patient -> check-in -> where it stood."""
    refills: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Request -> status, outcome and rule."""


def difference(before: Before, decided: Decided, regrouped: int = 0) -> Counter[str]:
    """How often each thing changes. A name is a path: `fields/<field>/<from> to <to>`, `gates/<gate>/held to passed`,
    `flags/<flag>/raised`, `tasks/<code>/opened`, `queue/entered`, `follow_ups/<from> to <to>`, `refills/outcome/<from>
    to <to>` (also by `rule` and `status`), `writes/<target>`, `resources/<target>/<type>`."""
    found: Counter[str] = Counter()
    for outcome in decided.patients:
        patient_id = outcome.chart.patient_id
        for report in outcome.reports:
            _compare_values(found, before.values.get(report.event_id), report.values)
        was = before.gates.get((patient_id, outcome.gate.gate_id), NOTHING)
        if was != outcome.gate.outcome:
            found[f"gates/{outcome.gate.gate_id}/{was} to {outcome.gate.outcome}"] += 1
        _compare_flags(found, before.flags.get(patient_id, set()), outcome.flags.keys())
        stood, needed = before.tasks.get(patient_id, set()), {(task.code, task.cause) for task in outcome.tasks}
        _count_tasks(found, needed - stood, "opened")
        _count_tasks(found, stood & set(outcome.closed), "closed")
        _move(found, patient_id in before.queue, outcome.waits_for_review)
        stood_at = before.follow_ups.get(patient_id, {})
        stands_at = {one.followup_id: one.status for one in outcome.follow_ups}
        _compare_places(found, "follow_ups", stood_at, stands_at)
        for one in outcome.refills:
            now = (one.status, one.decision.outcome, one.decision.rule)
            for what, old, new in zip(OF_REFILL, before.refills.get(one.refill_id, (NOTHING,) * 3), now, strict=True):
                _compare_places(found, f"refills/{what}", {"": old}, {"": new})
    for retired in decided.retired:
        patient_id = retired.patient_id
        _compare_flags(found, before.flags.get(patient_id, set()), set())
        _count_tasks(found, before.tasks.get(patient_id, set()), "closed")
        _move(found, patient_id in before.queue, False)
        _compare_places(found, "follow_ups", before.follow_ups.get(patient_id, {}), {})
    for write in decided.writes:
        found[f"writes/{write.target}"] += 1
        for key in write.hashes:
            found[f"resources/{write.target}/{key.partition('/')[0]}"] += 1
    if regrouped:
        found["patients/regrouped"] += regrouped
    return found


def _compare_values(found: Counter[str], was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    if was is None:
        found["events/say something for the first time"] += 1
        was = {}
    for name in was.keys() | now.keys():
        if was.get(name) != now.get(name):
            found[f"fields/{name}/{_kind(was.get(name))} to {_kind(now.get(name))}"] += 1


def _kind(value: Mapping[str, Any] | None) -> str:
    """value, held, unknown, declined, …: in which of its states an answer is."""
    if value is None:
        return NOTHING
    return "value" if "value" in value else "held" if "held" in value else str(value.get("null", "other"))


def _compare_flags(found: Counter[str], was: Set[str], now: Set[str]) -> None:
    for name in now - was:
        found[f"flags/{name}/raised"] += 1
    for name in was - now:
        found[f"flags/{name}/cleared"] += 1


def _count_tasks(found: Counter[str], tasks: set[tuple[str, str]], word: str) -> None:
    for code, _ in tasks:
        found[f"tasks/{code}/{word}"] += 1


def _move(found: Counter[str], was_in: bool, is_in: bool) -> None:
    if was_in != is_in:
        found[f"queue/{'entered' if is_in else 'left'}"] += 1


def _compare_places(found: Counter[str], what: str, was: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Where each of several things stood, and stands."""
    for key in {*was, *now}:
        old, new = was.get(key, NOTHING), now.get(key, NOTHING)
        if old != new:
            found[f"{what}/{old} to {new}"] += 1
