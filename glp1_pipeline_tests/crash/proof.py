"""What must hold: between any two transactions, at the end of a run, and between our ledger and the CRM.

Each fault is a sentence with counts. Not here: the EHR read back resource by resource (`adapters.ehr_compare`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import orjson
import psycopg

from glp1_pipeline.adapters.archive import open_archived
from glp1_pipeline.adapters.balance import balance
from glp1_pipeline.adapters.cipher import Cipher
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM
from glp1_pipeline.sandbox.drills.proof import compare_contacts
from glp1_pipeline_tests.crash.road import LANGUAGE, MOBILE, WEDDED, Round, Run, World
from glp1_pipeline_tests.crm_process import TOKEN
from glp1_pipeline_tests.small_road import SmallRoad

EVENTS = {
    "intake.submitted": 5, "intake.amended": 1, "chart.updated": 2, "patient.merged": 1, "patient.unmerged": 1,
    "medication.ordered": 1, "medication.dispensed": 1, "followup.completed": 1, "refill.requested": 1,
    "followup.requested": 1, "refill.window_opened": 1, "refill.input_expired": 1,
    "followup.missed": 1,
}  # fmt: skip
"""What a round is in the end, but for the edit in the CRM; beside it one line was cut off, and one came twice."""

DECIDED = [("wait_until", "too_early"), ("provider_queue", "complete"), ("not_eligible", "followup_missing")]


def faults_at_any_moment(_: World, connection: psycopg.Connection) -> Iterator[str]:
    """What must hold right after a kill, before anybody works again: a merge is done or not begun."""
    yield from balance(connection).faults
    rows = connection.execute(
        "select count(*) from ops.patient_links l where l.record_id <> l.patient_id and (exists"
        " (select from phi.charts c where c.patient_id = l.record_id) or exists"
        " (select from ops.provider_queue q where q.patient_id = l.record_id and left_at is null) or not exists"
        " (select from phi.charts c where c.patient_id = l.patient_id))"
    ).fetchone()
    if rows != (0,):
        yield f"{rows} merges are half done"
    rows = connection.execute(
        "select count(*) from (select record_id from phi.patient_values group by 1) v left join ops.patient_links l"
        " using (record_id) where not exists (select from ops.gate_results g where g.patient_id ="
        " coalesce(l.patient_id, v.record_id))"
    ).fetchone()
    if rows != (0,):
        yield f"{rows} records are of a patient who stands at no gate"


def faults_at_the_end(
    world: World, connection: psycopg.Connection, round_: Round, most: dict[str, int], deaths: int
) -> Iterator[str]:
    """`most`: the writes of a run that nobody killed, by target; a kill may bring some together and make none more."""
    road = world.road(connection)
    yield from faults_at_any_moment(world, connection)
    yield from _faults_of_ledger(world, road, round_, deaths)
    yield from _faults_of_charts(road, round_)
    yield from _faults_of_refills(road)
    yield from _faults_of_delivery(world, road, most)


def _faults_of_ledger(world: World, road: SmallRoad, round_: Round, deaths: int) -> Iterator[str]:
    charted = dict(road.rows("select type, count(*) from phi.events where status = 'charted' group by 1"))
    edits = charted.pop("contact.updated", 0)
    if charted != EVENTS:
        yield f"events are {charted} and must be {EVENTS}"
    # What somebody said in a contact is told with the state that our next write made of it, where we were killed before
    # we knew that the write was ours: the same words of the same person, and no second edit.
    if not 1 <= edits <= 1 + deaths or len(_said_in_crm(road)) != 1:
        yield f"one edit in the CRM is {edits} events"
    if road.events() != {"charted": sum(charted.values()) + edits, "rejected:malformed_json": 1}:
        yield f"events are {road.events()}"
    left = [entry.name for entry in (world.folder / "landing").iterdir()]
    refused = [name for name in left if name.startswith(".refused-")]
    if len(refused) != 1 or road.one("select count(*) from ops.drops where state = 'refused'") != 1:
        yield f"the drop that is no file is hidden {len(refused)} times, or not counted once"
    if left := [name for name in left if name not in refused]:
        yield f"{len(left)} files are still in the landing zone"
    kept = sorted(open_archived(road.cipher, p).read() for p in (world.folder / "archive").glob("*.sealed"))
    if kept != sorted(round_.drops.values()):
        yield f"{len(kept)} archived drops, not the three that came"
    if any((world.folder / "archive").glob("*.tmp")) and not kept:
        yield "the archive holds unfinished files alone"


def _said_in_crm(road: SmallRoad) -> set[str]:
    found = road.rows("select event_id, kid, body from phi.events where type = 'contact.updated'")
    told = [orjson.loads(road.cipher.open(kid, bytes(body), f"events|{i}"))["data"] for i, kid, body in found]
    return {str((data["properties"], data["record_id"], data["actor"])) for data in told}


def _faults_of_charts(road: SmallRoad, round_: Round) -> Iterator[str]:
    queued = road.rows(
        "select i.value from ops.provider_queue q join phi.identifiers i on i.record_id = q.patient_id"
        " where left_at is null and i.value like 'crash-%%'"
    )
    if sorted(s for (s,) in queued) != sorted(round_.subjects[:4]):
        yield f"{len(queued)} patients are in the queue, not each of the four once"
    if road.one("select count(*) from ops.patient_links where record_id <> patient_id"):
        yield "a merge that was undone is still there"
    for subject, field, wanted in ((1, "demo.mobile", MOBILE), (1, "demo.language", LANGUAGE)):
        said = road.rows(
            "select v.value ->> 'value' from phi.chart_values v join phi.identifiers i on i.record_id = v.patient_id"
            " where i.value = %s and v.field = %s and not v.is_finding",
            round_.subjects[subject],
            field,
        )
        if said != [(wanted,)]:
            yield f"what was changed elsewhere is not in the chart: {field}"


def _faults_of_refills(road: SmallRoad) -> Iterator[str]:
    """It was too early, waited for a provider, and rests on a check-in that is too old: each decided once."""
    stands = road.rows("select status, outcome, decided_by, decisions from ops.refills")
    if stands != [("open", "not_eligible", "followup_missing", 3)]:
        yield f"refills stand as {stands}"
    decided = road.rows("select outcome, decided_by from phi.refill_decisions order by as_of")
    if decided != DECIDED:
        yield f"a refill was decided {decided}"
    if road.rows("select status, was_missed from ops.follow_ups") != [("missed", False)]:
        yield "the check-in that was answered, and is too old by now, is not asked for again once"
    if road.one("select count(*) from ops.clocks"):
        yield "a clock that rang for the last time is still set"


def _faults_of_delivery(world: World, road: SmallRoad, most: dict[str, int]) -> Iterator[str]:
    statuses = dict(road.rows("select status, count(*) from ops.writes group by 1"))
    if statuses.keys() != {"delivered"}:
        yield f"writes are {statuses}"
    made = writes(road)
    if most and any(made[target] > most.get(target, 0) for target in made):
        yield f"{made} writes, and without a kill {most}"
    if road.one("select count(*) from ops.copies where conflicts <> '{}'"):
        yield "something is in conflict"
    if road.one(
        "select count(*) from (select count(*), max(n) from ops.writes group by target, patient_id) w where count <> max"
    ):
        yield "a patient's writes are not numbered one after another"
    run = Run(world, road, "glp1 proof")
    there = compare(road.connection, run.ehr, road.cipher)
    if not there.holds or there.not_sent_yet or there.edited_there != 1 or not there.resources:
        yield f"the EHR read back: {there.as_dict()}"
    if run.edited_there().get("maritalStatus") != WEDDED:
        yield "what the EHR alone knows of a patient was written over"
    pairs = road.rows("select patient_id, n from ops.writes where target = %s", EHR)
    proofs = [f"Provenance?_summary=count&_tag={WRITE_SYSTEM}|{patient}.{n}" for patient, n in pairs]
    totals = Counter(entry["resource"]["total"] for entry in run.ehr.batch_get(proofs))
    if totals != {1: len(pairs)}:
        yield f"writes are told of so often in the EHR: {dict(totals)}"
    yield from crm_faults(road.connection, road.cipher, world.crm.url, TOKEN)
    if news := run.listen():
        yield f"{news} changes were heard again, or are an echo of ours"
    run.close()


def writes(road: SmallRoad) -> dict[str, int]:
    return dict(road.rows("select target, count(*) from ops.writes group by 1"))


def crm_faults(connection: psycopg.Connection, cipher: Cipher, crm_url: str, token: str) -> Iterator[str]:
    """Each patient who was told to the CRM is one contact there, which says what we told last."""
    found = compare_contacts(connection, cipher, crm_url, token)
    if found["doubled"]:
        yield f"{found['doubled']} patients or addresses are more than one contact in the CRM"
    if found["missing"] or found["different"]:
        yield (
            f"of {found['contacts']} contacts in the CRM {found['missing']} are missing and {found['different']} differ"
            " from what we told"
        )
    if found["strangers"]:
        yield f"{found['strangers']} contacts in the CRM carry our key, and we know nothing of them"
