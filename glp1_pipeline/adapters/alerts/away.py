"""Our own store is away, or takes no write: told without it, from a note on disk, and written into it when it is back.

By the same rules as all else (`domain.alerts`): only where the incident is kept differs. The note lies on this machine:
where several machines look, each tells. Who is killed between a channel's answer and the note has it sent once more.
Not here: what is asked of a store that answers (`measure`).
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from psycopg import Connection

from glp1_pipeline.adapters.store import must_take_writes
from glp1_pipeline.domain.alerts import Book, Change, Incident, Measured, judge

from .incidents import link, save
from .messages import SENT, Message, Sent, Ways, letter, retry_seconds

WATCH = "store_access"
"""Of the alert that this is about: the one question that no statement can answer."""

_NEEDS_ROOM = "create temp table room on commit drop as select repeat('x', 1000) from generate_series(1, 1000)"
"""On a full disk what is small is still taken, here and there."""


@dataclass
class Note:
    """What is known of the time that the store is away."""

    since: datetime
    """First look that found it away."""
    incident: Incident | None = None
    """Once it lasted long enough to call somebody."""
    letters: list[Letter] = field(default_factory=list)


@dataclass
class Letter:
    """One message over one channel."""

    notification_id: str
    news: str
    channel: str
    title: str
    text: str
    written_at: datetime
    tries: int = 0
    next_at: datetime | None = None
    sent_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        return self.sent_at is None and (self.next_at is None or self.next_at <= now)


@dataclass
class Absence:
    """Whoever looks, and finds that the store answers or does not."""

    folder: Path
    """Of the installation on this machine, where the note lies."""
    book: Book
    ui: str
    data: Path | None = None
    """A folder on the disk of the store, where that is one of this machine."""
    _unwritten: Note | None = field(default=None, repr=False)
    """Where the disk is full, which may be why the store is away: then who stays (`glp1 alerts watch`) remembers it."""

    @property
    def _path(self) -> Path:
        return self.folder / "store-away.json"

    def lasts(self, ways: Ways, now: datetime | None = None) -> Sent:
        """The store does not answer: note it, and tell whoever is on call once it is for long enough."""
        now = now or datetime.now(UTC)
        done = Sent()
        with self._alone(waits=False) as is_alone:
            if not is_alone:
                return done  # another look is at it
            note = self._read() or Note(now)
            for change in self._judge(note, now):
                note.incident = change.incident
                note.letters += self._letters(change, now)
            self._write(note)
            for letter_ in note.letters:
                if letter_.is_due(now) and letter_.channel in ways.names:
                    outcome = ways.send(letter_.channel, self._message(letter_, note))
                    letter_.tries += 1
                    letter_.next_at = now + timedelta(seconds=retry_seconds(letter_.tries))
                    letter_.sent_at = datetime.now(UTC) if outcome == SENT else None
                    self._write(note)
                    done.sent += outcome == SENT
                    if outcome != SENT:
                        done.failed[outcome] += 1
            done.without_address = tuple(sorted({one.channel for one in note.letters} - {*ways.names}))
        return done

    def is_over(self, connection: Connection[Any]) -> bool:
        """The store answers: keep the incident that was told meanwhile as any other, whose end the next looks tell.
        Whether there was one. StoreGone, or the driver's own error, where it takes no write: then it is not over."""
        must_take_writes(connection, self.data)
        if not self._path.exists() and self._unwritten is None:
            return False
        with self._alone(waits=True):
            note = self._read()
            with connection.transaction():
                connection.execute(_NEEDS_ROOM)
                if note and note.incident:
                    self._keep(connection, note, note.incident)
            self._path.unlink(missing_ok=True)
            self._unwritten = None
        return note is not None and note.incident is not None

    def incident(self) -> Incident | None:
        """What was told of it on this machine and stands in no database yet."""
        with self._alone(waits=True):
            note = self._read()
        return note.incident if note else None

    def acknowledge(self, by: str, now: datetime | None = None) -> Incident | None:
        """Note who is at it; who was first stays. None: nothing of it was told on this machine."""
        with self._alone(waits=True):
            note = self._read()
            if note is None or note.incident is None:
                return None
            if note.incident.acknowledged_at is None:
                note.incident = replace(note.incident, acknowledged_at=now or datetime.now(UTC), acknowledged_by=by)
                self._write(note)
            return note.incident

    # ---- what follows from it

    def _judge(self, note: Note, now: datetime) -> list[Change]:
        found = [
            Measured(alert.name, "", 1, note.since) for alert in self.book.alerts.values() if alert.watches == WATCH
        ]
        open_ = [note.incident] if note.incident else []
        return judge(self.book, found, {one.alert: None for one in found}, open_, now)

    def _letters(self, change: Change, now: datetime) -> list[Letter]:
        if change.kind == "kept":
            return []
        channels, title, text = letter(self.book, change, self.ui, now)
        return [Letter(str(uuid.uuid4()), change.kind, channel, title, text, now) for channel in channels]

    def _message(self, one: Letter, note: Note) -> Message:
        incident = note.incident
        assert incident is not None, "there is no letter without one"
        return Message(
            one.notification_id, one.news, one.title, one.text, incident.alert, incident.scope, incident.severity,
            incident.owner, link(self.book, incident, self.ui),
        )  # fmt: skip

    def _keep(self, connection: Connection[Any], note: Note, incident: Incident) -> None:
        """Once, whoever dies before the note is gone. Where one is open still, since it went away again at once, it is
        that one, and did not end."""
        row = connection.execute(
            "select incident_id from ops.incidents where alert = %s and scope = %s"
            " and (resolved_at is null or opened_at = %s) order by resolved_at nulls first limit 1 for update",
            (incident.alert, incident.scope, incident.opened_at),
        ).fetchone()
        if row is None:
            (kept,) = save(connection, self.book, [Change("opened", incident)], self.ui)
            save(connection, self.book, [replace(kept, kind="kept")], self.ui)  # it may have been escalated
            number = kept.incident.incident_id
        else:
            (number,) = row
            connection.execute(
                "update ops.incidents set calm_since = null where incident_id = %s and resolved_at is null", (number,)
            )
        connection.execute(
            "update ops.incidents set acknowledged_at = %s, acknowledged_by = %s"
            " where incident_id = %s and resolved_at is null and acknowledged_at is null",
            (incident.acknowledged_at, incident.acknowledged_by, number),
        )
        for one in note.letters:
            connection.execute(
                "insert into ops.notifications (notification_id, incident_id, news, channel, title, message, status,"
                " written_at, next_at, settled_at, tries) values (%s, %s, %s, %s, %s, %s, %s, %s, now(), %s, %s)"
                " on conflict do nothing",
                (one.notification_id, number, one.news, one.channel, one.title, one.text,
                 "sent" if one.sent_at else "waiting", one.written_at, one.sent_at, one.tries),
            )  # fmt: skip

    # ---- the note

    @contextmanager
    def _alone(self, waits: bool) -> Iterator[bool]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self.folder, os.O_RDONLY)  # a lock that needs no room on a full disk
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(folder)

    def _read(self) -> Note | None:
        if self._unwritten is not None or not self._path.exists():
            return self._unwritten
        try:
            told = orjson.loads(self._path.read_bytes())
            incident = told["incident"] and Incident(**_instants(told["incident"]))
            letters = [Letter(**_instants(one)) for one in told["letters"]]
            return Note(datetime.fromisoformat(told["since"]), incident, letters)
        except (ValueError, TypeError, KeyError):
            # Of another release, or broken: what it tells is told anew, and no look may fail for it.
            return None

    def _write(self, note: Note) -> None:
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                file.write(orjson.dumps(asdict(note)))
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o600)
            draft.replace(self._path)
        except OSError:
            self._unwritten = note  # somebody must be called all the same
        else:
            self._unwritten = None


def _instants(told: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if value and (name.endswith("_at") or name == "calm_since") else value
        for name, value in told.items()
    }
