"""One call to the EHR: what it asks of a call beside `adapters.calls`: FHIR's media type, and a token.

Not here: what is sent and what an answer means.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from glp1_pipeline.domain.outbox import Trouble

from ..calls import Caller, CallFailure, Limits, is_safe

if TYPE_CHECKING:
    from .client_key import ClientKey

JSON_TYPE = "application/fhir+json"
SMART_CONFIGURATION, STATEMENT = "/.well-known/smart-configuration", "/metadata"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
REFRESH_BEFORE_SECONDS = 30.0
TOKEN = re.compile(r"[!-~]+")
"""What can stand in a header; sending anything else would fail in our own code."""


class EhrMisconfigured(RuntimeError):
    """A setting for the EHR makes no sense; the message says how to mend it."""


class EhrFailure(CallFailure):
    """A call that did not do what it should: its class and status, never a body and never an address."""

    def __init__(self, trouble: Trouble, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__("EHR", trouble, status, retry_after)


@dataclass(frozen=True)
class EhrSettings:
    """Where the EHR is and how it is spoken to. Seconds, bytes, requests a second (per process)."""

    url: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    """A private key as PEM, in place of the secret."""
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
        if bool(self.client_id) != (bool(self.client_secret) + bool(self.client_key)):
            raise EhrMisconfigured(
                "The EHR's client id goes with either a client secret or a key: set both or neither."
            )


def require_safe(url: str, what: str = "The EHR's address") -> None:
    """TLS, unless the other end is this machine. `what`: which address it is."""
    if is_safe(url):
        return
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise EhrMisconfigured(f"{what} must begin with https:// and name a host.")
    raise EhrMisconfigured(
        f"{what} is plain http:// to another machine: what is sent there would travel readable. It must be https://."
    )


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: Any
    """None: it said nothing to a write."""


class _EhrCaller(Caller):
    def trouble_of(self, status: int, raw: bytes) -> Trouble | None:
        """A 404 that is not FHIR comes of who stands before the EHR, and a 405 means the address: neither is a word of
        the write that was sent."""
        is_of_address = status == 405 or (status == 404 and b"OperationOutcome" not in raw)
        return "misaddressed" if is_of_address else super().trouble_of(status, raw)

    def failure(self, trouble: Trouble, status: int | None = None, retry_after: float | None = None) -> EhrFailure:
        return EhrFailure(trouble, status, retry_after)


class Wire:
    """Calls to one base address. Threads may share it: each call has a connection to itself; token and rate are one."""

    def __init__(self, settings: EhrSettings) -> None:
        self.settings = settings
        limits = Limits(
            settings.connect_timeout, settings.read_timeout, settings.max_response_bytes, settings.requests_per_second
        )
        self._caller = _EhrCaller("EHR", settings.url, limits, settings.ca_file)
        self.base = self._caller.base
        self._key = _client_key(settings.client_key) if settings.client_key else None
        self._lock = threading.Lock()
        self._token: str | None = None
        self._token_ends = 0.0

    def call(self, method: str, path: str = "", body: Any = None, until: float | None = None) -> Reply:
        """One request with a JSON answer; EhrFailure for anything else than a 2xx that can be read."""
        token = self._current_token(until)
        try:
            return self._call_with(token, method, path, body, until)
        except EhrFailure as failure:
            if failure.trouble != "unauthorized" or token is None:
                raise
        self._forget(token)
        return self._call_with(self._current_token(until), method, path, body, until)

    def close(self) -> None:
        """Close the idle connections; it can still be used."""
        self._caller.close()

    def _call_with(self, token: str | None, method: str, path: str, body: Any, until: float | None) -> Reply:
        headers = {"Accept": JSON_TYPE, "Prefer": "return=minimal"}
        if body is not None:
            headers["Content-Type"] = JSON_TYPE
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = self._caller.call(method, path, body, headers, until)
        if answer.content is None and method == "GET":  # no answer to a question, and not that there is nothing
            raise EhrFailure("rubbish", answer.status)
        return Reply(answer.status, answer.content)

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
        """SMART backend services, by what a key pair signs or by a client secret."""
        settings = self.settings
        url = settings.token_url or self._token_address(until)
        form = {"grant_type": "client_credentials", "scope": settings.scope}
        auth = None
        if self._key is None:
            auth = (settings.client_id or "", settings.client_secret or "")
        else:
            form |= self._key.form(settings.client_id or "", url)
        try:
            answer = self._caller.send("POST", url, {"Accept": "application/json"}, form, until, auth)
        except EhrFailure as failure:
            if failure.status and 400 <= failure.status < 500 and failure.status not in (408, 425, 429):
                # The secret or key is wrong or revoked, or our clock is: a person must act.
                raise EhrFailure("unauthorized", failure.status) from None
            raise
        told = answer.content if isinstance(answer.content, dict) else {}
        if not isinstance(token := told.get("access_token"), str) or not TOKEN.fullmatch(token):
            raise EhrFailure("rubbish", answer.status)
        return token, _seconds(told.get("expires_in"))

    def _token_address(self, until: float | None) -> str:
        """As SMART's configuration names it, else, of an older server, its CapabilityStatement."""
        failure: EhrFailure | None = None
        for path in (SMART_CONFIGURATION, STATEMENT):
            try:
                answer = self._caller.send("GET", self.base + path, {"Accept": "application/json"}, None, until)
            except EhrFailure as refused:
                if refused.trouble not in ("rejected", "misaddressed", "rubbish"):
                    raise
                failure = refused
                continue
            if url := _token_address_in(answer.content):
                require_safe(url, "The address for tokens, as the EHR names it,")
                return url
            failure = None
        if failure is not None:
            raise EhrFailure("misaddressed", failure.status)
        raise EhrMisconfigured(
            "The EHR does not say where it gives tokens: neither .well-known/smart-configuration under its address nor"
            " its CapabilityStatement names a token endpoint. Ask its operator for SMART backend services, or leave"
            " GLP1_EHR_CLIENT_ID out if it needs no token."
        )


def _client_key(pem: str) -> ClientKey:
    from .client_key import ClientKey, UnfitKey  # 34 ms of every start, for those alone who have a key

    try:
        return ClientKey(pem)
    except UnfitKey as unfit:
        raise EhrMisconfigured(str(unfit)) from None


def _token_address_in(told: Any) -> str | None:
    try:
        found = [told.get("token_endpoint")] + [
            part.get("valueUri")
            for rest in told.get("rest", ())
            for extension in rest.get("security", {}).get("extension", ())
            if extension.get("url") == OAUTH_URIS
            for part in extension.get("extension", ())
            if part.get("url") == "token"
        ]
    except (AttributeError, TypeError):
        return None
    return next((url for url in found if isinstance(url, str)), None)


def _seconds(told: Any) -> float:
    """How long a token lives; some servers write the number as a text, some nothing."""
    try:
        return float(told)
    except (TypeError, ValueError):
        return 300.0
