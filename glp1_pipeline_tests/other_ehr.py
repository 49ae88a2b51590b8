"""An EHR of another make, in memory and over real HTTP: it does what HAPI, Medplum, Azure, Google and the proxies before
them are known to do and the sandbox's does not.

Here: reads, searches by identifier, tag and instant, transactions, batches, histories, tokens. Not here: validation,
and any expectation of a test.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

from glp1_pipeline.sandbox.drills.proxy import Served

TYPES = (
    "Patient", "Observation", "AllergyIntolerance", "Condition", "Procedure", "FamilyMemberHistory", "Flag", "Task",
    "MedicationStatement", "MedicationRequest", "MedicationDispense", "Consent", "QuestionnaireResponse", "Provenance",
)  # fmt: skip
URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%|-]+")
"""What an address may consist of; a bar as well, since no server minds it."""
ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
Resource = dict[str, Any]
Told = tuple[int, Any, dict[str, str]]


def as_is(content: Any) -> Any:
    return content


@dataclass
class Make:
    """What a make of server does its own way. Each name says what is so where it is not as it comes."""

    takes_our_ids: bool = True
    prefix: str = "/fhir"
    """Of the address that we are given."""
    calls_itself: str = ""
    """The base that its links, places and full addresses name; empty: the one that we are given."""
    relative: bool = False
    """Its places and links are relative."""
    names_place: bool = True
    names_version_in_place: bool = True
    etag: Callable[[str], str | None] = lambda version: f'W/"{version}"'
    created: str = "201 Created"
    echoes_resource: bool = False
    version: Callable[[int], str] = str
    zone: tzinfo = UTC
    precision: timedelta = timedelta(milliseconds=1)
    most: int = 1000
    """Entries of a page, whatever was asked."""
    links: str = "good"
    """`good`, `none`, `loop`: the last page's leads to the first."""
    total: bool = True
    withholds: Callable[[Resource], bool] = lambda resource: False
    """What it leaves out of a page that counts it: not everybody may see all."""
    stale_for: float = 0.0
    """Seconds for which a search does not know of a write."""
    statement: Callable[[Resource], Resource] = as_is
    keeps: Callable[[Resource], Resource] = as_is
    """What it makes of a resource that it is sent."""
    answers: Callable[[Resource], Resource] = as_is
    """What it makes of its answer to a bundle."""
    heeds_if_none_exist: bool = True
    transactions: str = "whole"
    """`whole`, `none` (batches alone, as its statement says), `in part` (what fails in one is told within the answer)."""
    refuses_entry: Callable[[Resource], int | None] = lambda entry: None
    """Asked first of each entry that writes: a status."""
    spoken: Callable[[bytes], bytes] = as_is
    """What it makes of the text of an answer."""
    gzips: bool = False
    content_type: str = "application/fhir+json; charset=utf-8"
    history: bool = True
    token_seconds: float | None = None
    """None: it asks for no token."""
    token_says: Callable[[Resource], Resource] = as_is
    smart_configuration: bool = True
    refuses: Callable[[str, str, Any], Told | None] = lambda method, path, body: None
    """Asked first of each request: method, path under the base, body."""


