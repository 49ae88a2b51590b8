"""What the check-ins of a patient make for people: a task for one that was missed, a status for the CRM, reminders.

Here: which there are. Not here: when a check-in is missed (`standing`), and how they look elsewhere (`fhir`, `crm`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from ..contract import Contract
from ..tasks import TaskNeed
from .shapes import NAMESPACE, FollowUp

MISSED: Final = "followup.missed"
WORST_FIRST: Final = ("missed", "due", "open", "completed", "planned")
"""Of several treatments the CRM hears of the check-in that needs somebody most."""


def needs(contract: Contract, follow_ups: Sequence[FollowUp]) -> list[TaskNeed]:
    """One for each check-in that was missed and may still be done: due before the refill window opens. It is gone as
    soon as the check-in is answered, or its supply is followed by the next. One that is asked for again is new work,
    also where somebody did the first by hand."""
    kind = contract.tasks[contract.followups.missed_task]
    found: list[TaskNeed] = []
    for one in follow_ups:
        if not one.is_live or one.status != "missed":
            continue
        rests_on, since = one.followup_id, one.lapsed_at or one.moments.missed_at
        if one.lapsed_at is not None:
            rests_on = str(uuid.uuid5(NAMESPACE, f"{one.followup_id}|{one.weight_until}"))
        window_at = one.moments.window_at
        due_at = window_at if since < window_at else None
        found.append(
            TaskNeed(
                kind.code, f"{MISSED}:{one.family}", kind.queue, kind.owner, kind.due_minutes, rests_on, since, due_at
            )
        )
    return found


def crm_status(follow_ups: Sequence[FollowUp]) -> str | None:
    """Where the check-ins stand, and never what was said in them; None where there never were any."""
    live = {one.status for one in follow_ups if one.is_live}
    return next((status for status in WORST_FIRST if status in live), "ended" if follow_ups else None)
