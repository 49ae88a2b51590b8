"""Whose resource it is that changed, and whether the change is our own write coming back.

Here: reading what we know (copies, bodies of writes) and comparing. Not here: asking the EHR (`feed`), and what becomes
of a change (`changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

import orjson
from psycopg import Connection

from ...domain.events import as_record
from ...domain.fhir import content_hash, dump
from ...domain.fhir.elements import PATIENT_SYSTEM, RESOURCE_SYSTEM
from ...domain.outbox import digest, is_noted, is_same, is_theirs_too, keys_of, says_all, still_ours
from .entries import Entry

SETTLING = timedelta(seconds=60)
"""So long after a write was settled, what was read before may be older than it."""
OpenBody = Callable[[str, bytes, str], bytes]


class Verdict(Enum):
    OURS = "ours"
    """Our own write come back."""
    THEIRS = "theirs"
    LATER = "later"
    """Perhaps ours: a write of it is under way, or has only just ended and this is what stood there before."""


@dataclass(slots=True)
class Copy:
    """What we know of one of our patients in the EHR."""

    patient_id: str
    remote: dict[str, list[str]]
    planned: dict[str, str]
    conflicts: Collection[str]
    heard: dict[str, dict[str, str]]
    """By resource event and version of what somebody changed since we last delivered it, as far as the ledger knows."""
    is_settling: bool
    """Whether a write of this patient has only just ended."""
    back: dict[str, str] = field(default_factory=dict)
    """`Type/<id there>` -> `Type/<our id>`."""

    def is_shared(self, key: str) -> bool:
        """Whether somebody else's word stands there, by itself or beside ours: then what we said before is no sign."""
        return key in self.heard or is_theirs_too(self.remote.get(key, []))

    def __post_init__(self) -> None:
        self.back = {f"{key.partition('/')[0]}/{known[0]}": key for key, known in self.remote.items()}


