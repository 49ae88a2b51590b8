"""Refills: what was asked for, what it was decided on, by which rule, and what was let through by whom.

Pure functions of the events and the contract; nothing here approves a refill, orders or sends anything.
Not here: check-ins (`followup`), treatments (`medication`), and how a decision is kept and shown (the store, `fhir`).
"""

from .clock import Tick, next_tick
from .decide import Decision, Override, decide
from .facts import Said, instant, own_ids, said, standing, told
from .inputs import Inputs, Snapshot, gather
from .record import decide_again, differences, record_of
from .reminders import is_settled
from .requests import Made, Refill, refills
from .telling import holding_flags, inputs_told, may_override, walked
from .work import needs

__all__ = [
    "Decision",
    "Inputs",
    "Made",
    "Override",
    "Refill",
    "Said",
    "Snapshot",
    "Tick",
    "decide",
    "decide_again",
    "differences",
    "gather",
    "holding_flags",
    "inputs_told",
    "instant",
    "is_settled",
    "may_override",
    "needs",
    "next_tick",
    "own_ids",
    "record_of",
    "refills",
    "said",
    "standing",
    "told",
    "walked",
]
