"""What an event is once its bytes were understood, and why one may be refused.

Here: the envelope (CloudEvents 1.0), the two intake events, FHIR QuestionnaireResponse as intake, the reasons of
refusal. Not here: bytes, files and limits (`adapters.landing`), and what the answers mean (`mapping`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


class Refused(ValueError):
    """An event that cannot enter: `reason` names why, `hint` says how to mend it. Never carries a value."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason, self.hint = reason, hint


@dataclass(frozen=True, slots=True)
class Event:
    """The envelope of an accepted event, without its data."""

    source: str
    source_id: str
    type: str
    subject: str
    occurred_at: datetime
    version: str
    """Form version for intake events."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An intake submission as it came: raw answers by question id of its own form version."""

    submission_id: str
    form_id: str
    form_version: str
    status: str
    authored_at: datetime
    received_at: datetime | None
    time_zone: str
    channel: str
    locale: str
    ab_variant: str
    duration_s: int | None
    supersedes: str | None
    answers: dict[str, Any]
