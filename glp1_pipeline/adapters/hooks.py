"""Webhooks of the CRM and the EHR, received: each is a mere hint that makes us look sooner, and never a message itself.

What changed is read from the CRM and the EHR themselves: so a webhook that is lost, comes twice, late, out of order or
from a liar with the secret changes nothing of what we know. A hint is answered with 2xx once it is committed. While
this program lives it keeps our subscriptions in the EHR, and turns them off when it ends: nothing else would hear them.
It also shows the page of health to a browser on this machine. Run as a program of its own:
`uvicorn glp1_pipeline.adapters.hooks:app --factory`. Not here: reading changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .crm.cursor import DELETION_HINT, HINT, SYSTEM
from .ehr import Ehr, EhrFailure, EhrMisconfigured, EhrSettings
from .ehr.hints import note_hint
from .ehr.subscription import Subscriptions, authorization
from .health_page import page_of
from .settings import Settings

LONGEST_BODY = 1024 * 1024
OLDEST_SECONDS = 300.0
LOOK_AGAIN_SECONDS = (2.0, 15.0, 300.0)
"""At our subscriptions: after a change of them, after a failure, and when all is well."""
STOP_SECONDS = 6.0
NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
log = logging.getLogger(__name__)


def app() -> Starlette:
    """The receiver of the installation at GLP1_HOME."""
    settings = Settings.from_env()
    return make_app(
        settings.store_url,
        settings.crm_hook_secret() if settings.hears_crm_hooks else None,
        settings.secrets.get_or_create("ehr_hook_secret"),
        Keeper(lambda: subscriptions(settings), settings.ehr_hook_url_wanted()),
        page_of(settings.home),
    )


def subscriptions(settings: Settings) -> Subscriptions:
    ehr = Ehr(EhrSettings(settings.ehr_base_url(), **settings.ehr_credentials(), read_timeout=10.0))
    return Subscriptions(ehr, settings.secrets.get_or_create("ehr_hook_secret"))


class Keeper:
    """Keeps our subscriptions in a thread of its own: what the EHR fails at is tried again, and delays nobody.

    `url`: where the EHR tells us; None: it is not to tell us, and what an earlier start left on is turned off.
    """

    def __init__(self, make: Callable[[], Subscriptions], url: str | None) -> None:
        self._make, self._url = make, url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="subscriptions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(STOP_SECONDS)

    def _work(self) -> None:
        ours, after_change, after_failure, when_well = None, *LOOK_AGAIN_SECONDS
        has_changed = False
        while not self._is_over.is_set():
            pause = when_well
            try:
                ours = ours or self._make()
                if self._url is None:
                    ours.turn_off()
                    return
                # Twice in a row: the EHR keeps something other than what we send (a header masked), and will again.
                had_changed, has_changed = has_changed, ours.keep(self._url) > 0
                pause = after_change if has_changed and not had_changed else when_well
            except (EhrFailure, EhrMisconfigured) as failure:
                log.warning("subscriptions in the EHR are not as they should be (%s); tried again", failure)
                pause = after_failure
            except Exception as error:  # noqa: BLE001 - nobody would start this thread again; its text may quote an answer
                log.error("looking after subscriptions failed in our own code: %s", type(error).__name__)
                ours, pause = None, after_failure
            self._is_over.wait(pause)
        try:
            if ours is not None:
                ours.turn_off(time.monotonic() + STOP_SECONDS - 1)
        except EhrFailure as failure:
            log.warning("subscriptions in the EHR are still on (%s); they end by themselves within an hour", failure)


def make_app(
    database_url: Callable[[], str],
    crm_secret: str | None,
    ehr_secret: str | None = None,
    keeper: Keeper | None = None,
    health_page: Path | None = None,
) -> Starlette:
    """The receiver; a system whose secret is None is not heard. `health_page`: the file to show on this machine.
    `database_url` is asked each time: its password may change."""

    def in_database(note: Callable[[psycopg.Connection[Any]], None]) -> None:
        with psycopg.connect(database_url(), connect_timeout=5, application_name="glp1 hooks") as connection:
            note(connection)

    async def kept(note: Callable[[psycopg.Connection[Any]], None]) -> Response:
        try:
            await run_in_threadpool(in_database, note)
        except psycopg.Error:
            return Response(status_code=503)  # not kept: it is told again
        return Response(status_code=204)

    async def hear_crm(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                return Response(status_code=413)
        if not is_signed(crm_secret or "", request.headers, body, time.time()):
            return Response(status_code=401)
        try:
            notices = json.loads(body)
            kinds = {DELETION_HINT if str(one["subscriptionType"]).endswith(".deletion") else HINT for one in notices}
        except (ValueError, TypeError, KeyError, RecursionError):
            return Response(status_code=400)
        return await kept(lambda connection: note_crm(connection, kinds))

    async def hear_ehr(request: Request) -> Response:
        told = request.headers.get("authorization", "")
        if not hmac.compare_digest(authorization(ehr_secret or "").encode(), told.encode()):
            return Response(status_code=401)
        size = 0
        async for part in request.stream():  # a server may send the resource all the same: dropped as it comes
            size += len(part)
            if size > LONGEST_BODY:
                return Response(status_code=413)
        return await kept(note_hint)

    def show_health(request: Request) -> Response:
        if not is_from_here(request):
            return Response(status_code=404)
        try:
            html = health_page.read_bytes() if health_page else b""
        except OSError:
            html = b""
        if not html:
            return PlainTextResponse("no page of health yet: `glp1 health --page` writes it", 503, NOT_KEPT)
        return Response(html, headers=NOT_KEPT, media_type="text/html")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if keeper:
            keeper.start()
        yield
        if keeper:
            await run_in_threadpool(keeper.stop)

    routes = [
        Route("/health", lambda _: JSONResponse({"status": "ok"}), methods=["GET"]),
        Route("/health-page", show_health, methods=["GET"]),
    ]
    if crm_secret:
        routes.append(Route("/crm", hear_crm, methods=["POST"]))
    if ehr_secret:  # some servers add the type and id of what changed to the path
        routes += [Route(path, hear_ehr, methods=["POST", "PUT"]) for path in ("/ehr", "/ehr/{rest:path}")]
    return Starlette(routes=routes, lifespan=lifespan)


def is_from_here(request: Request) -> bool:
    """Whether a program of this machine asks by this machine's name: not one who came through a proxy, and no page of
    another site whose name was made to lead here."""
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via")):
        return False
    client = request.client.host if request.client else ""
    return client in ("127.0.0.1", "::1") and request.url.hostname in ("localhost", "127.0.0.1", "::1")


def note_crm(connection: psycopg.Connection[Any], kinds: set[str]) -> None:
    for kind in sorted(kinds):
        connection.execute(
            "insert into ops.poll_cursors as c (system, kind, polled_at, changes) values (%s, %s, now(), 1)"
            " on conflict (system, kind) do update set polled_at = now(), changes = c.changes + 1",
            (SYSTEM, kind),
        )


def is_signed(secret: str, headers, body: bytes, now: float) -> bool:
    """Whether X-Signature is the HMAC-SHA256 (hex) of X-Signature-Timestamp and the body, and the time is near."""
    timestamp = headers.get("x-signature-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    expected = hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()
    is_genuine = hmac.compare_digest(expected.encode(), headers.get("x-signature", "").encode())
    return is_genuine and abs(now - int(timestamp)) <= OLDEST_SECONDS
