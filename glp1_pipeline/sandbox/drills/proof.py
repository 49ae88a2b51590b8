"""What is lost and what is doubled: our ledger, the EHR and the CRM, read back and held against what was fed.

Not here: how it came to that. All is counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, LiteralString

import orjson
import psycopg
import requests

from glp1_pipeline.adapters.balance import balance
from glp1_pipeline.adapters.cipher import Cipher
from glp1_pipeline.adapters.ehr import Ehr
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.domain.crm import COPY, KEY, difference
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM

CONTACTS = "/crm/v3/objects/contacts"
Identity = tuple[str, str]
"""Source and id of an event, as it was sent."""


@dataclass
class Proof:
    """Each line: what, and how many."""

    lost: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """How much was looked at."""

    @property
    def n_lost(self) -> int:
        return sum(self.lost.values())

    @property
    def n_doubled(self) -> int:
        return sum(self.doubled.values())


def prove(
    connection: psycopg.Connection,
    ehr: Ehr,
    crm: tuple[str, str],
    cipher: Cipher,
    charted: Iterable[Identity],
    n_lines: int,
) -> Proof:
    """`charted`: the events that must be in a chart in the end. `n_lines`: all lines that were dropped. `crm`: address
    and token."""
    proof = Proof()
    _ledger(connection, set(charted), n_lines, proof)
    there = compare(connection, ehr, cipher)
    proof.lost |= {
        "resources missing in the EHR": there.missing,
        "resources different in the EHR": there.different,
        "resources never sent to the EHR": there.not_sent_yet,
    }
    proof.doubled |= {
        "resources doubled in the EHR": there.doubled,
        "changes told twice in the EHR": _told(connection, ehr),
    }
    contacts = compare_contacts(connection, cipher, *crm)
    proof.lost["contacts missing in the CRM"] = contacts["missing"]
    proof.lost["contacts different in the CRM"] = contacts["different"]
    proof.doubled["contacts doubled in the CRM"] = contacts["doubled"] + contacts["strangers"]
    proof.counts |= {"resources in the EHR": there.resources, "contacts in the CRM": contacts["contacts"]}
    proof.counts["resources edited there and left"] = there.edited_there
    return proof


def _ledger(connection: psycopg.Connection, charted: set[Identity], n_lines: int, proof: Proof) -> None:
    def one(statement: LiteralString) -> int:
        row = connection.execute(statement).fetchone()
        return int(row[0]) if row else 0

    in_charts = connection.execute("select source, source_id from phi.events where status = 'charted'").fetchall()
    counted = lines_of_files(connection)
    found = balance(connection)
    proof.lost |= {
        "events not in a chart": len(charted - {(str(a), str(b)) for a, b in in_charts}),
        "lines that nobody counted": max(0, n_lines - counted),
        "changes not delivered": one("select count(*) from ops.writes where status <> 'delivered'"),
        "equations of the ledger": len(found.faults),
    }
    proof.doubled |= {
        "events": len(in_charts) - len(set(in_charts)),
        "lines counted twice": max(0, counted - n_lines),
        "records of one account": one(
            "select count(*) from (select from phi.identifiers where system like 'intake-account:%'"
            " group by system, value having count(distinct record_id) > 1) as twice"
        ),
    }
    proof.counts |= {"lines": counted, "events charted": found.charted, "events rejected": found.rejected}


def lines_of_files(connection: psycopg.Connection) -> int:
    """Counted by the ledger of what was dropped: events of its own making are a drop too, whose id is a random one."""
    row = connection.execute(
        "select coalesce(sum(lines), 0)::int from ops.drops where substr(drop_id::text, 15, 1) = '5'"
    ).fetchone()
    return row[0] if row else 0


def _told(connection: psycopg.Connection, ehr: Ehr) -> int:
    """How many writes have more than one Provenance in the EHR."""
    pairs = connection.execute("select patient_id, n from ops.writes where target = 'ehr'").fetchall()
    asked = [f"Provenance?_summary=count&_tag={WRITE_SYSTEM}|{patient}.{n}" for patient, n in pairs]
    totals = [(entry.get("resource") or {}).get("total", 0) for entry in ehr.batch_get(asked)] if asked else []
    return sum(total > 1 for total in totals)


def compare_contacts(connection: psycopg.Connection, cipher: Cipher, crm_url: str, token: str) -> dict[str, int]:
    """Each patient who was told to the CRM is one contact there, which says what we told last.

    contacts: of ours; missing, different: of these; doubled: patients or addresses that are more than one contact;
    strangers: contacts with our key that we know nothing of.
    """
    contacts = list(_contacts(crm_url, token))
    by_key = Counter(contact["properties"][KEY] for contact in contacts if contact["properties"].get(KEY))
    emails = Counter(e.lower() for contact in contacts if (e := contact["properties"].get("email")))
    there = {contact["id"]: contact["properties"] for contact in contacts}
    copies = connection.execute(
        "select c.patient_id::text, c.remote -> %s ->> 0, w.write_id, b.kid, b.body from ops.copies c join lateral"
        " (select * from ops.writes w where w.target = c.target and w.patient_id = c.patient_id"
        " and w.status = 'delivered' order by n desc limit 1) w on true join phi.write_bodies b using (write_id)"
        " where c.target = 'crm' and c.conflicts = '{}'",
        (COPY,),
    ).fetchall()
    found = Counter[str]()
    for patient_id, contact_id, write_id, kid, body in copies:
        properties = there.get(contact_id)
        if properties is None or properties.get(KEY) != patient_id:
            found["missing"] += 1
        else:
            told = orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}"))[COPY]["properties"]
            found["different"] += bool(difference(told, properties))
    twice = sum(n > 1 for counted in (by_key, emails) for n in counted.values())
    strangers = len(by_key.keys() - {row[0] for row in copies})
    return {
        "contacts": len(copies), "missing": found["missing"], "different": found["different"], "doubled": twice,
        "strangers": strangers,
    }  # fmt: skip


def _contacts(crm_url: str, token: str) -> Iterator[dict[str, Any]]:
    names = f"{KEY},email,mobilephone,firstname,lastname,glp1_pipeline_status,glp1_followup_status,glp1_sms_opt_out"
    names += ",glp1_marketing_opt_out"
    after = ""
    while True:
        answer = requests.get(
            f"{crm_url}{CONTACTS}?limit=100&properties={names}{f'&after={after}' if after else ''}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        )
        answer.raise_for_status()
        yield from answer.json()["results"]
        after = answer.json().get("paging", {}).get("next", {}).get("after")
        if not after:
            return
