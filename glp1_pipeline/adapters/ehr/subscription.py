"""Our subscriptions in the EHR: one for each type of resource, found again by their tag, never two, off when we are.

What each of them tells is only that something changed: no payload is asked for, so no chart travels. A subscription
whose endpoint is dead slows some servers' writes, so each has an end that is put off while we live, and they are off
when we stop; what a killed one of ours left on is taken over by the next. Of the types whose resources we mostly make
ourselves it tells only of those without an identifier, which are other people's: or each chart that we deliver would
call us a hundred times. Not here: what a hint does (`hints`), and receiving it (`adapters.hooks`).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from glp1_pipeline.domain.outbox import trouble_of

from .ehr import Ehr
from .entries import bundle_entries, parsed
from .polling import KINDS
from .wire import EhrFailure

TAG_SYSTEM = "urn:glp1-pipeline:subscription"
EDITED_KINDS = frozenset({"Patient", "Task"})
"""Few of a chart and what people mostly edit: told however often. An edit of anything else of ours waits for a look."""
LASTS = timedelta(hours=1)
RENEW_BEFORE = timedelta(minutes=30)
LIVE = ("requested", "active", "error")


def authorization(secret: str) -> str:
    return f"Bearer {secret}"


def tag_of(secret: str) -> str:
    """Tells the subscriptions of this installation from those of another; says nothing of the secret."""
    return hashlib.sha256(b"subscription tag of " + secret.encode()).hexdigest()[:16]


class Subscriptions:
    """The whole set of one installation. `secret` names it, so it can be turned off without an endpoint."""

    def __init__(self, ehr: Ehr, secret: str) -> None:
        self.ehr, self.secret, self.tag = ehr, secret, tag_of(secret)

    @property
    def is_offered(self) -> bool:
        return "Subscription" in self.ehr.capability.types

    def keep(self, url: str, until: float | None = None) -> int:
        """Make the set as it should be; how many had to be changed. EhrFailure where the EHR will not have it."""
        if not self.is_offered:
            return 0
        ours, now = self._ours(until), datetime.now(UTC)
        entries: list[dict[str, Any]] = []
        all_wanted = self._wanted(url, now)
        for wanted in all_wanted:
            same = [one for one in ours if one.get("criteria") == wanted["criteria"]]
            if not same:
                entries.append({"resource": wanted, "request": {"method": "POST", "url": "Subscription"}})
            elif not _is_good(same[0], wanted, now):
                # Some servers turn on what is requested, others leave it to the client.
                is_asked = same[0].get("status") == "requested" and _channel(same[0]) == wanted["channel"]
                entries.append(_put({**wanted, "id": same[0]["id"], "status": "active" if is_asked else "requested"}))
            for other in same[1:]:
                entries.append(_gone(other))
        criteria = {wanted["criteria"] for wanted in all_wanted}
        entries += [_gone(one) for one in ours if one.get("criteria") not in criteria]
        self._send(entries, until)
        return len(entries)

    def turn_off(self, until: float | None = None) -> int:
        """Turn off all of ours that are not off; how many they were."""
        if not self.is_offered:
            return 0
        live = [one for one in self._ours(until) if one.get("status") in LIVE]
        self._send([_put({**_content(one), "status": "off"}) for one in live], until)
        return len(live)

    def _wanted(self, url: str, now: datetime) -> list[dict[str, Any]]:
        known = self.ehr.capability.types_with_identifier
        return [
            {
                "resourceType": "Subscription",
                "meta": {"tag": [{"system": TAG_SYSTEM, "code": self.tag}]},
                "status": "requested",
                "end": (now + LASTS).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "reason": "The intake pipeline looks at once when something changes here",
                "criteria": f"{kind}?" if kind in EDITED_KINDS else f"{kind}?identifier:missing=true",
                "channel": {
                    "type": "rest-hook",
                    "endpoint": url,
                    "header": [f"Authorization: {authorization(self.secret)}"],
                },
            }
            for kind in KINDS
            if kind in known
        ]

    def _ours(self, until: float | None) -> list[dict[str, Any]]:
        """The oldest first. A server that does not heed `_tag` gives others too: theirs are left alone."""
        reply = self.ehr.wire.call("GET", f"/Subscription?_tag={TAG_SYSTEM}%7C{self.tag}&_count=200", until=until)
        found = [
            e["resource"] for e in bundle_entries(reply.content, "searchset") if isinstance(e.get("resource"), dict)
        ]
        tag = (TAG_SYSTEM, self.tag)
        ours = [
            one
            for one in found
            if one.get("resourceType") == "Subscription"
            and tag in [(t.get("system"), t.get("code")) for t in (one.get("meta") or {}).get("tag") or ()]
        ]
        return sorted(ours, key=lambda one: str(one["id"]))

    def _send(self, entries: list[dict[str, Any]], until: float | None) -> None:
        if not entries:
            return
        reply = self.ehr.wire.call("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}, until)
        for answer in bundle_entries(reply.content, "batch-response"):
            text = str((answer.get("response") or {}).get("status", ""))[:3]
            status = int(text) if text.isdecimal() else 0
            if trouble := trouble_of(status):
                raise EhrFailure(trouble, status)


def _is_good(one: dict[str, Any], wanted: dict[str, Any], now: datetime) -> bool:
    ends = one.get("end")
    lasts = isinstance(ends, str) and parsed(ends) - now > RENEW_BEFORE
    return one.get("status") == "active" and _channel(one) == wanted["channel"] and lasts


def _channel(one: dict[str, Any]) -> dict[str, Any]:
    """Without what a server adds to it."""
    return {name: value for name, value in (one.get("channel") or {}).items() if name in ("type", "endpoint", "header")}


def _content(one: dict[str, Any]) -> dict[str, Any]:
    """As we would send it: without what the server adds."""
    meta = {"tag": [tag for tag in one["meta"]["tag"] if tag.get("system") == TAG_SYSTEM]}
    return {**{name: value for name, value in one.items() if name not in ("meta", "error", "text")}, "meta": meta}


def _put(resource: dict[str, Any]) -> dict[str, Any]:
    return {"resource": resource, "request": {"method": "PUT", "url": f"Subscription/{resource['id']}"}}


def _gone(one: dict[str, Any]) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": f"Subscription/{one['id']}"}}
