"""Rollbacks as plans: writes are chosen, what would become of each resource is told, a person approves, chunks are
applied, a receipt stays.

Here: the plan's rows (`plan`), what stands (`look`), doing it (`apply`). Not here: a plan's course (`plans`), what is
to become of a resource (`domain.rollback`), and delivery: what is taken back goes out as any other write (`outbox`).
"""

from ..plans import NotApproved, PlanFault
from .apply import Told, apply, by_outcome, dry_run, due, receipt, release
from .plan import COURSE, Selection, approve, choose, held, left, listed, show

stop = COURSE.stop

__all__ = [
    "NotApproved",
    "PlanFault",
    "Selection",
    "Told",
    "apply",
    "approve",
    "by_outcome",
    "choose",
    "dry_run",
    "due",
    "held",
    "left",
    "listed",
    "receipt",
    "release",
    "show",
    "stop",
]