class Echoes:
    """What we sent to one target, read once per page of changes."""

    def __init__(self, connection: Connection[Any], target: str, open_body: OpenBody) -> None:
        self.connection = connection
        self.target = target
        self.open_body = open_body

    def copies(self, record_ids: Collection[str]) -> dict[str, list[Copy]]:
        """By record: what was written of it, and of the patient that it is part of."""
        found: dict[str, list[Copy]] = {}
        with self.connection.transaction():
            rows = self.connection.execute(
                "with mine as (select r, r as patient_id from unnest(%(records)s::uuid[]) r union"
                " select l.record_id, l.patient_id from ops.patient_links l where l.record_id = any(%(records)s))"
                " select m.r::text, c.patient_id::text, c.remote, c.planned, c.conflicts, c.heard,"
                " exists (select 1 from ops.writes w where w.target = c.target and w.patient_id = c.patient_id"
                "  and w.settled_at > now() - %(settling)s)"
                " from mine m join ops.copies c on c.target = %(target)s and c.patient_id = m.patient_id",
                {"records": list(record_ids), "target": self.target, "settling": SETTLING},
            ).fetchall()
        for record_id, *copy in rows:
            found.setdefault(record_id, []).append(Copy(*copy))
        return found

    def judge(self, entry: Entry, copies: list[Copy]) -> Verdict:
        """Whether a version is ours. By its number, else by what it says: a server may number an unchanged PUT anew."""
        ours = [(copy, key) for copy in copies if (key := key_of(entry, copy)) is not None]
        for copy, key in ours:
            # In conflict the version noted is theirs: it was left as it is.
            if key not in copy.conflicts and copy.remote.get(key, ())[:2] == [entry.remote_id, entry.version]:
                return Verdict.OURS
            if not copy.is_shared(key):
                if copy.planned.get(key) == as_sent(entry, key):
                    return Verdict.OURS
            elif is_noted(copy.remote.get(key, ())[2:], entry.content, copy.back | {entry.place: key}):
                return Verdict.OURS
        verdicts = {self._by_content(entry, key, copy) for copy, key in ours}
        return next((v for v in (Verdict.OURS, Verdict.LATER) if v in verdicts), Verdict.THEIRS)

    def _by_content(self, entry: Entry, key: str, copy: Copy) -> Verdict:
        """Ours if it says what we last sent: the last that was delivered, or what came after it and may have landed.

        Where somebody changed it after that, what was delivered before is theirs when it stands there again.
        """
        back = copy.back | {entry.place: key}
        is_delivered, is_under_way = False, False
        for status, sent in self.sent(key, copy.patient_id):
            is_under_way = is_under_way or status == "in_doubt"
            if (status == "in_doubt" or not copy.is_shared(key)) and is_same(sent, entry.content, back):
                # What we said before our last is old news, if we wrote just now; else somebody put it back.
                return Verdict.LATER if is_delivered else Verdict.OURS
            is_delivered = is_delivered or status == "delivered"
            if is_delivered and not copy.is_settling:
                break
        return Verdict.LATER if is_under_way else Verdict.THEIRS

    def agreed(self, entry: Entry, copy: Copy) -> dict[str, list[str]]:
        """Of a resource in conflict where it stands, if all that we say stands there now: nobody is at odds."""
        key = key_of(entry, copy)
        if key is None or key not in copy.conflicts or entry.is_deleted:
            return {}
        ours = next((sent for _, sent in self.sent(key, copy.patient_id)), None)
        back = copy.back | {entry.place: key}
        if ours is None or content_hash(dump(ours)) != copy.planned.get(key) or not says_all(ours, entry.content, back):
            return {}
        beside = [] if is_same(ours, entry.content, back) else [digest(entry.content, back)]
        return {key: [entry.remote_id, entry.version, *beside]}

    def last_sent(self, entry: Entry, copies: list[Copy]) -> dict[str, Any] | None:
        """What we sent last of a resource, as far as it was delivered."""
        for copy in copies:
            if (key := key_of(entry, copy)) is not None:
                for status, sent in self.sent(key, copy.patient_id):
                    if status == "delivered":
                        return sent
        return None

    def still_ours(
        self, sent: dict[str, Any], entry: Entry, copies: list[Copy], version: Callable[..., dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Of what we sent of a resource, what still stood there when we last knew of somebody else's word in it.

        `version`: asks the EHR for one, by kind, id and number.
        """
        for copy in copies:
            key = key_of(entry, copy)
            if key is None or not copy.is_shared(key):
                continue
            heard = self._heard(copy.heard[key]["event"]) if key in copy.heard else None
            stood = heard if heard is not None else version(entry.kind, *copy.remote[key][:2])
            if stood is not None:
                return still_ours(sent, stood, copy.back | {entry.place: key})
        return sent

    def _heard(self, event_id: str) -> dict[str, Any] | None:
        row = self.connection.execute("select kid, body from phi.events where event_id = %s", (event_id,)).fetchone()
        if row is None:
            return None
        return orjson.loads(self.open_body(row[0], bytes(row[1]), f"events|{event_id}"))["data"].get("resource")

    def links_sent(self, entry: Entry, copies: list[Copy]) -> set[tuple[str, str]]:
        """Kind and target of every link that we ever wrote into a Patient: a merge of ours, perhaps undone since."""
        mine = [(copy, key) for copy in copies if (key := key_of(entry, copy)) is not None]
        return {
            (link["type"], link["other"]["reference"])
            for copy, key in mine
            for _, sent in self.sent(key, copy.patient_id)
            for link in sent.get("link", ())
        }

    def sent(self, key: str, patient_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What we sent of a resource and the status of its write, the newest first."""
        rows = self.connection.execute(
            "select w.write_id, w.status, b.kid, b.body from ops.writes w join phi.write_bodies b using (write_id)"
            " where w.target = %s and w.patient_id = %s and w.status in ('in_doubt', 'delivered', 'dead', 'cancelled')"
            " order by w.n desc",
            (self.target, patient_id),
        ).fetchall()
        for write_id, status, kid, body in rows:
            bundle = orjson.loads(self.open_body(kid, bytes(body), f"writes|{write_id}"))
            if resource := keys_of(bundle).get(key):
                yield status, resource


def key_of(entry: Entry, copy: Copy) -> str | None:
    """What we call a resource: by the id that the EHR gave it, else by our own id that it carries."""
    if known := copy.back.get(entry.place):
        return known
    ours = our_id(entry.content)
    key = f"{entry.kind}/{ours}" if ours else None
    # With another id there it is somebody's copy of ours.
    return key if key is not None and key not in copy.remote else None


def as_sent(entry: Entry, key: str) -> str:
    """The hash that ours would have, were it sent just so: without what the server adds to meta."""
    content = {k: v for k, v in entry.content.items() if k not in ("meta", "id", "text")}
    meta = {k: v for k, v in (entry.content.get("meta") or {}).items() if k not in ("versionId", "lastUpdated")}
    return content_hash(dump(content | {"id": key.partition("/")[2]} | ({"meta": meta} if meta else {})))


def our_id(resource: dict[str, Any]) -> str | None:
    tags = (resource.get("meta") or {}).get("tag")
    return identifier(resource, RESOURCE_SYSTEM) or next(
        (
            str(tag["code"])
            for tag in (tags if isinstance(tags, list) else ())
            if isinstance(tag, dict) and tag.get("system") == RESOURCE_SYSTEM and tag.get("code")
        ),
        None,
    )


def record_of(patient: dict[str, Any]) -> str | None:
    """Our record that a Patient carries; None where it is no patient of ours."""
    return as_record(identifier(patient, PATIENT_SYSTEM))


def identifier(resource: dict[str, Any], system: str) -> str | None:
    given = resource.get("identifier") or []
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, dict) and one.get("system") == system and isinstance(one.get("value"), str):
            return one["value"]
    return None
