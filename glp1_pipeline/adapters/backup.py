"""A backup of our own database at one instant, with the point of balance inside, and putting it back into an empty one.

Here: pg_dump and pg_restore under one snapshot, the proof that what came back is what was there, and what must be
doubted afterwards. Not here: the file (`backup_file`), the keys (never in it), the archive of drops and the landing
zone (files, which are copied as files), and what the EHR knows beyond it (`ehr_unknown`).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson
import psycopg
from alembic.script import ScriptDirectory
from psycopg import conninfo, sql

from .archive import open_archived
from .backup_file import DUMP, POINT, BackupFault, Writer, keys_of, read_dump, read_point
from .balance import balance, fingerprint
from .cipher import Cipher, KeyMissing
from .landing import CHUNK, Folder
from .postgres_cluster import bare_environment
from .postgres_place import packaged_binaries
from .schema import alembic_config
from .settings import Settings
from .store import SESSION

SCHEMAS = ("phi", "ops")
TRIAL = "restore_check_"
"""So the name of a database begins that a backup is restored into to see whether it can be."""
Tell = Callable[[int], None]
"""Hears after each piece how many bytes of the dump are done."""


class Programs(NamedTuple):
    """Where pg_dump and pg_restore are."""

    dump: str
    restore: str

    @classmethod
    def of(cls, settings: Settings) -> Programs:
        """Those of the embedded server; for another server those on the PATH, which must not be older than it is."""
        if not settings.database_url:
            folder = packaged_binaries()
            return cls(str(folder / "pg_dump"), str(folder / "pg_restore"))
        found = [shutil.which(name) for name in ("pg_dump", "pg_restore")]
        if not all(found):
            raise BackupFault("pg_dump and pg_restore are not on the PATH: install the client programs of Postgres")
        return cls(*(str(path) for path in found))


# ---- making one


def make(url: str, cipher: Cipher, path: Path, programs: Programs, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Back up the database at `url` into the new file `path`; its point of balance. The road goes on meanwhile.

    Counts, fingerprint and dump are of one snapshot. Killed at any point there is no file of that name.
    """
    with Writer(path, cipher) as writer, psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(SESSION)
        snapshot = _only(connection, "select pg_export_snapshot()")
        point = _point(connection)
        writer.add(POINT, orjson.dumps(point))
        done = 0
        for piece in _dump(url, programs, snapshot):
            writer.add(DUMP, piece)
            tell(done := done + len(piece))
        writer.close()
    return point


def _point(connection: psycopg.Connection) -> dict[str, Any]:
    return {
        "at": _only(connection, "select now()").isoformat(),
        "schema_version": _only(connection, "select version_num from ops.schema_version"),
        "postgres": _only(connection, "show server_version"),
        "balance": balance(connection).as_dict(),
        "fingerprint": fingerprint(connection),
    }


