"""From the events of a batch to what each says: a report of one record.

Not here: what follows from all reports of a patient (`deciding`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .. import crosswalk, followup, medication, refill
from ..changes import death_told, flag_told, lab_told, read_change, task_told
from ..chart import Reported
from ..contract import Contract
from ..events import Change, Decision, Submission
from ..events.refill import SPEAKERS
from ..failures import where
from ..mapping import map_submission
from ..told import FOLLOWUP
from .shapes import Claimed, Read

NOT_THEIRS = "identifiers:not_theirs_to_tell"
"""An event names a person as only another system may: passed over, and counted."""


def read(contract: Contract, claimed: Iterable[Claimed]) -> Read:
    """What each event says. One event that our code cannot handle is dead; the rest goes on."""
    found = Read()
    for item in claimed:
        if isinstance(item.content, Decision):
            continue
        try:
            if isinstance(item.content, Change):
                said = read_change(contract, item.content)
                named = crosswalk.told(contract, item.event, item.content, said.values)
                fact = medication.told(contract, item.content)
                report = _of_change(item, item.content, said.values, said.voice, fact, named.identifiers)
                report = replace(
                    report,
                    refill=refill.told(contract, item.content)
                    or flag_told(contract, item.content)
                    or lab_told(contract, item.content)
                    or death_told(item.content),
                    submission_id=task_told(item.content) or report.submission_id,
                )
            else:
                is_checkin = item.content.form_id == contract.checkin.form_id
                said = (followup.read_checkin if is_checkin else map_submission)(contract, item.content)
                named = crosswalk.told(contract, item.event, item.content, said.values)
                report = _of_submission(item, item.content, said.values, said.contradictions, named.identifiers)
                if is_checkin:
                    report = _of_checkin(item, report)
        except Exception as error:  # noqa: BLE001 - one poison event must not hold a batch; it is named dead, not hidden
            found.dead[item.event_id] = where(error)
            continue
        found.reports[item.event_id] = report
        problems = [f"{problem.field}:{problem.cause}" for problem in said.problems] + [NOT_THEIRS] * named.refused
        if problems:
            found.problems[item.event_id] = problems
    return found


def _of_submission(
    item: Claimed, submission: Submission, values: dict[str, Any], contradictions, identifiers
) -> Reported:
    return Reported(
        event_id=item.event_id,
        submission_id=submission.submission_id,
        form_version=submission.form_version,
        status=submission.status,
        authored_at=submission.authored_at,
        # When the form's own server had it, as the event says: ages and freshness are then the same at every replay.
        received_at=min(submission.received_at or item.received_at, item.received_at),
        time_zone=submission.time_zone,
        values=values,
        contradictions=contradictions,
        record_id=item.record_id,
        identifiers=identifiers,
    )


def _of_checkin(item: Claimed, report: Reported) -> Reported:
    """As told by who is under treatment. Where the form's own server does not say when it had it, the event does."""
    assert isinstance(item.content, Submission)
    at = item.content.received_at or item.event.occurred_at
    return replace(report, source=FOLLOWUP, received_at=min(at, item.received_at))


def _of_change(
    item: Claimed, change: Change, values: Mapping[str, Any], voice: str, fact: medication.Fact | None, identifiers
) -> Reported:
    return Reported(
        event_id=item.event_id,
        submission_id=f"{change.kind}/{change.remote_id}",
        form_version="",
        status="deleted" if change.is_deleted else "completed",
        authored_at=change.seen_at,
        received_at=min(change.seen_at, item.received_at),
        time_zone="",
        values=dict(values),
        record_id=item.record_id,
        source=SPEAKERS.get(change.system, change.system) if fact is None else fact.source,
        voice=voice,
        medication=None if fact is None else fact.to_doc(),
        identifiers=identifiers,
    )
