"""One HTTP call with JSON both ways: TLS or loopback, a deadline, a size limit, and errors that tell no person.

Not here: which system it is, how it knows us, and what an answer means.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import threading
import time
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from glp1_pipeline.adapters.punctual import PunctualAdapter, by
from glp1_pipeline.domain.outbox import Trouble, retry_after_seconds, trouble_of

_quiet = logging.getLogger("urllib3")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # it tells addresses of requests, where an answer or a connection is odd


class CallFailure(RuntimeError):
    """A call that did not do what it should: its class and status, never a body and never an address."""

    def __init__(
        self, system: str, trouble: Trouble, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{system}: {trouble}" + (f" ({status})" if status else ""))
        self.trouble: Trouble = trouble
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes, requests a second (per process)."""

    connect_timeout: float = 3.05
    read_timeout: float = 30.0
    max_response_bytes: int = 8 * 1024 * 1024
    requests_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: Any
    headers: Mapping[str, str]


def is_safe(url: str) -> bool:
    """TLS, unless the other end is this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return True
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return parts.scheme == "http" and is_loopback


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """No redirect is followed. Of one that leads somewhere requests would read the whole body all the same, however
        large, and fail on an address that makes no sense."""
        return None


class Caller:
    """Calls to one base address. Threads may share it: each call has a connection to itself; the rate is one."""

    def __init__(self, system: str, base: str, limits: Limits, ca_file: str | None = None) -> None:
        """`ca_file`: who alone vouches for the other end; None: whom this machine trusts (`trust`)."""
        self.system, self.base, self.limits, self.ca_file = system, base.rstrip("/"), limits, ca_file
        self._idle: list[requests.Session] = []
        self._lock = threading.Lock()
        self._next_slot = 0.0

    def call(self, method: str, path: str, body: Any, headers: Mapping[str, str], until: float | None = None) -> Answer:
        """One request with a JSON answer; CallFailure for anything else than a 2xx that can be read.
        `until`: by our monotonic clock, when it must be over."""
        content = None if body is None else orjson.dumps(body)
        kind = {} if content is None else {"Content-Type": "application/json"}
        self._take_slot(until)
        return self.send(method, self.base + path, {"Accept": "application/json", **kind, **headers}, content, until)

    def trouble_of(self, status: int, raw: bytes) -> Trouble | None:
        """What an answer's status means; None for success. `raw`: its body, to tell who speaks."""
        return trouble_of(status)

    def failure(self, trouble: Trouble, status: int | None = None, retry_after: float | None = None) -> CallFailure:
        return CallFailure(self.system, trouble, status, retry_after)

    def close(self) -> None:
        """Close the idle connections; it can still be used."""
        while self._idle:
            self._idle.pop().close()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Mapping[str, str] | None,
        until: float | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """As `call`, to any address and beside the rate. `content`: bytes, or a form. `auth`: name and password."""
        status, raw, told = self._exchange(method, url, headers, content, until, auth)
        if trouble := self.trouble_of(status, raw):
            raise self.failure(trouble, status, _retry_after(told))
        try:
            return Answer(status, orjson.loads(raw.removeprefix(BOM_UTF8)) if raw else None, told)
        except orjson.JSONDecodeError:
            raise self.failure("rubbish", status) from None

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: Any, until: float | None, auth: Any
    ) -> tuple[int, bytes, Mapping[str, str]]:
        limits = self.limits
        ends = time.monotonic() + limits.connect_timeout + limits.read_timeout
        ends = min(ends, until) if until is not None else ends
        left = ends - time.monotonic()
        if left <= 0:
            raise self.failure("unreachable")  # our own time is over before a byte was sent
        timeout = (min(limits.connect_timeout, left), min(limits.read_timeout, left))
        try:
            with by(ends), self._session() as session, session.request(
                method, url, data=content, headers=headers, auth=auth, timeout=timeout, stream=True,
                allow_redirects=False,
            ) as response:  # fmt: skip
                return response.status_code, self._read(response), response.headers
        except requests.exceptions.RequestException as error:
            raise self.failure("unreachable" if never_sent(error) else "no_answer") from None
        except (HTTPError, OSError):
            raise self.failure("no_answer") from None

    def _read(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        while part := response.raw.read1(64 * 1024, decode_content=True):
            size += len(part)
            if size > self.limits.max_response_bytes:
                raise self.failure("rubbish", response.status_code)
            parts.append(part)
        return b"".join(parts)

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session that no other thread uses now, with its open connection if there is one."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = _Session()
            session.trust_env = False  # no proxy and no .netrc of whoever started us
            session.verify = self.ca_file or True
            adapter = PunctualAdapter(pool_connections=2, pool_maxsize=2, max_retries=0)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        try:
            yield session
        finally:
            self._idle.append(session)

    def _take_slot(self, until: float | None) -> None:
        rate = self.limits.requests_per_second
        if not rate:
            return
        with self._lock:
            slot = max(self._next_slot, time.monotonic())
            if until is not None and slot >= until:
                raise self.failure("unreachable")
            self._next_slot = slot + 1.0 / rate
        time.sleep(max(0.0, slot - time.monotonic()))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:  # by the server's own clock, so that a wrong clock on either side changes nothing
        now = parsedate_to_datetime(headers.get("Date") or "")
    except (TypeError, ValueError, OverflowError):
        now = datetime.now(UTC)
    return retry_after_seconds(headers.get("Retry-After"), now if now.tzinfo else now.replace(tzinfo=UTC))


def never_sent(error: requests.exceptions.RequestException) -> bool:
    """Whether nothing of a request left this machine: no connection, no name, no TLS."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(error, requests.exceptions.ConnectionError):
        return isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema))
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else None
    if isinstance(error, requests.exceptions.SSLError):  # a line cut within TLS is one too, and may come after a commit
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in getattr(reason, "args", ()))
    return isinstance(reason, (NewConnectionError, NameResolutionError))
