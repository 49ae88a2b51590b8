"""Encryption of what is kept: squeezed, then AES-256-GCM under a fresh key per row, wrapped by a key of the ring.

Here: the key ring (a file only its owner may read), seal and open, and the keyed ids of patients. A ring that changes
on disk is taken up at the next seal, by every process. Not here: compression (`squeezing`), where the file lies
(`settings`), and changing it (`keys`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .squeezing import DictionaryMissing, expand, squeeze

NONCE, WRAPPED = 12, 12 + 32 + 16
MAX_OPENED_BYTES = 80 * 1024 * 1024
Seal = Callable[[bytes, str], tuple[str, bytes]]
"""From content and its place to the id of the key and the sealed bytes."""


class KeyMissing(RuntimeError):
    """What a row was sealed with is not here: its key, the ring's file, or the dictionary it was squeezed against."""


class Tampered(RuntimeError):
    """Sealed bytes do not belong to their row, or were changed."""


@dataclass(frozen=True)
class KeyRing:
    """Keys by id, the one that seals now, and the key that patient ids are derived with."""

    active: str
    keys: dict[str, bytes] = field(repr=False)
    patient_key: bytes = field(repr=False)
    path: Path | None = field(default=None, repr=False, compare=False)
    """The file that it was read from, which may change; None: it never does."""

    @property
    def mark(self) -> str:
        """Tells this installation's ring from another's, whatever keys come and go; nothing of a key is in it."""
        return hmac.digest(self.patient_key, b"which ring", "sha256").hex()[:32]

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        try:
            content = json.loads(path.read_bytes())
            keys = {kid: base64.b64decode(key) for kid, key in content["keys"].items()}
            ring = cls(content["active"], keys, base64.b64decode(content["patient_key"]), path)
        except FileNotFoundError:
            raise KeyMissing(_no_ring(path)) from None
        except (ValueError, KeyError, TypeError, AttributeError):  # its text would quote the file
            raise KeyMissing(
                f"the key ring at {path} is damaged: put it back from escrow; nothing was changed"
            ) from None
        if ring.active not in ring.keys:
            raise KeyMissing(
                f"the key ring at {path} has no key {ring.active}, which is to seal: put it back from escrow"
            )
        return ring

    @classmethod
    def create(cls, path: Path) -> KeyRing:
        """Make a ring of one key where there is none; an existing file is read and never changed."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = {
                "active": "k1",
                "keys": {"k1": base64.b64encode(secrets.token_bytes(32)).decode()},
                "patient_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            }
            # By chance and not by our number: in a container that is the same at each start.
            made = path.with_suffix(f".{secrets.token_hex(8)}.draft")
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            # Atomic: of two starts at once only one ring can win; the other's draft may be swept away already.
            with suppress(FileExistsError, FileNotFoundError):
                os.link(made, path)
        for draft in path.parent.glob(f"{path.stem}.*.draft"):  # ours, and what a killed start left
            draft.unlink(missing_ok=True)
        return cls.load(path)

    def patient_id(self, system: str, value: str) -> uuid.UUID:
        """Opaque id of the person first known by this identifier: the same at every replay, no guess without a key."""
        digest = hmac.new(self.patient_key, f"{system}\x1f{value}".encode(errors="surrogatepass"), hashlib.sha256)
        return uuid.UUID(bytes=digest.digest()[:16], version=4)


class _Held(NamedTuple):
    ring: KeyRing
    wrappers: Mapping[str, AESGCM]
    stamp: tuple[int, ...] | None


class Cipher:
    """Seals and opens bytes; `place` (table and row id) is bound in, so a sealed body cannot move to another row.

    Nothing is sealed under a key that the ring's file did not name as current in the same transaction: who retires a
    key waits for the transactions that are open, and then knows that nobody will use it again.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._held = _hold(ring, None)

    @property
    def ring(self) -> KeyRing:
        return self._held.ring

    @property
    def active(self) -> str:
        """The id of the key that seals now."""
        self._look_again()
        return self._held.ring.active

    def _look_again(self) -> None:
        """Take up the ring as it lies on disk now: one `stat` where it did not change."""
        held = self._held
        if held.ring.path is None:
            return
        stamp = _stamp(held.ring.path)
        if stamp == held.stamp:
            return
        ring = KeyRing.load(held.ring.path)
        if ring.patient_key != held.ring.patient_key:
            raise KeyMissing(
                f"the key ring at {ring.path} is another installation's: everybody would become a new patient. Put the"
                " right file back"
            )
        self._held = _hold(ring, stamp)

    def seal(self, content: bytes, place: str) -> tuple[str, bytes]:
        return self.seal_in_transaction()(content, place)

    def seal_in_transaction(self) -> Seal:
        """`seal` for all that one open transaction writes: the ring is looked at now and not again, since whoever
        retires a key waits for the transaction."""
        self._look_again()
        held = self._held
        return lambda content, place: _lock_up(held, squeeze(content), place)

    def open(self, kid: str, sealed: bytes, place: str) -> bytes:
        squeezed = self._unlock(kid, sealed, place)
        try:
            return expand(squeezed, MAX_OPENED_BYTES)
        except DictionaryMissing as missing:
            raise KeyMissing(
                f"this version of the code has no dictionary {missing} to open what a later one sealed: run that one;"
                " nothing was changed"
            ) from None

    def reseal(self, kid: str, sealed: bytes, place: str) -> tuple[str, bytes]:
        """The same content at the same place, under the current key; it is not even expanded for that."""
        squeezed = self._unlock(kid, sealed, place)
        self._look_again()
        return _lock_up(self._held, squeezed, place)

    def _unlock(self, kid: str, sealed: bytes, place: str) -> bytes:
        if kid not in self._held.wrappers:
            self._look_again()  # another process may have made it meanwhile
        wrapper = self._held.wrappers.get(kid)
        if wrapper is None:
            raise KeyMissing(f"key {kid} is not in the ring: put it back from escrow; nothing was changed")
        aad = f"{place}|{kid}".encode()
        try:
            key = wrapper.decrypt(sealed[:NONCE], sealed[NONCE:WRAPPED], aad)
            return AESGCM(key).decrypt(sealed[WRAPPED : WRAPPED + NONCE], sealed[WRAPPED + NONCE :], aad)
        except InvalidTag:
            raise Tampered(
                f"sealed bytes at {place.split('|')[0]} do not open: wrong row, wrong key or changed"
            ) from None


def _hold(ring: KeyRing, stamp: tuple[int, ...] | None) -> _Held:
    return _Held(ring, {kid: AESGCM(key) for kid, key in ring.keys.items()}, stamp)


def _lock_up(held: _Held, squeezed: bytes, place: str) -> tuple[str, bytes]:
    kid = held.ring.active
    aad = f"{place}|{kid}".encode()
    chance = os.urandom(32 + 2 * NONCE)  # asked of the kernel once
    key, nonce, other = chance[:32], chance[32 : 32 + NONCE], chance[32 + NONCE :]
    wrapped = held.wrappers[kid].encrypt(nonce, key, aad)
    return kid, b"".join((nonce, wrapped, other, AESGCM(key).encrypt(other, squeezed, aad)))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        there = path.stat()
    except FileNotFoundError:
        # What is sealed under a key that lies nowhere is lost with this process.
        raise KeyMissing(_no_ring(path)) from None
    return there.st_ino, there.st_mtime_ns, there.st_ctime_ns, there.st_size


def _no_ring(path: Path) -> str:
    return (
        f"no key ring at {path}: put back the file that this database was filled with; "
        "for a new, empty database `make up` makes one"
    )
