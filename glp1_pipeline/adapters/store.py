"""Our own store: a connection whose errors say no value, and which sends long lists quickly. Not here: statements, and
which database it is."""

from __future__ import annotations

import atexit
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.array import ListDumper


class StoreFault(RuntimeError):
    """Postgres refused a statement; named by its code, table and constraint, since its own text quotes the row."""


class StoreGone(ConnectionError):
    """A database does not answer, or went away; the text says what to do."""


_LACKS = {
    "25006": "the store takes no writes (a standby, or default_transaction_read_only is on), and this needs to write:"
    " let it take them, or name the server that does; nothing is lost",
    "53100": "the disk of the store is full: make room there, and then again; nothing is lost",
}
"""What the server lacks for all alike, whatever the statement."""
_AT_THE_DOOR = (
    (
        ("too many c", "remaining connection slots"),
        "{store} takes no more connections: somebody else holds them, or its max_connections (or the limit of our"
        " role or database) is too low; see the README, Postgres",
    ),
    (
        ("the database system is",),
        "{store} is starting, recovering or ending just now: wait a moment, and then again",
    ),
    (
        (
            "authentication failed",
            "no password supplied",
            "no pg_hba.conf entry",
            'FATAL:  role "',
            'FATAL:  database "',
        ),
        "{store} answers and does not let us in: see the role, the password and the database's name in {setting}",
    ),
    (
        ("certificate", "SSL"),
        "{store} cannot be reached by TLS as its address asks: see sslmode and sslrootcert in {setting}"
        " (sslrootcert=system believes the authorities that this machine does)",
    ),
    (("",), "{store} does not answer: start it with `glp1 up`, or check {setting}"),
)
"""Who is not let in is told no code, only words."""


def at_the_door(error: psycopg.OperationalError, store: str = "the store", setting: str = "GLP1_DATABASE_URL") -> str:
    """Why no connection was had, and what to do; the driver's own text names the server and the account."""
    told = str(error)
    said = next(said for words, said in _AT_THE_DOOR if any(word in told for word in words))
    return said.format(store=store, setting=setting)


def lack_told_by(error: BaseException | None) -> StoreGone | None:
    said = isinstance(error, psycopg.Error) and _LACKS.get(error.sqlstate or "")
    return StoreGone(said) if said else None


ROOM_BYTES = 1 << 20
"""With less than that on its disk Postgres cannot make any table larger."""


def must_take_writes(connection: psycopg.Connection[Any], data: Path | None) -> None:
    """StoreGone where it answers and yet takes no write: a standby after a failover, a full disk. `data`: a folder on
    that disk, if it is one of this machine."""
    if connection.execute("show transaction_read_only").fetchone() == ("on",):
        raise StoreGone(_LACKS["25006"])
    if data is not None and shutil.disk_usage(data).free < ROOM_BYTES:
        raise StoreGone(_LACKS["53100"])


class Store(psycopg.Connection):
    """A connection whose errors, when they leave its `with` block, say no value."""

    def __exit__(self, kind, error, trace) -> None:
        super().__exit__(kind, error, trace)
        if lack := lack_told_by(error):
            raise lack from None
        if isinstance(error, psycopg.OperationalError):
            raise StoreGone("the store went away: it is started again by itself, or see the runbook") from None
        if isinstance(error, psycopg.Error):
            told = error.diag
            raise StoreFault(f"Postgres said {error.sqlstate} on {told.table_name} ({told.constraint_name})") from None


class Items(ListDumper):
    """A list as an array, made at once. The driver's own way looks at each item by itself, at five times the cost: a
    batch sends fifty lists of five hundred."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        if not obj or self.sub_dumper is None or None in obj or isinstance(obj[0], list):
            return super().dump(obj)
        dump = cast("Callable[[Any], Buffer]", self.sub_dumper.dump)  # of what is not None it is something
        is_text = type(obj[0]) is str
        joined = bytes(dump('","'.join(obj))) if is_text else b'","'.join(map(dump, obj))
        joined = joined.replace(b"\\", b"\\\\")
        if joined.count(b'"') > 2 * (len(obj) - 1):  # an item holds a quote itself
            return super().dump(obj)
        return b'{"' + joined + b'"}'


TROUBLES = (psycopg.Error, OSError, StoreFault)
"""What work with the store may raise."""


SESSION: LiteralString = (
    "set time zone 'UTC'; set datestyle to iso; set intervalstyle to postgres;"
    " set default_transaction_isolation to 'read committed'"
)
"""What holds for a session, whatever the server, the role or the shell says: a day begins when it begins for everybody,
the driver reads no other spelling of times, and whoever got a lock sees what its last holder wrote."""


LINE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""A silent line is given up within a minute, unless the address says otherwise: the system waits for hours."""


def connect(url: str, name: str) -> Store:
    """In autocommit: every piece of work opens its own transaction. StoreGone where no server answers."""
    try:
        told = {**LINE, **conninfo_to_dict(url)}
        store = Store.connect(**told, autocommit=True, application_name=name, connect_timeout=10)
        store.execute(SESSION)
    except psycopg.OperationalError as error:
        raise StoreGone(at_the_door(error)) from None
    store.adapters.register_dumper(list, Items)
    return store


KEPT_SECONDS = 60.0
"""Unused for longer a connection is not trusted: what stands between two machines forgets it, and tells neither."""
_idle: dict[tuple[str, int], tuple[float, Store]] = {}
"""By address and process (a forked one must not speak over its parent's connection): since when it is idle."""


@contextmanager
def kept(url: str, name: str) -> Iterator[Store]:
    """`connect` for pieces of work that come again and again: the last one's connection is kept for the next. To open
    one takes four milliseconds, and until it knows our tables as long again as charting an event. A piece of work that
    fails leaves none behind."""
    place = url, os.getpid()
    since, store = _idle.pop(place, (0.0, None))
    if store is not None and not (time.monotonic() - since < KEPT_SECONDS and _begins_anew(store, name)):
        store.close()
        store = None
    store = store or connect(url, name)
    try:
        yield store
    except BaseException:
        with store:  # it is closed, and tells no value
            raise
    is_clean = store.info.transaction_status == TransactionStatus.IDLE
    if not is_clean or _idle.setdefault(place, (time.monotonic(), store))[1] is not store:
        store.close()


@atexit.register
def _close_kept() -> None:
    for (_, process), (_, store) in _idle.items():
        if process == os.getpid():
            store.close()


def _begins_anew(store: Store, name: str) -> bool:
    """As a new connection would: nothing locked, all settings as they were. False where it is gone."""
    said = sql.SQL("select pg_advisory_unlock_all(); reset all; set application_name = {};").format(sql.Literal(name))
    try:
        store.execute(said + sql.SQL(SESSION))
    except psycopg.Error:
        return False
    return True
