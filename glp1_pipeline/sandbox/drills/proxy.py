"""A real HTTP proxy before a real FHIR server: scripts what networks and servers do, can play another kind of server.

The *server-ids kind*: its CapabilityStatement says `updateCreate: false`, a PUT of an unknown id is 400, and a
transaction with more than 8 conditional entries is 400. Not here: which fault befalls when (the drills and the tests).
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

HTML = b"<html><body>We are down for maintenance</body></html>"
MAX_CONDITIONAL = 8


@dataclass(frozen=True)
class Fault:
    """What to do to one request. `status` 0: the upstream's own answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    forward: bool = False
    """Let the server execute it before the fault shows."""
    drop: bool = False
    seconds: float = 0.0
    reset: bool = False
    """With `drop`: the line is torn (RST), not closed."""
    half: bool = False
    """Half of the answer's body, and then the line is closed."""
    trickle: float = 0.0
    """Seconds between any two bytes of the answer."""


COMMIT_THEN_DROP = Fault(forward=True, drop=True)
DROP = Fault(drop=True)
COMMIT_THEN_HTML = Fault(200, body=HTML, forward=True)
COMMIT_THEN_WRONG_JSON = Fault(
    200, body=b'{"resourceType":"Bundle","type":"transaction-response","entry":[]}', forward=True
)
COMMIT_THEN_HALF = Fault(forward=True, half=True)
RESET = Fault(forward=True, drop=True, reset=True)
HTML_PAGE = Fault(200, body=HTML)


def status(code: int, **headers: str) -> Fault:
    body = json.dumps({"resourceType": "OperationOutcome", "issue": []}).encode()
    return Fault(code, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def slow(seconds: float, forward: bool = True) -> Fault:
    return Fault(seconds=seconds, forward=forward)


Rule = Callable[[dict[str, Any]], Fault | None]


class Served:
    """Answers over HTTP from a thread of this process, on a port of its own, while the context lasts.

    `handler` finds what it serves as `self.server.owner`.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.owner = self
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    owner: Served
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what drills do on purpose."""


class FaultProxy(Served):
    """`plan(...)` faults befall the next requests that write, in order; `rule` is asked for each of the others."""

    def __init__(self, upstream: str, server_ids: bool = False) -> None:
        super().__init__(_Handler)
        parts = urlsplit(upstream)
        self.host, self.port, self.path = parts.hostname or "", parts.port or 80, parts.path
        self.server_ids = server_ids
        self.rule: Rule | None = None
        self.read_rule: Rule | None = None
        self.writes: list[tuple[float, int]] = []
        """Of each request that wrote: when it came, and the status it got (0: none)."""
        self._planned: list[Fault] = []
        self._lock = threading.Lock()
        self.url = self.root + self.path

    @property
    def port_of_its_own(self) -> int:
        return self._server.server_address[1]

    def plan(self, *faults: Fault) -> None:
        with self._lock:
            self._planned += faults

    def always(self, fault: Fault) -> None:
        """Until `heal`, every request gets this."""
        self.rule = self.read_rule = lambda _: fault

    def heal(self) -> None:
        """Nothing befalls anything from now on."""
        with self._lock:
            self._planned.clear()
            self.rule = self.read_rule = None

    def fault_for(self, content: dict[str, Any], is_write: bool) -> Fault | None:
        if not is_write:
            return self.read_rule(content) if self.read_rule else None
        with self._lock:
            if self._planned:
                return self._planned.pop(0)
        return self.rule(content) if self.rule else None

    def upstream(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() in ("content-type", "etag", "location")}
            return response.status, response.read(), kept
        finally:
            connection.close()

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if not self.server_ids:
            return self.upstream(method, path, body, headers)
        if path.endswith("/metadata"):
            code, raw, kept = self.upstream(method, path, body, headers)
            statement = json.loads(raw)
            for resource in statement["rest"][0]["resource"]:
                resource["updateCreate"] = False
            return code, json.dumps(statement).encode(), kept
        if method == "POST" and path == self.path and body:
            return self._bundle(path, json.loads(body), headers)
        if method == "PUT" and self._is_unknown(path.removeprefix(self.path + "/")):
            return _outcome(400)
        return self.upstream(method, path, body, headers)

    def _bundle(self, path: str, bundle: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        entries = bundle.get("entry", [])
        conditions = ("ifNoneExist", "ifMatch", "ifNoneMatch")
        refused = {
            i
            for i, e in enumerate(entries)
            if e["request"]["method"] == "PUT" and self._is_unknown(e["request"]["url"])
        }
        if bundle["type"] == "transaction":
            if refused or sum(any(c in e["request"] for c in conditions) for e in entries) > MAX_CONDITIONAL:
                return _outcome(400)
            return self.upstream("POST", path, json.dumps(bundle).encode(), headers)
        taken = {**bundle, "entry": [e for i, e in enumerate(entries) if i not in refused]}
        code, raw, kept = self.upstream("POST", path, json.dumps(taken).encode(), headers)
        if code != 200:
            return code, raw, kept
        answer = json.loads(raw)
        for i in sorted(refused):
            answer["entry"].insert(i, {"response": {"status": "400 Bad Request"}})
        return code, json.dumps(answer).encode(), kept

    def _is_unknown(self, url: str) -> bool:
        return self.upstream("GET", f"{self.path}/{url}", b"", {})[0] == 404


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        assert isinstance(self.server, _Server)
        proxy = self.server.owner
        assert isinstance(proxy, FaultProxy)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = _parsed(body)
        is_write = any(e.get("request", {}).get("method") != "GET" for e in content.get("entry", ()))
        came_at = time.monotonic()
        fault = proxy.fault_for(content, is_write)
        code, raw, headers = 0, b"", {}
        wanted = ("accept", "content-type", "prefer", "authorization")
        passed_on = {k: v for k, v in self.headers.items() if k.lower() in wanted}
        if fault is None or fault.forward or fault.trickle:
            if fault is not None:
                time.sleep(fault.seconds)
            code, raw, headers = proxy.answer(self.command, self.path, body, passed_on)
        elif fault.seconds:
            time.sleep(fault.seconds)
        if fault is not None and fault.drop:
            _note(proxy, is_write, came_at, 0)
            self.close_connection = True
            if fault.reset:  # closing with unsaid words is a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault is not None and fault.status:
            code, raw, headers = fault.status, fault.body or b"", dict(fault.headers)
        _note(proxy, is_write, came_at, code)
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if fault is not None and fault.half:
            self.wfile.write(raw[: len(raw) // 2])
            self.close_connection = True
        elif fault is not None and fault.trickle:
            for byte in raw:
                self.wfile.write(bytes((byte,)))
                self.wfile.flush()
                time.sleep(fault.trickle)
        else:
            self.wfile.write(raw)

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """No log: what passes here is made of charts."""


def _note(proxy: FaultProxy, is_write: bool, came_at: float, code: int) -> None:
    if is_write:
        proxy.writes.append((came_at, code))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _outcome(code: int) -> tuple[int, bytes, dict[str, str]]:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid"}]}
    return code, json.dumps(outcome).encode(), {"Content-Type": "application/fhir+json"}
