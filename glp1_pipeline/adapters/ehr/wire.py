"""One call to the EHR: TLS or loopback, a token, a rate, a deadline, a size limit, and errors that tell no patient.

Not here: what is sent and what an answer means.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError, ReadTimeoutError

from glp1_pipeline.domain.outbox import Trouble, retry_after_seconds, trouble_of

JSON_TYPE = "application/fhir+json"
REFRESH_BEFORE_SECONDS = 30.0


class EhrMisconfigured(RuntimeError):
    """A setting for the EHR makes no sense; the message says how to mend it."""


class EhrFailure(RuntimeError):
    """A call that did not do what it should: its class and status, never a body and never an address."""

    def __init__(self, trouble: Trouble, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"EHR: {trouble}" + (f" ({status})" if status else ""))
        self.trouble: Trouble = trouble
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class EhrSettings:
    """Where the EHR is and how it is spoken to. Seconds, bytes, requests a second (per process)."""

    url: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    token_url: str | None = None
    scope: str = "system/*.cruds"
    ca_file: str | None = None
    connect_timeout: float = 3.05
    read_timeout: float = 30.0
    max_response_bytes: int = 32 * 1024 * 1024
    requests_per_second: float | None = None
    max_batch_entries: int = 100
    max_conditional_entries: int | None = None
    """Of a transaction, where the server takes our ids; a larger write goes as a batch, each entry for itself."""

    def __post_init__(self) -> None:
        for url in filter(None, (self.url, self.token_url)):
            require_safe(url)
        if bool(self.client_id) != bool(self.client_secret):
            raise EhrMisconfigured("The EHR's client id and client secret go together: set both or neither.")


def require_safe(url: str) -> None:
    """TLS, unless the other end is this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return
    if parts.scheme != "http" or not host:
        raise EhrMisconfigured("The EHR's address must begin with https:// and name a host.")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise EhrMisconfigured(
            "The EHR's address is plain http:// to another machine: charts would travel readable. Use https://."
        )


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: Any


