"""Files that nothing needs any more: archived drops, results of the broker of files, logs of programs that are gone.

Each function says how many went, or would. Not here: the landing zone, which is the producers' own, and evidence.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from .chunks import Work

A_DAY = 86_400.0
FILES_AT_A_TIME = 500


def prune_archive(connection: psycopg.Connection, folder: Path, days: int, work: Work) -> int:
    """Archived drops that the ledger has byte by byte: settled, and no line of them was cut for its length, waits or is
    dead. What was left unfinished by a process that died goes after a day."""
    gone = sum(_remove(path, work) for path in _older(folder, "*.tmp", A_DAY))
    some: list[Path] = []
    for path in _older(folder, "*.sealed", days * A_DAY):
        some.append(path)
        if len(some) == FILES_AT_A_TIME:
            gone += _remove_known(connection, some, work)
            some = []
        if not work.may_go_on():
            break
    return gone + _remove_known(connection, some, work)


def _remove_known(connection: psycopg.Connection, paths: list[Path], work: Work) -> int:
    by_drop = {drop_id: path for path in paths if (drop_id := _as_drop(path.stem)) is not None}
    rows = connection.execute(
        "select drop_id from ops.drops where drop_id = any(%s) and state = 'settled' and drop_id not in"
        " (select drop_id from phi.events where status in ('rejected', 'dead')"
        "  and (status = 'dead' or reason = 'line_too_long')"
        " union all select drop_id from phi.events where status = 'waiting')",
        (list(by_drop),),
    ).fetchall()
    return sum(_remove(by_drop[drop_id], work) for (drop_id,) in rows)


def prune_results(folder: Path, work: Work) -> int:
    """What the broker of files keeps of each run: a client waits for it for an hour at most."""
    return sum(_remove(path, work) for path in _older(folder, "*", A_DAY))


def prune_logs(folder: Path, days: int, work: Work) -> int:
    """Logs that nobody wrote to for so long. Those in use are kept short by who starts the programs."""
    return sum(_remove(path, work) for path in _older(folder, "*.log*", days * A_DAY))


def _older(folder: Path, pattern: str, seconds: float) -> Iterator[Path]:
    if not folder.is_dir():
        return
    before = time.time() - seconds
    for path in folder.glob(pattern):
        try:
            is_old = path.is_file() and path.stat().st_mtime < before
        except FileNotFoundError:  # another round took it
            continue
        if is_old:
            yield path


def _remove(path: Path, work: Work) -> int:
    if not work.is_dry_run:
        path.unlink(missing_ok=True)
    return 1


def _as_drop(stem: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(stem)
    except ValueError:
        return None
