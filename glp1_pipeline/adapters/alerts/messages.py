"""Messages about incidents: each a row first, in the transaction of its incident, then sent once per channel.

A row is leased, sent and settled. Who is killed before the call costs the lease: then another sends it. Who is killed
between the channel's answer and our commit has it sent once more: a webhook's receiver knows the copy by its id.
Not here: the addresses (`channels`), and the words (`domain.alerts`).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from psycopg import Connection

from glp1_pipeline.domain.alerts import Book, Change, body_of, called, on_call, title_of

from ..outlet import SENT
from .incidents import link

LEASE_SECONDS = 60
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 15, 900
GIVE_UP_HOURS = 24


def retry_seconds(tries: int) -> float:
    """How long after so many tries the next one is due."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(tries - 1, 20), MAX_RETRY_SECONDS)


class Message(NamedTuple):
    """What a channel is given. Names, counts, ages and links alone."""

    notification_id: str
    news: str
    title: str
    text: str
    alert: str
    scope: str
    severity: str
    owner: str
    link: str


class Ways(Protocol):
    """Where messages go: `channels.Channels`."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def faults(self) -> tuple[str, ...]: ...

    def send(self, channel: str, message: Message) -> str:
        """`sent`, or the class of the trouble."""
        ...


@dataclass
class Sent:
    """Counts of one call."""

    sent: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Class of trouble -> tries; they are tried again."""
    given_up: int = 0
    without_address: tuple[str, ...] = ()
    """Channels that have messages waiting and no address here."""
    faults: tuple[str, ...] = ()
    """What is wrong with the addresses, in sentences."""

    def __add__(self, other: Sent) -> Sent:
        """What was done in both, and how it stands after the other."""
        return Sent(
            self.sent + other.sent, self.failed + other.failed, self.given_up + other.given_up, other.without_address,
            other.faults,
        )  # fmt: skip


def write(connection: Connection[Any], book: Book, change: Change, ui: str, now: datetime) -> int:
    """The rows that a change calls for, in the caller's transaction."""
    one = change.incident
    if change.kind == "kept":
        return 0
    channels, title, text = letter(book, change, ui, now)
    if change.kind == "resolved":
        rows = connection.execute(
            "select distinct channel from ops.notifications where incident_id = %s order by 1", (one.incident_id,)
        ).fetchall()
        channels = [channel for (channel,) in rows]
    for channel in channels:
        _insert(connection, one.incident_id, change.kind, channel, title, text)
    return len(channels)


def letter(book: Book, change: Change, ui: str, now: datetime) -> tuple[list[str], str, str]:
    """The channels of whoever is called for a change, and what they are told: title and text."""
    one = change.incident
    team = called(book, one, is_escalation=change.kind == "escalated")
    alert = book.alerts.get(one.alert)
    who = on_call(team, now) if team else one.called
    news = "opened" if change.kind == "kept" else change.kind
    text = body_of(alert, one, news, who, link(book, one, ui), now)
    return list(dict.fromkeys(team.channels)) if team else [], title_of(alert, one, news), text


def write_test(connection: Connection[Any], channels: Iterable[str]) -> dict[str, str]:
    """A test message for each channel; channel -> id of its message."""
    text = "This is a test of the alerts. Nothing is wrong, and nobody needs to do anything."
    return {
        name: _insert(connection, None, "test", name, "[test] Alerts reach this channel", text) for name in channels
    }


def _insert(
    connection: Connection[Any], incident_id: int | None, news: str, channel: str, title: str, text: str
) -> str:
    notification_id = str(uuid.uuid4())
    connection.execute(
        "insert into ops.notifications (notification_id, incident_id, news, channel, title, message, status,"
        " written_at, next_at) values (%s, %s, %s, %s, %s, %s, 'waiting', clock_timestamp(), now())"
        " on conflict (incident_id, news, channel) do nothing",
        (notification_id, incident_id, news, channel, title, text),
    )
    return notification_id


