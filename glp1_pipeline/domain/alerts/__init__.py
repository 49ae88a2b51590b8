"""When somebody is called: what fires, opens, escalates and ends, and in which words it is told.

Here: what other rooms may use. Not here: measuring and sending (`adapters.alerts`), thresholds and names (`contracts`).
"""

from .figures import figures
from .judging import Change, ago, called, judge, on_call, plain_scope
from .shapes import WATCHES, Alert, Book, Incident, Measured, Team
from .telling import body_of, title_of

__all__ = [
    "WATCHES", "Alert", "Book", "Change", "Incident", "Measured", "Team", "ago", "body_of", "called", "figures",
    "judge", "on_call", "plain_scope", "title_of",
]  # fmt: skip
