"""Encryption of what is kept: zstd, then AES-256-GCM under a fresh key per row, wrapped by a key of the ring.

Here: the key ring (a file only its owner may read), seal and open, and the keyed ids of patients. Not here: where
the file lies (`settings`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE, WRAPPED = 12, 12 + 32 + 16
MAX_OPENED_BYTES = 80 * 1024 * 1024


class KeyMissing(RuntimeError):
    """The key that a row was sealed under is not in the ring, or the ring's file is not there."""


class Tampered(RuntimeError):
    """Sealed bytes do not belong to their row, or were changed."""


@dataclass(frozen=True)
class KeyRing:
    """Keys by id, the one that seals now, and the key that patient ids are derived with."""

    active: str
    keys: dict[str, bytes]
    patient_key: bytes

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise KeyMissing(
                f"no key ring at {path}: put back the file that this database was filled with; "
                "for a new, empty database `make up` makes one"
            ) from None
        return cls(
            content["active"],
            {kid: base64.b64decode(key) for kid, key in content["keys"].items()},
            base64.b64decode(content["patient_key"]),
        )

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
            made = path.with_suffix(f".{os.getpid()}.tmp")
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(made, path)  # atomic: of two starts at once only one ring can win
            except FileExistsError:
                pass
            finally:
                made.unlink()
        return cls.load(path)

    def patient_id(self, system: str, value: str) -> uuid.UUID:
        """Opaque id of the person first known by this identifier: the same at every replay, no guess without a key."""
        digest = hmac.new(self.patient_key, f"{system}\x1f{value}".encode(errors="surrogatepass"), hashlib.sha256)
        return uuid.UUID(bytes=digest.digest()[:16], version=4)


class Cipher:
    """Seals and opens bytes; `place` (table and row id) is bound in, so a sealed body cannot move to another row."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._wrappers = {kid: AESGCM(key) for kid, key in ring.keys.items()}
        self._local = threading.local()  # zstd's contexts are for one thread each

    @property
    def _squeeze(self) -> zstandard.ZstdCompressor:
        if not hasattr(self._local, "squeeze"):
            self._local.squeeze = zstandard.ZstdCompressor(level=1)
        return self._local.squeeze

    @property
    def _expand(self) -> zstandard.ZstdDecompressor:
        if not hasattr(self._local, "expand"):
            self._local.expand = zstandard.ZstdDecompressor()
        return self._local.expand

    def seal(self, content: bytes, place: str) -> tuple[str, bytes]:
        kid = self.ring.active
        aad = f"{place}|{kid}".encode()
        key, salt = secrets.token_bytes(32), secrets.token_bytes(2 * NONCE)
        wrapped = salt[:NONCE] + self._wrappers[kid].encrypt(salt[:NONCE], key, aad)
        return kid, wrapped + salt[NONCE:] + AESGCM(key).encrypt(salt[NONCE:], self._squeeze.compress(content), aad)

    def open(self, kid: str, sealed: bytes, place: str) -> bytes:
        if kid not in self._wrappers:
            raise KeyMissing(f"key {kid} is not in the ring: put it back from escrow; nothing was changed")
        aad = f"{place}|{kid}".encode()
        try:
            key = self._wrappers[kid].decrypt(sealed[:NONCE], sealed[NONCE:WRAPPED], aad)
            squeezed = AESGCM(key).decrypt(sealed[WRAPPED : WRAPPED + NONCE], sealed[WRAPPED + NONCE :], aad)
        except InvalidTag:
            raise Tampered(
                f"sealed bytes at {place.split('|')[0]} do not open: wrong row, wrong key or changed"
            ) from None
        return self._expand.decompress(squeezed, max_output_size=MAX_OPENED_BYTES)
