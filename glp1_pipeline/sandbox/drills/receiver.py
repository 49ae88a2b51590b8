"""The other end of a signed webhook, on loopback: what somebody's pager would get.

Not here: what is sent, and to whom (`adapters.alerts`).
"""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from glp1_pipeline.adapters.outlet import sign

OLDEST_SECONDS = 300


@dataclass
class Receiver:
    """Keeps what it got, with the channel as `path`. A message whose signature does not hold is refused and counted."""

    secret: str = field(repr=False)
    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    n_forged: int = 0

    def address(self, channel: str) -> str:
        return f"{channel}=webhook+http://127.0.0.1:{self.port}/{channel}"

    def has(self, news: str, alert: str) -> bool:
        return any(one["news"] == news and one["alert"] == alert for one in list(self.got))

    def first(self, news: str, alert: str) -> dict[str, Any]:
        return next(one for one in self.got if one["news"] == news and one["alert"] == alert)

    def n_twice(self) -> int:
        """Messages that came more than once."""
        return sum(n > 1 for n in Counter(one["notification_id"] for one in self.got).values())

    def take(self, path: str, headers: Any, body: bytes) -> int:
        stamp = headers.get("X-Signature-Timestamp", "")
        is_fresh = stamp.isdecimal() and abs(time.time() - int(stamp)) < OLDEST_SECONDS
        if not is_fresh or not hmac.compare_digest(headers.get("X-Signature", ""), sign(self.secret, stamp, body)):
            self.n_forged += 1
            return 401
        self.got.append({"path": path.strip("/"), **json.loads(body)})
        return 204


@contextmanager
def receiver(secret: str) -> Iterator[Receiver]:
    """At work inside the `with` block."""
    made = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(made.take(self.path, self.headers, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a drill tells by itself."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
