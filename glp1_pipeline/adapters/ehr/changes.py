"""What people change in the EHR becomes events in our ledger: each once, none lost, our own writes never.

A page is read, judged, and in one transaction the events and the place reached are kept: whoever is killed reads it
again, and the ledger knows what it had. Only our patients count: those whose Patient carries our identifier. Not here:
what the EHR says (`feed`), whose it is (`people`, `echoes`), how far we are (`window`), what nobody announces
(`sweep`), and what a change means (`domain.changes`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from ...domain.contract import Contract
from ...domain.events import Event
from ...domain.fhir import patient_key
from .. import ledger
from ..cipher import Cipher
from .echoes import Copy, Echoes, Verdict, key_of
from .ehr import Ehr
from .entries import Entry
from .events import MERGED, Heard, Told, asked, changed, merge_links, merged
from .feed import PAGE, Feed
from .people import People
from .window import Window

HISTORY_MARGIN = timedelta(seconds=1)
TOLD_APART = ("unmerge", "not_a_match")


@dataclass(slots=True)
class Polled:
    """Counts of one round."""

    changes: int = 0
    """Events that are new in the ledger; those of deletes and merges among them."""
    deletes: int = 0
    merges: int = 0
    echoes: int = 0
    """Our own writes come back."""
    strangers: int = 0
    """Versions of resources of patients who are none of ours."""
    later: int = 0
    """To be looked at again: a write of ours is under way."""
    swept: int = 0
    """Resources of ours that were read again to find what nobody announces."""
    is_complete: bool = True
    """Whether every kind was read up to its end."""
    is_elsewhere: bool = False
    """Another poller is at work; this one did nothing."""
    trouble: str = ""
    """Why it stopped early: the class of the EHR's failure."""
    lags: list[float] = field(default_factory=list)
    """Of each new event the seconds from the EHR's stamp to our ledger: two clocks, so a little off."""


