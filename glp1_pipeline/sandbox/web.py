"""Dagster's web server, which does what its own pages ask for, and nothing for a page of another site.

Run as `python -m glp1_pipeline.sandbox.web -h 127.0.0.1 -p 3000 -w workspace.yaml`. It knows no people: whoever reaches
it may launch each job, and a browser on this machine does so for any page that is open in it. To Dagster the address of
an image is enough to launch a run, and to a page a name that leads here to read the answer. Not here: anything else of
the server.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from dagster_webserver import app as dagster_app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..adapters.settings import Settings

HERE = {"localhost", "127.0.0.1", "::1"}


class OwnPagesAlone:
    def __init__(self, app: ASGIApp, ui_url: str | None = None) -> None:
        """`ui_url`: where people see it, if it is by another name than this machine's."""
        self.app = app
        self._place, name = _split(ui_url or "")
        self._names = HERE | ({name} if name else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            await PlainTextResponse(refusal, 403)(scope, receive, send)

    def _refusal(self, asked: HTTPConnection) -> str | None:
        host, origin = asked.headers.get("host", ""), asked.headers.get("origin")
        if _split(f"//{host}")[1] not in self._names:
            return "By that name nobody is answered here. If people are to use it, set GLP1_UI_URL to the address."
        # A browser names the site of a page with all that is not a mere GET.
        if origin is not None and _split(origin)[0] not in {host.lower(), self._place} - {""}:
            return "A page of another site asked for this."
        # Of an image's address it does not; what Dagster's pages and its client ask for, they post.
        is_read = asked.scope.get("method") == "GET" and asked.url.path.rstrip("/").endswith("/graphql")
        if is_read and "text/html" not in asked.headers.get("accept", ""):
            return "Send queries by POST."
        return None


def _split(url: str) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url.lower())
        return parts.netloc, parts.hostname
    except ValueError:
        return "", None


class Webserver(DagsterWebserver):
    def build_middleware(self) -> list[Middleware]:
        return [Middleware(OwnPagesAlone, ui_url=Settings.from_env().ui_url), *super().build_middleware()]


dagster_app.DagsterWebserver = Webserver  # pyright: ignore[reportPrivateImportUsage] - no setting of Dagster's reaches it

if __name__ == "__main__":
    main()
