"""What a write becomes on the EHR at hand: one transaction where it takes our ids, else calls in turn.

Not here: the call itself (`wire`), when to try again (`domain.outbox.retry`), rows (`adapters.outbox`).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from glp1_pipeline.domain.outbox import (
    Found,
    Remote,
    Trouble,
    conditional_transaction,
    first_creates,
    is_same,
    rest_as_batch,
    trouble_of,
    worst_of,
)
from glp1_pipeline.domain.outbox.exchange import FIRST_TYPES, identity_query, is_ours

from .entries import NOT_OFFERED, etag_of, opaque, version_of
from .wire import STATEMENT, EhrFailure, EhrMisconfigured, EhrSettings, Wire

UNTOLD: dict[str, Any] = {"response": {"status": "201"}}
"""An answer to an entry that tells neither where it is nor at which version."""


@dataclass(slots=True)
class Sent:
    """What came of sending: what the EHR confirmed (id, version), and the worst trouble of the rest."""

    remote: dict[str, list[str]] = field(default_factory=dict)
    trouble: Trouble | None = None
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    takes_our_ids: bool
    types_with_identifier: frozenset[str]
    types: frozenset[str] = frozenset()
    types_with_history: frozenset[str] = frozenset()
    """Types whose whole history can be asked for, deletions among it."""
    instances_with_history: frozenset[str] = frozenset()
    finds_provenance: bool = False
    """Whether a Provenance is found by what it is of."""
    takes_transactions: bool = True
    """Not where it names batches alone."""
    calls_itself: str = ""
    """Its address as it knows it, which behind a proxy is not the one that we were given; empty where it tells none."""


class Ehr:
    """One FHIR R4 server. Threads may share it."""

    def __init__(self, settings: EhrSettings) -> None:
        self.settings = settings
        self.wire = Wire(settings)
        self._lock = threading.Lock()
        self._capability: Capability | None = None

    def close(self) -> None:
        self.wire.close()

    @property
    def capability(self) -> Capability:
        """What the server says of itself; asked once per process."""
        with self._lock:
            if self._capability is None:
                try:
                    self._capability = _capability(self.wire.call("GET", STATEMENT).content)
                except EhrFailure as failure:
                    if failure.trouble == "rejected":  # of no write: there is no FHIR server at this address
                        raise EhrFailure("misaddressed", failure.status) from None
                    raise
            return self._capability

    def path_of(self, url: str) -> str | None:
        """Where on this server an address of its own leads, under the base; None where it leads to another server.

        Calls go to the address that we were given, whatever host is named: our token does not travel.
        """
        for base in filter(None, (self.wire.base, self.capability.calls_itself)):
            try:
                there, here = urlsplit(urljoin(base + "/", url)), urlsplit(base)
            except ValueError:
                continue
            rest = there.path.removeprefix(here.path)
            is_inside = there.path.startswith(here.path) and rest[:1] in ("", "/")
            # Behind whoever ends TLS for it, a server says http of itself.
            if there.scheme in ("http", "https") and there.netloc == here.netloc and is_inside:
                return rest + (f"?{there.query}" if there.query else "")
        return None

    def existing(self, keys: Collection[str], until: float | None) -> set[str]:
        """Which of our ids the server already holds: asked before creating, for not every server heeds ifNoneMatch."""
        if not self.capability.takes_our_ids or not keys:
            return set()
        answers = self.batch_get(list(keys), until)
        return {key for key, entry in zip(keys, answers, strict=True) if _entry_status(entry) not in (404, 410)}

    def look(self, resources: dict[str, Any], remote: Remote, until: float | None = None) -> dict[str, Found | None]:
        """What the server holds now of each resource of a write."""
        found: dict[str, Found | None] = {}
        urls = {key: self._url(key, resource, remote) for key, resource in resources.items()}
        for (key, url), entry in zip(urls.items(), self.batch_get(list(urls.values()), until), strict=True):
            found[key] = _searched(key, entry) if "?" in url else _read(key, url, entry)
        return found

    def version(self, kind: str, remote_id: str, version: str, until: float | None = None) -> dict[str, Any] | None:
        """What a resource said in a version; None where the server does not tell."""
        if kind not in self.capability.instances_with_history:
            return None
        try:
            told = self.wire.call("GET", f"/{kind}/{remote_id}/_history/{version}", None, until).content
        except EhrFailure as failure:
            if failure.status in (*NOT_OFFERED, 410):
                return None
            raise
        return told if isinstance(told, dict) and told.get("resourceType") == kind else None

    def send(self, bundle: dict[str, Any], remote: Remote, todo: Collection[str], until: float | None = None) -> Sent:
        """Send a write. `todo`: what is not there yet, or not as it should be (a transaction sends all the same)."""
        if not self.capability.takes_our_ids:
            return self._send_in_turn(bundle, remote, todo, until)
        part = conditional_transaction(bundle, remote)
        if not self.is_atomic(bundle):
            entries = [e for e in part["entry"] if e["request"]["url"] in todo]
            part = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        sent = Sent()
        self._send_part(sent, [e["request"]["url"] for e in part["entry"]], part, until)
        return sent

    def is_atomic(self, bundle: dict[str, Any]) -> bool:
        """Whether the write lands whole or not at all."""
        limit = self.settings.max_conditional_entries
        can = self.capability.takes_our_ids and self.capability.takes_transactions
        return can and (limit is None or len(bundle["entry"]) <= limit)

    def batch_get(self, urls: list[str], until: float | None = None) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for start in range(0, len(urls), self.settings.max_batch_entries):
            wanted = urls[start : start + self.settings.max_batch_entries]
            gets = [{"request": {"method": "GET", "url": url}} for url in wanted]
            reply = self.wire.call("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": gets}, until)
            answers = _entries(reply.content, reply.status, len(wanted))
            for entry in answers:  # only "there" and "not there" are answers to a read
                status = _entry_status(entry)
                trouble = trouble_of(status)
                if trouble and status not in (404, 410):
                    raise EhrFailure(trouble, status)
            entries += answers
        return entries

    def _url(self, key: str, resource: dict[str, Any], remote: Remote) -> str:
        if self.capability.takes_our_ids:
            return key
        kind = key.partition("/")[0]
        if known := remote.get(key):
            return f"{kind}/{known[0]}"
        return f"{kind}?{identity_query(key, resource, self.capability.types_with_identifier)}"

    def _send_in_turn(self, bundle: dict[str, Any], remote: Remote, todo: Collection[str], until: float | None) -> Sent:
        """First what the others refer to, since only the answer tells its id."""
        types = self.capability.types_with_identifier
        sent = Sent()
        turns = [list(todo)]
        if self.capability.takes_transactions:
            keys, first = first_creates(bundle, remote, todo, types)
            if keys and not self._send_part(sent, keys, first, until):
                return sent
        else:
            turns = [[key for key in todo if key.startswith(f"{kind}/")] for kind in FIRST_TYPES] + turns
        for turn in turns:
            left = [key for key in turn if key not in sent.remote]
            keys, part = rest_as_batch(bundle, {**remote, **sent.remote}, left, types)
            if keys and not self._send_part(sent, keys, part, until):
                return sent
        return sent

    def _send_part(self, sent: Sent, keys: list[str], part: dict[str, Any], until: float | None) -> bool:
        try:
            reply = self.wire.call("POST", "", part, until)
            sent.status = reply.status
            # We ask for few words, and some servers say none: then what they made of it is looked for.
            is_told = reply.content is not None
            answers = _entries(reply.content, reply.status, len(keys)) if is_told else [UNTOLD] * len(keys)
        except EhrFailure as failure:
            is_gone = failure.trouble == "rejected" and any(_is_of_gone(failure.status, e) for e in part["entry"])
            sent.trouble = "moved" if is_gone else failure.trouble
            sent.status, sent.retry_after = failure.status, failure.retry_after
            return False
        troubles: dict[Trouble, int] = {}
        untold: dict[str, tuple[dict[str, Any], int]] = {}
        for key, entry, answer in zip(keys, part["entry"], answers, strict=True):
            status = _entry_status(answer)
            is_create = entry["request"]["method"] == "POST"
            put_at = "" if is_create else entry["resource"]["id"]
            place = _place(answer, key.partition("/")[0], put_at)
            if _is_of_gone(status, entry):
                troubles.setdefault("moved", status)
            elif trouble := trouble_of(status):
                troubles.setdefault(trouble, status)
            elif is_create and status != 201:
                troubles.setdefault("moved", status)  # it was there already: what it says must be read first
            elif place is None:
                untold[key] = entry, status
            elif put_at not in ("", place[0]):
                troubles.setdefault("rubbish", status)
            else:
                sent.remote[key] = place
        try:
            found = self._look_again({key: entry for key, (entry, _) in untold.items()}, until)
        except EhrFailure as failure:
            troubles.setdefault(failure.trouble, failure.status or 0)
        else:
            sent.remote |= found
            if left := [status for key, (_, status) in untold.items() if key not in found]:
                troubles.setdefault("rubbish", left[0])
        sent.trouble = worst_of(set(troubles))
        sent.status = troubles[sent.trouble] if sent.trouble else sent.status
        return sent.trouble is None

    def _look_again(self, entries: dict[str, dict[str, Any]], until: float | None) -> dict[str, list[str]]:
        """Where entries are of which the server did not tell id and version: as they were sent, or not at all, since
        what somebody has changed meanwhile is not ours to write over."""
        resources = {key: entry["resource"] for key, entry in entries.items()}
        known = {key: [resource["id"], ""] for key, resource in resources.items() if "id" in resource}
        looked = self.look(resources, known, until).items()
        found = {key: there for key, there in looked if there and there.version and there.matches == 1}
        back = {f"{k.partition('/')[0]}/{there.remote_id}": entries[k].get("fullUrl", k) for k, there in found.items()}
        same = {key: there for key, there in found.items() if is_same(resources[key], there.resource, back)}
        return {key: [there.remote_id, there.version] for key, there in same.items()}


def _capability(statement: Any) -> Capability:
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        raise EhrFailure("rubbish", 200)
    try:
        sides = [rest for rest in statement.get("rest", ()) if rest.get("mode") != "client"]
        resources = [r for rest in sides for r in rest.get("resource", ())]
        takes_our_ids = any(r.get("type") == "Patient" and r.get("updateCreate") is True for r in resources)
        searched: dict[str, set[Any]] = {}
        offered: dict[str, set[Any]] = {}
        for r in resources:
            searched.setdefault(str(r.get("type")), set()).update(p.get("name") for p in r.get("searchParam", ()))
            offered.setdefault(str(r.get("type")), set()).update(i.get("code") for i in r.get("interaction", ()))
        interactions = {i.get("code") for rest in sides for i in rest.get("interaction", ())}
        version, calls_itself = str(statement.get("fhirVersion") or "4"), statement.get("implementation", {}).get("url")
    except (AttributeError, TypeError):
        raise EhrFailure("rubbish", 200) from None
    if version.split(".")[0] != "4":
        raise EhrMisconfigured(
            "The EHR's CapabilityStatement says that it speaks another version of FHIR than R4: charts would be refused"
            " or misread there. Set GLP1_EHR_URL to its address for R4."
        )
    return Capability(
        takes_our_ids,
        types_with_identifier=frozenset(t for t, names in searched.items() if "identifier" in names),
        types=frozenset(offered),
        types_with_history=frozenset(t for t, codes in offered.items() if "history-type" in codes),
        instances_with_history=frozenset(t for t, codes in offered.items() if "history-instance" in codes),
        # One that names neither says nothing of it.
        takes_transactions="transaction" in interactions or "batch" not in interactions,
        finds_provenance="target" in searched.get("Provenance", ()),
        calls_itself=calls_itself.rstrip("/") if isinstance(calls_itself, str) else "",
    )


def _entries(content: Any, status: int, expected: int) -> list[dict[str, Any]]:
    """The entries of a transaction's or batch's answer, or EhrFailure when it is not the answer to what was asked."""
    if isinstance(content, dict) and content.get("resourceType") == "Bundle":
        entries = content.get("entry") or []
        well_formed = isinstance(entries, list) and all(
            isinstance(e, dict) and isinstance(e.get("response"), dict) for e in entries
        )
        if str(content.get("type", "")).endswith("-response") and well_formed and len(entries) == expected:
            return entries
    raise EhrFailure("rubbish", status)


def _entry_status(entry: dict[str, Any]) -> int:
    text = str(entry["response"].get("status", ""))[:3]
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 0


def _is_of_gone(status: int | None, sent: dict[str, Any]) -> bool:
    """Whether an answer says of an update that there is nothing (any more) to be updated: no fault of what was sent."""
    return status in (404, 410) and "ifMatch" in sent["request"]


def _place(entry: dict[str, Any], kind: str, put_at: str) -> list[str] | None:
    """Id and version of an answered entry, from its location and etag, else from the resource beside them.

    `put_at`: the id that was asked for; of an update not every server names it again.
    """
    response = entry["response"]
    parts = str(response.get("location") or "").split("/")
    remote_id = version = ""
    if kind in parts:
        rest = parts[len(parts) - parts[::-1].index(kind) :]
        remote_id = rest[0] if rest else ""
        version = rest[2] if len(rest) > 2 and rest[1] == "_history" else ""
    remote_id, version = opaque(remote_id), etag_of(response) or opaque(version)
    resource = entry.get("resource")
    if isinstance(resource, dict) and resource.get("resourceType") == kind:
        remote_id = remote_id or opaque(resource.get("id"))
        version = version or version_of(resource)
    remote_id = remote_id or put_at
    return [remote_id, version] if remote_id and version else None


def _read(key: str, url: str, entry: dict[str, Any]) -> Found | None:
    status = _entry_status(entry)
    remote_id = url.partition("/")[2]
    if status == 404:
        return None
    if status == 410:
        return Found(remote_id, "", None)
    resource = entry.get("resource")
    if not isinstance(resource, dict) or resource.get("resourceType") != key.partition("/")[0]:
        raise EhrFailure("rubbish", status)
    return Found(remote_id, etag_of(entry["response"]) or version_of(resource), resource)


def _searched(key: str, entry: dict[str, Any]) -> Found | None:
    result = entry.get("resource")
    if not isinstance(result, dict) or result.get("resourceType") != "Bundle":
        raise EhrFailure("rubbish", _entry_status(entry))
    hits = [r for r in _resources(result.get("entry") or ()) if is_ours(r, key)]
    if not hits:
        return None
    remote_id = opaque(hits[0].get("id"))
    if not remote_id:
        raise EhrFailure("rubbish", _entry_status(entry))
    return Found(remote_id, version_of(hits[0]), hits[0], len(hits))


def _resources(entries: Iterable[Any]) -> list[dict[str, Any]]:
    return [e["resource"] for e in entries if isinstance(e, dict) and isinstance(e.get("resource"), dict)]
