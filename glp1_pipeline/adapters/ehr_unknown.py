"""What the EHR holds of ours that our database does not know: after a restore it may know more than we do.

Here: asking and counting. Not here: what we know and it does not have (`ehr_compare`), and what becomes of it: a change
that is decided again finds it there (`outbox.courier`), any other edit is read in (`ehr.changes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from ..domain.contract import EHR
from ..domain.fhir.elements import RESOURCE_SYSTEM
from ..domain.outbox.exchange import TYPES_WITHOUT_OUR_IDENTIFIER, is_ours
from .ehr import Ehr, EhrFailure, Entry
from .ehr.entries import NOT_OFFERED
from .ehr.feed import Feed

MOST_STRANGE = 10_000
"""Of a type, after which no more is looked for: so many are no accident of one write."""


@dataclass
class Unknown:
    """Counts by type of resource."""

    looked_at: int = 0
    resources: Counter[str] = field(default_factory=Counter)
    """That carry our identifier and that we know nothing of."""
    versions: Counter[str] = field(default_factory=Counter)
    """That we know, in a version that we do not."""

    @property
    def is_nothing(self) -> bool:
        return not self.resources and not self.versions

    def as_dict(self) -> dict[str, Any]:
        return {"looked_at": self.looked_at, "resources": dict(self.resources), "versions": dict(self.versions)}


def unknown_there(
    connection: psycopg.Connection,
    ehr: Ehr,
    since: datetime | None,
    progress: Callable[[Unknown], None] = lambda _: None,
) -> Unknown:
    """Look at every resource of a type of ours that changed in the EHR at `since` or later (None: ever).

    `connection` is in autocommit mode. Of types that carry no identifier of ours (Provenance) nothing is told.
    """
    found = Unknown()
    for kind in _kinds(connection, ehr):
        for page, _ in Feed(ehr).changed(kind, since):
            ours = {e.remote_id: e for e in page if _our_keys(e.content)}
            found.looked_at += len(page)
            known = dict(
                connection.execute(
                    "select e.value ->> 0, e.value ->> 1 from ops.copies c, jsonb_each(c.remote) e where c.target = %s"
                    " and starts_with(e.key, %s) and e.value ->> 0 = any(%s)",
                    (EHR, f"{kind}/", list(ours)),
                ).fetchall()
            )
            for remote_id, entry in ours.items():
                if remote_id not in known:
                    found.resources[kind] += 1
                elif known[remote_id] != entry.version:
                    found.versions[kind] += 1
            progress(found)
    return found


def extra_there(connection: psycopg.Connection, ehr: Ehr, there: Mapping[str, int] | None = None) -> Counter[str]:
    """By type how many resources in the EHR carry our identifier and are not where one of ours is, or will be: nobody
    here ever planned them, or they are a second copy.

    `there`: by type how many of ours were just found there; where the EHR counts as many, none is too much. Else all
    that carries it is read, oldest first; memory is flat. What was planned since our look is asked for once more at the
    end. `connection` is in autocommit mode.
    """
    found: Counter[str] = Counter()
    for kind in _kinds(connection, ehr):
        only = _carrying(ehr, kind)
        if not only or (there is not None and _count(ehr, kind, only) == there.get(kind, 0)):
            continue
        strange: list[Entry] = []
        with _places_of_ours(connection, kind):
            for page in _ours(ehr, kind, only):
                strange += _not_ours(connection, page)
                if len(strange) >= MOST_STRANGE:
                    break
        now = Feed(ehr).current(sorted({entry.place for entry in strange}))
        with _places_of_ours(connection, kind):  # by now
            found[kind] = len(_not_ours(connection, [entry for entry in now.values() if entry]))
    return +found


def _not_ours(connection: psycopg.Connection, entries: list[Entry]) -> list[Entry]:
    told = [(key, entry.remote_id) for entry in entries for key in _our_keys(entry.content)]
    known = set(
        connection.execute(
            "select u.key, u.id from unnest(%s::text[], %s::text[]) as u(key, id) join places_of_ours p"
            " on p.key = u.key and coalesce(p.id, u.id) = u.id",
            ([key for key, _ in told], [remote_id for _, remote_id in told]),
        ).fetchall()
    )
    return [e for e in entries if (keys := _our_keys(e.content)) and known.isdisjoint((k, e.remote_id) for k in keys)]


def _carrying(ehr: Ehr, kind: str) -> str:
    """The search for what carries our identifier, or our id as a tag; empty where ours of this type carry neither."""
    if kind not in TYPES_WITHOUT_OUR_IDENTIFIER and kind in ehr.capability.types_with_identifier:
        return f"identifier={RESOURCE_SYSTEM}|"
    is_tagged = kind not in TYPES_WITHOUT_OUR_IDENTIFIER or not ehr.capability.takes_our_ids
    return f"_tag={RESOURCE_SYSTEM}|" if is_tagged else ""


def _count(ehr: Ehr, kind: str, only: str) -> int | None:
    """None where the EHR does not count so."""
    try:
        told = ehr.wire.call("GET", f"/{kind}?{only}&_summary=count").content
    except EhrFailure as failure:
        if failure.status not in NOT_OFFERED:
            raise
        return None
    total = told.get("total") if isinstance(told, dict) else None
    return total if isinstance(total, int) else None


def _ours(ehr: Ehr, kind: str, only: str) -> Iterator[list[Entry]]:
    """What carries our identifier, as the EHR finds it; all there is of the type, where it cannot search so."""
    try:
        for page, _ in Feed(ehr, only=only).changed(kind, None):
            yield page
    except EhrFailure as failure:
        if failure.status not in NOT_OFFERED:
            raise
        for page, _ in Feed(ehr).changed(kind, None):
            yield page


@contextmanager
def _places_of_ours(connection: psycopg.Connection, kind: str) -> Iterator[None]:
    """In a table of this session the keys of a type, and the EHR's id of each (none: it is on its way). Gathered once:
    to ask the copies for each page would read them all each time."""
    connection.execute(
        "create temp table places_of_ours as select key, c.remote -> key ->> 0 as id from ops.copies c,"
        " jsonb_object_keys(c.planned || c.remote) as key where c.target = %s and starts_with(key, %s)",
        (EHR, f"{kind}/"),
    )
    try:
        connection.execute("create index on places_of_ours (key)")
        yield
    finally:
        if not connection.closed:
            connection.execute("drop table places_of_ours")


def _kinds(connection: psycopg.Connection, ehr: Ehr) -> list[str]:
    """Types that we write and the EHR has."""
    rows = connection.execute(
        "select distinct split_part(key, '/', 1) from ops.copies c, jsonb_object_keys(c.planned || c.remote) key"
        " where c.target = %s",
        (EHR,),
    )
    return sorted({"Patient", *(kind for (kind,) in rows)} & ehr.capability.types)


def _our_keys(resource: dict[str, Any]) -> list[str]:
    """As `Type/<our id>`; empty where it carries none."""
    kind = resource.get("resourceType")
    given = resource.get("identifier") or []
    told = [i.get("value") for i in (given if isinstance(given, list) else [given])]
    told += [tag.get("code") for tag in (resource.get("meta") or {}).get("tag") or []]
    return [key for value in told if value and is_ours(resource, key := f"{kind}/{value}")]
