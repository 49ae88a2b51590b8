"""The event, the submission, the refusal; and the checks that both kinds of document share.

Here: the types, and reading one key with a reason and a hint when it is wrong. Not here: which keys a kind of document
has (`envelope`, `questionnaire`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from ..contract import Contract

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "not_an_object": "The document is no JSON object.",
        "wrong_shape": "A key is missing, or has a value of another kind than it must.",
        "unknown_type": "The contract has no such event type.",
        "unknown_form": "The contract has no such form.",
        "unknown_version": "The contract has no such version of the form; it is never guessed.",
        "unknown_status": "The submission's status is none that we know.",
        "missing_subject": "Nothing says whose submission it is.",
        "missing_submission_id": "The submission has no id of its own.",
        "missing_supersedes": "An amendment does not say what it amends.",
        "unknown_record": "A record's id is none of ours.",
        "not_allowed": "Whoever says it may not say it, by the contract.",
        "bad_time": "A time is missing, has no offset or one over 14 hours, or is not of this century.",
    }
)
TOKEN = re.compile(r"[A-Za-z0-9._:/|#~+=%?&-]{1,255}")
"""Ids that may stand in a table or a log. No `@` and no space: an address or a name is not opaque."""
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
WIDEST_OFFSET = timedelta(hours=14)
"""No clock on earth is further from UTC; Postgres refuses what is much further."""
STATUSES = ("completed", "in-progress")
LONGEST_SECONDS = 10_000_000


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
    """completed, in-progress or amended."""
    authored_at: datetime
    received_at: datetime | None
    time_zone: str
    channel: str
    locale: str
    ab_variant: str
    duration_s: int | None
    supersedes: str | None
    answers: dict[str, Any]
    client_submission_id: str = ""
    device: Any = None


@dataclass(frozen=True, slots=True)
class Change:
    """What another system says of a person now: one version of one of its resources."""

    system: str
    """ehr, crm, or steward."""
    kind: str
    """FHIR resource type, `contact`, `field`, or `task`."""
    remote_id: str
    version: str
    is_deleted: bool
    seen_at: datetime
    """When that system says it changed."""
    content: dict[str, Any]
    record_id: str | None = None
    """Our record, where whoever noticed the change knew it."""
    actor: str = ""
    identifiers: tuple[tuple[str, str], ...] = ()
    """What else that system knows the person by: system and value."""
    sent: dict[str, Any] = field(default_factory=dict)
    """The content as we wrote it there last: what still stands so was only carried along."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided of two records: that they are one patient, are two again, or never were one; or that it is
    asked anew, since another system made them one."""

    action: Literal["merge", "unmerge", "not_a_match", "asked"]
    records: tuple[str, str]
    """The survivor first."""
    actor: str
    reason: str
    decided_at: datetime


Content = Submission | Change | Decision


def as_record(raw: Any) -> str | None:
    """A record's id as we write it; None for what cannot be one."""
    try:
        return str(uuid.UUID(raw))
    except (ValueError, TypeError, AttributeError):
        return None


def read_token(raw: Any, key: str, reason: str) -> str:
    if not isinstance(raw, str) or not TOKEN.fullmatch(raw):
        hint = f"`{key}` must be a string of 1 to 255 letters, digits and . _ : / | # ~ + = % ? & - characters"
        raise Refused(reason, hint)
    return raw


def read_word(raw: Any, key: str) -> str:
    """An optional short text of the envelope: absent is empty."""
    if raw is None:
        return ""
    if not isinstance(raw, str) or len(raw) > 64 or not raw.isprintable() or not raw.isascii():
        raise Refused("wrong_shape", f"`{key}` must be a string of at most 64 plain characters, or be left out")
    return raw


def read_time(raw: Any, key: str) -> datetime:
    text = raw.upper() if isinstance(raw, str) else ""
    try:
        at = datetime.fromisoformat(text) if INSTANT.fullmatch(text) else None
    except ValueError:
        at = None
    if at is not None and abs(at.utcoffset() or timedelta()) > WIDEST_OFFSET:
        raise Refused("bad_time", f"`{key}` must have an offset of at most 14 hours from UTC")
    if at is None or not 2000 <= at.year < 2100:
        hint = f"`{key}` must be a time of this century as RFC 3339 with its offset, like 2026-01-31T09:30:00-06:00"
        raise Refused("bad_time", hint)
    return at


def read_day(raw: Any, key: str) -> date:
    hint = f"`{key}` must be a day of this century, like 2026-01-31"
    try:
        day = date.fromisoformat(raw if isinstance(raw, str) else "")
    except ValueError:
        raise Refused("bad_time", hint) from None
    if day.isoformat() != raw or not 2000 <= day.year < 2100:  # ISO has days of weeks, too, which sort otherwise
        raise Refused("bad_time", hint)
    return day


def read_duration(raw: Any) -> int | None:
    """Whole seconds, or None where it is none (an odd one is left to the mapping, which holds it by name)."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < LONGEST_SECONDS else None


def check_form(contract: Contract, form_id: Any, version: Any, keys: tuple[str, str], is_checkin: bool) -> None:
    form, versions = contract.form_id, contract.form_versions
    if is_checkin:
        form, versions = contract.checkin.form_id, contract.checkin.versions
    if form_id != form:
        raise Refused("unknown_form", f"`{keys[0]}` must name the form {form}")
    if version not in versions:
        raise Refused("unknown_version", f"`{keys[1]}` must name one of the form's versions: {', '.join(versions)}")