def send(connection: Connection[Any], ways: Ways, deadline: float = 20.0) -> Sent:
    """Send what is due, beginning none after `deadline` seconds. Several processes may call it at once."""
    done = Sent(faults=ways.faults)
    ends, asked = time.monotonic() + deadline, {*ways.names}
    done.given_up = connection.execute(
        "update ops.notifications set status = 'given_up', settled_at = now(),"
        " last_class = coalesce(last_class, 'no_address') where status = 'waiting'"
        " and (leased_until is null or leased_until < now())"
        " and written_at < now() - make_interval(hours => %s)",
        (GIVE_UP_HOURS,),
    ).rowcount
    while time.monotonic() < ends:
        token = uuid.uuid4()
        message = _claim(connection, asked, token)
        if message is None:
            break
        channel, content = message
        outcome = ways.send(channel, content)
        _settle(connection, content.notification_id, token, outcome)
        if outcome == SENT:
            done.sent += 1
        else:
            done.failed[outcome] += 1
            asked.discard(channel)  # its next message may take as long to fail, while other channels wait
    rows = connection.execute(
        "select distinct channel from ops.notifications where status = 'waiting' and not channel = any(%s) order by 1",
        (list(ways.names),),
    ).fetchall()
    done.without_address = tuple(channel for (channel,) in rows)
    return done


def _claim(connection: Connection[Any], channels: Iterable[str], token: uuid.UUID) -> tuple[str, Message] | None:
    """The next that is due and has an address; the end of an incident is not told before its beginning."""
    row = connection.execute(
        "update ops.notifications n set token = %(token)s, tries = n.tries + 1,"
        " leased_until = now() + make_interval(secs => %(lease)s) where n.notification_id = (select m.notification_id"
        " from ops.notifications m where m.status = 'waiting' and m.channel = any(%(channels)s) and m.next_at <= now()"
        " and (m.leased_until is null or m.leased_until < now()) and not exists (select from ops.notifications e"
        "  where e.incident_id = m.incident_id and e.channel = m.channel and e.status = 'waiting'"
        "  and e.written_at < m.written_at)"
        " order by m.tries, m.written_at limit 1 for update skip locked)"
        " returning n.channel, n.notification_id, n.news, n.title, n.message, n.incident_id",
        {"token": token, "lease": LEASE_SECONDS, "channels": list(channels)},
    ).fetchone()
    if row is None:
        return None
    channel, notification_id, news, title, text, incident_id = row
    of = connection.execute(
        "select alert, scope, severity, owner, link from ops.incidents where incident_id = %s", (incident_id,)
    ).fetchone()
    return channel, Message(str(notification_id), news, title, text, *(of or ("test", "", "warning", "", "")))


def _settle(connection: Connection[Any], notification_id: str, token: uuid.UUID, outcome: str) -> None:
    connection.execute(
        "update ops.notifications set status = case when %(is_sent)s then 'sent' else 'waiting' end,"
        " settled_at = case when %(is_sent)s then now() end, last_class = %(outcome)s, token = null,"
        " leased_until = null,"
        " next_at = now() + make_interval(secs => least(%(first)s * power(2, tries - 1), %(most)s))"
        " where notification_id = %(id)s and token = %(token)s",
        {"is_sent": outcome == SENT, "outcome": outcome, "id": notification_id, "token": token,
         "first": FIRST_RETRY_SECONDS, "most": MAX_RETRY_SECONDS},
    )  # fmt: skip


def unsent(connection: Connection[Any]) -> dict[str, int]:
    """Messages that wait for longer than a look and a send take, and those of the last day that were given up."""
    row = connection.execute(
        "select count(*) filter (where status = 'waiting' and written_at < now() - interval '2 minutes'),"
        " count(*) filter (where status = 'given_up' and settled_at > now() - interval '1 day') from ops.notifications"
    ).fetchone()
    late, given_up = row or (0, 0)
    return {"messages late": late, "messages given up": given_up}


def outcomes(connection: Connection[Any], notification_ids: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Id -> status and class of the last attempt."""
    rows = connection.execute(
        "select notification_id::text, status, last_class from ops.notifications"
        " where notification_id = any(%s::uuid[])",
        (list(notification_ids),),
    ).fetchall()
    return {name: (status, last) for name, status, last in rows}
