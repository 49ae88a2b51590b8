"""What earlier events said, as it was charted.

Not here: what follows from it (`domain.charting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...domain.chart import Reported

REPORTED = (
    "record_id, event_id, submission_id, form_version, status, authored_at, received_at, time_zone, source, voice, doc,"
    " contradictions, medication, refill"
)


def reports_of(connection, records: Sequence[str]) -> Iterable[Reported]:
    """All that was charted of these records."""
    if not records:
        return
    for row in connection.execute(
        f"select {REPORTED} from phi.patient_values where record_id = any(%s::uuid[])", (list(records),)
    ):
        record_id, event_id, submission_id, version, status, authored, received, zone, source, *said = row
        voice, doc, found, fact, refill = said
        yield Reported(
            event_id=str(event_id),
            submission_id=submission_id,
            form_version=version,
            status=status,
            authored_at=authored,
            received_at=received,
            time_zone=zone,
            values=doc,
            contradictions=tuple(found),
            record_id=str(record_id),
            source=source,
            voice=voice,
            medication=fact,
            refill=refill,
        )
