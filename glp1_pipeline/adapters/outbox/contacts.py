"""One write's way to the CRM: a patient's contact, never twice, and nothing that somebody else said there is lost.

The CRM makes the ids, so a contact is known by our key in it. Before anything that was changed there is written over,
the ledger hears of it as an event. Not here: HTTP (`adapters.crm`), whose property it is (`domain.crm`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import Connection

from glp1_pipeline.adapters.calls import CallFailure
from glp1_pipeline.adapters.crm import Crm
from glp1_pipeline.adapters.store import TROUBLES
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.crm import (
    CHANGE,
    COPY,
    DELETED,
    KEY,
    Contact,
    difference,
    event_of,
    heard_properties,
    is_known,
    is_our_write,
)

from .carrier import ROUNDS, Carrier, OpenBody, Tried, of_store
from .lanes import Claimed

EMAIL = "email"


@dataclass(frozen=True)
class Contacts:
    """A CRM, what it may know, and where its changes are kept: `append` makes events durable before it returns."""

    crm: Crm
    contract: Contract
    append: Callable[[list[bytes]], Any]


@dataclass(slots=True)
class _Way:
    """Where one try stands."""

    one: Claimed
    tried: Tried
    key: str
    told: dict[str, str]
    when_new: dict[str, str]
    known: list[str] | None
    """Id and stamp of the contact as we last left it."""

    @property
    def stamp(self) -> str | None:
        return self.known[1] if self.known else None

    @property
    def mark(self) -> dict[str, str]:
        return {CHANGE: str(self.one.n)}


class ContactCarrier(Carrier):
    """Carries claimed writes to one CRM. Threads share it."""

    def __init__(
        self,
        contacts: Contacts,
        connect: Callable[[], Connection[Any]],
        target: str,
        open_body: OpenBody,
        send_before: float,
    ) -> None:
        super().__init__(connect, target, open_body, send_before)
        self.crm, self.contract, self.append = contacts.crm, contacts.contract, contacts.append
        self._heard = set(heard_properties(contacts.contract))

    def keys(self, content: Mapping[str, Any]) -> list[str]:
        return [COPY] if isinstance(content[COPY], dict) else []

    def _carry(self, one: Claimed, tried: Tried) -> None:
        said = one.content[COPY]
        way = _Way(
            one, tried, said["key"], dict(said["properties"]), dict(said.get("when_new", {})), one.remote.get(COPY)
        )
        # Without versions each write looks first: else an edit would be written over unseen.
        must_look = one.was == "in_doubt" or COPY in one.conflicts or not (way.stamp or "").isdecimal()
        for _ in range(ROUNDS):
            try:
                if must_look:
                    self._look_and_write(way)
                else:
                    self._update(way, way.known or [], way.told, way.stamp)
            except CallFailure as failure:
                tried.http_status = failure.status
                if failure.status not in (404, 409, 412):
                    raise
                if failure.status == 409 and self._leave_to_its_owner(way):
                    tried.trouble = None
                    return
                tried.trouble, must_look = "moved", True
            else:
                tried.trouble = None
                return

    # ---- looking before writing

    def _look_and_write(self, way: _Way) -> None:
        there = self._find(way)
        if there is None:
            if way.known is not None and COPY not in way.one.decided("ours"):
                way.tried.conflicts = {COPY: DELETED}
                way.tried.http_status = 404
                return
            way.known = None
            self._create(way)
            return
        way.tried.http_status = 200
        is_as_left = way.stamp is not None and is_known(there.stamp, way.stamp)
        if not is_as_left and not is_our_write(there, way.stamp, way.one.n):
            self._note(there, way)
        way.known = [there.contact_id, there.stamp]
        if (changed := difference(way.told, there.properties)) or there.properties.get(KEY) != way.key:
            self._update(way, way.known, changed, there.version, there)
        else:
            way.tried.remote = {COPY: way.known}

    def _find(self, way: _Way) -> Contact | None:
        """The contact by its id, else by our key in it: contacts that were merged there answer to another id."""
        names = self._names(way)
        ends = self._ends(way.one)
        if way.known is not None:
            by_id = self.crm.get(way.known[0], names, with_history=True, until=ends)
            if by_id is not None and by_id.properties.get(KEY, "") in ("", way.key):
                return by_id
        return self.crm.get(way.key, names, id_property=KEY, with_history=True, until=ends)

    def _leave_to_its_owner(self, way: _Way) -> bool:
        """Another contact may have the address that we tell: never taken over unless a person said that it is ours.
        True where nothing is left to send."""
        address = way.told.get(EMAIL) or way.when_new.get(EMAIL)
        if not address:
            return False
        other = self.crm.whose_email(address, self._names(way), self._ends(way.one))
        ours = way.known[0] if way.known else None
        if other is None or other.contact_id == ours or other.properties.get(KEY) == way.key:
            return False
        is_linked = bool(other.properties.get(KEY))
        if ours is None and not is_linked and COPY in way.one.decided("ours"):
            self._note(other, way)
            way.known = [other.contact_id, other.stamp]
            return False
        way.tried.conflicts = {COPY: "already_linked" if is_linked else "same_email"}
        way.told.pop(EMAIL, None)  # all but the address can still be told, where there is a contact to tell
        return ours is None

    # ---- writing

    def _create(self, way: _Way) -> None:
        way.tried.was_sent = True
        properties = {**way.when_new, **way.told, KEY: way.key, **way.mark}
        made = self.crm.create(properties, self._ends(way.one))
        way.tried.http_status = 201
        way.tried.remote = {COPY: [made.contact_id, made.stamp]}

    def _update(
        self, way: _Way, place: list[str], changed: Mapping[str, str], version: str | None, there: Contact | None = None
    ) -> None:
        """Tell a contact our properties, against the version that we know of it."""
        way.tried.was_sent = True
        sent = {**changed, KEY: way.key, **way.mark}
        after = self.crm.update(place[0], sent, version, self._ends(way.one))
        if after.version is None and there is not None:
            after = self._check(way, there, sent) or after
        way.tried.http_status = 200
        way.tried.remote = {COPY: [after.contact_id, after.stamp]}

    def _check(self, way: _Way, before: Contact, sent: Mapping[str, str]) -> Contact | None:
        """Without versions somebody may have come between our look and our write: what they said is kept as well."""
        after = self.crm.get(before.contact_id, self._names(way), with_history=True, until=self._ends(way.one))
        expected = {**before.properties, **sent}
        if after is not None and any(after.properties.get(name, "") != expected.get(name, "") for name in self._heard):
            self._note(after, way)
        return after

    def _note(self, there: Contact, way: _Way) -> None:
        """Put into the ledger what somebody said there, before anything of it is written over."""
        event = event_of(self.contract, there, self.crm.settings.portal, way.key)
        if event is None:
            return
        try:
            self.append([orjson.dumps(event)])
        except TROUBLES as error:
            raise of_store(error, "the ledger") from None

    def _names(self, way: _Way) -> set[str]:
        return self._heard | way.told.keys() | way.when_new.keys() | {KEY, CHANGE, EMAIL}
