"""Webhooks of the CRM, received: each is a mere hint that makes us look sooner, and never a message itself.

What changed is read from the CRM, by the cursor of `changes`: so a webhook that is lost, comes twice, late, out of
order or from a liar with the secret changes nothing of what we know. A hint is answered with 2xx once it is committed.
Run as a program of its own: `uvicorn glp1_pipeline.adapters.crm.receiver:app --factory`. Not here: reading changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..settings import Settings
from .cursor import DELETION_HINT, HINT, SYSTEM

LONGEST_BODY = 1024 * 1024
OLDEST_SECONDS = 300.0


def app() -> Starlette:
    """The receiver of the installation at GLP1_HOME."""
    settings = Settings.from_env()
    return make_app(settings.store_url(), settings.crm_hook_secret())


def make_app(database_url: str, secret: str) -> Starlette:
    def keep(kinds: set[str]) -> None:
        with psycopg.connect(database_url, connect_timeout=5, application_name="glp1 crm hook") as connection:
            for kind in sorted(kinds):
                connection.execute(
                    "insert into ops.poll_cursors as c (system, kind, polled_at, changes) values (%s, %s, now(), 1)"
                    " on conflict (system, kind) do update set polled_at = now(), changes = c.changes + 1",
                    (SYSTEM, kind),
                )

    async def receive(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                return Response(status_code=413)
        if not is_signed(secret, request.headers, body, time.time()):
            return Response(status_code=401)
        try:
            notices = json.loads(body)
            kinds = {DELETION_HINT if str(one["subscriptionType"]).endswith(".deletion") else HINT for one in notices}
        except (ValueError, TypeError, KeyError, RecursionError):
            return Response(status_code=400)
        try:
            await run_in_threadpool(keep, kinds)
        except psycopg.Error:
            return Response(status_code=503)  # not kept: the CRM tells it again
        return Response(status_code=204)

    routes = [
        Route("/crm", receive, methods=["POST"]),
        Route("/health", lambda _: JSONResponse({"status": "ok"}), methods=["GET"]),
    ]
    return Starlette(routes=routes)


def is_signed(secret: str, headers, body: bytes, now: float) -> bool:
    """Whether X-Signature is the HMAC-SHA256 (hex) of X-Signature-Timestamp and the body, and the time is near."""
    timestamp = headers.get("x-signature-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    expected = hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()
    is_genuine = hmac.compare_digest(expected.encode(), headers.get("x-signature", "").encode())
    return is_genuine and abs(now - int(timestamp)) <= OLDEST_SECONDS
