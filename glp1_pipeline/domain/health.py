"""How each part of the road stands: green, amber or red, since when, whose it is, and what to do next.

A light says what the alerts would say if they looked now, so nobody has two opinions of one trouble. A part is amber
before its alert fires (at half the age), and red where the alert is critical or where nobody answered a warning. Here:
functions of what was counted and the time. Not here: counting (`adapters.health`), thresholds and owners (`contracts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from .alerts import Alert, Book, Incident, Measured, ago, judge, on_call, plain_scope
from .alerts.telling import age, counted

Colour = Literal["red", "amber", "green"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
"""Worst first."""
Kind = Literal["ledger", "feed", "queue", "gate", "target", "program"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PLACES: Mapping[str, tuple[Kind, str]] = {
    "waiting_events": ("ledger", "charting"),
    "dead_events": ("ledger", "charting"),
    "balance_faults": ("ledger", "balance"),
    "growing_conflicts": ("ledger", "disagreements"),
    "rejected_events": ("feed", "landing zone"),
    "landing_space": ("feed", "landing zone"),
    "landing_access": ("feed", "landing zone"),
    "silent_feeds": ("feed", "{}"),
    "polls": ("feed", "changes from {}"),
    "overdue_tasks": ("queue", "{}"),
    "open_reviews": ("queue", "likely matches"),
    "undelivered_writes": ("target", "{}"),
    "dead_writes": ("target", "{}"),
    "open_breakers": ("target", "{}"),
    "urgent_tasks": ("queue", "on-call"),
    "missed_checkins": ("queue", "check-ins"),
    "refills_against_hold": ("queue", "refill requests"),
    "late_clocks": ("program", "patients' clocks"),
    "evaluator": ("program", "sensor of alerts"),
    "store_access": ("program", "database"),
    "contract_faults": ("program", "contract"),
    "blind_alerts": ("program", "measuring"),
    "untaken_messages": ("program", "channel {}"),
}
"""What an alert watches -> the part that it is about; `{}` is its scope."""
STEPS: Mapping[str, tuple[str, str]] = {
    "waiting_events": ("See whether runs of intake start and end in the UI; what waits is charted by the next one.",
                       "glp1 events --status waiting"),
    "dead_events": ("Our code failed on them: mend it, then replay them.", "glp1 events --status dead"),
    "balance_faults": ("Keep the database as it is, stop, and call the on-call owner.", "glp1 reconcile"),
    "growing_conflicts": ("See who writes against the owner of which field, and talk to them.", "glp1 drift"),
    "rejected_events": ("See reason, file and line; have the source send it again under a new id.", "glp1 events"),
    "landing_space": ("Make room on the disk of the landing zone; nothing that is there may be deleted by hand.",
                      "df -h"),
    "landing_access": ("Mount what GLP1_LANDING_URL names, or mend its owner and mode: the sensor intake_drops says in"
                       " the UI what it lacks. Drops wait at the source meanwhile.", "glp1 health"),
    "silent_feeds": ("Ask whoever sends it whether it still does.", "glp1 reconcile --parts --no-ehr --no-crm"),
    "polls": ("See whether the system answers and whether its sensor is on.", "glp1 status"),
    "overdue_tasks": ("Staff the queue, or ask its lead whether the due time is right.", "glp1 tasks --overdue"),
    "open_reviews": ("Decide of each pair whether it is one person.", "glp1 match list"),
    "undelivered_writes": ("See what the target answers; they go out by themselves when it is well.", "glp1 metrics"),
    "dead_writes": ("See why it refused, mend that, then try them again.", "glp1 replay --dead-writes"),
    "open_breakers": ("See by the reason whether it is down, or our address, credentials or scope are wrong; changes"
                      " wait, and go out by themselves when it answers.", "glp1 status"),
    "urgent_tasks": ("Call the patient now; the task says for what. Then enter what was learned.",
                     "glp1 tasks --queue on-call"),
    "missed_checkins": ("Call these patients: their refill waits for it.", "glp1 followup list --status missed"),
    "refills_against_hold": ("See which, by which rule it was held, and ask who let it go on.",
                             "glp1 refill list --status approved --status dispensed"),
    "late_clocks": ("See whether the sensor patient_clocks runs; what was reached rings when it does.", "glp1 status"),
    "evaluator": ("See Deployment > Daemons in the UI; start the stack again if they are down.", "glp1 alerts check"),
    "store_access": ("See why it was away: its log, its disk, who stopped it.", "glp1 status"),
    "contract_faults": ("Mend the lines that the command names; then all goes on by itself, and nothing is lost.",
                        "glp1 dictionary"),
    "blind_alerts": ("See whether the database is slow or full: until then that alert cannot fire.", "glp1 status"),
    "untaken_messages": ("Who is called over it hears nothing: call them, and mend its address or its other end.",
                         "glp1 alerts test"),
}  # fmt: skip
BLIND, UNSEEN = (
    STEPS["blind_alerts"],
    ("See whether the sensor of alerts runs, and look yourself.", "glp1 alerts check"),
)
STALE_LOOKS = 3
"""So many looks missed, and what is counted only now and then is no longer known."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that can be well or not, and in numbers how it stands."""

    kind: Kind
    name: str
    says: str = ""
    """Counts and ages, never a value of a patient."""
    queue: str = ""
    """The work queue whose team it belongs to, where no alert says whose it is."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with it that no alert watches."""


