"""Dagster's UI does what its own pages ask for: no page of another site launches a run by it, nor reads from it."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from glp1_pipeline.sandbox.web import OwnPagesAlone

HERE, UI = "http://127.0.0.1:3000", "https://dagster.clinic.example"
ACCEPTED, CLOSED = "websocket.accept", "websocket.close"


async def _dagster(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": ACCEPTED})
    else:
        await PlainTextResponse("done")(scope, receive, send)


def _told(kind: str, method: str | None, url: str, headers: dict[str, str]) -> list[Message]:
    parts, told = urlsplit(url), []
    scope: dict[str, Any] = {"type": kind, "path": parts.path, "query_string": parts.query.encode(), "scheme": "http"}
    if method:
        scope["method"] = method
    asked = {"host": parts.netloc, **headers}
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in asked.items()]

    async def receive() -> Message:
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request", "body": b""}

    async def send(message: Message) -> None:
        told.append(message)

    asyncio.run(OwnPagesAlone(_dagster, UI)(scope, receive, send))
    return told


def answer(method: str, url: str, **headers: str) -> tuple[int, str]:
    first, *rest = _told("http", method, url, headers)
    return first["status"], b"".join(part.get("body", b"") for part in rest).decode()


def get(url: str, **headers: str) -> int:
    return answer("GET", url, **headers)[0]


def post(url: str, **headers: str) -> int:
    return answer("POST", url, **headers)[0]


def listen(url: str, **headers: str) -> str:
    return _told("websocket", None, url, headers)[0]["type"]


@pytest.mark.parametrize("base", [HERE, "http://localhost:9999", "http://[::1]:3000", UI, UI.upper()])
def test_its_own_pages_are_answered_by_each_name_that_is_ours(base: str) -> None:
    assert get(f"{base}/runs") == 200
    assert get(f"{base}/graphql", accept="text/html,*/*") == 200  # the page to write queries in
    assert post(f"{base}/graphql") == 200  # a program
    assert post(f"{base}/graphql", origin=base.lower()) == 200
    assert listen(f"{base}/graphql", origin=base.lower()) == ACCEPTED


def test_a_proxy_may_ask_by_our_own_name_for_pages_that_people_see_by_another() -> None:
    assert post(f"{HERE}/graphql", origin=UI) == 200


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "http://127.0.0.1:8000", "null", "http://[", ""])
def test_a_page_of_another_site_changes_nothing_and_hears_nothing(origin: str) -> None:
    assert post(f"{HERE}/graphql", origin=origin, accept="text/html") == 403
    assert post(f"{HERE}/report_asset_materialization/events", origin=origin) == 403
    assert listen(f"{HERE}/graphql", origin=origin) == CLOSED


@pytest.mark.parametrize("path", ["/graphql?query=mutation{}", "/graphql/?query=mutation{}", "/behind/a/path/graphql"])
def test_the_address_of_an_image_launches_nothing(path: str) -> None:
    assert answer("GET", HERE + path, accept="image/avif,image/webp,*/*") == (403, "Send queries by POST.")


@pytest.mark.parametrize("base", ["http://leads-here.example:3000", "http://127.0.0.1.leads-here.example", "http://["])
def test_a_name_that_was_made_to_lead_here_reads_nothing(base: str) -> None:
    host = base.removeprefix("http://")
    status, text = answer("GET", f"{HERE}/server_info", host=host)
    assert status == 403
    assert "GLP1_UI_URL" in text
    assert post(f"{HERE}/graphql", host=host, origin=base) == 403
    assert get(f"{HERE}/server_info", host="") == 403
