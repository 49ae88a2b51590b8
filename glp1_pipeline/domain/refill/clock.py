"""The patient's own clock: the next moment at which something about them changes by itself.

A moment becomes an event of the pipeline when it is reached, once; all else follows from the events. What is known of
a check-in's moment is its name: where days or zones are corrected, nobody is reminded a second time.
Here: which moment is next. Not here: looking at the time (the store's clock is an argument of its reader).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..chart import Reported
from ..contract import PIPELINE, Contract
from ..followup import FollowUp, days_later
from ..zones import zone_of
from .facts import said
from .inputs import Snapshot, gather
from .requests import Refill, next_change

SOURCE = f"/{PIPELINE}/clock"
"""Of the events that moments become."""
OPENS, DUE, MISSED = "followup.requested", "followup.due", "followup.missed"
WINDOW, EXPIRED, OVERRIDE = "refill.window_opened", "refill.input_expired", "refill.override_expired"
AGAIN = "weight_until"
"""How the name of the exception begins that asks for a check-in again."""
OF_MOMENT = {"opens": OPENS, "due": DUE, "missed": MISSED}


@dataclass(frozen=True, slots=True, order=True)
class Tick:
    at: datetime
    moment: str
    """The type of the event that it becomes."""
    of: str
    """Id of the check-in or the request."""
    name: str
    """Which of its moments: of a check-in the reminder's name, else the moment's, and until when its weight was recent;
    of a request when it is."""
    record_id: str
    """To whose record the event will belong."""


def next_tick(
    contract: Contract, known: Snapshot, refills: Iterable[Refill], reports: Sequence[Reported]
) -> Tick | None:
    """The earliest that no event tells of yet; it may lie in the past. At one hour requests come before check-ins, so
    that who asks what a request waits for hears it."""
    reached = {(s.doc["moment"], s.doc["of"], s.doc["name"]) for s in said(reports) if s.kind == "reached"}
    ticks = {tick for one in known.follow_ups for tick in _of_followup(contract, known, one)}
    ticks |= {tick for one in refills for tick in _of_refill(contract, known, one)}
    left = (tick for tick in ticks if (tick.moment, tick.of, tick.name) not in reached)
    return min(left, key=lambda tick: (tick.at, tick.moment in OF_MOMENT.values(), tick), default=None)


def _of_followup(contract: Contract, known: Snapshot, one: FollowUp) -> Iterable[Tick]:
    """While nobody answered: each reminder of it, the opening and the exception among them. Of one that was answered
    the exception alone, when its weight grows too old: its name is the last day of that weight, and no reminder's."""
    if not one.is_live:
        return
    if one.answered_at is not None:
        if one.again_at is not None and one.weight_until is not None:
            name = f"{AGAIN}-{one.weight_until.isoformat()}"
            yield Tick(one.again_at, MISSED, one.followup_id, name, one.record_id)
        return
    zone = zone_of(contract, known.chart)
    at = {"opens": one.moments.opens_at, "due": one.moments.due_at, "missed": one.moments.missed_at}
    named = {(reminder.moment, reminder.days_after): reminder.name for reminder in contract.followups.reminders}
    for (moment, days), name in ({("opens", 0): "opens", ("due", 0): "due", ("missed", 0): "missed"} | named).items():
        reached_at = days_later(contract.followups, at[moment], days, zone)
        yield Tick(reached_at, OF_MOMENT[moment], one.followup_id, name, one.record_id)


def _of_refill(contract: Contract, known: Snapshot, one: Refill) -> Iterable[Tick]:
    if not one.is_open or not one.made:
        return
    given = [override for override in one.overrides if override.since <= known.as_of]
    inputs = gather(contract, known, one.product)
    at = next_change(contract, known, one.product, inputs, one.decision, given, known.as_of)
    if at is None:
        return
    if one.decision.until is not None and at == one.decision.until:
        moment = WINDOW
    else:
        moment = OVERRIDE if any(override.expires_at == at for override in given) else EXPIRED
    yield Tick(at, moment, one.refill_id, at.astimezone(UTC).isoformat(), one.record_id)
