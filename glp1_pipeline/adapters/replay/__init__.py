"""Replays as plans: events are chosen, the difference is told, a person approves, chunks are applied, a receipt stays.

Here: the plan's rows, and doing it. Not here: its course (`plans`), how events are charted (`charts`) and what is
counted (`domain.difference`).
"""

from ..plans import NotApproved, PlanFault
from .apply import Told, apply, dry_run, receipt, tree
from .plan import COURSE, Selection, choose, listed, show

NOTHING_FITS = "no event fits all of this: `glp1 reconcile --parts` names days, sources and types"
approve, stop = COURSE.approve, COURSE.stop

__all__ = [
    "NOTHING_FITS",
    "NotApproved",
    "PlanFault",
    "Selection",
    "Told",
    "apply",
    "approve",
    "choose",
    "dry_run",
    "listed",
    "receipt",
    "show",
    "stop",
    "tree",
]
