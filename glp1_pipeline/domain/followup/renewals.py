"""What followed a check-in: a refill that was approved or ordered, and whether somebody asked for the next since.

A refill that followed has used the check-in; until the next one is asked for it may grow old.
Here: when that was, of one treatment. Not here: how requests are decided and end (`refill`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ..chart import Reported, in_order
from ..contract import Contract
from ..medication import Course

OF_REQUESTS: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:glp1-pipeline:refill")


def request_id(record_id: str, refill_id: str) -> str:
    """Ours of a request: two senders may use one id for two people."""
    return str(uuid.uuid5(OF_REQUESTS, f"{record_id}|{refill_id}"))


class Grant(NamedTuple):
    """A refill that was approved, or ordered."""

    at: datetime
    answered: int
    """How many requests had been made until then."""


class Renewals(NamedTuple):
    granted: tuple[Grant, ...]
    """In order of time, as are the next."""
    requested: tuple[datetime, ...]

    def last(self, after: datetime, at: datetime) -> Grant | None:
        """The last that was granted after a moment and not after another."""
        return max((one for one in self.granted if after < one.at <= at), default=None)

    def asked(self, since: Grant, at: datetime) -> datetime | None:
        """When somebody asked for the next, not after a moment."""
        return min((one for one in self.requested[since.answered :] if one <= at), default=None)


def renewals_of(contract: Contract, course: Course, reports: Iterable[Reported], as_of: datetime) -> Renewals:
    """An approval counts of the newest request alone: who approves one that another took the place of leaves that
    other waiting."""
    words = (report for report in reports if report.refill is not None and report.received_at <= as_of)
    requested, granted = list[datetime](), list[Grant]()
    known, newest = set[str](), ("", "")
    for report in in_order(words):
        doc, at = report.refill or {}, report.received_at.astimezone(UTC)
        if doc["kind"] == "requested" and doc["refill_id"] not in known:
            family = contract.medication.family_of(doc["product"])
            if family is not None and family.family == course.family:
                newest = (doc["refill_id"], request_id(report.record_id, doc["refill_id"]))
                known |= {*newest}
                requested.append(at)
        elif doc["kind"] == "approved" and doc["refill_id"] in newest:
            granted.append(Grant(at, len(requested)))
    if course.accepted is not None:
        at = course.stands_since(course.accepted.event_id, course.accepted.at)
        granted.append(Grant(at, sum(one < at for one in requested)))
    return Renewals(tuple(sorted(granted)), tuple(requested))
