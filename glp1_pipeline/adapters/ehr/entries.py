"""One version of a resource, as a server tells it, and how its parts are read.

Here: bundles, stamps, versions. Not here: asking for them (`feed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from glp1_pipeline.domain.events.shapes import TOKEN

from .wire import EhrFailure

NOT_OFFERED = (400, 404, 405, 501)
"""Statuses of a server that does not have what was asked for, in a call that is well made."""


DEEPEST = 100
"""Levels of a resource that are read: no element of FHIR lies so deep, and what is nested without end can be read from
JSON, yet not be written again, and would keep us from all that changed after it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a resource, as the server holds it; of a deleted one the content that it had before, if known."""

    kind: str
    remote_id: str
    version: str
    stamp: datetime
    content: dict[str, Any]
    is_deleted: bool = False

    @property
    def place(self) -> str:
        return f"{self.kind}/{self.remote_id}"


def bundle_entries(content: Any, kind: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or content.get("resourceType") != "Bundle" or content.get("type") != kind:
        raise EhrFailure("rubbish", 200)
    entries = content.get("entry") or []
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise EhrFailure("rubbish", 200)
    return entries


def entry_of(resource: dict[str, Any]) -> Entry:
    stamp = stamp_of(resource)
    remote_id = opaque(resource.get("id"))
    if not remote_id:
        raise EhrFailure("rubbish", 200)
    version = version_of(resource) or instant(stamp)
    return Entry(str(resource["resourceType"]), remote_id, version, stamp, with_an_end(resource))


def with_an_end(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource, of one that is nested without end what is to be read of it."""
    try:
        orjson.dumps({"data": {"resource": resource}})
        return resource
    except TypeError:
        return _cut(resource, DEEPEST)


def _cut(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        return {name: _cut(one, levels - 1) for name, one in value.items()} if levels else None
    if isinstance(value, list):
        return [_cut(one, levels - 1) for one in value] if levels else None
    return value


def opaque(told: Any) -> str:
    """An id or a version, as a server gives it; nothing where it is none. It is kept where no person may be named, so
    what could be a name is none."""
    found = str(told) if isinstance(told, (str, int)) else ""
    return found if TOKEN.fullmatch(found) else ""


def version_of(resource: dict[str, Any]) -> str:
    return opaque((resource.get("meta") or {}).get("versionId"))


def etag_of(response: dict[str, Any]) -> str:
    """The version that the answer to an entry names."""
    return opaque(str(response.get("etag") or "").removeprefix("W/").strip('"'))


def stamp_of(resource: dict[str, Any]) -> datetime:
    meta = resource.get("meta")
    return parsed(meta.get("lastUpdated") if isinstance(meta, dict) else None)


def parsed(told: Any) -> datetime:
    """An instant of FHIR in UTC; what a server told beyond microseconds is cut off."""
    try:
        at = datetime.fromisoformat(told)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # the last of an hour after the last year, by UTC
        pass
    raise EhrFailure("rubbish", 200) from None


def floor(at: datetime) -> datetime:
    """To the millisecond: the finest that every server can be asked for."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_of(entry: dict[str, Any], kind: str) -> bool:
    resource = entry.get("resource")
    return isinstance(resource, dict) and resource.get("resourceType") == kind
