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
    handle = os.open(home / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, orjson.dumps(line) + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
