"""The work that treatments make for people: a task per finding, and one per red flag that speaks against a course.

Not here: other work (`tasks`), and the findings themselves (`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from ..chart import Chart, Reported
from ..contract import Contract
from ..events.refill import is_closed
from ..flags import RaisedFlag
from ..tasks import TaskNeed
from .shapes import Course

STEP_UPS = ("step_up_order", "step_up_order_later")
OF_FLAGS = {"discontinue": "proposed to end", "step_up": "stepped up under a red flag"}
"""How the causes begin that name a flag and a family, in words."""
TO_PROVIDER = "provider-review-refill"
DECEASED = "deceased"
PASSES = "none same day"
"""Of a flag that nobody may override on its day, and that is no reason to end a treatment."""


def needs(contract: Contract, courses: Iterable[Course]) -> list[TaskNeed]:
    """One for each name of a finding; gone as soon as no course shows it."""
    names = sorted({finding.name for course in courses for finding in course.findings})
    kinds = [(name, contract.tasks[contract.medication.findings[name].task]) for name in names]
    return [TaskNeed(kind.code, name, kind.queue, kind.owner, kind.due_minutes) for name, kind in kinds]


def against(
    contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], courses: Iterable[Course]
) -> list[TaskNeed]:
    """One for each course under way and red flag against it; gone when the course ends or the flag is refuted.

    `discontinue`: a contraindication stands, and to stop is proposed. `step_up`: any other stood when a step up was
    ordered. A provider decides; nothing is stopped here.
    """
    kind = contract.tasks[TO_PROVIDER]
    said_at = {report.event_id: report.said_at for report in chart.submissions}
    found = []
    for course in courses:
        for flag_id, flag in sorted(flags.items()):
            raised_at = said_at.get(flag.event_id)
            if not course.is_under_way or flag.severity != "red" or _is_paperwork(contract, flag_id):
                continue
            if is_contraindication(contract, flag_id):
                cause = f"discontinue:{flag_id}:{course.family}"
            elif raised_at is not None and _stepped_up_since(course, raised_at):
                cause = f"step_up:{flag_id}:{course.family}"
            else:
                continue
            found.append(TaskNeed(kind.code, cause, kind.queue, kind.owner, kind.due_minutes, flag.event_id, raised_at))
    return found


def after_death(contract: Contract, died: Reported, courses: Iterable[Course]) -> list[TaskNeed]:
    """All the work that is left with a patient: of a treatment that the death ended, orders and parcels that are on
    their way are stopped, and whoever is to be told is told."""
    if not any(course.history and course.history[-1].event_id == died.event_id for course in courses):
        return []
    kind = contract.tasks[TO_PROVIDER]
    return [TaskNeed(kind.code, DECEASED, kind.queue, kind.owner, kind.due_minutes, died.event_id, died.said_at)]


def is_contraindication(contract: Contract, flag_id: str) -> bool:
    """Whether a red flag ends a treatment by the label, so that nobody may override it."""
    flag = contract.flags[flag_id]
    return flag.basis.startswith("label") and is_closed(contract, flag_id) and not flag.override.startswith(PASSES)


def _is_paperwork(contract: Contract, flag_id: str) -> bool:
    return contract.flags[flag_id].basis.startswith("administrative")


def _stepped_up_since(course: Course, at: datetime) -> bool:
    ups = [move for move in course.history if move.outcome == "made" and move.rule in STEP_UPS]
    return any(course.stands_since(move.event_id, move.at) >= at for move in ups)
