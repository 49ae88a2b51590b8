"""Refills asked about: requests, decisions with their records, what holds a patient's request, and people's word on it.

Here: what other rooms may use. Not here: saving (`charts.refills`), and what is decided (`domain.refill`).
"""

from .asking import find, holding, listed, show
from .counts import count_decisions, count_overrides, count_requests, faults_of_fields
from .records import RecordFault, decision_of, explain, opened, proven, what_if
from .saying import Word, foresee, override, resolve

__all__ = [
    "RecordFault",
    "Word",
    "count_decisions",
    "count_overrides",
    "count_requests",
    "decision_of",
    "explain",
    "faults_of_fields",
    "find",
    "foresee",
    "holding",
    "listed",
    "opened",
    "override",
    "proven",
    "resolve",
    "show",
    "what_if",
]
