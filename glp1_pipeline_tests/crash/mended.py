"""What must hold after all was mended, whoever was killed: each thing done once, and the EHR as it was before the mistake.

Not here: the rest of the road (`proof`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import psycopg

from glp1_pipeline.adapters import replay, rollback
from glp1_pipeline.adapters.balance import balance
from glp1_pipeline.adapters.resealing import SEALED, count_sealed
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM
from glp1_pipeline_tests.crash.mends import AMENDMENTS, FIRST_KEY, MendWorld, Mistake
from glp1_pipeline_tests.small_road import SmallRoad

EVENTS = {"intake.submitted": 4, "intake.amended": AMENDMENTS, "patient.not_a_match": 1}
DONE_BY_HAND = "task.completed"
GIVEN_UP = "cancelled"
"""The write that was refused for what it says, and decided anew: one."""


def faults_at_any_moment(world: MendWorld, connection: psycopg.Connection) -> Iterator[str]:
    """Right after a kill: the ledger is in balance, and every body opens with the ring as it lies there."""
    yield from balance(connection).faults
    road = world.road(connection)
    for kind in SEALED:
        for key, kid, body in connection.execute(kind.words("select {key}, kid, body from {table}")):
            road.cipher.open(kid, bytes(body), f"{kind.place}|{key}")


def faults_at_the_end(
    world: MendWorld, connection: psycopg.Connection, round_: Mistake, most: dict[str, int], deaths: int
) -> Iterator[str]:
    """As in `proof`; here each thing is done once, however many died (`deaths`)."""
    road = world.road(connection)
    yield from faults_at_any_moment(world, connection)
    yield from _faults_of_ledger(road, round_)
    yield from _faults_of_plans(road)
    yield from _faults_of_ehr(world, road, round_, most)
    sealed = count_sealed(connection, world.folder / "archive")
    if set(sealed) != {road.cipher.active} or road.cipher.active == FIRST_KEY:
        yield f"sealed under {sealed}"
    if left := list((world.folder / "archive").iterdir()):
        yield f"{len(left)} old drops were not pruned"
    if road.one("select count(*) from ops.writes w where not exists (select from phi.write_bodies b where b.write_id ="
                " w.write_id)") != 1:  # fmt: skip
        yield "pruned are not just the bodies that nothing needs"


def writes(road: SmallRoad) -> dict[str, int]:
    return dict(road.rows("select target, count(*) from ops.writes group by 1"))


def _faults_of_ledger(road: SmallRoad, round_: Mistake) -> Iterator[str]:
    charted = dict(road.rows("select type, count(*) from phi.events where status = 'charted' group by 1"))
    if charted.pop(DONE_BY_HAND, 0) != len(round_.rows) or charted != EVENTS:
        yield f"events are {charted}"
    if road.one("select count(*) from phi.events where status <> 'charted'"):
        yield f"events are {road.events()}"
    if road.one("select count(*) from phi.match_decisions") != 1:
        yield "a decision is not there once"
    done = {row.cells["task_id"] for row in round_.rows if row.cells["outcome"] == "done"}
    closed = {str(i) for (i,) in road.rows("select task_id from ops.tasks where status = 'done'")}
    if not done <= closed:
        yield f"{len(done - closed)} tasks that were done by hand are open"


def _faults_of_plans(road: SmallRoad) -> Iterator[str]:
    for plans, count in ((rollback.listed(road.connection), "writes"), (replay.listed(road.connection), "chosen")):
        if [(plan["state"], plan["done"] == plan[count] > 0) for plan in plans] != [("applied", True)]:
            yield f"a plan is not applied once: {[plan['state'] for plan in plans]}"
    (taken_back,) = rollback.listed(road.connection)
    if taken_back["sent"] != {"delivered": taken_back["writes"]} or taken_back["released_at"] is None:
        yield f"of what was taken back was sent {taken_back['sent']}"


def _faults_of_ehr(world: MendWorld, road: SmallRoad, round_: Mistake, most: dict[str, int]) -> Iterator[str]:
    statuses = dict(road.rows("select status, count(*) from ops.writes group by 1"))
    if statuses.keys() != {"delivered", GIVEN_UP} or statuses[GIVEN_UP] != 1:
        yield f"writes are {statuses}"
    made = writes(road)
    if most and any(made[target] > most.get(target, 0) for target in made):
        yield f"{made} writes, and without a kill {most}"
    if road.one(
        "select count(*) from (select count(*), max(n) from ops.writes group by target, patient_id) w where count <> max"
    ):
        yield "a patient's writes are not numbered one after another"
    told = world.told(road)
    there = told.compare()
    if not there.holds or there.not_sent_yet or there.edited_there != 1 or not there.resources:
        yield f"the EHR read back: {there.as_dict()}"
    first = world.records(road)[0]
    mine = set(road.one("select remote from ops.copies where target = %s and patient_id = %s", EHR, first))
    now = told.says()
    # The tasks of the day are done meanwhile; all else of the first person is as it was.
    if other := [k for k, said in round_.before.items() if k in mine and not k.startswith("Task/") and now[k] != said]:
        yield f"not as before the mistake: {Counter(key.partition('/')[0] for key in other)}"
    pairs = road.rows("select patient_id, n from ops.writes where target = %s and status <> %s", EHR, GIVEN_UP)
    proofs = [f"Provenance?_summary=count&_tag={WRITE_SYSTEM}|{patient}.{n}" for patient, n in pairs]
    totals = Counter(entry["resource"]["total"] for entry in told.ehr.batch_get(proofs))
    # The conflict's write told of its others.
    if totals != {1: len(pairs)}:
        yield f"writes are told of so often in the EHR: {dict(totals)}"
    told.ehr.close()
