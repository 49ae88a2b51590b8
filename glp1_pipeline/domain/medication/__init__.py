"""Treatments with GLP-1 medicines: what was said of them, the course that it adds up to, and where sources disagree.

Pure functions of the events and the contract. Follow-ups and refills begin here: a course says when its supply runs out
(`Course.runs_out_at`), when a dose was taken last, and `missed_doses` counts at any moment.
Not here: when a check-in is due, whether a refill may go on, and any write to another system.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..chart import Chart, Reported, death
from ..contract import Contract
from ..told import FOLLOWUP
from .facts import Fact
from .fold import fold
from .from_chart import facts_of
from .from_checkin import fact_of
from .overrides import may_let_through, word_on
from .reading import told
from .shapes import Course
from .stages import stages_of
from .supply import missed_doses, missed_from
from .work import after_death, against, needs

__all__ = [
    "Course",
    "Fact",
    "after_death",
    "against",
    "courses",
    "fold",
    "may_let_through",
    "missed_doses",
    "missed_from",
    "needs",
    "stages_of",
    "told",
    "word_on",
]


def courses(contract: Contract, chart: Chart, reports: Iterable[Reported]) -> list[Course]:
    """The courses of a patient from all that was ever said of them; none where nobody spoke of a treatment."""
    reports, facts, told_of = [*reports], [], False
    for report in reports:
        if report.medication is not None:
            facts.append(Fact.from_doc(report.medication, report.event_id, report.source))
            told_of = True
        elif report.source == FOLLOWUP and (fact := fact_of(report)) is not None:
            facts.append(fact)
    if not told_of:  # a check-in alone begins no treatment
        return []
    return fold(contract.medication, [*facts, *facts_of(contract.medication, chart)], death(reports))
