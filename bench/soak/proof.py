"""What must hold in the end: the ledger holds what was sent, once; everybody's last word stands; the EHR and the CRM hold
what we told; replays change nothing. Each fault is a sentence with counts.

Not here: waiting until everything is settled (`run`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

from glp1_pipeline.adapters import replay
from glp1_pipeline.adapters.balance import balance, fingerprint
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM
from glp1_pipeline.sandbox.drills.proof import compare_contacts
from glp1_pipeline.sandbox.drills.site import Site

from .others import Done
from .stream import Sent

Say = Callable[[str], None]
TOLD = 3_000
"""Writes of which the EHR is asked how often it was told of them: a sample."""
REPLAYS = 3


def faults(site: Site, road: Road, sent: Sent, others: Done, seed: int, say: Say) -> Iterator[str]:
    with road.connect("soak proof") as connection:
        say("the ledger, and everybody's last word")
        yield from of_ledger(connection, sent, others)
        yield from of_words(connection, sent, others)
        say("the EHR, read back")
        yield from of_ehr(site, connection, road, seed)
        say("the CRM, read back")
        found = compare_contacts(connection, road.cipher, *site.settings.crm_access())
        say(f"  {found}")
        yield from (f"{found[what]} contacts in the CRM: {what}" for what in (
            "missing", "different", "doubled", "strangers",
        ) if found[what])  # fmt: skip
        yield from of_replays(connection, road, say)


def of_ledger(connection: psycopg.Connection, sent: Sent, others: Done) -> Iterator[str]:
    found = balance(connection)
    yield from found.faults
    if found.waiting or found.dead:
        yield f"{found.waiting} events wait and {found.dead} are dead"
    rows = connection.execute(
        "select coalesce(type, ''), status, coalesce(reason, ''), count(*) from phi.events group by 1, 2, 3"
    ).fetchall()
    charted = {kind: n for kind, status, _, n in rows if status == "charted"}
    rejected = Counter({reason: n for _, status, reason, n in rows if status == "rejected"})
    wanted = {"intake.submitted": sent.kinds["submission"], "intake.amended": sent.kinds["amendment"]}
    for kind, n in wanted.items():
        if charted.get(kind, 0) != n:
            yield f"{charted.get(kind, 0)} events {kind} are charted, and {n} were sent"
    if rejected != sent.rejected:
        yield f"rejected are {dict(rejected)}, and must be {dict(sent.rejected)}"
    for name, kind in (("merge", "patient.merged"), ("unmerge", "patient.unmerged")):
        least = others.kinds[name]
        if not least <= charted.get(kind, 0) <= least + others.unknown[name]:
            yield f"{charted.get(kind, 0)} events {kind}; stewards decided {least} times, {others.unknown[name]} unsure"
    if (came := found.lines - found.duplicates) != sent.distinct + sum(
        n for kind, n in charted.items() if not kind.startswith("intake.")
    ):
        yield f"{came} different lines came, and {sent.distinct} were sent, beside what others did ({charted})"


def of_words(connection: psycopg.Connection, sent: Sent, others: Done) -> Iterator[str]:
    for field, said in (
        ("demo.language", others.languages), ("demo.mobile", others.mobiles), ("anthro.weight", sent.weights),
    ):  # fmt: skip
        there = words(connection, field, said)
        if wrong := sum(there.get(subject) != word for subject, word in said.items()):
            yield f"of {len(said)} people {wrong} have another {field} in their chart than was said last"


def of_words_left(connection: psycopg.Connection, others: Done) -> Iterator[int]:
    """How many of the others' last words are not in the charts yet."""
    for field, said in (("demo.language", others.languages), ("demo.mobile", others.mobiles)):
        there = words(connection, field, said)
        yield sum(there.get(subject) != word for subject, word in said.items())


def words(connection: psycopg.Connection, field: str, said: Mapping[str, Any]) -> dict[str, Any]:
    rows = connection.execute(
        "select i.value, v.value -> 'value' from phi.identifiers i join phi.chart_values v on v.patient_id = i.record_id"
        " where i.value = any(%s) and v.field = %s and not v.is_finding",
        ([*said], field),
    ).fetchall()
    return dict(rows)