class Poller:
    """One round through the changes of one EHR. `connection` is in autocommit mode."""

    def __init__(
        self,
        connection: Connection[Any],
        ehr: Ehr,
        contract: Contract,
        cipher: Cipher,
        target: str,
        page_size: int = PAGE,
    ) -> None:
        self.connection = connection
        self.contract = contract
        self.cipher = cipher
        self.target = target
        self.source = f"/ehr/{target}"
        self.feed = Feed(ehr, page_size)
        self.echoes = Echoes(connection, target, cipher.open)
        self.people = People(self.feed)
        self.polled = Polled()

    def poll(self, kind: str, is_over: Callable[[], bool]) -> None:
        """Go through one kind's changes, or through as many as time allows; the next round goes on there."""
        window = self._load(kind)
        if window.low is None and window.newest is None and (newest := self.feed.newest(kind)):
            window.see(newest, self.now())
        low, at = window.low, window.begin(self.now())
        if window.later:
            self._look_again(kind, window)
        for entries, reached in self.feed.changed(kind, at):
            window.position = reached
            self._take(kind, window, [e for e in entries if not window.is_met(e.remote_id, e.version)])
            if is_over():
                self.polled.is_complete = False
                return
        if low is not None and kind in self.feed.ehr.capability.types_with_history:
            deleted = self._deleted(kind, window, low)
            while some := list(islice(deleted, PAGE)):
                self._take(kind, window, some)
        began = window.began
        window.end()
        self._take(kind, window, [], through_at=began)

    def sift(self, entries: Iterable[Entry], known: dict[str, str] | None = None) -> tuple[list[Told], list[Entry]]:
        """The events of what others changed, and what is to be looked at again. `known`: record by `Type/id`."""
        entries = list(entries)
        records: dict[str, str | None] = self.people.records(entries) | (known or {})
        copies = self.echoes.copies({record for record in records.values() if record})
        theirs: list[tuple[Entry, str]] = []
        later: list[Entry] = []
        for entry in entries:
            record_id = records[entry.place] or ""
            if record_id not in copies:  # nobody's, or of a record that we never wrote there
                self.polled.strangers += 1
                continue
            self._end_conflicts(entry, copies[record_id])
            match self._verdict(entry, copies[record_id]):
                case Verdict.OURS:
                    self.polled.echoes += 1
                case Verdict.LATER:
                    later.append(entry)
                case Verdict.THEIRS:
                    theirs.append((entry, record_id))
        return self._tell(theirs, copies), later

    def _end_conflicts(self, entry: Entry, copies: list[Copy]) -> None:
        """Where they came to say what we say, and nobody has decided otherwise, there is nothing left to decide."""
        for copy in copies:
            for key, place in self.echoes.agreed(entry, copy).items():
                with self.connection.transaction():
                    whose = (self.target, copy.patient_id)
                    self.connection.execute(  # whoever holds the lane's row may change its copy
                        "select 1 from ops.lanes where target = %s and patient_id = %s for update", whose
                    )
                    self.connection.execute(
                        "update ops.copies set conflicts = conflicts - %(key)s::text, remote = remote || %(place)s"
                        " where target = %(target)s and patient_id = %(patient)s and planned ->> %(key)s = %(planned)s"
                        " and conflicts ? %(key)s::text and not conflicts -> %(key)s::text ? 'decision' and not exists"
                        " (select from ops.writes w where w.target = %(target)s and w.patient_id = %(patient)s"
                        "  and w.status in ('ready', 'in_doubt'))",
                        {
                            "key": key, "place": Jsonb({key: place}), "planned": copy.planned[key],
                            "target": whose[0], "patient": whose[1],
                        },
                    )  # fmt: skip

    def hear(self, entry: Entry, ours: dict[str, Any]) -> int:
        """Put what somebody changed into the ledger, before it is written over; how many events are new.

        `ours`: what of ours they changed.
        """
        record_id = self.people.records([entry])[entry.place]
        copies = self.echoes.copies([record_id] if record_id else [])
        if record_id not in copies:
            return 0
        told = self._tell([(entry, record_id)], copies, ours)
        with self.connection.transaction():
            return self.keep(told)

    def _verdict(self, entry: Entry, copies: list[Copy]) -> Verdict:
        return Verdict.THEIRS if entry.is_deleted else self.echoes.judge(entry, copies)

    def _tell(
        self, theirs: list[tuple[Entry, str]], copies: dict[str, list[Copy]], ours: dict[str, Any] | None = None
    ) -> list[Told]:
        fresh = self.not_yet_told(changed(self.source, e.place, e, None, "").id for e, _ in theirs)
        new = [(e, r) for e, r in theirs if changed(self.source, e.place, e, None, "").id in fresh]
        actors = self.feed.actors([entry for entry, _ in new if not entry.is_deleted])
        told: list[Told] = []
        for entry, record_id in new:
            actor = actors.get(entry.place, "")
            patient = self.people.patient_of(entry) or entry.place
            # A Patient is saved whole: what we wrote in it, perhaps of a merged record, is no word of who saves it.
            sent = ours or self.echoes.last_sent(entry, copies[record_id]) if entry.kind == "Patient" else None
            sent = sent and self.echoes.still_ours(sent, entry, copies[record_id], self.feed.ehr.version)
            patient = patient if "?" not in patient else entry.place
            one = changed(self.source, patient, entry, record_id, actor, sent)
            told.append(one if entry.is_deleted else one._replace(heard=heard_of(entry, copies[record_id])))
            if entry.kind == "Patient" and not entry.is_deleted:
                told += self._merges(entry, record_id, actor, copies[record_id])
        return [*{one.id: one for one in reversed(told)}.values()][::-1]  # both Patients tell of one merge

    def _merges(self, entry: Entry, record_id: str, actor: str, copies: list[Copy]) -> list[Told]:
        """The merges that a Patient tells of, but for those that we told the EHR of."""
        ours = self.echoes.links_sent(entry, copies)
        left = {(kind, link["reference"]) for kind, link in merge_links(self.echoes.last_sent(entry, copies) or {})}
        told = []
        for kind, reference in merge_links(entry.content):
            other = self.people.record_of_reference(reference)
            if other is None or other == record_id or (kind, patient_key(other)) in left:
                continue
            if other not in self.echoes.copies([other]):
                continue
            survivor, retired = (other, record_id) if kind == "replaced-by" else (record_id, other)
            newest = self._decided(survivor, retired)
            if newest in TOLD_APART:
                at = min(entry.stamp, self.now())
                told.append(asked(self.source, entry, survivor, retired, actor, at))
            elif newest != "asked" and (kind, patient_key(other)) not in ours:
                told.append(merged(self.source, entry, survivor, retired, actor))
        fresh = self.not_yet_told(one.id for one in told)
        return [one for one in told if one.id in fresh]

    def _decided(self, record_id: str, other: str) -> str | None:
        """What was decided last of two records."""
        row = self.connection.execute(
            "select action from phi.match_decisions where (record_a = %(one)s and record_b = %(two)s)"
            " or (record_a = %(two)s and record_b = %(one)s) order by decided_at desc, event_id desc limit 1",
            {"one": record_id, "two": other},
        ).fetchone()
        return row[0] if row else None

    def not_yet_told(self, ids: Iterable[str]) -> set[str]:
        """Those of these events of ours that the ledger does not have."""
        by_event = {self._event_id(one): one for one in ids}
        rows = self.connection.execute(
            "select event_id from phi.events where event_id = any(%s)", (list(by_event),)
        ).fetchall()
        return {by_event[e] for e in by_event.keys() - {event_id for (event_id,) in rows}}

    def _event_id(self, source_id: str) -> uuid.UUID:
        return ledger.event_id_of(Event(self.source, source_id, "", "", datetime.now(UTC), ""))

    def keep(self, told: list[Told]) -> int:
        """Into the ledger, in the caller's transaction; how many were new."""
        fresh = self.not_yet_told(one.id for one in told)
        self._note_heard([one for one in told if one.id in fresh])
        new = ledger.append(self.connection, self.contract, self.cipher, [one.document for one in told])
        self.polled.changes += new
        self.polled.deletes += sum(one.is_deleted for one in told)
        self.polled.merges += sum(one.type == MERGED for one in told)
        if told:
            now = self.now()
            self.polled.lags += [max(0.0, (now - one.stamp).total_seconds()) for one in told]
        return new

    def _note_heard(self, told: list[Told]) -> None:
        """That somebody changed what was ours, before it is read anew: the lane's lock is not needed for it."""
        rows = sorted((h.patient_id, h.key, str(self._event_id(one.id)), h.version) for one in told for h in one.heard)
        if rows:
            self.connection.execute(
                "update ops.copies c set heard = c.heard || u.h from (select p, jsonb_object_agg(k,"
                "  jsonb_build_object('event', e, 'version', v)) as h from unnest(%s::uuid[], %s::text[], %s::text[],"
                "  %s::text[]) as r(p, k, e, v) group by p) u where c.target = %s and c.patient_id = u.p",
                (*(list(column) for column in zip(*rows, strict=True)), self.target),
            )

    def _take(self, kind: str, window: Window, entries: list[Entry], through_at: datetime | None = None) -> None:
        """Judge what was read; its events and how far we are, in one transaction."""
        told, later = self.sift(entries)
        window.later |= {entry.remote_id for entry in later}
        self.polled.later += len(later)
        now = self.now()
        for entry in entries:
            window.note(entry.remote_id, entry.version, entry.stamp, now)
        with self.connection.transaction():
            new = self.keep(told)
            self.save(kind, window.low, window.dump(), new, through_at)

    def _look_again(self, kind: str, window: Window) -> None:
        there = self.feed.current([f"{kind}/{remote_id}" for remote_id in sorted(window.later)])
        window.later.clear()  # what is gone meanwhile is a deletion, and noticed as one
        self._take(kind, window, [entry for entry in there.values() if entry is not None])

    def _deleted(self, kind: str, window: Window, since: datetime) -> Iterator[Entry]:
        found: set[str] = set()
        for remote_id, version, stamp in self.feed.deletions(kind, since - HISTORY_MARGIN):
            if remote_id in found or window.is_met(remote_id, version):
                continue
            found.add(remote_id)
            last_version, last_stamp, content = self.feed.last_words(kind, remote_id)
            if last_version == version:  # else it was made again since
                at = last_stamp or stamp or self.now()
                yield Entry(kind, remote_id, version, at, content or {}, is_deleted=True)

    def now(self) -> datetime:
        """The database's clock."""
        row = self.connection.execute("select clock_timestamp()").fetchone()
        assert row is not None
        return row[0]

    def load(self, kind: str) -> tuple[datetime | None, dict[str, Any]]:
        row = self.connection.execute(
            "select since, seen from ops.poll_cursors where system = %s and kind = %s", (self.target, kind)
        ).fetchone()
        return (row[0], row[1]) if row else (None, {})

    def _load(self, kind: str) -> Window:
        return Window.load(*self.load(kind))

    def save(
        self, kind: str, since: datetime | None, seen: dict[str, Any], changes: int, through_at: datetime | None = None
    ) -> None:
        """Keep the place reached, in the caller's transaction. `through_at`: when a pass began that is now through."""
        self.connection.execute(
            "insert into ops.poll_cursors as c (system, kind, since, seen, polled_at, changes)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (system, kind) do update set since = excluded.since,"
            " seen = excluded.seen, polled_at = coalesce(excluded.polled_at, c.polled_at),"
            " changes = c.changes + excluded.changes",
            (self.target, kind, since, Jsonb(seen), through_at, changes),
        )


def heard_of(entry: Entry, copies: list[Copy]) -> tuple[Heard, ...]:
    """Which of our resources a version is of."""
    return tuple(
        Heard(copy.patient_id, key, entry.version) for copy in copies if (key := key_of(entry, copy)) is not None
    )
