"""What the EHR tells of its changes: pages of what changed since an instant, deletions, and who did it.

Code to the intersection of servers: `_lastUpdated=ge...&_sort=_lastUpdated`, and on from the last instant of a page
rather than by its next link, since a link that counts rows skips one for each that moves to the end meanwhile. Links
are followed only within one instant that fills more than a page, and past a page that shows nothing. Not here: whose
change it is, and where we stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .ehr import Ehr
from .entries import (
    NOT_OFFERED,
    Entry,
    bundle_entries,
    entry_of,
    etag_of,
    floor,
    instant,
    is_of,
    opaque,
    parsed,
    stamp_of,
    with_an_end,
)
from .wire import EhrFailure, EhrMisconfigured

PAGE = 100
"""Entries asked for at once: no server that we know gives fewer when asked for so many, unless there are no more."""
LARGEST_PAGE = 1000
MOST_LINKS = 500
"""Next links followed within one instant."""
MOST_HISTORY_PAGES = 20
ACTOR = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Page:
    entries: list[Entry]
    next_path: str | None
    has_more: bool = False
    """Whether it names a next page, be it one that we may not go to."""


class Feed:
    """One EHR's changes. `until`: our monotonic clock when each call must be over."""

    def __init__(self, ehr: Ehr, page_size: int = PAGE, only: str = "") -> None:
        """`only`: a search that narrows it, `identifier=...`; a server that does not heed it tells of all."""
        self.ehr = ehr
        self.page_size = page_size
        self._only = f"{only}&" if only else ""

    def changed(self, kind: str, since: datetime | None) -> Iterator[tuple[list[Entry], datetime]]:
        """Page after page what changed at `since` or later, oldest first, with the instant up to which all is read.

        Whatever is at that instant may come again. Raises EhrMisconfigured where the server cannot say it.
        """
        at = None if since is None else floor(since)
        met: set[tuple[str, str]] = set()
        while True:
            page = self._first_with_entries(kind, at)
            entries = page.entries
            is_last = not entries or (not page.has_more and len(entries) < self.page_size)
            if at is not None and not is_last and floor(entries[-1].stamp) == at:
                entries = self._all_of_one_instant(kind, at)
                at_next = max(floor(entries[-1].stamp), at + MILLISECOND)
            else:
                at_next = floor(entries[-1].stamp) if entries else at
            fresh = [e for e in entries if (e.remote_id, e.version) not in met]
            met = {(e.remote_id, e.version) for e in entries if at_next is not None and e.stamp >= at_next}
            at = at_next
            if fresh and at is not None:
                yield fresh, at
            if is_last:
                return

    def _first_with_entries(self, kind: str, at: datetime | None) -> Page:
        """Past pages of which the server withholds all: there is no instant in them to go on from."""
        page = self._page(kind, self._query(kind, at, self.page_size), at)
        followed: set[str] = set()
        while not page.entries and page.next_path is not None and page.next_path not in followed:
            followed.add(page.next_path)
            page = self._page(kind, page.next_path, at)
        return page

    def newest(self, kind: str) -> datetime | None:
        """The instant of the last change, or None where there is none (or the server cannot sort downwards)."""
        try:
            reply = self.ehr.wire.call("GET", f"/{kind}?_sort=-_lastUpdated&_count=1")
        except EhrFailure as failure:
            if failure.status in NOT_OFFERED:
                return None
            raise
        stamps = [stamp_of(e["resource"]) for e in bundle_entries(reply.content, "searchset") if is_of(e, kind)]
        return stamps[0] if stamps else None

    def _all_of_one_instant(self, kind: str, at: datetime) -> list[Entry]:
        """All entries of the millisecond `at` (and perhaps later ones), where they do not fit a page."""
        size = self.page_size
        page = self._page(kind, self._query(kind, at, size), at)
        while page.has_more or len(page.entries) >= size:
            if page.entries and floor(page.entries[-1].stamp) > at:
                return page.entries
            before, size = len(page.entries), min(size * 4, LARGEST_PAGE)
            larger = self._page(kind, self._query(kind, at, size), at)
            if len(larger.entries) <= before:
                break
            page = larger
        if page.next_path is None:
            # A short page without a link is the end of it, or as much as the server ever gives at once.
            if not page.has_more and len(page.entries) < size and self._count(kind, at) <= len(page.entries):
                return page.entries
            raise _no_way_on(page)
        found: dict[tuple[str, str], Entry] = {}
        known = -1
        while len(found) > known:  # an entry that moves away shifts the rows behind it: read until nothing new comes
            known, page = len(found), self._page(kind, self._query(kind, at, size), at)
            followed: set[str] = set()
            while len(followed) < MOST_LINKS:
                found |= {(e.remote_id, e.version): e for e in page.entries}
                if not page.has_more or (page.entries and floor(page.entries[-1].stamp) > at):
                    break
                if page.next_path is None:
                    raise _no_way_on(page)
                if page.next_path in followed:  # some servers lead in a circle
                    break
                followed.add(page.next_path)
                page = self._page(kind, page.next_path, at)
        return sorted(found.values(), key=lambda e: e.stamp)

    def _count(self, kind: str, at: datetime) -> int:
        """How many changed at `at` or later, as far as the server counts them."""
        reply = self.ehr.wire.call("GET", f"/{kind}?{self._only}_lastUpdated=ge{instant(at)}&_summary=count")
        total = reply.content.get("total") if isinstance(reply.content, dict) else None
        return total if isinstance(total, int) else 0

    def _query(self, kind: str, at: datetime | None, size: int) -> str:
        since = "" if at is None else f"_lastUpdated=ge{instant(at)}&"
        return f"/{kind}?{self._only}{since}_sort=_lastUpdated&_count={size}"

    def _page(self, kind: str, path: str, since: datetime | None) -> Page:
        reply = self.ehr.wire.call("GET", path)
        entries = [
            entry_of(e["resource"])
            for e in bundle_entries(reply.content, "searchset")
            if is_of(e, kind) and (e.get("search") or {}).get("mode", "match") == "match"
        ]  # fmt: skip
        stamps = [floor(e.stamp) for e in entries]
        if stamps != sorted(stamps) or (since is not None and stamps and stamps[0] < since):
            raise EhrMisconfigured(
                "The EHR does not heed `_lastUpdated` or `_sort=_lastUpdated`: its changes cannot be read without loss."
            )
        return Page(entries, self._next(reply.content), _next_url(reply.content) is not None)

    def _next(self, bundle: dict[str, Any]) -> str | None:
        """The path of the next page. A link to another server is none."""
        url = _next_url(bundle)
        return None if url is None else self.ehr.path_of(url)

    def deletions(self, kind: str, since: datetime) -> Iterator[tuple[str, str, datetime | None]]:
        """Id, version and instant of what was deleted since, where the server keeps a history of the type.

        The newest first and a limited number of pages: whoever needs all of them sweeps.
        """
        path: str | None = f"/{kind}/_history?_since={instant(since)}&_count={LARGEST_PAGE // 2}"
        for _ in range(MOST_HISTORY_PAGES):
            reply = self.ehr.wire.call("GET", path or "")
            for entry in bundle_entries(reply.content, "history"):
                if (deletion := _deletion(kind, entry)) and (deletion[2] is None or deletion[2] >= since):
                    yield deletion
            path = self._next(reply.content)
            if path is None:
                return

    def last_words(self, kind: str, remote_id: str) -> tuple[str, datetime | None, dict[str, Any] | None]:
        """Of what is gone: version and instant of the deletion, and the content before it; empty where nobody knows."""
        version, stamp, content = "", None, None
        if kind not in self.ehr.capability.instances_with_history:
            return version, stamp, content
        try:
            reply = self.ehr.wire.call("GET", f"/{kind}/{remote_id}/_history?_count=10")
        except EhrFailure as failure:
            if failure.status in (*NOT_OFFERED, 410):
                return version, stamp, content
            raise
        for entry in bundle_entries(reply.content, "history"):  # the newest first
            if (deletion := _deletion(kind, entry)) and not version:
                _, version, stamp = deletion
            elif isinstance(entry.get("resource"), dict):
                content = with_an_end(entry["resource"])
                break
        return version, stamp, content

    def current(self, places: list[str]) -> dict[str, Entry | None]:
        """What stands now at each `Type/id`; None where nothing does."""
        found: dict[str, Entry | None] = {}
        for place, answer in zip(places, self.ehr.batch_get(places), strict=True):
            resource = answer.get("resource")
            is_there = isinstance(resource, dict) and resource.get("resourceType") == place.partition("/")[0]
            found[place] = entry_of(resource) if isinstance(resource, dict) and is_there else None
        return found

    def actors(self, entries: list[Entry]) -> dict[str, str]:
        """Who made each version, as a reference, where a Provenance of the same moment says it: by `Type/id`."""
        if not entries or not self.ehr.capability.finds_provenance:
            return {}
        asked = [f"Provenance?target={e.place}&_sort=-_lastUpdated&_count=5" for e in entries]
        found: dict[str, str] = {}
        try:
            answers = self.ehr.batch_get(asked)
        except EhrFailure as failure:  # it is good to know, and no change waits for it
            if failure.status in NOT_OFFERED:
                return found
            raise
        for entry, answer in zip(entries, answers, strict=True):
            for proof in (e.get("resource") for e in (answer.get("resource") or {}).get("entry") or ()):
                if isinstance(proof, dict) and (actor := _actor(proof, entry)):
                    found.setdefault(entry.place, actor)
        return found


