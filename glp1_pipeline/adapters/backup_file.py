"""The file of a backup: a line that says what it is, then sealed frames, each at its own place in this file alone.

A frame is 4 bytes of length, one letter for what it holds, the key's id, a zero, the sealed bytes. First the point of
balance (P), then the dump in pieces (D), last the end (E), which says how many there were and their hash: a file cut
short, reordered, mixed with another or changed does not open. Not here: what is dumped (`backup`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from .cipher import Cipher, Tampered

MAGIC = b"glp1 backup 1 "
LARGEST = 4 * 1024 * 1024
POINT, DUMP, END = b"P", b"D", b"E"
UNFINISHED = ".unfinished"


class BackupFault(RuntimeError):
    """A backup that cannot be made, opened or restored; the message says why and what to do."""


class Writer:
    """Writes beside the name and renames when `close` is reached: under the name lies a whole backup or nothing."""

    def __init__(self, path: Path, cipher: Cipher) -> None:
        if path.exists():
            raise BackupFault(f"{path} is there already: a backup is never written over")
        self._path, self._cipher = path, cipher
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        self._id, self._index, self._sha256 = str(uuid.uuid4()), 0, hashlib.sha256()

    def __enter__(self) -> Writer:
        try:
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise BackupFault(f"{self._draft.parent} cannot be written to ({error.strerror})") from None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sweep(self._draft.parent)
        self._file = os.fdopen(descriptor, "wb", buffering=0)  # what the disk does not take is known at once
        try:
            self._put(MAGIC + self._id.encode() + b"\n")
        except BackupFault:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def add(self, part: bytes, content: bytes) -> None:
        self._sha256.update(part + content)
        kid, body = self._cipher.seal(content, _place(self._id, self._index, part))
        frame = part + kid.encode() + b"\0" + body
        self._put(len(frame).to_bytes(4, "big") + frame)
        self._index += 1

    def _put(self, content: bytes) -> None:
        with self._disk():
            left = memoryview(content)
            while left:
                left = left[self._file.write(left) :]

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise BackupFault(f"{self._path} is there already: a backup is never written over") from None
        except OSError as error:
            raise BackupFault(
                f"{self._path.parent} did not take the backup ({error.strerror}): make room there or name a folder on"
                " another disk. There is no backup, and nothing was changed"
            ) from None

    def close(self) -> None:
        """The last frame, all on the disk, and the name."""
        self.add(END, orjson.dumps({"frames": self._index, "sha256": self._sha256.hexdigest()}))
        with self._disk():
            os.fsync(self._file.fileno())
            os.link(self._draft, self._path)  # unlike a rename it never takes another's place
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sweep(folder: Path) -> None:
    """Remove what somebody who was killed left unfinished: it is as large as a backup, and whoever makes one each night
    would in the end have no room for any."""
    for draft in folder.glob(f".*{UNFINISHED}"):
        try:
            with draft.open("rb") as file:
                if file.readline(len(MAGIC)) == MAGIC:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while who writes it lives
                    draft.unlink(missing_ok=True)
        except OSError:
            continue


def read_point(path: Path, cipher: Cipher) -> dict[str, Any]:
    """The point of balance alone: what the database held at the instant of the backup."""
    with _open(path) as (file, backup_id):
        part, content = next(_frames(file, backup_id, cipher), (b"", b""))
        if part != POINT:
            raise BackupFault(f"{path} does not begin as a backup does")
        return orjson.loads(content)


def read_dump(path: Path, cipher: Cipher) -> Iterator[bytes]:
    """The dump, piece by piece. BackupFault, at the latest after the last piece, where the file is not whole."""
    with _open(path) as (file, backup_id):
        sha256 = hashlib.sha256()
        for n, (part, content) in enumerate(_frames(file, backup_id, cipher)):
            if part == END:
                told = orjson.loads(content)
                if told != {"frames": n, "sha256": sha256.hexdigest()} or file.read(1):
                    break
                return
            sha256.update(part + content)
            if part == DUMP:
                yield content
    raise BackupFault(f"{path} is not whole: it was cut short or changed. Use another backup")


def keys_of(path: Path) -> set[str]:
    """The ids of the keys that it needs."""
    found = set()
    with _open(path) as (file, _):
        while size := file.read(4):
            begin = file.tell()
            kid = re.match(rb".([A-Za-z0-9_-]{1,40})\0", file.read(64), re.DOTALL)
            if kid is None:
                raise BackupFault(f"{path} is not whole: it was cut short or changed. Use another backup")
            found.add(kid[1].decode("ascii"))
            file.seek(begin + int.from_bytes(size, "big"))
    return found


class _open:  # noqa: N801 - used as a context manager
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> tuple[BinaryIO, str]:
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise BackupFault(f"{self._path} cannot be read ({error.strerror})") from None
        line = self._file.readline(len(MAGIC) + 40)
        if not re.fullmatch(re.escape(MAGIC) + rb"[0-9a-f-]{36}\n", line):
            self._file.close()
            raise BackupFault(f"{self._path} is no backup that `glp1 backup make` wrote")
        return self._file, line.removeprefix(MAGIC).strip().decode()

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _frames(file: BinaryIO, backup_id: str, cipher: Cipher) -> Iterator[tuple[bytes, bytes]]:
    index = 0
    while len(size := file.read(4)) == 4:
        length = int.from_bytes(size, "big")
        frame = file.read(length) if length <= LARGEST else b""
        part, (kid, zero, body) = frame[:1], frame[1:].partition(b"\0")
        if len(frame) != length or not zero:
            return
        try:
            content = cipher.open(kid.decode("ascii", "replace"), body, _place(backup_id, index, part))
        except Tampered:
            raise BackupFault("this backup was changed, or a piece of another was put into it") from None
        yield part, content
        index += 1


def _place(backup_id: str, index: int, part: bytes) -> str:
    return f"backup|{backup_id}|{index}|{part.decode('ascii', 'replace')}"
