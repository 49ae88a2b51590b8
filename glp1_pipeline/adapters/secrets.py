"""Secrets kept as files of mode 0600 in one folder of mode 0700: passwords and keys that are made once and never shown.

What does not belong here: which secret is used for what (the door that uses it knows), and encryption.
"""

import fcntl
import os
import re
import secrets as random_source
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_NEXT = "_next"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class SecretError(RuntimeError):
    """A secret is missing or lies open; the message says how to mend it and never holds the secret."""


class Secrets:
    def __init__(self, home: Path) -> None:
        self._folder = home / "secrets"

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SecretError(f"{name!r} is no name for a secret: small letters, digits and underscores only.")
        return self._folder / name

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def get(self, name: str) -> str:
        path = self._path(name)
        try:
            mode = path.stat().st_mode
            value = path.read_text("ascii")
        except FileNotFoundError:
            raise SecretError(
                f"The secret {path} is missing. Put it back from a backup; without one, `make clean` begins anew."
            ) from None
        except PermissionError:
            raise SecretError(f"The secret {path} belongs to another user; run as that user.") from None
        except UnicodeDecodeError:
            raise SecretError(f"The secret {path} holds letters that are not ASCII: write it again.") from None
        if mode & 0o077:
            raise SecretError(f"The secret {path} can be read by others. Close it: chmod 600 {path}")
        if not value:
            raise SecretError(f"The secret {path} is empty. Put it back from a backup, or delete it if it is new.")
        return value

    def draft(self, name: str) -> str:
        """A new value beside the kept one, the same until it is adopted: whoever dies in between leaves both."""
        return self.get_or_create(name + _NEXT)

    def has_draft(self, name: str) -> bool:
        return self.has(name + _NEXT)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Who changes what others know of a secret does it one at a time; others wait. A dead one holds nobody."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def adopt(self, name: str) -> None:
        """The new value takes the place of the kept one."""
        self._path(name + _NEXT).replace(self._path(name))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def get_or_create(self, name: str, make: Callable[[], str] = random_source.token_urlsafe) -> str:
        """The kept secret, or a new one: as it comes random URL-safe letters. Two processes that ask at once get the
        same."""
        path = self._path(name)
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._folder / f".{name}.{os.getpid()}.{random_source.token_hex(4)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # fails when the other process was first: then its secret counts
            except FileExistsError:
                return self.get(name)
            finally:
                draft.unlink()
        return self.get(name)
