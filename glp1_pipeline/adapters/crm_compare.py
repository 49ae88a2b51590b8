"""What the CRM itself holds, read back and compared with what we believe we told it, contact by contact.

Here: comparing. Not here: the EHR (`ehr_compare`), our own ledger's balance (`balance`), and mending (`outbox`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson
import psycopg

from ..domain.changes.crm import is_kept
from ..domain.contract import CRM, Contract
from ..domain.crm import COPY, KEY, Contact, is_known
from ..domain.events.shapes import as_record
from .cipher import Cipher
from .crm import Crm
from .crm.cursor import BEGINNING

CONTACTS_AT_A_TIME = 100


@dataclass
class ComparedContacts:
    """Counts of contacts."""

    contacts: int = 0
    """That we were told were written."""
    equal: int = 0
    """Says all that it was told, in the CRM's own letters and marks perhaps (a phone with brackets)."""
    missing: int = 0
    different: int = 0
    """Not what we told it, though it is the version that we left."""
    edited_there: int = 0
    """Changed there since by somebody, who was or will be heard; or in conflict (`glp1 crm conflicts`)."""
    unknown: int = 0
    """Contacts that carry an id of a patient of ours, and that we do not know of."""
    not_sent_yet: int = 0

    @property
    def holds(self) -> bool:
        return self.missing + self.different + self.unknown == 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


class _Told(NamedTuple):
    """One contact as we know it."""

    place: list[str]
    is_marked: bool
    properties: dict[str, str]
    """As they were delivered last."""


def compare_contacts(
    connection: psycopg.Connection,
    crm: Crm,
    contract: Contract,
    cipher: Cipher,
    progress: Callable[[ComparedContacts], None] = lambda _: None,
) -> ComparedContacts:
    """List the CRM once, a page at a time; what is not listed is asked for by its id. Raises CallFailure."""
    found, seen = ComparedContacts(), set[str]()
    names = {KEY, *(name for name, declared in contract.crm.items() if declared.flows != "in")}
    for page in crm.changed_since(BEGINNING, names):
        fresh = [(as_record(one.properties.get(KEY)), one) for one in page if one.contact_id not in seen]
        ours = [(patient_id, one) for patient_id, one in fresh if patient_id]
        known = _told(connection, cipher, [patient_id for patient_id, _ in ours])
        for patient_id, one in ours:
            told = known.get(patient_id)
            if told is not None and told.place[0] == one.contact_id:
                _judge(contract, found, told, one)
            else:
                found.unknown += told is None and not _is_on_its_way(connection, patient_id)
        seen |= {one.contact_id for _, one in ours}
        progress(found)
    for patients in _patients(connection, found):
        for told in _told(connection, cipher, patients).values():
            if told.place[0] not in seen:
                _judge(contract, found, told, crm.get(told.place[0], names))
        progress(found)
    return found


def _judge(contract: Contract, found: ComparedContacts, told: _Told, there: Contact | None) -> None:
    found.contacts += 1
    if there is not None and not there.is_archived and _says(contract, told, there):
        found.equal += 1
    elif told.is_marked or (there is not None and not is_known(there.stamp, told.place[1])):
        found.edited_there += 1
    elif there is None or there.is_archived:
        found.missing += 1
    else:
        found.different += 1


def _says(contract: Contract, told: _Told, there: Contact) -> bool:
    """All that it was told, in whichever form the CRM keeps it."""
    said = there.properties
    return all(is_kept(contract, name, value, said.get(name, "")) for name, value in told.properties.items())


def _told(connection, cipher: Cipher, patients: Collection[str]) -> dict[str, _Told]:
    """By our id of the patient; who has no contact there that we know of is not in it."""
    rows = connection.execute(
        "select c.patient_id::text, c.remote -> %(copy)s, c.conflicts ? %(copy)s, w.write_id, b.kid, b.body"
        " from ops.copies c cross join lateral (select write_id from ops.writes w where w.target = c.target"
        "  and w.patient_id = c.patient_id and w.status = 'delivered' order by w.n desc limit 1) w"
        " join phi.write_bodies b using (write_id)"
        " where c.target = %(target)s and c.patient_id = any(%(patients)s::uuid[]) and c.remote ? %(copy)s",
        {"copy": COPY, "target": CRM, "patients": list(patients)},
    ).fetchall()
    found = {}
    for patient_id, place, is_marked, write_id, kid, body in rows:
        said = orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}"))[COPY]
        found[patient_id] = _Told(place, is_marked, {**said["properties"], KEY: said["key"]})
    return found


def _is_on_its_way(connection, patient_id: str) -> bool:
    """A contact may be there before we know of it."""
    row = connection.execute(
        "select exists (select from ops.writes where target = %s and patient_id = %s"
        " and status in ('ready', 'in_doubt', 'dead'))",
        (CRM, patient_id),
    ).fetchone()
    return row == (True,)


def _patients(connection, found: ComparedContacts) -> Iterator[list[str]]:
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        rows = connection.execute(
            "select patient_id::text, remote ? %s from ops.copies where target = %s and patient_id > %s"
            " order by patient_id limit %s",
            (COPY, CRM, last, CONTACTS_AT_A_TIME),
        ).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        found.not_sent_yet += sum(not is_there for _, is_there in rows)
        yield [patient_id for patient_id, is_there in rows if is_there]