def _next_url(bundle: dict[str, Any]) -> str | None:
    links = [one for one in bundle.get("link") or () if isinstance(one, dict) and one.get("relation") == "next"]
    return url if links and isinstance(url := links[0].get("url"), str) else None


def _no_way_on(page: Page) -> EhrMisconfigured:
    return EhrMisconfigured(
        f"More than {len(page.entries)} resources of one type changed in one instant, and the EHR gives no link to the"
        " rest of them that leads to itself: nothing was skipped, but nothing newer can be read. Ask its operator for"
        " paging by `next` links that begin with the address that we were given, or with the one that its"
        " CapabilityStatement names (`implementation.url`)."
    )


def _actor(proof: dict[str, Any], entry: Entry) -> str:
    targets = [str(t.get("reference", "")) for t in proof.get("target") or () if isinstance(t, dict)]
    told = stamp_of(proof)
    is_of_it = any(t.endswith(f"{entry.place}/_history/{entry.version}") for t in targets)
    is_beside = any(t.endswith(entry.place) for t in targets) and abs(told - entry.stamp) <= timedelta(seconds=5)
    if is_of_it or is_beside:
        for agent in proof.get("agent") or ():
            reference = str(((agent or {}).get("who") or {}).get("reference") or "")
            actor = "/".join(reference.split("/_history/")[0].split("/")[-2:])
            if ACTOR.fullmatch(actor) and not actor.startswith("Device/"):
                return actor
    return ""


def _deletion(kind: str, entry: dict[str, Any]) -> tuple[str, str, datetime | None] | None:
    """Id, version and instant of a deletion; not every server tells all of them in a history."""
    request, response = entry.get("request") or {}, entry.get("response") or {}
    if request.get("method") != "DELETE":
        return None
    parts = str(request.get("url") or entry.get("fullUrl") or "").split("/_history")[0].split("/")
    if len(parts) < 2 or parts[-2] != kind or not opaque(parts[-1]):
        return None
    version = etag_of(response)
    told = response.get("lastModified")
    stamp = None if told is None else parsed(told)
    return parts[-1], version or (instant(stamp) if stamp else "deleted"), stamp
