"""The sandbox CRM over HTTP: HubSpot's contacts API (v3) as far as we use it, and a page for people.

One thing is more than HubSpot's: each contact has a `version`, told in its JSON and as ETag, and `If-Match` is heeded.
Here: requests and answers. Not here: rows (`database`), webhooks (`hooks`), HTML (`page`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from .database import Contact, Database, now_ms
from .filters import Refused
from .hooks import Hooks
from .page import EDITED, edit_page, list_page
from .shapes import (
    fault,
    instant,
    read_form,
    read_limit,
    read_names,
    read_number,
    read_object,
    read_properties,
    read_search,
    read_source,
    show,
)

LONGEST_BODY = 1024 * 1024
MOST_A_PAGE = {"list": 100, "search": 200, "batch": 100}
COOKIE = "sandbox_crm"
PEOPLE = "CRM_UI:a-person"
"""Who changed a property, where it was somebody on the page; else it is a program, by its token."""
Handler = Callable[[Request, bytes], Response]


@dataclass(frozen=True)
class CrmOptions:
    """What one sandbox CRM is started with."""

    path: Path
    token: str = field(repr=False)
    """The pipeline's."""
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Tokens of other programs -> their names."""
    hook_url: str | None = None
    hook_secret: str = field(default="", repr=False)
    requests_per_second: float | None = None
    has_versions: bool = True
    """Without them it is as HubSpot: no version, no ETag, If-Match ignored."""
    clock: Callable[[], int] = now_ms
    longest_search: int = 10_000
    on_commit: Callable[[], None] = lambda: None
    """Called when a change is committed and not yet answered; for tests that break the line just there."""


def page_key(token: str) -> str:
    """What opens the page for a person; the API's token stays out of the browser."""
    return hmac.new(token.encode(), b"page", hashlib.sha256).hexdigest()[:32]


