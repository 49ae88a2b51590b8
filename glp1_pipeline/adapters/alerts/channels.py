"""Which channel has which address: any that apprise knows, and a signed webhook.

Addresses hold secrets and people's numbers: they are never told, only the names of channels. Not here: how a message
gets there (`adapters.outlet`), what is sent and how often (`messages`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..calls import is_safe
from ..outlet import WEBHOOK, tell
from ..secrets import SecretError
from ..settings import Settings
from .messages import Message

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_HOW = (
    "GLP1_ALERT_URLS is one `channel=address` a line or word: an address of apprise (mailto://…, slack://…), or "
    "webhook+https://… for a webhook signed with GLP1_ALERT_WEBHOOK_SECRET"
)


class Channels:
    def __init__(
        self, addresses: Mapping[str, str | None], webhook_secret: str | None, faults: Sequence[str] = ()
    ) -> None:
        """An address of None cannot be used: who is called over that channel is not told, all others are."""
        self._addresses, self._secret = dict(addresses), webhook_secret
        self.faults = tuple(faults)
        """What is wrong with the addresses and how to mend it, without any address."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Channels:
        """From GLP1_ALERT_URLS, or the secret file `alert_urls`; no channel at all where there is neither. What cannot
        be used is a fault of its own: it keeps nobody from looking, and no other channel from its messages."""
        faults: list[str] = []

        def kept(name: str, given: str | None) -> str:
            try:
                return given or (settings.secrets.get(name) if settings.secrets.has(name) else "")
            except SecretError as error:
                faults.append(str(error))
                return ""

        text = kept("alert_urls", settings.alert_urls)
        secret = kept("alert_webhook_secret", settings.alert_webhook_secret).strip()  # an editor ends a file by a line
        addresses, unusable = read_addresses(text, bool(secret))
        return cls(addresses, secret, [*faults, *unusable])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._addresses)

    def send(self, channel: str, message: Message) -> str:
        """`sent`, or the class of the trouble."""
        address = self._addresses[channel]
        return tell(address, self._secret or "", message._asdict()) if address else "bad_address"


def read_addresses(text: str, has_secret: bool) -> tuple[dict[str, str | None], list[str]]:
    """Channel -> address, None where it cannot be used; and what is wrong, without the address."""
    found: dict[str, str | None] = {}
    faults = []
    for n, word in enumerate(text.split(), 1):
        name, separator, address = word.partition("=")
        if not separator or not _NAME.fullmatch(name):
            faults.append(f"Entry {n} of the alert addresses is not channel=address. {_HOW}.")
        elif name in found:
            faults.append(f"Channel {name} has two addresses. Give the second a name of its own in oncall.yaml.")
        else:
            fault = _fault_of(name, address, has_secret)
            found[name] = None if fault else address
            faults += [fault] if fault else []
    return found, faults


def _fault_of(name: str, address: str, has_secret: bool) -> str | None:
    if "://" not in address:
        return f"The address of channel {name} is none. {_HOW}."
    if not address.startswith(WEBHOOK):
        return None
    if not is_safe(address.removeprefix(WEBHOOK)):
        return f"The webhook of channel {name} must be https (or on this machine)."
    if not has_secret:
        return f"The webhook of channel {name} cannot be signed: set GLP1_ALERT_WEBHOOK_SECRET."
    return None
