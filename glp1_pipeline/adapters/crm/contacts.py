"""The door to the CRM: contacts over REST, in the shape of HubSpot's contacts API (docs/crm.md is the contract).

Here: calls, and answers checked and turned into `Contact`. Not here: what may be written over (`domain.crm`), rows
(`adapters.outbox`), which changes are news (`changes`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from glp1_pipeline.domain.crm import KEY, Contact, Entry
from glp1_pipeline.domain.events.shapes import TOKEN

from ..calls import Caller, CallFailure, Limits, is_safe

CONTACTS = "/crm/v3/objects/contacts"
PAGE = 100


class CrmMisconfigured(RuntimeError):
    """A setting for the CRM makes no sense; the message says how to mend it."""


@dataclass(frozen=True)
class CrmSettings:
    """Where the CRM is and how it is spoken to. Seconds, bytes, requests a second (per process)."""

    url: str
    token: str = field(repr=False)
    portal: str = "crm"
    """Name of this CRM in the source of its events: `/crm/<portal>`."""
    connect_timeout: float = 3.05
    read_timeout: float = 30.0
    max_response_bytes: int = 8 * 1024 * 1024
    requests_per_second: float | None = None

    def __post_init__(self) -> None:
        if not is_safe(self.url):
            raise CrmMisconfigured(
                "GLP1_CRM_URL must begin with https:// and name a host; plain http:// is for this machine alone."
            )
        if not self.token:
            raise CrmMisconfigured("The CRM asks for a token: set GLP1_CRM_TOKEN.")


class Crm:
    """One CRM. Threads may share it."""

    def __init__(self, settings: CrmSettings) -> None:
        self.settings = settings
        limits = Limits(
            settings.connect_timeout, settings.read_timeout, settings.max_response_bytes, settings.requests_per_second
        )
        self._caller = Caller("CRM", settings.url, limits)

    def close(self) -> None:
        self._caller.close()

    # ---- one contact

    def get(
        self,
        key: str,
        names: Collection[str],
        *,
        id_property: str | None = None,
        with_history: bool = False,
        until: float | None = None,
    ) -> Contact | None:
        """A contact by its id, or by our key in it (`id_property`); None where there is none. What stands in an address
        is in the logs of whoever carries it: never a person's."""
        asked = {"properties": ",".join(sorted(names))}
        if id_property:
            asked["idProperty"] = id_property
        if with_history:
            asked["propertiesWithHistory"] = asked["properties"]
        try:
            answer = self._call("GET", f"/{quote(key, safe='')}?{urlencode(asked)}", None, until)
        except CallFailure as failure:
            if failure.status in (404, 410):
                return None
            raise
        return self._contact(answer.content, answer.headers)

    def whose_email(self, address: str, names: Collection[str], until: float | None = None) -> Contact | None:
        """The contact that has an e-mail address, as its first or a further one, with its history; None where none."""
        filters = [
            {"propertyName": "email", "operator": "EQ", "value": address},
            {"propertyName": "hs_additional_emails", "operator": "CONTAINS_TOKEN", "value": address},
        ]
        found = self._search([[one] for one in filters], "hs_object_id", [KEY], until)
        return self.get(found[0].contact_id, names, with_history=True, until=until) if found else None

    def create(self, properties: Mapping[str, str], until: float | None = None) -> Contact:
        """Make a contact; CallFailure with status 409 where another has a property that must be unique."""
        answer = self._call("POST", "", {"properties": dict(properties)}, until)
        return self._contact(answer.content, answer.headers)

    def update(
        self, contact_id: str, properties: Mapping[str, str], version: str | None, until: float | None = None
    ) -> Contact:
        """Change these properties and no other; `version`: only if it still is this one (status 412)."""
        headers = {"If-Match": f'"{version}"'} if version else {}
        body = {"properties": dict(properties)}
        answer = self._call("PATCH", f"/{quote(contact_id, safe='')}", body, until, headers)
        return self._contact(answer.content, answer.headers)

    # ---- many

    def changed_since(self, since: datetime, names: Collection[str]) -> Iterator[list[Contact]]:
        """All contacts changed at that instant or later, the oldest change first, page by page; some come twice.

        Never by offset: a contact that changes meanwhile moves to the end, and the one behind it would be passed over.
        So each page begins at the last instant of the one before, and a page of one instant goes on by id.
        """
        while True:
            found = self._search([[_at("GTE", since)]], "lastmodifieddate", names)
            instants = [there.changed_at for there in found]
            if instants != sorted(instants) or (instants and _ms(instants[0]) < _ms(since)):
                raise CrmMisconfigured("The CRM's search heeds no filter or no sort: its changes cannot be followed.")
            if found:
                yield found
            if len(found) < PAGE:
                return
            if found[-1].changed_at > since:
                since = found[-1].changed_at
                continue
            yield from self._of_instant(since, names)
            since += timedelta(milliseconds=1)

    def _of_instant(self, instant: datetime, names: Collection[str]) -> Iterator[list[Contact]]:
        behind = "0"
        while True:
            filters = [_at("EQ", instant), {"propertyName": "hs_object_id", "operator": "GT", "value": behind}]
            found = self._search([filters], "hs_object_id", names)
            if found:
                yield found
            if len(found) < PAGE:
                return
            behind = found[-1].contact_id

    def _search(
        self, groups: list[list[dict[str, str]]], sort: str, names: Collection[str], until: float | None = None
    ) -> list[Contact]:
        """Filters of a group must all hold, of the groups one."""
        body = {
            "filterGroups": [{"filters": filters} for filters in groups],
            "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
            "properties": sorted(names),
            "limit": PAGE,
        }
        return self._page(self._call("POST", "/search", body, until).content)[0]

    def archived(self, names: Collection[str]) -> Iterator[list[Contact]]:
        """All contacts that were deleted and can still be seen, page by page."""
        after: str | None = ""
        while after is not None:
            asked = {"archived": "true", "limit": str(PAGE), "properties": ",".join(sorted(names))}
            asked |= {"after": after} if after else {}
            found, after = self._page(self._call("GET", f"?{urlencode(asked)}", None, None).content)
            if found:
                yield found

    # ---- the wire

    def _call(self, method: str, path: str, body: Any, until: float | None, headers: Mapping[str, str] | None = None):
        token = {"Authorization": f"Bearer {self.settings.token}"}
        return self._caller.call(method, CONTACTS + path, body, {**token, **(headers or {})}, until)

    def _page(self, content: Any) -> tuple[list[Contact], str | None]:
        if not isinstance(content, dict) or not isinstance(content.get("results"), list):
            raise self._caller.failure("rubbish", 200)
        following = ((content.get("paging") or {}).get("next") or {}).get("after")
        return [self._contact(one, {}) for one in content["results"]], None if following is None else str(following)

    def _contact(self, content: Any, headers: Mapping[str, str]) -> Contact:
        try:
            changed_at = datetime.fromisoformat(content.get("archivedAt") or content["updatedAt"])
            properties = {name: value for name, value in content["properties"].items() if isinstance(value, str)}
            version = str(content.get("version") or headers.get("ETag", "").removeprefix("W/").strip('"'))
            if not TOKEN.fullmatch(contact_id := str(content["id"])):
                raise ValueError  # kept where no person may be named: what could be a name is no id
            return Contact(
                contact_id=contact_id,
                version=version if TOKEN.fullmatch(version) else None,
                changed_at=changed_at.astimezone(UTC),
                properties=properties,
                is_archived=content.get("archived") is True,
                history=_history(content.get("propertiesWithHistory")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._caller.failure("rubbish", 200) from None


def _history(told: Any) -> dict[str, tuple[Entry, ...]] | None:
    if told is None:
        return None
    return {
        name: tuple(
            Entry(str(e.get("value") or ""), f"{e.get('sourceType') or ''}:{e.get('sourceId') or ''}") for e in entries
        )
        for name, entries in told.items()
    }


def _at(operator: str, instant: datetime) -> dict[str, str]:
    return {"propertyName": "lastmodifieddate", "operator": operator, "value": str(_ms(instant))}


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
