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
    there: Counter[str] = field(default_factory=Counter, repr=False)
    """By type how many of ours are there."""

    @property
    def holds(self) -> bool:
        return self.missing + self.different + self.doubled + self.extra == 0

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
    for planned, remote, marked, heard, sent in _patients(connection, cipher, target):
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
            else:
                found.different += 1
        # A server that takes our ids cannot hold one twice; of a patient it still could hold a stranger's copy.
        keys = [k for k in written.keys() - marked if k.startswith("Patient/") or not ehr.capability.takes_our_ids]
        found.doubled += sum(count > 1 for _, count in count_by_identifier(ehr, keys))
        progress(found)
    return found


def _patients(connection, cipher: Cipher, target: str) -> Iterator[tuple[dict, dict, set, dict, dict]]:
    """For some patients at a time: what is planned, what the target calls it, conflicts, others' versions that the
    ledger heard of, what was last delivered."""
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        copies = connection.execute(
            "select patient_id::text, planned, remote, conflicts, heard from ops.copies"
            " where target = %s and patient_id > %s order by patient_id limit %s",
            (target, last, PATIENTS_AT_A_TIME),
        ).fetchall()
        if not copies:
            return
        last = copies[-1][0]
        sent: dict[str, Any] = {}
        for write_id, kid, body in connection.execute(
            "select w.write_id, b.kid, b.body from ops.writes w join phi.write_bodies b using (write_id)"
            " where w.target = %s and w.patient_id = any(%s::uuid[]) and w.status = 'delivered' order by w.n",
            (target, [row[0] for row in copies]),
        ):
            sent |= keys_of(orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}")))
        planned = {key: digest for _, hashes, *_ in copies for key, digest in hashes.items()}
        remote = {key: ids for _, _, ids_by_key, *_ in copies for key, ids in ids_by_key.items()}
        heard = {key: mark["version"] for row in copies for key, mark in row[4].items()}
        yield planned, remote, {key for row in copies for key in row[3]}, heard, sent
