"""The rest of the crosswalk: what events call their person beside the name that they go by.

Here: writing it with the chart. Not here: whose an event is (`records`), and which identifiers there are
(`domain.crosswalk`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ...domain.charting import Known, PatientOutcome
from ..copying import copy_rows


def save_identifiers(connection, outcomes: Iterable[PatientOutcome], known: Known) -> None:
    """What each event of a batch calls its person; of one that is computed again, as it is understood now."""
    reports = [report for outcome in outcomes for report in outcome.reports]
    if again := [report.event_id for report in reports if report.event_id in known.events]:
        connection.execute("delete from phi.told_identifiers where event_id = any(%s::uuid[])", (again,))
    rows = ((r.event_id, system, value, r.record_id) for r in reports for system, value in r.identifiers)
    copy_rows(connection, "phi.told_identifiers", ("event_id", "system", "value", "record_id"), rows)
