"""Alerts: what is measured, the incidents it makes, and the messages about them.

Here: what other rooms may use. Not here: when something fires (`domain.alerts`), thresholds (`contracts`).
"""

from .away import Absence
from .channels import Channels
from .incidents import acknowledge, history, open_incidents, unheard
from .look import Looked, look
from .measure import World
from .messages import Sent, outcomes, send, unsent, write_test

__all__ = [
    "Absence", "Channels", "Looked", "Sent", "World", "acknowledge", "history", "look", "open_incidents",
    "outcomes", "send", "unheard", "unsent", "write_test",
]  # fmt: skip
