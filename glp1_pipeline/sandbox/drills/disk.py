"""A small disk that can be filled: a tmpfs, where this machine lets us mount one.

Not here: what lies on it.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import TracebackType

from .ending import NotRun


class SmallDisk:
    """`with SmallDisk(path, 8) as disk:` a disk of 8 MiB at `path`; NotRun where none can be mounted."""

    def __init__(self, path: Path, mebibytes: int, account: tuple[int, int] | None = None) -> None:
        self.path, self.mebibytes, self.account = path, mebibytes, account

    def __enter__(self) -> SmallDisk:
        if os.geteuid() != 0:
            raise NotRun("only root can mount a small disk to fill")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"size={self.mebibytes}m,mode=0700"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], capture_output=True, check=False
        )
        if done.returncode:
            raise NotRun("this machine does not let us mount a small disk to fill")
        if self.account:
            os.chown(self.path, *self.account)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Lazily: whoever still holds a file of it loses it when it lets go.
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=True)

    @property
    def ballast(self) -> Path:
        return self.path / ".ballast"

    def fill(self) -> None:
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def empty(self) -> None:
        self.ballast.unlink(missing_ok=True)
