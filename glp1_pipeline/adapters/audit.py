"""Who took patients' data out on paper, brought decisions back, had dead writes tried again or decided what stands in
another system, when and why: a line each, before it is done.

An append-only file, since it must also be kept while the database is about to go down. Not here: what they did.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

FILE = "audit.ndjson"


def note(home: Path, actor: str, reason: str, what: str, **counts: Any) -> None:
    """Append a line and bring it to the disk; OSError where that fails, and nothing may be done then."""
    line = {"at": datetime.now(UTC).isoformat(), "actor": actor, "reason": reason, "what": what, **counts}
    with open(home / FILE, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # Where the disk was full half a line may stand: it ends here, and takes no whole one with it.
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(orjson.dumps(line) + b"\n")
        file.flush()  # unlike a bare write it writes all of it, or fails
        os.fsync(file)
