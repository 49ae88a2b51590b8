"""What lies sealed, and under which key; sealing it anew under the current one while everything goes on.

Here: the tables and files that hold sealed bodies, counting, sealing anew. Not here: the ring (`keys`), and sealing
itself (`cipher`).
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import psycopg
from psycopg import sql

from .cipher import Cipher, KeyMissing, KeyRing, Tampered

CHUNK_ROWS = 250
PASSES = 4
ARCHIVE = "archive"
UNFINISHED = ".resealing"


class KeyFault(RuntimeError):
    """Something that is not done with keys now; the message says why and what to do."""


class Sealed(NamedTuple):
    """A table with sealed bodies: each at the place `place|key`, beside the id of its key (`kid`)."""

    name: str
    key: str
    type: str
    first: Any
    place: str

    def words(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(  # type: ignore[arg-type] - our own words
            table=sql.Identifier(*self.name.split(".")),
            key=sql.Identifier(self.key),
            type=sql.SQL(self.type),  # type: ignore[arg-type]
        )


SEALED = (
    Sealed("phi.events", "event_id", "uuid", uuid.UUID(int=0), "events"),
    Sealed("phi.write_bodies", "write_id", "bigint", -1, "writes"),
    Sealed("phi.refill_decisions", "decision_id", "uuid", uuid.UUID(int=0), "refill_decisions"),
)


@dataclass
class Resealed:
    """Counts of one `reseal`."""

    done: Counter[str] = field(default_factory=Counter)
    """Bodies sealed anew, by table; of the archive: drops."""
    failed: Counter[str] = field(default_factory=Counter)
    """Bodies that did not open, and were left as they are: `no_key` or `tampered`."""
    left: int = 0
    """Still under another key than the current one: held by others at that moment, failed, or we were stopped."""

    def as_dict(self) -> dict[str, Any]:
        return {"done": dict(self.done), "failed": dict(self.failed), "left": self.left}


def count_sealed(connection: psycopg.Connection, archive: Path) -> dict[str, dict[str, int]]:
    """Key id -> table (or `archive`: drops) -> how many bodies are sealed under it."""
    found: dict[str, dict[str, int]] = {}
    for kind in SEALED:
        counted = kind.words("select kid, count(*) from {table} where kid is not null group by kid")
        for kid, count in connection.execute(counted):
            found.setdefault(kid, {})[kind.name] = count
    for path in archived(archive):
        for kid in keys_of_file(path):
            mine = found.setdefault(kid, {})
            mine[ARCHIVE] = mine.get(ARCHIVE, 0) + 1
    return found


def reseal(
    connection: psycopg.Connection,
    cipher: Cipher,
    archive: Path,
    progress: Callable[[Resealed], None] = lambda _: None,
    is_over: Callable[[], bool] = lambda: False,
) -> Resealed:
    """Seal everything anew that is not under the current key: chunk by chunk, each a transaction; drops file by file.

    May be stopped, killed and begun again at any point; what is done is done. It never waits for a row: those that
    others hold are left for a later pass. `connection` is in autocommit mode. `progress` hears after each chunk.
    """
    done = Resealed()
    row = connection.execute("select pg_try_advisory_lock(hashtext('glp1_pipeline.reseal'))").fetchone()
    if not (row and row[0]):
        raise KeyFault("another reseal is under way; it does the same")
    try:
        for n in range(PASSES):
            done.failed.clear()
            for kind in SEALED:
                _reseal_table(connection, cipher, kind, done, progress, is_over)
            _reseal_archive(cipher, archive, done, progress, is_over)
            by_key = count_sealed(connection, archive)
            done.left = sum(sum(counts.values()) for kid, counts in by_key.items() if kid != cipher.active)
            if is_over() or done.left == sum(done.failed.values()):
                break
            time.sleep(0.2 * 2**n if n + 1 < PASSES else 0)
    finally:
        connection.execute("select pg_advisory_unlock(hashtext('glp1_pipeline.reseal'))")
    return done


def _reseal_table(connection, cipher: Cipher, kind: Sealed, done: Resealed, progress, is_over) -> None:
    # Rows that are busy are passed over: to wait for them crosswise with a charting run would be a deadlock.
    claim = kind.words(
        "select {key}, kid, body from {table} where {key} > %s and kid <> %s order by {key} limit %s"
        " for update skip locked"
    )
    save = kind.words(
        "update {table} t set kid = u.kid, body = u.body from unnest(%s::{type}[], %s::text[], %s::bytea[])"
        " as u(id, kid, body) where t.{key} = u.id"
    )
    last = kind.first
    while not is_over():
        fresh = []
        with connection.transaction():
            rows = connection.execute(claim, (last, cipher.active, CHUNK_ROWS)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for key, kid, body in rows:
                try:
                    fresh.append((key, *cipher.reseal(kid, bytes(body), f"{kind.place}|{key}")))
                except (KeyMissing, Tampered) as fault:
                    _count_failure(cipher, fault, done)
            if fresh:
                connection.execute(save, [list(column) for column in zip(*fresh, strict=True)])
        done.done[kind.name] += len(fresh)
        progress(done)


def _count_failure(cipher: Cipher, fault: Exception, done: Resealed) -> None:
    if isinstance(fault, KeyMissing) and cipher.ring.path is not None:
        KeyRing.load(cipher.ring.path)  # it is the ring itself that is missing: that is told, and ends all
    done.failed["no_key" if isinstance(fault, KeyMissing) else "tampered"] += 1


def _reseal_archive(cipher: Cipher, archive: Path, done: Resealed, progress, is_over) -> None:
    for left in archive.glob(f"*{UNFINISHED}"):
        left.unlink()  # of one that was killed: we are the only one
    for path in archived(archive):
        if is_over():
            return
        if keys_of_file(path) <= {cipher.active}:
            continue
        try:
            _reseal_file(cipher, path)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except (KeyMissing, Tampered) as fault:
            _count_failure(cipher, fault, done)
            continue
        done.done[ARCHIVE] += 1
        progress(done)


def _reseal_file(cipher: Cipher, path: Path) -> None:
    """Written beside, flushed, renamed: at every instant the name is a whole drop."""
    unfinished = path.with_suffix(UNFINISHED)
    try:
        with path.open("rb") as old, unfinished.open("xb") as new:
            stood = os.fstat(old.fileno())
            os.fchmod(new.fileno(), stood.st_mode & 0o777)
            for index, (kid, body) in enumerate(_frames(old)):
                frame = b"\0".join(
                    part if isinstance(part, bytes) else part.encode()
                    for part in cipher.reseal(kid, body, f"archive|{path.stem}|{index}")
                )
                new.write(len(frame).to_bytes(4, "big") + frame)
            new.flush()
            os.utime(new.fileno(), ns=(stood.st_atime_ns, stood.st_mtime_ns))  # how old the drop is, retention asks
            os.fsync(new.fileno())
        path.stat()  # gone meanwhile: it stays gone
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def archived(archive: Path) -> list[Path]:
    """The drops of the archive, as `landing` put them there."""
    return sorted(archive.glob("*.sealed"))


def keys_of_file(path: Path) -> set[str]:
    """The keys that an archived drop is sealed under: of each frame its key's id alone is read."""
    found = set()
    try:
        with path.open("rb") as file:
            while size := file.read(4):
                begin = file.tell()
                found.add(file.read(64).split(b"\0", 1)[0].decode())
                file.seek(begin + int.from_bytes(size, "big"))
    except FileNotFoundError:
        return set()  # deleted meanwhile
    return found


def _frames(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    while size := file.read(4):
        kid, body = file.read(int.from_bytes(size, "big")).split(b"\0", 1)
        yield kid.decode(), body
