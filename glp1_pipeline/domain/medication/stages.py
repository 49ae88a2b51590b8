"""How far a patient is by their treatments: under treatment, or all of them held or over, as they are for who died.

Not here: the stages before a treatment (`chart`), and the courses themselves (`fold`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..chart import Reported, death
from ..contract import Contract, Stage
from .shapes import Course


def stages_of(
    contract: Contract, courses: Iterable[Course], reports: Iterable[Reported]
) -> list[tuple[datetime, Stage]]:
    """When the stage changed and to which, oldest first; none where nothing began yet. No provider looks any more at an
    intake of who died."""
    rules, moves = contract.medication, []
    for course in courses:
        moves += [(move.at, course.family, move.to) for move in course.history if move.outcome == "made"]
    states: dict[str, str] = {}
    found: list[tuple[datetime, Stage]] = []
    for at, family, state in sorted(moves, key=lambda move: move[0]):
        states[family] = state
        is_active = any(rules.is_active(one) for one in states.values())
        stage: Stage = "active_treatment" if is_active else "paused_or_discontinued"
        if not found or found[-1][1] != stage:
            found.append((at, stage))
    died = death(reports)
    if died is not None and (not found or found[-1][1] != "paused_or_discontinued"):
        found.append((died.said_at, "paused_or_discontinued"))
    return found