@dataclass
class Kept:
    content: Resource | None
    version: str
    stamp: datetime
    at: float = field(default_factory=time.monotonic)


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class OtherEhr(Served):
    def __init__(self, make: Make) -> None:
        super().__init__(_Handler)
        self.make = make
        self.kept: dict[str, list[Kept]] = {}
        self.asked: list[tuple[str, str]] = []
        """Method and path of each request."""
        self.tokens: dict[str, float] = {}
        self._lock = threading.RLock()
        self._last = datetime.now(UTC)
        self.url = self.root + make.prefix

    # What a provider does there, past HTTP.

    def put(self, place: str, content: Resource) -> Kept:
        with self._lock:
            versions = self.kept.setdefault(place, [])
            now = max(datetime.now(UTC), self._last + timedelta(milliseconds=1))
            self._last = now
            step = self.make.precision
            stamp = now - timedelta(seconds=now.timestamp() % step.total_seconds())
            stamp = stamp.replace(microsecond=round(stamp.microsecond / 1000) % 1000 * 1000)
            kept = Kept(None, self.make.version(len(versions) + 1), stamp.astimezone(self.make.zone))
            meta = {**(content.get("meta") or {}), "versionId": kept.version}
            meta["lastUpdated"] = kept.stamp.isoformat(timespec="milliseconds" if step.microseconds else "seconds")
            kind, _, remote_id = place.partition("/")
            kept.content = {**self.make.keeps(content), "resourceType": kind, "id": remote_id, "meta": meta}
            versions.append(kept)
            return kept

    def edit(self, place: str, **changes: Any) -> Kept:
        now = self.now(place)
        assert now is not None
        return self.put(place, {**now, **changes})

    def add(self, kind: str, **content: Any) -> str:
        place = f"{kind}/{uuid.uuid4()}"
        self.put(place, content)
        return place

    def delete(self, place: str) -> None:
        with self._lock:
            last = self.kept[place][-1]
            self.kept[place].append(Kept(None, self.make.version(len(self.kept[place]) + 1), last.stamp))

    def now(self, place: str) -> Resource | None:
        versions = self.kept.get(place)
        return versions[-1].content if versions else None

    def all_of(self, kind: str) -> list[Resource]:
        with self._lock:
            found = [v[-1].content for place, v in self.kept.items() if place.startswith(f"{kind}/")]
        return [one for one in found if one is not None]

    # HTTP

    def answer(self, method: str, target: str, body: Any, headers: Any) -> Told:
        parts = urlsplit(target)
        if parts.path == "/token":
            return self._token()
        if not parts.path.startswith(self.make.prefix) or "//" in parts.path:
            return 404, "<html>nothing here</html>", {}
        path = parts.path[len(self.make.prefix) :].strip("/")
        if refused := self.make.refuses(method, path, body):
            return refused
        if path == ".well-known/smart-configuration":
            if not self.make.smart_configuration or self.make.token_seconds is None:
                return 404, "<html>nothing here</html>", {}
            return 200, {"token_endpoint": self.root + "/token"}, {}
        if path == "metadata":
            return 200, self.make.statement(self._statement()), {}
        if self.make.token_seconds is not None:
            token = str(headers.get("Authorization", "")).removeprefix("Bearer ")
            if self.tokens.get(token, 0.0) < time.monotonic():
                return 401, outcome(), {}
        with self._lock:
            try:
                if method == "POST" and not path:
                    return 200, self.make.answers(self._bundle(body)), {}
                query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
                return 200, self._read(path, query), {}
            except Refused as refused_as:
                return refused_as.status, outcome(), {}

    def _token(self) -> Told:
        token = uuid.uuid4().hex
        assert self.make.token_seconds is not None
        self.tokens[token] = time.monotonic() + self.make.token_seconds
        told = {"access_token": token, "token_type": "bearer", "expires_in": self.make.token_seconds}
        return 200, self.make.token_says(told), {}

    def _statement(self) -> Resource:
        made = [
            {
                "type": kind,
                "updateCreate": self.make.takes_our_ids,
                "conditionalCreate": True,
                "interaction": [{"code": c} for c in ("read", "create", "update", "search-type")]
                + [{"code": c} for c in ("history-instance", "history-type") if self.make.history],
                "searchParam": [{"name": n} for n in ("identifier", "_tag", "_lastUpdated") if kind != "Provenance"],
            }
            for kind in TYPES
        ]
        told = [{"code": "batch"}, *([] if self.make.transactions == "none" else [{"code": "transaction"}])]
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "implementation": {"description": "An EHR", "url": self.make.calls_itself or self.url},
            "rest": [{"mode": "server", "resource": made, "interaction": told}],
        }

    @property
    def _base(self) -> str:
        return "" if self.make.relative else (self.make.calls_itself or self.url) + "/"

    def _bundle(self, bundle: Resource) -> Resource:
        is_transaction = bundle["type"] == "transaction"
        if is_transaction and self.make.transactions == "none":
            raise Refused(400)
        entries: list[Resource] = []
        before = {place: list(versions) for place, versions in self.kept.items()}
        local: dict[str, str] = {}
        for entry in bundle["entry"]:
            try:
                entries.append(self._one(entry, local))
            except Refused as refused:
                if is_transaction and self.make.transactions == "whole":
                    self.kept = before
                    raise
                entries.append({"response": {"status": str(refused.status), "outcome": outcome()}})
        if local:  # what another of the bundle was called, before it had an id
            for versions in self.kept.values():
                versions[-1].content = _referring(versions[-1].content, local)
        return {"resourceType": "Bundle", "type": f"{bundle['type']}-response", "entry": entries}

    def _one(self, entry: Resource, local: dict[str, str]) -> Resource:
        request = entry["request"]
        method, url = request["method"], request["url"]
        path, _, query = url.partition("?")
        if method == "GET":
            if not URL.fullmatch(url):
                raise Refused(400)
            found = self._read(path, {k: v[0] for k, v in parse_qs(query).items()})
            version = (found.get("meta") or {}).get("versionId")
            return {"resource": found, "response": self._response("200 OK", None, version)}
        if (status := self.make.refuses_entry(entry)) is not None:
            raise Refused(status)
        resource = entry["resource"]
        if method == "POST":
            if (wanted := request.get("ifNoneExist")) and self.make.heeds_if_none_exist:
                hits = self._hits(path, {k: v[0] for k, v in parse_qs(wanted).items()})
                if len(hits) > 1:
                    raise Refused(412)
                if hits:
                    local[entry.get("fullUrl", "")] = f"{path}/{hits[0]['id']}"
                    return self._done("200 OK", f"{path}/{hits[0]['id']}")
            place = f"{path}/{uuid.uuid4()}"
            self.put(place, resource)
            local[entry.get("fullUrl", "")] = place
            return self._done(self.make.created, place)
        versions = self.kept.get(url, [])
        if request.get("ifNoneMatch") == "*" and versions and versions[-1].content is not None:
            raise Refused(412)
        if (asked := request.get("ifMatch")) is not None:
            there = versions[-1].version if versions else ""
            if _bare(asked) not in (there, _bare(self.make.etag(there) or "")):
                raise Refused(412)
        if not versions and not self.make.takes_our_ids:
            raise Refused(405)
        self.put(url, resource)
        return self._done("200 OK" if versions else self.make.created, url)

    def _done(self, status: str, place: str) -> Resource:
        kept = self.kept[place][-1]
        told: Resource = {"response": self._response(status, place, kept.version)}
        if self.make.echoes_resource:
            told["resource"] = kept.content
        return told

    def _response(self, status: str, place: str | None, version: str | None) -> Resource:
        response: Resource = {"status": status}
        if place and self.make.names_place:
            response["location"] = self._base + place
            if self.make.names_version_in_place:
                response["location"] += f"/_history/{version}"
        if version and (etag := self.make.etag(version)) is not None:
            response["etag"] = etag
        return response

    def _read(self, path: str, query: dict[str, str]) -> Resource:
        kind, *rest = path.split("/")
        if rest and not ID.fullmatch(rest[0]) and rest[0] != "_history":
            raise Refused(400)
        if not path and "page" in query:  # as HAPI's: all that is asked is in the token
            kind = json.loads(base64.urlsafe_b64decode(query["page"]))["kind"]
            return self._search(kind, query)
        if rest[:1] == ["_history"] or rest[1:2] == ["_history"]:
            if not self.make.history:
                raise Refused(404)
            return self._history(kind, rest)
        if rest:
            versions = self.kept.get(f"{kind}/{rest[0]}")
            if not versions:
                raise Refused(404)
            if versions[-1].content is None:
                raise Refused(410)
            return versions[-1].content
        if kind not in TYPES:
            raise Refused(404)
        return self._search(kind, query)

    def _history(self, kind: str, rest: list[str]) -> Resource:
        if len(rest) == 3:
            for kept in self.kept.get(f"{kind}/{rest[0]}", ()):
                if kept.version == rest[2] and kept.content:
                    return kept.content
            raise Refused(404)
        entries: list[tuple[datetime, Resource]] = []
        for place, versions in self.kept.items():
            if place.startswith(f"{kind}/") and (rest[0] == "_history" or place == f"{kind}/{rest[0]}"):
                for kept in versions:
                    method = "DELETE" if kept.content is None else "PUT"
                    response = {"status": "200", "lastModified": kept.stamp.isoformat()}
                    response["etag"] = self.make.etag(kept.version) or ""
                    one: Resource = {"request": {"method": method, "url": place}, "response": response}
                    if kept.content:
                        one["resource"] = kept.content
                    entries.append((kept.stamp, one))
        entries.sort(key=lambda entry: entry[0], reverse=True)
        return {"resourceType": "Bundle", "type": "history", "entry": [one for _, one in entries]}

    def _hits(self, kind: str, query: dict[str, str]) -> list[Resource]:
        known_by = time.monotonic() - self.make.stale_for
        found = []
        for place, versions in self.kept.items():
            seen = [one for one in versions if one.at <= known_by]
            if not place.startswith(f"{kind}/") or not seen or seen[-1].content is None:
                continue
            content, stamp = seen[-1].content, seen[-1].stamp
            if "identifier" in query and not _identified(content, query["identifier"]):
                continue
            if "_tag" in query and not _tagged(content, query["_tag"]):
                continue
            if "_lastUpdated" in query and stamp < datetime.fromisoformat(query["_lastUpdated"].removeprefix("ge")):
                continue
            found.append((stamp, content))
        found.sort(key=lambda one: one[0], reverse=query.get("_sort") == "-_lastUpdated")
        return [content for _, content in found]

    def _search(self, kind: str, query: dict[str, str]) -> Resource:
        start = 0
        if page := query.get("page"):
            told = json.loads(base64.urlsafe_b64decode(page))
            start, query = told["start"], told["query"]
        hits = self._hits(kind, query)
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset"}
        if self.make.total:
            bundle["total"] = len(hits)
        if query.get("_summary") == "count":
            return bundle
        size = min(int(query.get("_count", 50)), self.make.most)
        shown = hits[start : start + size]
        bundle["entry"] = [
            {"fullUrl": f"{self._base}{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}}
            for one in shown
            if not self.make.withholds(one)
        ]
        has_more = start + size < len(hits)
        if (has_more and self.make.links != "none") or self.make.links == "loop":
            told = {"kind": kind, "start": start + size if has_more else 0, "query": query}
            token = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
            base = self._base.removesuffix("/")
            bundle["link"] = [{"relation": "next", "url": f"{base}?{urlencode({'page': token})}"}]
        return bundle


def _identified(content: Resource, asked: str) -> bool:
    system, _, value = asked.partition("|")
    given = content.get("identifier") or []
    listed = given if isinstance(given, list) else [given]
    return any(i.get("system") == system and value in ("", i.get("value")) for i in listed)


def _tagged(content: Resource, asked: str) -> bool:
    system, _, code = asked.partition("|")
    tags = (content.get("meta") or {}).get("tag") or []
    return any(tag.get("system") == system and code in ("", tag.get("code")) for tag in tags)


def _referring(value: Any, local: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_referring(one, local) for one in value]
    if isinstance(value, dict):
        return {k: local.get(v, v) if k == "reference" else _referring(v, local) for k, v in value.items()}
    return value


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def outcome(severity: str = "error") -> Resource:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "processing"}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        ehr = cast(Any, self.server).owner
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        ehr.asked.append((self.command, self.path))
        status, content, headers = ehr.answer(self.command, self.path, body, self.headers)
        out = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        out = ehr.make.spoken(out)
        if ehr.make.gzips:
            out, headers = gzip.compress(out), {**headers, "Content-Encoding": "gzip"}
        kind = "text/html" if isinstance(content, str) else ehr.make.content_type
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(out)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """No log: what passes here is made of charts."""
