"""Replays as plans: events are chosen, the difference is told, a person approves, chunks are applied, a receipt stays.

Here: the plan's rows and its course. Not here: how events are charted (`charts`) and what is counted
(`domain.difference`).
"""

from .apply import NotApproved, Told, apply, dry_run, receipt, tree
from .plan import PlanFault, Selection, approve, choose, listed, show, stop

__all__ = [
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
