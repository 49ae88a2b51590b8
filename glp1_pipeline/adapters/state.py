"""What a sandbox remembers of itself between two starts: ports and places, no password (`state.json`).

Not here: settings, which somebody chose (`settings`).
"""

import fcntl
import json
import os
import random
import socket
from pathlib import Path
from typing import Any

from .variables import SettingsError


class State:
    """What the sandbox remembers between two starts. A file of JSON, replaced whole, one writer at a time."""

    def __init__(self, home: Path) -> None:
        self._path = home / "state.json"

    def read(self) -> dict[str, Any]:
        try:
            state = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise SettingsError(f"{self._path} is damaged. Delete it: free ports are chosen anew.") from None
        return state

    def get(self, key: str) -> Any:
        return self.read().get(key)

    def keep(self, **values: Any) -> None:
        with open(self._path.with_suffix(".lock"), "w", encoding="ascii") as lock:
            os.fchmod(lock.fileno(), 0o600)  # anybody who may open it could hold it, and root's home is walked through
            fcntl.flock(lock, fcntl.LOCK_EX)
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(self.read() | values, indent=1, sort_keys=True) + "\n", "utf-8")
            draft.chmod(0o600)
            draft.replace(self._path)

    def port(self, key: str) -> tuple[int, int | None]:
        """A free port on loopback: the one of last time if it still is free, else a new one, then kept.
        The second number is the one that had to be given up."""
        kept = self.get(key)
        if kept is not None and is_port_free(kept):
            return kept, None
        others = {value for name, value in self.read().items() if name.endswith("_port")}
        port = free_port(others)
        self.keep(**{key: port})
        return port, kept


def is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(not_these: set[int]) -> int:
    """Below those that a system gives to outgoing calls: it might give this one away before it is used."""
    chance = random.SystemRandom()  # nobody seeds it: two that choose at once do not choose alike
    while True:
        port = chance.randrange(20_000, 32_000)
        if port not in not_these and is_port_free(port):
            return port
