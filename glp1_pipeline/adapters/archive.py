"""The archive: settled drops, sealed, one file each under its own id, for our account alone.

Here: sealing a drop into it and opening one again. Not here: which drops are settled (`ledger`) and where they lay
(`landing`).
"""

from __future__ import annotations

import io
import os
import secrets
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .cipher import Cipher

CHUNK = 1024 * 1024


def keep(
    archive: Path,
    cipher: Cipher,
    stream: BinaryIO,
    drop_id: uuid.UUID,
    is_as_read: Callable[[], bool] = lambda: True,
) -> None:
    """Seal a drop into the archive, unless it is there, or was written to since it got its id (`is_as_read`).

    Frames of at most CHUNK bytes, each sealed at its own place: 4 bytes length, then key id and body.
    """
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = archive / f"{drop_id}.sealed"
    if target.exists():
        return
    stream.seek(0)
    # By chance: a restart of Postgres may have ended the lock of who is at it still.
    unfinished = target.with_suffix(f".{secrets.token_hex(4)}.tmp")
    with open_for_us(unfinished) as file:
        index = 0
        while chunk := stream.read(CHUNK):
            kid, body = cipher.seal(chunk, f"archive|{drop_id}|{index}")
            frame = kid.encode() + b"\0" + body
            file.write(len(frame).to_bytes(4, "big") + frame)
            index += 1
        file.flush()
        os.fsync(file.fileno())
    if is_as_read():
        unfinished.rename(target)
    else:
        unfinished.unlink()


def open_archived(cipher: Cipher, path: Path) -> BinaryIO:
    """An archived drop, opened again: the bytes as they came."""
    drop_id, opened = path.stem, io.BytesIO()
    with path.open("rb") as file:
        index = 0
        while size := file.read(4):
            kid, body = file.read(int.from_bytes(size, "big")).split(b"\0", 1)
            opened.write(cipher.open(kid.decode(), body, f"archive|{drop_id}|{index}"))
            index += 1
    opened.seek(0)
    return opened


def open_for_us(path: Path) -> BinaryIO:
    """A new file that our account alone may read, whatever the umask; one of that name is written over."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))
