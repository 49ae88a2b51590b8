"""Where messages go: any address that apprise knows, and a signed webhook.

Addresses hold secrets and people's numbers: they are never told, only the names of channels. Not here: what is sent and
how often (`messages`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Mapping

import orjson
import requests

from glp1_pipeline.domain.outbox import trouble_of

from ..calls import is_safe
from ..settings import Settings
from ..variables import SettingsError
from .messages import SENT, Message

WEBHOOK = "webhook+"
TIMEOUT_SECONDS = (4.0, 12.0)
"""To connect, and to answer: a lease is longer than both together."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_HOW = (
    "GLP1_ALERT_URLS is one `channel=address` a line or word: an address of apprise (mailto://…, slack://…), or "
    "webhook+https://… for a webhook signed with GLP1_ALERT_WEBHOOK_SECRET"
)
_quiet = logging.getLogger("apprise")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # it tells addresses


class Channels:
    def __init__(self, addresses: Mapping[str, str], webhook_secret: str | None) -> None:
        self._addresses, self._secret = dict(addresses), webhook_secret

    @classmethod
    def from_settings(cls, settings: Settings) -> Channels:
        """From GLP1_ALERT_URLS, or the secret file `alert_urls`; no channel at all where there is neither."""
        text = settings.alert_urls
        if not text and settings.secrets.has("alert_urls"):
            text = settings.secrets.get("alert_urls")
        secret = settings.alert_webhook_secret
        if not secret and settings.secrets.has("alert_webhook_secret"):
            secret = settings.secrets.get("alert_webhook_secret")
        return cls(read_addresses(text or "", bool(secret)), secret)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._addresses)

    def send(self, channel: str, message: Message) -> str:
        """`sent`, or the class of the trouble; the channel's own words are not kept, since they may name people."""
        address = self._addresses[channel]
        if address.startswith(WEBHOOK):
            return self._post(address.removeprefix(WEBHOOK), message)
        return notify(address, message)

    def _post(self, url: str, message: Message) -> str:
        body = orjson.dumps({**message._asdict()})
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Signature-Timestamp": stamp,
            "X-Signature": sign(self._secret or "", stamp, body),
        }
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(
                    url, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
                )
                answer.close()
        except requests.exceptions.ConnectTimeout:
            return "unreachable"
        except requests.exceptions.RequestException:
            return "no_answer"
        return trouble_of(answer.status_code) or SENT


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 (hex) of the timestamp followed by the body."""
    return hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()


def notify(address: str, message: Message) -> str:
    import apprise  # half a second, and only for who has something to say

    kind = apprise.NotifyType.SUCCESS if message.news == "resolved" else apprise.NotifyType.WARNING
    if message.severity == "critical" and message.news in ("opened", "escalated"):
        kind = apprise.NotifyType.FAILURE
    way = apprise.Apprise(asset=apprise.AppriseAsset(app_id="glp1_pipeline", async_mode=False, secure_logging=True))
    if not way.add(address):
        return "bad_address"
    for one in way:
        one.socket_connect_timeout, one.socket_read_timeout = TIMEOUT_SECONDS
    is_sent = way.notify(
        title=message.title, body=message.text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
    )
    return SENT if is_sent else "not_taken"


def read_addresses(text: str, has_secret: bool) -> dict[str, str]:
    """Channel -> address; SettingsError, without the address, for what cannot be used."""
    found: dict[str, str] = {}
    for n, word in enumerate(text.split(), 1):
        name, separator, address = word.partition("=")
        if not separator or not _NAME.fullmatch(name) or "://" not in address:
            raise SettingsError(f"Entry {n} of the alert addresses is not channel=address. {_HOW}.")
        if name in found:
            raise SettingsError(f"Channel {name} has two addresses. Give the second a name of its own in oncall.yaml.")
        if address.startswith(WEBHOOK):
            if not is_safe(address.removeprefix(WEBHOOK)):
                raise SettingsError(f"The webhook of channel {name} must be https (or on this machine).")
            if not has_secret:
                raise SettingsError(f"The webhook of channel {name} cannot be signed: set GLP1_ALERT_WEBHOOK_SECRET.")
        found[name] = address
    return found