def _dump(url: str, programs: Programs, snapshot: str) -> Iterator[bytes]:
    argv = [programs.dump, "--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    argv += [f"--snapshot={snapshot}", *(f"--schema={name}" for name in SCHEMAS)]
    with tempfile.TemporaryFile() as words:
        program = subprocess.Popen(argv, env=_environment(url), stdout=subprocess.PIPE, stderr=words)
        try:
            assert program.stdout is not None  # a pipe was asked for
            while piece := program.stdout.read(CHUNK):
                yield piece
        finally:
            _end(program)
        if program.returncode:
            raise BackupFault(f"pg_dump ended with {program.returncode}: {_first_words(words)}")


# ---- looking at one


def check(path: Path, cipher: Cipher, programs: Programs, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Open every piece and read the dump's table of contents; its point of balance. BackupFault, KeyMissing."""
    missing = keys_of(path) - cipher.ring.keys.keys()
    if missing:
        raise KeyMissing(
            f"this backup is sealed under {', '.join(sorted(missing))}, which the key ring does not have:"
            " `glp1 keys take-back ESCROW`, or put the ring of that time in its place"
        )
    point = read_point(path, cipher)
    argv = [programs.restore, "--list"]
    contents = _pg_restore(argv, {}, _counted(read_dump(path, cipher), tell)).decode("utf-8", "replace")
    tables = sum(" TABLE DATA " in line for line in contents.splitlines())
    if not tables:
        raise BackupFault(f"{path} holds no table")
    return point | {"tables": tables, "keys": sorted(keys_of(path)), "bytes": path.stat().st_size}


# ---- putting it back


def restore(url: str, cipher: Cipher, path: Path, programs: Programs, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Put the backup into the database at `url`, which must be ours alone and hold no row; prove it; doubt deliveries.

    All or nothing: killed at any point the database is empty or whole, and the same call again ends what is left.
    Every change that was not delivered at the backup's instant is marked as in doubt, since it may have been delivered
    after it: it is read back before it is sent.
    """
    point = check(path, cipher, programs)
    if point["schema_version"] != (head := ScriptDirectory.from_config(alembic_config(None)).get_current_head()):
        raise BackupFault(
            f"this backup is of schema {point['schema_version']}, and this release has {head}: restore it with the"
            " release that made it, then start the new one"
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SESSION)
        _alone(connection)
        if not _is_empty(connection):
            if not _holds(connection, point):
                raise BackupFault(
                    "the database is not empty: restore into a new one (of the embedded server: move the folder"
                    " postgres of GLP1_HOME away, and keep it until all is well); nothing was changed"
                )
        else:
            for name in SCHEMAS:
                connection.execute(f"drop schema if exists {name} cascade".encode())
            argv = [programs.restore, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
            database = str(conninfo.conninfo_to_dict(url)["dbname"])
            argv += [f"--dbname={database}"]
            _pg_restore(argv, _environment(url), _counted(read_dump(path, cipher), tell))
            if not _holds(connection, point):
                raise BackupFault("what was restored is not what was backed up: the fingerprints differ. Do not use it")
        connection.execute("analyze")
        doubted = connection.execute("update ops.writes set status = 'in_doubt' where status = 'ready'").rowcount
    return point | {"doubted": doubted}


def unknown_drops(connection: psycopg.Connection, archive: Path) -> list[Path]:
    """Drops of the archive that the database does not know: they came in after the backup."""
    there = {path.stem: path for path in sorted(archive.glob("*.sealed"))}
    rows = connection.execute(
        "select drop_id::text from ops.drops where state = 'settled' and drop_id = any(%s::uuid[])", (list(there),)
    )
    known = {row[0] for row in rows}
    return [path for drop_id, path in there.items() if drop_id not in known]


def take_again(cipher: Cipher, landing: Folder, paths: Iterable[Path]) -> int:
    """Drop them once more. Twice is no harm: the ledger knows an event again."""
    n = 0
    for path in paths:
        landing.put(f"again-{uuid.uuid4()}", open_archived(cipher, path))
        n += 1
    return n


def _alone(connection: psycopg.Connection) -> None:
    others = _only(
        connection,
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and backend_type = 'client backend'",
    )
    if others:
        raise BackupFault(f"{others} other sessions use this database: stop `glp1 up` first; nothing was changed")


def _is_empty(connection: psycopg.Connection) -> bool:
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname = any(%s) and tablename <> 'schema_version'",
        (list(SCHEMAS),),
    ).fetchall()
    has_row = sql.SQL("select 1 from {} limit 1")
    return not any(connection.execute(has_row.format(sql.Identifier(*table))).fetchone() for table in tables)


def _holds(connection: psycopg.Connection, point: dict[str, Any]) -> bool:
    """Whether the database is what the point of balance says: counts and fingerprint. What does not hold of that is
    counted by the release that looks, and another than the one that made the backup may count more of it, or less:
    `glp1 reconcile` tells it."""
    if not _only(connection, "select to_regclass('ops.schema_version') is not null"):
        return False
    version = _only(connection, "select version_num from ops.schema_version")
    if version != point["schema_version"] or fingerprint(connection) != point["fingerprint"]:
        return False
    there, told = balance(connection).as_dict(), dict(point["balance"])
    for one in (there, told):  # what was ready is in doubt after an earlier call that was cut short
        writes = one["writes"]
        one["writes"] = writes | {"ready": 0, "in_doubt": writes.get("ready", 0) + writes.get("in_doubt", 0)}
        del one["faults"], one["holds"]
    return there == told


@contextmanager
def scratch_database(making: str, url_of: Callable[[str], str], owner: str) -> Iterator[str]:
    """A database of its own for a trial, gone afterwards; `making`: who may create it, `url_of`: its address."""
    name = f"{TRIAL}{uuid.uuid4().hex[:12]}"
    with psycopg.connect(making, autocommit=True) as connection:
        for left in _trials(connection):
            if _is_mine(connection, left):  # of a trial that was killed, and a copy of all that we hold
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(left)))
        _is_mine(connection, name)
        connection.execute(f"create database {name} owner {owner} strategy file_copy".encode())
        try:
            yield url_of(name)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


def _trials(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("select datname from pg_database where starts_with(datname, %s)", (TRIAL,))
    return [name for (name,) in rows]


def _is_mine(connection: psycopg.Connection, name: str) -> bool:
    """Until this session ends, nobody else's."""
    asked = "select pg_try_advisory_lock(hashtextextended(%s, 0))"
    return connection.execute(asked, (name,)).fetchone() == (True,)


# ---- programs


def _pg_restore(argv: list[str], env: dict[str, str], pieces: Iterable[bytes]) -> bytes:
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as told:
        program = subprocess.Popen(
            argv, env=env or bare_environment(), stdin=subprocess.PIPE, stdout=told, stderr=words
        )
        try:
            assert program.stdin is not None  # a pipe was asked for
            try:
                for piece in pieces:
                    program.stdin.write(piece)
                program.stdin.close()
            except BrokenPipeError:
                if "--list" in argv:
                    for _ in pieces:  # it has read what it wants; the rest must open all the same
                        pass
            program.wait()
        except BaseException:
            program.kill()  # before it could take a half for the whole: its transaction is rolled back
            raise
        finally:
            _end(program)
        if program.returncode:
            raise BackupFault(f"pg_restore ended with {program.returncode}: {_first_words(words)}")
        told.seek(0)
        return told.read()


def _end(program: subprocess.Popen[bytes]) -> None:
    for pipe in (program.stdin, program.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # it died first: its code says so
                pipe.close()
    try:
        program.wait(30)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _first_words(words: IO[bytes]) -> str:
    """What it said first, without the row that it may quote after that."""
    words.seek(0)
    return words.read(400).decode("utf-8", "replace").partition("\n")[0] or "it said nothing"


def _environment(url: str) -> dict[str, str]:
    """The address as libpq's own variables: on the command line everybody would see the password."""
    named = {option.keyword.decode(): option.envvar for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
    given = conninfo.conninfo_to_dict(url)
    return bare_environment() | {
        named[name].decode(): str(value) for name, value in given.items() if name in named and value is not None
    }


def _counted(pieces: Iterable[bytes], tell: Tell) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        yield piece
        tell(done := done + len(piece))


def _only(connection: psycopg.Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None  # each of these statements answers with one row
    return row[0]