def of_ehr(site: Site, connection: psycopg.Connection, road: Road, seed: int) -> Iterator[str]:
    ehr = Ehr(EhrSettings(site.ehr_url))
    there = compare(connection, ehr, road.cipher)
    if not there.holds or there.not_sent_yet or not there.resources:
        yield f"the EHR read back: {there.as_dict()}"
    conflicts = connection.execute(
        "select c.target, c.patient_id::text, m.key, m.value ->> 'reason', m.value ->> 'since', c.remote -> m.key ->> 1,"
        " array(select w.n || ' ' || w.status || ' ' || w.settled_at from ops.writes w where w.target = c.target"
        "  and w.patient_id = c.patient_id order by w.n desc limit 5),"
        " array(select e.source_id || ' ' || e.settled_at from phi.events e where e.record_id = c.patient_id"
        "  and e.type = 'chart.updated' order by e.settled_at desc limit 5)"
        " from ops.copies c, jsonb_each(c.conflicts) m limit 20"
    ).fetchall()
    if conflicts:
        yield f"patients are in conflict, and nobody was at odds: {[[str(one) for one in row] for row in conflicts]}"
    statuses = dict(connection.execute("select status, count(*) from ops.writes group by 1").fetchall())
    if statuses.keys() != {"delivered"}:
        yield f"writes are {statuses}"
    pairs = connection.execute(
        "select write_id, patient_id, n, last_class from ops.writes where target = %s"
        " order by hashtextextended(write_id::text, %s) limit %s",
        (EHR, random.Random(seed).getrandbits(31), TOLD),
    ).fetchall()
    odd: dict[int, int] = {}
    for start in range(0, len(pairs), 200):
        some = pairs[start : start + 200]
        asked = [f"Provenance?_summary=count&_tag={WRITE_SYSTEM}|{who}.{n}" for _, who, n, _ in some]
        totals = [(entry.get("resource") or {}).get("total", 0) for entry in ehr.batch_get(asked)]
        # Where all of a write was left to somebody who changed it meanwhile, there is nothing to tell of.
        odd |= {
            write_id: n
            for (write_id, _, _, outcome), n in zip(some, totals, strict=True)
            if n > 1 or (n == 0 and outcome == "delivered")
        }
    if odd:
        yield f"of {len(pairs)} writes the EHR was not told once of {len(odd)}: {_journeys(connection, odd)}"
    ehr.close()


def _journeys(connection: psycopg.Connection, odd: Mapping[int, int]) -> list[dict[str, Any]]:
    """What is known of these writes, in ids, names and times: how often told, and each attempt."""
    rows = connection.execute(
        "select write_id, n, resources, tries, last_class, patient_id::text, created_at, settled_at,"
        " array(select to_char(at, 'HH24:MI:SS.MS') || ' ' || outcome from ops.deliveries d"
        "  where d.write_id = w.write_id order by delivery_id),"
        " array(select distinct type from phi.events e where e.event_id = any(w.events)),"
        " exists (select from phi.match_decisions m where w.patient_id in (m.record_a, m.record_b))"
        " from ops.writes w where write_id = any(%s) order by 1 limit 20",
        ([*odd],),
    ).fetchall()
    names = (
        "write",
        "n",
        "resources",
        "tries",
        "last",
        "patient",
        "decided",
        "settled",
        "attempts",
        "events",
        "merged",
    )
    return [dict(zip(names, map(str, row), strict=True)) | {"told": odd[row[0]]} for row in rows]


def of_replays(connection: psycopg.Connection, road: Road, say: Say) -> Iterator[str]:
    before = fingerprint(connection)
    say(f"fingerprint {before['state']}")
    for n in range(REPLAYS):
        plan_id = replay.choose(connection, replay.Selection(statuses=("charted",)), road.contract.version)
        replay.approve(connection, plan_id, "bench", "a long run")
        done = replay.apply(connection, road.contract, road.cipher, plan_id)
        after = fingerprint(connection)
        say(f"fingerprint {after['state']} after replay {n + 1} of {done.done:,} events")
        if done.new_writes or done.dead or done.rejected:
            yield f"replay {n + 1} made {done.new_writes} writes, {done.dead} dead and {done.rejected} rejected"
        if changed := sorted(name for name in before if before[name] != after[name] and name != "state"):
            yield f"replay {n + 1} changed {', '.join(changed)}: {dict(done.changes)}"
        before = after
    yield from balance(connection).faults