def make_app(options: CrmOptions) -> Starlette:
    crm = _Crm(options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        hooks = Hooks(crm.database, options.hook_url, options.hook_secret) if options.hook_url else None
        if hooks:
            hooks.start()
        yield
        if hooks:
            await run_in_threadpool(hooks.stop)
        crm.database.close()

    contacts = "/crm/v3/objects/contacts"
    routes = [
        Route(contacts, crm.api(crm.list), methods=["GET"]),
        Route(contacts, crm.api(crm.create), methods=["POST"]),
        Route(contacts + "/search", crm.api(crm.search), methods=["POST"]),
        Route(contacts + "/batch/upsert", crm.api(crm.upsert), methods=["POST"]),
        Route(contacts + "/{key}", crm.api(crm.read), methods=["GET"]),
        Route(contacts + "/{key}", crm.api(crm.update), methods=["PATCH"]),
        Route(contacts + "/{key}", crm.api(crm.archive), methods=["DELETE"]),
        Route("/health", lambda _: JSONResponse({"status": "ok"})),
        Route("/", crm.page(crm.show_list), methods=["GET"]),
        Route("/contacts/{key}", crm.page(crm.show_one), methods=["GET"]),
        Route("/contacts/{key}", crm.page(crm.save_one), methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class _Crm:
    def __init__(self, options: CrmOptions) -> None:
        self.options = options
        self.database = Database(options.path, options.clock, options.longest_search)
        self._rate = threading.Lock()
        self._allowance, self._counted_at = options.requests_per_second or 0.0, time.monotonic()

    # ---- who may ask, and how often

    def api(self, handler: Handler):
        async def answer(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            apps = {self.options.token: "glp1-pipeline", **self.options.others}
            found = [a for t, a in apps.items() if _same(given, f"Bearer {t}")]
            if not found:
                return fault(401, "INVALID_AUTHENTICATION", "the token is missing or wrong")
            if (wait := self._must_wait()) > 0:
                return fault(429, "RATE_LIMITS", "too many requests", {"Retry-After": str(int(wait) + 1)})
            request.state.source = f"INTEGRATION:{found[0]}"
            return await self._handled(request, handler)

        return answer

    def page(self, handler: Handler):
        key = page_key(self.options.token)

        async def answer(request: Request) -> Response:
            host = request.headers.get("host", "")
            if not re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", host, re.ASCII | re.IGNORECASE):
                return Response("this page is for this machine alone", 403)
            if request.method == "POST" and request.headers.get("origin") not in (None, f"http://{host}"):
                return Response("sent by another page", 403)
            if _same(request.query_params.get("key", ""), key):
                found = RedirectResponse("/", 303)
                found.set_cookie(COOKIE, key, httponly=True, samesite="strict")
                return found
            if not _same(request.cookies.get(COOKIE, ""), key):
                return Response("open the page by the address that `glp1 crm page` prints: it has the key", 401)
            return await self._handled(request, handler)

        return answer

    async def _handled(self, request: Request, handler: Handler) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                return fault(413, "VALIDATION_ERROR", "the body is too long")
        try:
            return await run_in_threadpool(handler, request, body)
        except Refused as refusal:
            return fault(refusal.status, refusal.category, refusal.message)

    def _must_wait(self) -> float:
        rate = self.options.requests_per_second
        if not rate:
            return 0.0
        with self._rate:
            now = time.monotonic()
            self._allowance = min(max(rate, 1.0), self._allowance + (now - self._counted_at) * rate)
            self._counted_at = now
            if self._allowance < 1:
                return (1 - self._allowance) / rate
            self._allowance -= 1
            return 0.0

    # ---- the API

    def list(self, request: Request, _: bytes) -> Response:
        limit = read_limit(request.query_params.get("limit"), MOST_A_PAGE["list"])
        is_archived = request.query_params.get("archived") == "true"
        found = self.database.page(read_number(request.query_params.get("after"), 0), limit + 1, is_archived)
        shown = found[:limit]
        results = [self._show(c, read_names(request, "properties")) for c in shown]
        paging = {"paging": {"next": {"after": str(shown[-1].contact_id)}}} if len(found) > limit else {}
        return JSONResponse({"results": results, **paging})

    def create(self, request: Request, body: bytes) -> Response:
        contact = self.database.create(read_properties(read_object(body)), request.state.source)
        self.options.on_commit()
        return self._answer(contact, None, 201)

    def read(self, request: Request, _: bytes) -> Response:
        contact = self._found(request, request.query_params.get("archived") == "true")
        return self._answer(
            contact, read_names(request, "properties"), 200, read_names(request, "propertiesWithHistory")
        )

    def update(self, request: Request, body: bytes) -> Response:
        version = request.headers.get("if-match", "").removeprefix("W/").strip('"') or None
        if not self.options.has_versions:
            version = None
        contact = self.database.update(
            self._found(request), read_properties(read_object(body)), request.state.source, version
        )
        self.options.on_commit()
        return self._answer(contact, None, 200)

    def archive(self, request: Request, _: bytes) -> Response:
        self.database.archive(self._found(request))
        return Response(status_code=204)

    def search(self, _: Request, body: bytes) -> Response:
        asked = read_object(body)
        groups, sorts, names = read_search(asked)
        limit = read_limit(asked.get("limit"), MOST_A_PAGE["search"])
        after = read_number(asked.get("after"), 0)
        total, found = self.database.search(groups, sorts, after, limit)
        results = [self._show(contact, names) for contact in found]
        paging = {"paging": {"next": {"after": str(after + limit)}}} if after + limit < total else {}
        return JSONResponse({"total": total, "results": results, **paging})

    def upsert(self, request: Request, body: bytes) -> Response:
        inputs = read_object(body).get("inputs")
        if not isinstance(inputs, list) or len(inputs) > MOST_A_PAGE["batch"]:
            raise Refused(400, "VALIDATION_ERROR", "`inputs` must be a list of at most 100")
        results = []
        with self.database.transaction():  # all of them, or none
            for one in inputs:
                if not isinstance(one, dict) or not isinstance(one.get("id"), str):
                    raise Refused(400, "VALIDATION_ERROR", "each input needs `id`, `idProperty` and `properties`")
                name, properties = str(one.get("idProperty") or "email"), read_properties(one)
                known = self.database.find(one["id"], name)
                if known is None:
                    contact = self.database.create({name: one["id"], **properties}, request.state.source)
                else:
                    contact = self.database.update(known, properties, request.state.source, None)
                results.append({**self._show(contact, None), "new": known is None})
        self.options.on_commit()
        return JSONResponse({"status": "COMPLETE", "results": results})

    # ---- the page

    def show_list(self, request: Request, _: bytes) -> Response:
        after, wanted = read_number(request.query_params.get("after"), 0), request.query_params.get("q", "").strip()
        found = self.database.page(after, 51, like=wanted)
        return HTMLResponse(list_page(found[:50], found[49].contact_id if len(found) > 50 else None, wanted))

    def show_one(self, request: Request, _: bytes, said: str = "") -> Response:
        contact = self._found(request)
        said = said or ("Saved." if "saved" in request.query_params else "")
        return HTMLResponse(edit_page(contact, self.database.history(contact.contact_id, [*contact.properties]), said))

    def save_one(self, request: Request, body: bytes) -> Response:
        form = read_form(body)
        given = {name: form[name] for name in EDITED if name in form}
        try:
            self.database.update(self._found(request), given, PEOPLE, form.get("version"))
        except Refused as refusal:
            if refusal.status not in (409, 412):
                raise
            return self.show_one(request, b"", f"Not saved: {refusal.message}.")
        return RedirectResponse(f"{request.url.path}?saved=1", 303)

    # ---- shapes

    def _found(self, request: Request, is_archived: bool = False) -> Contact:
        id_property = request.query_params.get("idProperty")
        contact = self.database.find(request.path_params["key"], id_property, is_archived)
        if contact is None:
            raise Refused(404, "OBJECT_NOT_FOUND", "there is no such contact")
        return contact

    def _answer(
        self, contact: Contact, names: list[str] | None, status: int, with_history: list[str] | None = None
    ) -> Response:
        shown = self._show(contact, names)
        if with_history:
            shown["propertiesWithHistory"] = {
                name: [
                    {"value": e["value"], "timestamp": instant(e["at_ms"]), **read_source(e["source"])} for e in entries
                ]
                for name, entries in self.database.history(contact.contact_id, with_history).items()
            }
        headers = {"ETag": f'"{contact.version}"'} if self.options.has_versions else {}
        return JSONResponse(shown, status, headers)

    def _show(self, contact: Contact, names: list[str] | None) -> dict[str, Any]:
        return show(contact, names, self.options.has_versions)


def _same(given: str, wanted: str) -> bool:
    """Whether a secret is the right one, in the same time however it is wrong; it may be in any letters."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
