"""What the check-ins of a patient make for people: a task for one that was missed, a status for the CRM, reminders.

Here: which there are. Not here: when a check-in is missed (`cycles`), and how they look elsewhere (`fhir`, `crm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..contract import Contract
from ..tasks import TaskNeed
from .cycles import FollowUp

MISSED: Final = "followup.missed"
WORST_FIRST: Final = ("missed", "due", "open", "completed", "planned")
"""Of several treatments the CRM hears of the check-in that needs somebody most."""


def needs(contract: Contract, follow_ups: Sequence[FollowUp]) -> list[TaskNeed]:
    """One for each check-in that was missed and may still be done: due before the refill window opens. It is gone as
    soon as the check-in is answered, or its supply is followed by the next."""
    kind = contract.tasks[contract.followups.missed_task]
    return [
        TaskNeed(
            kind.code,
            f"{MISSED}:{one.family}",
            kind.queue,
            kind.owner,
            kind.due_minutes,
            rests_on=one.followup_id,
            since=one.moments.missed_at,
            due_at=one.moments.window_at,
        )
        for one in follow_ups
        if one.is_live and one.status == "missed"
    ]


def crm_status(follow_ups: Sequence[FollowUp]) -> str | None:
    """Where the check-ins stand, and never what was said in them; None where there are none."""
    live = {one.status for one in follow_ups if one.is_live}
    return next((status for status in WORST_FIRST if status in live), None)