class Wire:
    """Calls to one base address. Threads may share it: each call has a connection to itself; token and rate are one."""

    def __init__(self, settings: EhrSettings) -> None:
        self.settings = settings
        self.base = settings.url.rstrip("/")
        self._idle: list[requests.Session] = []
        self._lock = threading.Lock()
        self._token: str | None = None
        self._token_ends = 0.0
        self._next_slot = 0.0

    def call(self, method: str, path: str = "", body: Any = None, until: float | None = None) -> Reply:
        """One request with a JSON answer; EhrFailure for anything else than a 2xx that can be read."""
        content = None if body is None else orjson.dumps(body)
        token = self._current_token(until)
        try:
            return self._exchange(method, self.base + path, content, token, until)
        except EhrFailure as failure:
            if failure.trouble != "unauthorized" or token is None:
                raise
        self._forget(token)
        return self._exchange(method, self.base + path, content, self._current_token(until), until)

    def _exchange(self, method: str, url: str, content: bytes | None, token: str | None, until: float | None) -> Reply:
        headers = {"Accept": JSON_TYPE, "Prefer": "return=minimal"}
        if content is not None:
            headers["Content-Type"] = JSON_TYPE
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._take_slot(until)
        status, raw, answer_headers = self._send(method, url, headers, content, until)
        if trouble := trouble_of(status):
            raise EhrFailure(trouble, status, _retry_after(answer_headers))
        try:
            return Reply(status, orjson.loads(raw))
        except orjson.JSONDecodeError:
            raise EhrFailure("rubbish", status) from None

    def _send(
        self, method: str, url: str, headers: dict[str, str], content: Any, until: float | None, auth: Any = None
    ) -> tuple[int, bytes, Any]:
        settings = self.settings
        ends = time.monotonic() + settings.connect_timeout + settings.read_timeout
        ends = min(ends, until) if until is not None else ends
        left = ends - time.monotonic()
        if left <= 0:
            raise EhrFailure("unreachable")  # our own time is over before a byte was sent
        timeout = (min(settings.connect_timeout, left), min(settings.read_timeout, left))
        try:
            with self._session() as session, session.request(
                method, url, data=content, headers=headers, auth=auth, timeout=timeout, stream=True,
                allow_redirects=False,
            ) as response:  # fmt: skip
                return response.status_code, self._read(response, ends), response.headers
        except requests.exceptions.RequestException as error:
            raise EhrFailure("unreachable" if _never_sent(error) else "no_answer") from None
        except (ProtocolError, ReadTimeoutError, OSError):
            raise EhrFailure("no_answer") from None

    def _read(self, response: requests.Response, ends: float) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(64 * 1024):
            size += len(part)
            if size > self.settings.max_response_bytes:
                raise EhrFailure("rubbish", response.status_code)
            if time.monotonic() > ends:
                raise EhrFailure("no_answer", response.status_code)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the idle connections; it can still be used."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session that no other thread uses now, with its open connection if there is one."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = requests.Session()
            session.trust_env = False  # no proxy and no .netrc of whoever started us
            session.verify = self.settings.ca_file or True
            adapter = HTTPAdapter(pool_connections=2, pool_maxsize=2, max_retries=0)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        try:
            yield session
        finally:
            self._idle.append(session)

    def _take_slot(self, until: float | None) -> None:
        rate = self.settings.requests_per_second
        if not rate:
            return
        with self._lock:
            slot = max(self._next_slot, time.monotonic())
            if until is not None and slot >= until:
                raise EhrFailure("unreachable")
            self._next_slot = slot + 1.0 / rate
        time.sleep(max(0.0, slot - time.monotonic()))

    def _current_token(self, until: float | None) -> str | None:
        if self.settings.client_id is None:
            return None
        with self._lock:
            if self._token is not None and time.monotonic() < self._token_ends:
                return self._token
            self._token, seconds = self._fetch_token(until)
            self._token_ends = time.monotonic() + max(seconds - REFRESH_BEFORE_SECONDS, seconds / 2)
            return self._token

    def _forget(self, token: str | None) -> None:
        with self._lock:
            if self._token == token:
                self._token = None

    def _fetch_token(self, until: float | None) -> tuple[str, float]:
        """SMART backend services with a client secret."""
        settings = self.settings
        json_only = {"Accept": "application/json"}
        url = settings.token_url
        if url is None:
            known = self._send("GET", f"{self.base}/.well-known/smart-configuration", json_only, None, until)
            url = _member(known, "token_endpoint")
            require_safe(url)
        form = {"grant_type": "client_credentials", "scope": settings.scope}
        answer = self._send("POST", url, json_only, form, until, (settings.client_id, settings.client_secret))
        if 400 <= answer[0] < 500 and answer[0] not in (408, 425, 429):
            raise EhrFailure("unauthorized", answer[0])  # the secret is wrong or revoked: a person must act
        seconds = _parsed(answer).get("expires_in", 300)
        return _member(answer, "access_token"), float(seconds) if isinstance(seconds, (int, float)) else 300.0


def _parsed(answer: tuple[int, bytes, Any]) -> dict[str, Any]:
    status, raw, headers = answer
    if trouble := trouble_of(status):
        raise EhrFailure(trouble, status, _retry_after(headers))
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise EhrFailure("rubbish", status)
    return content


def _member(answer: tuple[int, bytes, Any], name: str) -> str:
    value = _parsed(answer).get(name)
    if not isinstance(value, str):
        raise EhrFailure("rubbish", answer[0])
    return value


def _retry_after(headers: Any) -> float | None:
    try:  # by the server's own clock, so that a wrong clock on either side changes nothing
        now = parsedate_to_datetime(headers.get("Date") or "")
    except (TypeError, ValueError):
        now = datetime.now(UTC)
    return retry_after_seconds(headers.get("Retry-After"), now if now.tzinfo else now.replace(tzinfo=UTC))


def _never_sent(error: requests.exceptions.RequestException) -> bool:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(error, requests.exceptions.ConnectionError):
        return isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema))
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else None
    if isinstance(error, requests.exceptions.SSLError):  # a line cut within TLS is one too, and may come after a commit
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in getattr(reason, "args", ()))
    return isinstance(reason, (NewConnectionError, NameResolutionError))
