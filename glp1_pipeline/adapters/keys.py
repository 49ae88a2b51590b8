"""The keys of the ring over time: a new one becomes current, an old one is retired, a retired one is taken back.

At every instant each body opens with the ring as it lies on disk: a key comes into the file before anything is sealed
under it, and leaves it after nothing is. Not here: sealing (`cipher`), and sealing anew (`resealing`).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from .cipher import KeyMissing
from .resealing import KeyFault, count_sealed

HALF_MADE_SECONDS = 60.0


def rotate(path: Path, actor: str, reason: str) -> str:
    """Make a new key and let it seal from now on; returns its id. Old keys go on opening what they sealed.

    One file is replaced whole: killed at any point, the ring is the old or the new one. Running processes take it up
    at their next seal.
    """
    with _changing(path, actor, reason) as content:
        numbers = [int(kid[1:].split("-")[0]) for kid in _ever(content) if kid[1:].split("-")[0].isdecimal()]
        # With letters of its own: a ring put back from an old copy must never give one id to two keys.
        kid = f"k{max(numbers, default=0) + 1}-{secrets.token_hex(3)}"
        content["keys"][kid] = base64.b64encode(secrets.token_bytes(32)).decode()
        content["active"] = kid
        _note(content, "made", kid, actor, reason)
    return kid


def retire(
    connection: psycopg.Connection,
    path: Path,
    archive: Path,
    kid: str,
    escrow: Path,
    actor: str,
    reason: str,
    patience: float = 60.0,
) -> None:
    """Take a key out of the ring once nothing is sealed under it; a copy of it goes to the new file `escrow` first.

    Who sealed under it before another became current did so within a transaction, and may not have committed: those
    open now are waited for, `patience` seconds at most; only then is counted. KeyFault when it cannot go.
    """
    with _changing(path, actor, reason) as content:
        if kid == content["active"]:
            raise KeyFault(f"{kid} is the current key: `glp1 keys rotate` makes another current")
        if kid not in content["keys"]:
            gone = kid in content.get("retired", ())
            raise KeyFault(f"{kid} was retired before" if gone else f"the ring has no key {kid}: `glp1 keys list`")
        _wait_for_open_transactions(connection, time.monotonic() + patience)
        _wait_for_open_archive(archive, time.monotonic() + patience)
        if left := sum(count_sealed(connection, archive).get(kid, {}).values()):
            raise KeyFault(f"{left} bodies are still sealed under {kid}: `glp1 keys reseal`, then again")
        _keep(escrow, {"kind": "glp1 key", "keys": {kid: content["keys"].pop(kid)}})
        content.setdefault("retired", []).append(kid)
        _note(content, "retired", kid, actor, reason)


def take_back(path: Path, escrow: Path, actor: str, reason: str) -> list[str]:
    """Put the keys of an escrow file into the ring, to open what an old backup holds; they do not seal. Their ids."""
    try:
        given = json.loads(escrow.read_bytes())
        keys = {kid: base64.b64decode(key, validate=True) for kid, key in given["keys"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise KeyFault(f"{escrow} is no file of keys that `glp1 keys retire` made") from None
    with _changing(path, actor, reason) as content:
        for kid, key in keys.items():
            there = content["keys"].get(kid)
            if there is not None and base64.b64decode(there) != key:
                raise KeyFault(f"the ring has another key {kid}: this file is of another installation")
        for kid in keys.keys() - content["keys"].keys():
            content["keys"][kid] = base64.b64encode(keys[kid]).decode()
            content["retired"] = [k for k in content.get("retired", ()) if k != kid]
            _note(content, "taken back", kid, actor, reason)
    return sorted(keys)


def _wait_for_open_transactions(connection: psycopg.Connection, ends: float) -> None:
    """Until every transaction that is open in this database now has ended."""
    # By virtual ids: unlike the times of other roles' transactions, every role may see those.
    ask = (
        "select virtualtransaction from pg_locks where locktype = 'virtualxid' and mode = 'ExclusiveLock' and pid in"
        " (select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid())"
    )
    before = {row[0] for row in connection.execute(ask)}
    while before := before & {row[0] for row in connection.execute(ask)}:
        if time.monotonic() > ends:
            raise KeyFault(f"{len(before)} transactions have been open for too long to wait for: try again later")
        time.sleep(0.05)


def _wait_for_open_archive(archive: Path, ends: float) -> None:
    """Until no drop is being put away. What a killed process left half-made is a minute old, and put away again."""
    while any(time.time() - _modified(path) < HALF_MADE_SECONDS for path in archive.glob("*.tmp")):
        if time.monotonic() > ends:
            raise KeyFault("a drop is being put into the archive: try again in a minute")
        time.sleep(0.05)


def listed(path: Path, sealed: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Every key that the ring or a body names: id, state, since when, and how much is sealed under it.

    state: current (it seals), opens, retired, or MISSING: bodies are sealed under it and the ring does not have it.
    """
    content = _read(path)
    known = [*content["keys"], *content.get("retired", ())]
    made = {h["key"]: h["at"] for h in content.get("history", ()) if h["done"] == "made"}
    return [
        {
            "key": kid,
            "state": "current" if kid == content["active"] else "opens" if kid in content["keys"] else
            "retired" if kid in content.get("retired", ()) else "MISSING",
            "made_at": made.get(kid),
            "sealed": sealed.get(kid, {}),
        }
        for kid in [*known, *sorted(sealed.keys() - set(known))]
    ]  # fmt: skip


def history(path: Path) -> list[dict[str, str]]:
    """What was done with keys and passwords: at, done, key, actor, reason; the oldest first."""
    return list(_read(path).get("history", ()))


def note(path: Path, done: str, what: str, actor: str, reason: str) -> None:
    """Add a line to the history: of another secret that was changed."""
    with _changing(path, actor, reason) as content:
        _note(content, done, what, actor, reason)


# ---- the ring's file


@contextmanager
def _changing(path: Path, actor: str, reason: str) -> Iterator[dict[str, Any]]:
    """The ring's content, to be changed; written back whole unless it fails. One at a time."""
    if not (actor.strip() and reason.strip()):
        raise KeyFault("say who wants it and why")
    if not path.exists():
        raise KeyMissing(f"no key ring at {path}: put it back from escrow")
    with open(path.with_suffix(".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = _read(path)
        before = json.dumps(content)
        yield content
        if json.dumps(content) != before:
            _write(path, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if content["active"] in content["keys"]:
            return content
    except FileNotFoundError:
        raise KeyMissing(f"no key ring at {path}: put it back from escrow") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise KeyMissing(f"the key ring at {path} is damaged: put it back from escrow")


def _write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _flush_folder(path.parent)


def _keep(path: Path, content: dict[str, Any]) -> None:
    """A new file that only its owner may read, on the disk when this returns; the same again is fine."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.read_text("ascii") == json.dumps(content):
            return
        raise KeyFault(f"{path} is there already: name a new file") from None
    except OSError as error:
        raise KeyFault(f"{path} cannot be written ({error.strerror})") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _note(content: dict[str, Any], done: str, kid: str, actor: str, reason: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content.setdefault("history", []).append({"at": at, "done": done, "key": kid, "actor": actor, "reason": reason})


def _ever(content: dict[str, Any]) -> set[str]:
    return {*content["keys"], *content.get("retired", ()), *(h["key"] for h in content.get("history", ()))}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
