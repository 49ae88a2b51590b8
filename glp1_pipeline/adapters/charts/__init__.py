"""The road's middle in Postgres: claims events, reads what is known of their patients, writes what was decided.

Here: one transaction per batch, so that values, chart, flags, gate, tasks, queue and outbox move together or not at
all. Not here: the decision (`domain.charting`), bytes into events (`ledger`), delivery (`outbox`).
"""

from .claim import Scope, is_backlog, pending_days
from .disputes import attend_disputes
from .run import ChartFault, chart_events
from .save import Charted

__all__ = [
    "ChartFault",
    "Charted",
    "Scope",
    "attend_disputes",
    "chart_events",
    "is_backlog",
    "pending_days",
]
