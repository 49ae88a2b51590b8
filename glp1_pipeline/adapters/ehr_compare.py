"""What the EHR itself holds, read back and compared with what we believe we wrote, resource by resource.

Here: comparing. Not here: our own ledger's balance (`balance`), and mending (`outbox`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import psycopg

from ..domain.outbox import is_same, is_theirs_too, keys_of
from .cipher import Cipher
from .ehr import Ehr, count_by_identifier, read_back

PATIENTS_AT_A_TIME = 100


@dataclass
class Compared:
    """Counts of resources."""

    resources: int = 0
    """That we were told were written."""
    equal: int = 0
    missing: int = 0
    different: int = 0
    """Changed there by someone whom we did not hear yet, or not what we sent."""
    edited_there: int = 0
    """Known to be changed there by someone: left to them (`glp1 conflicts`), kept beside what we said since, or heard
    and in the ledger, with nothing of ours to be said since."""
    doubled: int = 0
    """There more than once under our identifier."""
    extra: int = 0
    """There under an identifier of ours, and nobody here put them there (`ehr_unknown.extra_there`, if asked)."""
    not_sent_yet: int = 0
    """Or sent, and we were not told yet that it is there."""
    there: Counter[str] = field(default_factory=Counter, repr=False)
    """By type how many of ours are there."""

    @property
    def holds(self) -> bool:
        return self.missing + self.different + self.doubled + self.extra == 0

    def add(self, part: Compared) -> None:
        for name, more in vars(part).items():
            setattr(self, name, getattr(self, name) + more)

    def as_dict(self) -> dict[str, Any]:
        told = asdict(self) | {"holds": self.holds}
        del told["there"]
        return told


def compare(
    connection: psycopg.Connection,
    ehr: Ehr,
    cipher: Cipher,
    target: str = "ehr",
    progress: Callable[[Compared], None] = lambda _: None,
) -> Compared:
    """Read every resource of ours back. Memory is flat: some patients at a time; `progress` hears after each."""
    found = Compared()
    for patients in _some_at_a_time(connection, target):
        part = _compare_some(connection, ehr, cipher, target, patients)
        if not part.holds:  # a write may have landed, or been told of, between our own rows and the EHR's
            part = _compare_some(connection, ehr, cipher, target, patients)
        found.add(part)
        progress(found)
    return found


def _compare_some(connection, ehr: Ehr, cipher: Cipher, target: str, patients: list[str]) -> Compared:
    found = Compared()
    copies = connection.execute(
        "select planned, remote, conflicts, heard from ops.copies where target = %s and patient_id = any(%s::uuid[])",
        (target, patients),
    ).fetchall()
    sent, doubted = (_written(connection, cipher, target, patients, status) for status in ("delivered", "in_doubt"))
    planned = {key for hashes, *_ in copies for key in hashes}
    remote = {key: ids for _, ids_by_key, *_ in copies for key, ids in ids_by_key.items()}
    marked = {key for *_, conflicts, _ in copies for key in conflicts}
    heard = {key: mark["version"] for *_, by_key in copies for key, mark in by_key.items()}
    found.not_sent_yet += sum(key not in remote for key in planned)
    written = {key: remote[key] for key in sent if key in remote}
    found.resources += len(written)
    back = {f"{key.partition('/')[0]}/{ids[0]}": key for key, ids in remote.items()}
    for there in read_back(ehr, written):
        found.there[there.key.partition("/")[0]] += there.exists
        if there.exists and is_same(sent[there.key], there.content, back):
            found.equal += 1
        elif there.key in marked or (
            there.exists and (is_theirs_too(written[there.key]) or heard.get(there.key) == there.version)
        ):
            found.edited_there += 1
        elif not there.exists:
            found.missing += 1
        elif there.key in doubted and is_same(doubted[there.key], there.content, back):
            found.not_sent_yet += 1
        else:
            found.different += 1
    # A server that takes our ids cannot hold one twice; of a patient it still could hold a stranger's copy.
    keys = [k for k in written.keys() - marked if k.startswith("Patient/") or not ehr.capability.takes_our_ids]
    found.doubled += sum(count > 1 for _, count in count_by_identifier(ehr, keys))
    return found


def _some_at_a_time(connection, target: str) -> Iterator[list[str]]:
    last = "00000000-0000-0000-0000-000000000000"
    while rows := connection.execute(
        "select patient_id::text from ops.copies where target = %s and patient_id > %s order by patient_id limit %s",
        (target, last, PATIENTS_AT_A_TIME),
    ).fetchall():
        yield [patient_id for (patient_id,) in rows]
        last = rows[-1][0]


def _written(connection, cipher: Cipher, target: str, patients: list[str], status: str) -> dict[str, Any]:
    """By resource what the last write of these patients with this status says."""
    said: dict[str, Any] = {}
    for write_id, kid, body in connection.execute(
        "select w.write_id, b.kid, b.body from ops.writes w join phi.write_bodies b using (write_id)"
        " where w.target = %s and w.patient_id = any(%s::uuid[]) and w.status = %s order by w.n",
        (target, patients, status),
    ):
        said |= keys_of(orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}")))
    return said