@dataclass(frozen=True, slots=True)
class Fault:
    colour: Colour
    says: str
    step: str
    command: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Light:
    """One line for an ops lead."""

    kind: Kind
    name: str
    colour: Colour
    since: datetime | None
    """None: for as long as is known."""
    owner: str
    """Team."""
    called: str
    """Who is on call in it."""
    says: str
    step: str = ""
    command: str = ""
    runbook: str = ""
    incident_id: int | None = None
    acknowledged_by: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read to judge from."""

    parts: tuple[Part, ...]
    measured: tuple[Measured, ...] = ()
    asked: frozenset[str] = frozenset()
    """Alerts that were measured now."""
    blind: frozenset[str] = frozenset()
    """Alerts whose question failed or took too long."""
    looked_at: Mapping[str, datetime] = field(default_factory=dict)
    """Alert -> when the last look measured it."""
    incidents: tuple[Incident, ...] = ()
    ended_at: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    """(alert, scope) -> when its last incident ended."""


@dataclass(frozen=True, slots=True)
class Health:
    made_at: datetime
    lights: tuple[Light, ...]

    @property
    def counts(self) -> dict[Colour, int]:
        found = Counter(light.colour for light in self.lights)
        return {colour: found[colour] for colour in COLOURS}

    @property
    def colour(self) -> Colour:
        counts = self.counts
        return "red" if counts["red"] else "amber" if counts["amber"] else "green"


def judge_health(book: Book, seen: Seen, now: datetime) -> Health:
    """A light for each part, and for whatever an alert found that is no part yet; by kind, the worst first."""
    troubles: dict[tuple[Kind, str], list[tuple[str, Light]]] = {}
    for title, light in _troubles(book, seen, now):
        troubles.setdefault((light.kind, light.name), []).append((title, light))
    parts: dict[tuple[Kind, str], Part] = {(part.kind, part.name): part for part in seen.parts}
    for key in troubles:
        parts.setdefault(key, Part(*key))
    well_since = _well_since(book, seen)
    lights = [
        _light(book, part, troubles.get(key, []), well_since.get(key), now) for key, part in parts.items()
    ]  # fmt: skip
    order = lambda light: (KINDS.index(light.kind), COLOURS.index(light.colour), light.name)  # noqa: E731
    return Health(now, tuple(sorted(lights, key=order)))


def unreachable(book: Book, now: datetime) -> Health:
    """All that can be told when our own store does not answer."""
    owner, called = _whose(book, Part("ledger", "store"), now)
    says = "it does not answer, so nothing else is known"
    light = Light("ledger", "store", "red", None, owner, called, says, "Start it, or see why it is down.", "glp1 up")
    return Health(now, (light,))


def _light(
    book: Book, part: Part, troubles: list[tuple[str, Light]], well_since: datetime | None, now: datetime
) -> Light:
    """The worst of what is wrong with it; the rest is told beside it, and what several share is said once."""
    owner, called = _whose(book, part, now)
    found = troubles + [
        ("", Light(part.kind, part.name, f.colour, f.since, owner, called, f.says, f.step, f.command))
        for f in part.faults
    ]
    if not found:
        return Light(part.kind, part.name, "green", well_since, owner, called, part.says)
    found.sort(key=lambda one: (COLOURS.index(one[1].colour), one[1].since is None, one[1].since))
    told: dict[str, list[str]] = {}
    for title, one in found:
        told.setdefault(title or one.says, []).append(one.says if title else "")
    sentences = [title + (": " if any(says) else "") + ", ".join(filter(None, says)) for title, says in told.items()]
    return replace(found[0][1], says="; ".join(text for text in (*sentences, part.says) if text))


def _troubles(book: Book, seen: Seen, now: datetime) -> Iterable[tuple[str, Light]]:
    """Each with the title of its alert, where that is to be said."""
    looked = {name: seen.looked_at.get(name) for name in seen.asked}
    firing: set[tuple[str, str]] = set()
    for change in judge(book, seen.measured, looked, seen.incidents, now):
        one, alert = change.incident, book.alerts.get(change.incident.alert)
        if change.kind == "resolved" or alert is None:
            continue
        firing.add((one.alert, one.scope))
        if one.calm_since:
            says = f"well again, and watched for a while{_about(alert, one.scope)}"
            yield alert.title, _trouble(book, alert, one.scope, "amber", one.calm_since, says, now, one)
        else:
            is_red = one.severity == "critical" or one.escalated_at is not None
            nobody = ", and nobody answered" if one.escalated_at and not one.acknowledged_at else ""
            says = f"{counted(one.affected, alert.counts)}{_about(alert, one.scope)}{nobody}"
            yield (
                alert.title,
                _trouble(book, alert, one.scope, "red" if is_red else "amber", one.opened_at, says, now, one),
            )
    for one in seen.measured:
        alert, scope = book.alerts[one.alert], plain_scope(one.scope)
        if (one.alert, scope) in firing or one.count < alert.at_least or one.since is None:
            continue
        if ago(one.since, now) >= timedelta(minutes=alert.after_minutes) / 2:
            says = f"soon, {counted(one.count, alert.counts)}{_about(alert, scope)}"
            yield alert.title, _trouble(book, alert, scope, "amber", one.since, says, now)
    for name in sorted(seen.blind):
        unknown = _trouble(book, book.alerts[name], "", "amber", None, "could not be measured", now)
        yield "", replace(unknown, step=BLIND[0], command=BLIND[1])
    for alert in book.alerts.values():
        if not alert.every_minutes or alert.name in seen.asked:
            continue
        at = seen.looked_at.get(alert.name)
        if at is None or ago(at, now) > STALE_LOOKS * timedelta(minutes=alert.every_minutes):
            unknown = _trouble(book, alert, "", "amber", at, "nobody has looked for too long", now)
            yield "", replace(unknown, step=UNSEEN[0], command=UNSEEN[1])


def _trouble(
    book: Book, alert: Alert, scope: str, colour: Colour, since: datetime | None, says: str, now: datetime,
    incident: Incident | None = None,
) -> Light:  # fmt: skip
    kind, name = place(alert, scope)
    step, command = STEPS.get(alert.watches, ("See the runbook.", "glp1 alerts list"))
    number = incident.incident_id if incident else None
    return Light(
        kind, name, colour, since, *_of_alert(book, alert.name, scope, now), says, step, command, alert.runbook, number,
        incident.acknowledged_by if incident else None,
    )  # fmt: skip


def _about(alert: Alert, scope: str) -> str:
    """What it is about, where the part's own name does not tell it: several may be told in one line."""
    is_told = "{}" in PLACES.get(alert.watches, ("", ""))[1]
    return "" if is_told or not scope else f" ({scope})"


