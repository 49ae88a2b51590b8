"""The work that findings make for people: a task per finding, whichever courses show it.

Not here: other work (`tasks`), and the findings themselves (`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..contract import Contract
from ..tasks import TaskNeed
from .shapes import Course


def needs(contract: Contract, courses: Iterable[Course]) -> list[TaskNeed]:
    """One for each name of a finding; gone as soon as no course shows it."""
    names = sorted({finding.name for course in courses for finding in course.findings})
    kinds = [(name, contract.tasks[contract.medication.findings[name].task]) for name in names]
    return [TaskNeed(kind.code, name, kind.queue, kind.owner, kind.due_minutes) for name, kind in kinds]
