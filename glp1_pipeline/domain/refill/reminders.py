"""Reminders of check-ins: which are asked for, over which channel, and whether somebody should still send them.

One is made of the event by which the patient's own clock reached its moment in time, so once for ever; loaded history
has none. Whoever may not be reached any more is not reached again by consenting anew.
Here: pure decisions. Not here: when a moment is reached (`clock`), and how a request to remind looks (`outward`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..chart import Chart, Reported
from ..contract import Contract
from ..followup import FollowUp, days_later
from ..voices import is_given
from ..zones import zone_of
from .facts import Said
from .inputs import Snapshot

Channel = Literal["sms", "email"]
Status = Literal["active", "completed", "revoked"]
"""completed: answered, or over; revoked: the patient may not be reached by it any more."""
SETTLED: Final = timedelta(days=60)
"""So long after it was over, no later word changes what was told of a reminder or a request."""
CONSENT, OPTED_OUT = "consent.sms", "do_not_contact"
REACHED_BY: Final[Mapping[Channel, str]] = {"sms": "demo.mobile", "email": "demo.email"}
_ASKED: Final = frozenset((CONSENT, OPTED_OUT, *REACHED_BY.values()))


@dataclass(frozen=True, slots=True)
class Reminder:
    """One that is or was asked for."""

    followup_id: str
    """Of the check-in as it was known when the reminder was asked for."""
    name: str
    """Of contracts/followups.yaml."""
    text: str
    at: datetime
    until: datetime
    """The exception, as far from the reminder as the days say: a later change of the zone moves neither."""
    channel: Channel
    status: Status


def reached(known: Snapshot, words: Iterable[Said]) -> Iterator[tuple[Said, FollowUp | None]]:
    """Each moment of a check-in that the clock reached in time, with the check-in: None where its supply never was, and
    where the same reminder was asked for already, while only the order of the supply was known."""
    by_id = {one.followup_id: one for one in known.follow_ups}
    by_order = {one.stands_for: one for one in known.follow_ups if one.stands_for}
    asked: set[tuple[str, str]] = set()
    for word in words:
        if word.kind == "reached" and word.doc["moment"].startswith("followup.") and not word.doc["is_late"]:
            one = by_id.get(word.doc["of"]) or by_order.get(word.doc["of"])
            if one is not None and (word.at <= one.began_at or (one.followup_id, word.doc["name"]) in asked):
                one = None
            if one is not None:
                asked.add((one.followup_id, word.doc["name"]))
            yield word, one


def is_settled(known: Snapshot, over_at: datetime | None) -> bool:
    return over_at is not None and over_at < known.as_of - SETTLED


def over_at(one: FollowUp) -> datetime:
    """When nobody needs to be reminded any more: it was answered, missed, or followed by the next."""
    return min(at for at in (one.answered_at, one.moments.missed_at, one.ended_at) if at is not None)


def reminder_of(
    contract: Contract,
    known: Snapshot,
    word: Said,
    one: FollowUp,
    reports: Iterable[Reported],
    chart_at: Callable[[datetime], Chart],
    was_asked: bool,
) -> Reminder | None:
    """What a moment that was reached asks for, where a reminder is declared for it.

    `chart_at`: the chart as it was known then. `was_asked`: the reminder was asked for before; what we hear late of a
    time before its moment ends it, and does not undo it.
    """
    declared = next(reminder for reminder in contract.followups.reminders if reminder.name == word.doc["name"])
    at, over = word.at, over_at(one)
    if over <= at and not was_asked:
        return None
    later = [r for r in reports if r.received_at > at and not r.is_draft and not _ASKED.isdisjoint(r.values)]
    channel = _channel(chart_at(at) if later else known.chart)
    if channel is None:
        return None
    withdrawn_at = min((report.received_at for report in later if _withdraws(report, channel)), default=None)
    if withdrawn_at is not None and withdrawn_at < over:
        status: Status = "revoked"
    else:
        status = "completed" if over <= known.as_of else "active"
    moment = {"opens": one.moments.opens_at, "due": one.moments.due_at, "missed": one.moments.missed_at}
    zone = zone_of(contract, known.chart)
    due_at = days_later(contract.followups, moment[declared.moment], declared.days_after, zone)
    until = at + max(one.moments.missed_at - due_at, timedelta(0))
    return Reminder(word.doc["of"], declared.name, declared.text, at, until, channel, status)


def _channel(chart: Chart) -> Channel | None:
    """By text message where the patient agreed to that and has a phone for it; else by e-mail."""
    if chart.get(OPTED_OUT) is True:
        return None
    consent = chart.get(CONSENT)
    may_text = isinstance(consent, Mapping) and consent.get("status") == "given"
    ways: tuple[Channel, ...] = ("sms", "email") if may_text else ("email",)
    return next((way for way in ways if chart.get(REACHED_BY[way])), None)


def _withdraws(report: Reported, channel: Channel) -> bool:
    """Whether a later word takes the permission back. Of two readings of a consent the one that permits less."""
    consent: Any = report.values.get(CONSENT)
    if channel == "sms" and consent is not None and consent.get("null") != "absent" and not is_given(consent):
        return True
    return report.values.get(OPTED_OUT, {}).get("value") is True