def place(alert: Alert, scope: str) -> tuple[Kind, str]:
    """The part that an alert is about. What watches something new is shown under its own title."""
    kind, name = PLACES.get(alert.watches, ("program", alert.title))
    # Where the measuring itself failed there is no scope.
    return kind, name.format(scope) if scope else name.replace("{}", "all").strip()


def _of_alert(book: Book, name: str, scope: str, now: datetime) -> tuple[str, str]:
    team = book.owner_of(book.alerts[name], scope)
    return team, on_call(book.teams[team], now)


def _whose(book: Book, part: Part, now: datetime) -> tuple[str, str]:
    """The team that would be called for it."""
    if part.queue:
        team = book.attending(part.queue)
        return team, on_call(book.teams[team], now)
    named = [a for a in book.alerts.values() if place(a, "")[0] == part.kind]
    exact = [a for a in named if place(a, "")[1] == part.name]
    return _of_alert(book, (exact or named or [*book.alerts.values()])[0].name, part.name, now)


def _well_since(book: Book, seen: Seen) -> dict[tuple[Kind, str], datetime]:
    """When the last trouble of each part ended."""
    found: dict[tuple[Kind, str], datetime] = {}
    for (name, scope), at in seen.ended_at.items():
        if name in book.alerts:
            key = place(book.alerts[name], scope)
            found[key] = max(at, found.get(key, at))
    return found


def in_words(since: datetime, now: datetime) -> str:
    return f"for {age(now - since)}"
