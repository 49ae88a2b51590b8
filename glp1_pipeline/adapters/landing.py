"""The landing zone: where producers put drops, and how a drop is read without ever trusting it.

A producer writes `.name` or `name.tmp`, then renames it into place (on an object store one PUT does the same).
Here: which files are ready, opening one safely, reading lines under a limit, putting a drop away afterwards.
Not here: what a line means (`domain.events`) and the ledger (`ledger`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import signal
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from .archive import CHUNK, keep, open_for_us
from .cipher import Cipher

MAX_LINE_BYTES = 1024 * 1024
SETTLE_SECONDS = 2.0
"""Where the system cannot tell whether a file is still open for writing, it must have been still for this long."""
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp")
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
DROPS = uuid.UUID("6f0c43ac-3ff6-5ac1-b3a8-0a9c5c8f3f57")
LEFT_BEHIND = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp")
"""A drop that somebody's `put` began: its name alone says that it is ours."""
LEFT_AFTER_SECONDS = 86_400.0
SETTLED = ".settled-"
FileState = tuple[int | str, ...]
"""Device, inode, size and time of the last write; in an object store its STAMPS."""
STAMPS = (
    "ETag", "etag", "generation", "VersionId", "LastModified", "last_modified", "last_write_time", "updated",
    "modified", "modify", "mtime", "created", "ino", "size",
)  # fmt: skip
"""What object stores say of an object that changes when it is written; never what changes when it is read."""
REFUSED = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR)
"""What the system says of a thing that will not be a readable file the next time either."""


class LandingFault(RuntimeError):
    """The landing zone itself cannot be used; says what to check."""


