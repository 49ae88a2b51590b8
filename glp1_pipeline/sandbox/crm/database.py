"""The sandbox CRM's own database: contacts, what each property was before, and who must still hear of a change.

Here: SQLite in one file. Not here: HTTP (`server`), sending (`hooks`), searches (`filters`).
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .filters import Filter, Refused, column_of, folded, term_of

UNIQUE = ("email", "glp1_patient_id")
"""Properties of which no two contacts may have the same."""
LONGEST_SEARCH = 10_000
"""A search shows no more than so many contacts, however it is paged; as HubSpot's."""
SCHEMA = """
create table if not exists contacts (
  id integer primary key autoincrement, version integer not null, created_ms integer not null,
  modified_ms integer not null, archived_ms integer, properties text not null);
create index if not exists contacts_modified on contacts (modified_ms, id);
create table if not exists unique_values (
  property text not null, value text not null, contact_id integer not null, primary key (property, value));
create table if not exists history (
  contact_id integer not null, version integer not null, at_ms integer not null, property text not null,
  value text not null, source text not null, primary key (contact_id, property, version));
create table if not exists notices (
  seq integer primary key autoincrement, contact_id integer not null, kind text not null, at_ms integer not null,
  tries integer not null default 0, next_ms integer not null);
"""


@dataclass(frozen=True, slots=True)
class Contact:
    contact_id: int
    version: int
    created_ms: int
    modified_ms: int
    archived_ms: int | None
    properties: dict[str, str]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """All contacts of one sandbox. Threads share it: one at a time is let in."""

    def __init__(self, path: Path, clock: Callable[[], int] = now_ms, longest_search: int = LONGEST_SEARCH) -> None:
        self._clock, self.longest_search = clock, longest_search
        self._guard = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for statement in ("pragma journal_mode = wal", "pragma synchronous = full"):
            self._connection.execute(statement)
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._guard:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    # ---- reading

    def find(self, key: str, id_property: str | None = None, is_archived: bool = False) -> Contact | None:
        with self.transaction() as connection:
            if id_property is None:
                wanted = int(key) if key.isascii() and key.isdigit() and len(key) < 18 else -1
            elif id_property not in UNIQUE:
                raise Refused(400, "VALIDATION_ERROR", f"{id_property} is not a unique property")
            else:
                row = connection.execute(
                    "select contact_id from unique_values where property = ? and value = ?",
                    (id_property, folded(id_property, key)),
                ).fetchone()
                wanted = row[0] if row else -1
            row = connection.execute("select * from contacts where id = ?", (wanted,)).fetchone()
        found = _contact(row) if row else None
        return found if found and (found.archived_ms is not None) == is_archived else None

    def page(self, after: int, limit: int, is_archived: bool = False, like: str = "") -> list[Contact]:
        """Contacts in the order of their ids, after one of them; with `like` those of whom a property contains it."""
        condition = "is not null" if is_archived else "is null"
        with self.transaction() as connection:
            rows = connection.execute(
                f"select * from contacts where id > ? and archived_ms {condition} and (? = '' or exists"  # noqa: S608
                " (select 1 from json_each(properties) where instr(lower(value), lower(?)) > 0)) order by id limit ?",
                (after, like, like, limit),
            ).fetchall()
        return [_contact(row) for row in rows]

    def search(
        self, groups: Sequence[Sequence[Filter]], sorts: Sequence[tuple[str, bool]], after: int, limit: int
    ) -> tuple[int, list[Contact]]:
        """How many match, and those from `after` on. Filters of a group all hold, of the groups one must.
        A sort is a property and whether it descends."""
        if after + limit > self.longest_search:
            raise Refused(400, "VALIDATION_ERROR", f"a search shows no more than {self.longest_search} contacts")
        where, values = ["archived_ms is null"], list[Any]()
        ways = []
        for group in groups:
            terms = []
            for one in group:
                term, told = term_of(one)
                terms.append(term)
                values += told
            ways.append("(" + " and ".join(terms or ["true"]) + ")")
        if ways:
            where.append("(" + " or ".join(ways) + ")")
        order, paths = [], list[Any]()
        for name, is_down in sorts:
            column, told = column_of(name)
            order.append(column + (" desc" if is_down else ""))
            paths += told
        condition = " and ".join(where)
        with self.transaction() as connection:
            total = connection.execute(f"select count(*) from contacts where {condition}", values).fetchone()[0]  # noqa: S608
            rows = connection.execute(
                f"select * from contacts where {condition} order by {', '.join([*order, 'id'])} limit ? offset ?",  # noqa: S608
                [*values, *paths, limit, after],
            ).fetchall()
        return total, [_contact(row) for row in rows]

    def history(self, contact_id: int, properties: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """What each property was, the newest first."""
        said: dict[str, list[dict[str, Any]]] = {name: [] for name in properties}
        with self.transaction() as connection:
            for row in connection.execute(
                "select property, value, at_ms, source from history where contact_id = ? order by version desc",
                (contact_id,),
            ):
                if row["property"] in said:
                    said[row["property"]].append(dict(row))
        return said

    # ---- writing

    def create(self, properties: Mapping[str, str], source: str) -> Contact:
        with self.transaction() as connection:
            now = self._clock()
            row = connection.execute(
                "insert into contacts (version, created_ms, modified_ms, properties) values (0, ?, ?, '{}')"
                " returning *",
                (now, now),
            ).fetchone()
            return self._write(_contact(row), properties, source, "contact.creation")

    def update(self, contact: Contact, properties: Mapping[str, str], source: str, version: str | None) -> Contact:
        """Change some properties; `version`: only if it is still this one. An empty text takes a property away."""
        with self.transaction():
            now = self.find(str(contact.contact_id))
            if now is None:
                raise Refused(404, "OBJECT_NOT_FOUND", "the contact is gone")
            if version is not None and version != str(now.version):
                raise Refused(412, "PRECONDITION_FAILED", "the contact has another version")
            return self._write(now, properties, source, "contact.propertyChange")

    def archive(self, contact: Contact) -> None:
        with self.transaction() as connection:
            now = self._clock()
            connection.execute(
                "update contacts set archived_ms = ?, modified_ms = ?, version = version + 1 where id = ?",
                (now, now, contact.contact_id),
            )
            connection.execute("delete from unique_values where contact_id = ?", (contact.contact_id,))
            self._notice(contact.contact_id, "contact.deletion", now)

    def _write(self, before: Contact, given: Mapping[str, str], source: str, kind: str) -> Contact:
        changed = {name: value for name, value in given.items() if before.properties.get(name, "") != value}
        if not changed and before.version:
            return before
        connection, now = self._connection, self._clock()
        for name in UNIQUE:
            if name not in changed:
                continue
            connection.execute(
                "delete from unique_values where property = ? and contact_id = ?", (name, before.contact_id)
            )
            if not changed[name]:
                continue
            try:
                connection.execute(
                    "insert into unique_values values (?, ?, ?)",
                    (name, folded(name, changed[name]), before.contact_id),
                )
            except sqlite3.IntegrityError:
                owner = self.find(changed[name], name)
                raise Refused(
                    409, "CONFLICT", f"Contact already exists. Existing ID: {owner.contact_id if owner else ''}"
                ) from None
        properties = {name: value for name, value in {**before.properties, **changed}.items() if value}
        row = connection.execute(
            "update contacts set version = version + 1, modified_ms = ?, properties = ? where id = ? returning *",
            (max(now, before.modified_ms), json.dumps(properties), before.contact_id),
        ).fetchone()
        after = _contact(row)
        connection.executemany(
            "insert into history values (?, ?, ?, ?, ?, ?)",
            [(after.contact_id, after.version, now, name, value, source) for name, value in changed.items()],
        )
        self._notice(after.contact_id, kind, now)
        return after

    # ---- notices: what a webhook must still tell

    def _notice(self, contact_id: int, kind: str, now: int) -> None:
        self._connection.execute(
            "insert into notices (contact_id, kind, at_ms, next_ms) values (?, ?, ?, ?)", (contact_id, kind, now, now)
        )

    def due_notices(self) -> list[dict[str, Any]]:
        with self.transaction() as connection:
            return [
                dict(row)
                for row in connection.execute(
                    "select seq, contact_id, kind, at_ms, tries from notices where next_ms <= ? order by seq limit 100",
                    (now_ms(),),
                )
            ]

    def told(self, notices: Sequence[int], was_heard: bool) -> None:
        """Forget notices that were heard; the others are due again, ever later."""
        statement = "delete from notices where seq = ?"
        if not was_heard:
            statement = (
                "update notices set tries = tries + 1, next_ms = ? + min(60000, 250 << min(tries, 12)) where seq = ?"
            )
        with self.transaction() as connection:
            connection.executemany(statement, [(seq,) if was_heard else (now_ms(), seq) for seq in notices])


def _contact(row: sqlite3.Row) -> Contact:
    return Contact(
        row["id"], row["version"], row["created_ms"], row["modified_ms"], row["archived_ms"],
        json.loads(row["properties"]),
    )  # fmt: skip