class Unreadable(Exception):
    """A thing in the landing zone that is no readable file: `reason` and `hint`, never its name."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    content: bytes
    """Without its line end; only the first MAX_LINE_BYTES where `is_too_long`."""
    is_too_long: bool
    end: int
    """Offset of the byte after it."""


class Folder:
    """A landing zone in a local folder."""

    def __init__(self, path: Path, archive: Path | None, cipher: Cipher) -> None:
        """`archive` is the folder where settled drops are kept encrypted; None deletes them."""
        self.path, self.archive, self.cipher = path, archive, cipher

    def ready(self, limit: int = 500) -> list[str]:
        """Names of drops that nobody is writing any more, oldest first, at most `limit`."""
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                # A settled drop is still here only if we died between its two last steps: it is read again, as known.
                hidden = entry.name.startswith(".") and not entry.name.startswith(SETTLED)
                if not hidden and not entry.name.endswith(UNFINISHED):
                    found.append(entry)
        # What is no file is refused, with a reason, when it is opened.
        found = [
            e.name for e in sorted(found, key=_modified) if not e.is_file(follow_symlinks=False) or _is_finished(e.path)
        ]
        return found[:limit]

    def clear(self) -> int:
        """Remove what a killed `put` left a day ago or longer; how many. Nobody was told that such a drop is here, and
        nothing reads it, yet it says what patients said."""
        oldest, removed = time.time() - LEFT_AFTER_SECONDS, 0
        with os.scandir(self.path) as entries:
            left = [e for e in entries if LEFT_BEHIND.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
        for entry in left:
            if _modified(entry)[0] < oldest and _is_finished(entry.path):
                Path(entry.path).unlink(missing_ok=True)
                removed += 1
        return removed

    def wait(self, timeout: float, step: float = 0.05) -> bool:
        """True as soon as a drop is ready, False after `timeout` seconds."""
        ends = time.monotonic() + timeout
        while True:
            if self.ready(limit=1):
                return True
            if time.monotonic() >= ends:
                return False
            time.sleep(step)

    def open(self, name: str) -> BinaryIO:
        """The drop, opened as the regular file that it must be."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in REFUSED:
                raise  # gone meanwhile, or the disk's own trouble: not the drop's fault
            raise Unreadable(*_unreadable(error, self.path / name)) from None
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise Unreadable(
                "not_a_file", "the landing zone takes regular files alone: put the events in a file and drop that"
            )
        return os.fdopen(descriptor, "rb", buffering=CHUNK)

    def state(self, stream: BinaryIO) -> FileState:
        """Which file an opened drop is and how far it is written: asked before it is read, compared after."""
        return _file_state(os.fstat(stream.fileno()))

    def still_has(self, name: str, state: FileState) -> bool:
        """Whether the name still is the file that was opened: else another run has put it away meanwhile."""
        try:
            return _file_state((self.path / name).lstat())[:2] == state[:2]
        except FileNotFoundError:
            return False

    def identity(self, name: str) -> str:
        """What a thing that cannot be read is known by: its place on the disk, never its name."""
        there = (self.path / name).lstat()
        return f"{there.st_dev} {there.st_ino}"

    def put_away(self, name: str, drop_id: uuid.UUID, stream: BinaryIO | None, state: FileState = ()) -> None:
        """Keep a settled drop encrypted under its own id, or delete it. A name that is gone already is fine."""
        path = self.path / name
        if stream is not None and self.archive is not None:
            keep(self.archive, self.cipher, stream, drop_id, lambda: self.state(stream) == state)
        self._remove(path, drop_id, stream, state)

    def _remove(self, path: Path, drop_id: uuid.UUID, stream: BinaryIO | None, state: FileState) -> None:
        """What was never read is only hidden; what was read is removed, unless it is written on since, or a new file
        took its name: then it stays, to be read (again)."""
        # By chance: what a killed run took aside may be another file than what it had read, and lie there still.
        aside = self.path / (f".refused-{drop_id}" if stream is None else f"{SETTLED}{uuid.uuid4()}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        if stream is None:
            return
        # In this order: nobody can open it by its name any more, so who does not hold it open now never writes to it.
        if _is_finished(aside) and _file_state(aside.lstat()) == state:
            aside.unlink()
        else:
            aside.rename(self.path / f"again-{uuid.uuid4()}")

    def put(self, name: str, stream: BinaryIO) -> None:
        """Drop a file as a good producer does: written beside, flushed, renamed."""
        unfinished = self.path / f".{uuid.uuid4()}.tmp"
        try:
            with open_for_us(unfinished) as file:
                while chunk := stream.read(CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self.path / name)
        except OSError:
            unfinished.unlink(missing_ok=True)  # half of a drop would keep a full disk full
            raise


class _Object(io.BufferedReader):
    """An opened object, and what the store said of it just before."""

    def __init__(self, stream: Any, state: FileState) -> None:
        super().__init__(stream, CHUNK)
        self.state = state


@contextmanager
def _its_faults_told() -> Iterator[None]:
    """Each driver has errors of its own, whose texts may quote addresses and keys: told by their class."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a driver may raise
        raise LandingFault(
            f"the landing zone of GLP1_LANDING_URL does not answer as it should ({type(error).__name__}): check its"
            " address, our rights there and its credentials, and try again; what it has already counts once"
        ) from None


def require_driver(url: str) -> None:
    """Of a landing zone that is no folder; asks nobody."""
    try:
        if "://" in url:
            fsspec.get_filesystem_class(url.partition("://")[0].rpartition("::")[2])
    except (ImportError, ValueError) as error:
        raise LandingFault(f"GLP1_LANDING_URL needs a driver that is not installed: {error}") from None


class Bucket(Folder):
    """A landing zone behind an fsspec URL (s3, gs, abfs, sftp …): an object appears whole or not at all."""

    def __init__(self, url: str, archive: Path | None, cipher: Cipher) -> None:
        require_driver(url)
        with _its_faults_told():
            self.filesystem, self.root = fsspec.core.url_to_fs(url)  # some drivers call there at once
            self.filesystem.makedirs(self.root, exist_ok=True)
        self.archive, self.cipher = archive, cipher

    def ready(self, limit: int = 500) -> list[str]:
        self.filesystem.invalidate_cache()
        names = [
            entry["name"].rstrip("/").rsplit("/", 1)[-1]
            for entry in self.filesystem.ls(self.root, detail=True)
            if entry["type"] == "file"
        ]
        return sorted(n for n in names if not n.startswith(".") and not n.endswith(UNFINISHED))[:limit]

    def clear(self) -> int:
        return 0  # an object appears whole or not at all

    def wait(self, timeout: float, step: float = 0.5) -> bool:
        return super().wait(timeout, step)

    def open(self, name: str) -> BinaryIO:
        state = self._state_of(name)  # asked first: what is put there while we open it has another
        return _Object(self.filesystem.open(f"{self.root}/{name}", "rb"), state)

    def state(self, stream: BinaryIO) -> FileState:
        return cast(_Object, stream).state

    def still_has(self, name: str, state: FileState) -> bool:
        try:
            return self._state_of(name) == state
        except FileNotFoundError:
            return False

    def _state_of(self, name: str) -> FileState:
        self.filesystem.invalidate_cache()
        told = self.filesystem.info(f"{self.root}/{name}")
        return tuple(f"{stamp} {told[stamp]}" for stamp in STAMPS if told.get(stamp) is not None)

    def put_away(self, name: str, drop_id: uuid.UUID, stream: BinaryIO | None, state: FileState = ()) -> None:
        if stream is not None and self.archive is not None:
            keep(self.archive, self.cipher, stream, drop_id)
        if not self.still_has(name, state):
            return  # another content took its name since it was opened: that one is to be read yet
        try:
            self.filesystem.rm(f"{self.root}/{name}")
        except FileNotFoundError:
            return

    def put(self, name: str, stream: BinaryIO) -> None:
        with _its_faults_told(), self.filesystem.open(f"{self.root}/{name}", "wb") as file:
            while chunk := stream.read(CHUNK):
                file.write(chunk)


def landing_zone(url: str, archive: Path | None, cipher: Cipher) -> Folder:
    """The landing zone at a URL or a folder path. A folder is made by the start alone: one that is not there may be a
    disk that is not mounted just now, which would hide what is put in its place."""
    return Bucket(url, archive, cipher) if "://" in url else Folder(Path(url), archive, cipher)


def digest(stream: BinaryIO) -> tuple[bytes, int]:
    """SHA-256 and size of a stream, which is left at its start."""
    sha256, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        sha256.update(chunk)
        size += len(chunk)
    stream.seek(0)
    return sha256.digest(), size


def packed_as(stream: BinaryIO) -> str | None:
    """The name of the compression a file uses, or None. A packed drop is refused: it could grow without end."""
    start = stream.read(8)
    stream.seek(0)
    return next((name for magic, name in PACKED.items() if start.startswith(magic)), None)


def count_lines(stream: BinaryIO, end: int) -> int:
    """How many lines end before an offset."""
    stream.seek(0)
    found = 0
    while end > 0 and (part := stream.read(min(CHUNK, end))):
        found, end = found + part.count(b"\n"), end - len(part)
    return found


def lines(stream: BinaryIO, offset: int, number: int) -> Iterator[Line]:
    """Lines from `offset` on, each at most MAX_LINE_BYTES in memory; blank ones are passed over, yet numbered."""
    stream.seek(offset)
    while True:
        content = stream.readline(MAX_LINE_BYTES + 2)
        if not content:
            return
        number += 1
        offset += len(content)
        is_too_long = len(content) > MAX_LINE_BYTES + 1 and not content.endswith(b"\n")
        rest = content
        while is_too_long and rest and not rest.endswith(b"\n"):
            rest = stream.readline(CHUNK)
            offset += len(rest)
        content = content.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf")  # also inside, where files were joined
        if content.strip():
            yield Line(number, content[:MAX_LINE_BYTES], is_too_long or len(content) > MAX_LINE_BYTES, offset)


def whole(stream: BinaryIO) -> Line:
    """The file as one line: a document that spans many."""
    content = stream.read()
    return Line(1, content.removeprefix(b"\xef\xbb\xbf").strip(), False, len(content))


def _is_finished(path: str | Path) -> bool:
    """A read lease is refused while anyone holds the file open for writing; elsewhere wait until it is still."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        # Who opens it for writing just now breaks the lease, and we are told by a signal: by default one that ends
        # the process, so one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # another account's file, or a file system without leases
        return time.time() - os.fstat(descriptor).st_mtime >= SETTLE_SECONDS
    finally:
        os.close(descriptor)


def _file_state(status: os.stat_result) -> FileState:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _modified(entry: os.DirEntry) -> tuple[float, str]:
    try:
        return entry.stat(follow_symlinks=False).st_mtime, entry.name
    except FileNotFoundError:
        return 0.0, entry.name


def _unreadable(error: OSError, path: Path) -> tuple[str, str]:
    if path.is_symlink():
        return "symlink", "a link could point anywhere: drop the file itself"
    if isinstance(error, PermissionError):
        return (
            "unreadable",
            "the pipeline's account may not read it: give the file mode 0640 and the landing zone's group",
        )
    return "not_a_file", "the landing zone takes regular files alone: put the events in a file and drop that"
