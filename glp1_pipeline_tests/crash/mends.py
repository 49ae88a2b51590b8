"""All that people mend with, once: a rollback, a replay, rows of a downtime, decisions, dead writes, a conflict, a new key,
pruning.

It begins with a mistake that was delivered, and doing it again does what is left. Not here: where it is killed
(`tracer`), and what must hold afterwards (`mended`).
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import psycopg

from glp1_pipeline.adapters import keys, matches, replay, resealing, rollback
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.downtime import bring_back, read_worklist
from glp1_pipeline.adapters.downtime.bring_back import Row
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr.ehr import Capability
from glp1_pipeline.adapters.keep import Keep
from glp1_pipeline.adapters.outbox import retry_dead, settle_conflict
from glp1_pipeline.adapters.refused import decide_anew
from glp1_pipeline.adapters.retention import prune
from glp1_pipeline.domain.charting import GATE
from glp1_pipeline.domain.contract import EHR, Contract
from glp1_pipeline.domain.downtime import cells
from glp1_pipeline_tests.crash.road import MORTAL
from glp1_pipeline_tests.crash.tracer import Tracer
from glp1_pipeline_tests.rollbacks import Told
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, empty_tables, submission

BY = ("steward-7", "a test")
WRONG = "wrong0000000"
WEIGHT = {"anthro.weight": {"value": 99.5, "unit": "kg"}}
FIRST_KEY = "k1"
AMENDMENTS = 5
"""Of the second person, so that old bodies may go."""


@dataclass
class Mistake:
    """Four people whom no other run knows: of the first something wrong was told, the second was edited there, of the
    third a write is dead, and of the fourth one that was refused for what it says."""

    name: str
    subjects: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    """What the EHR said before the mistake."""
    rows: list[Row] = field(default_factory=list)
    """Filled in by hand."""

    def __post_init__(self) -> None:
        self.subjects = [f"mend-{self.name}-{i}" for i in range(4)]


@dataclass
class MendWorld:
    """What all runs of a sweep share."""

    url: str
    ehr_url: str
    folder: Path
    asked: Capability | None = None
    rounds: Mistake | None = None

    @property
    def ring(self) -> Path:
        return self.folder / "secrets" / "keys.json"

    def round(self, name: str) -> Mistake:
        return Mistake(name)

    def prepare(self, connection: psycopg.Connection, round_: Mistake) -> None:
        """Up to the moment when somebody sees that something is wrong."""
        self.rounds = round_
        empty_tables(connection)
        shutil.rmtree(self.folder, ignore_errors=True)
        KeyRing.create(self.ring)
        road = self.road(connection)
        told = self.told(road)
        first, second, third, fourth = (submission(i, subject=subject) for i, subject in enumerate(round_.subjects))
        first["data"]["answers"]["hx.men2"] = "nope-ish"
        road.send(first, second)
        told.deliver()
        for n in range(1, AMENDMENTS):
            road.send(amendment(second, n, {"anthro.weight": {"value": 80.0 + n, "unit": "kg"}}, minutes=n))
            told.deliver()
        round_.before = told.says()
        road.under(wrong(road.contract)).replay()
        told.deliver()
        weight = self.weight_of(road, second)
        told.edit(weight, language="en-GB")
        road.send(amendment(second, AMENDMENTS, WEIGHT, minutes=60))
        told.deliver()
        road.send(third, fourth)
        connection.execute(
            "update ops.writes w set status = 'dead', settled_at = now(), last_class = case when i.value is null then"
            " 'unavailable' else 'rejected' end from ops.writes o left join phi.identifiers i on i.record_id = o.patient_id"
            " and i.value = %s where o.write_id = w.write_id and w.status = 'ready'",
            (fourth["subject"],),
        )
        connection.execute("update ops.lanes set blocked = 'rejected', has_work = false where has_work")
        connection.execute("update ops.writes set settled_at = settled_at - interval '200 days' where n < 4")
        ages_ago = time.time() - 400 * 86_400
        for drop in (self.folder / "archive").glob("*.sealed"):
            os.utime(drop, (ages_ago, ages_ago))
        lines = read_worklist(connection, road.contract, GATE)
        at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() - 120))
        for n, line in enumerate(lines, 1):
            outcome = "done" if n % 2 else "declined"
            filled = cells(line, n) | {"outcome": outcome, "done_by": "staff-31", "done_at": at}
            round_.rows.append(Row(str(n), filled))

    def weight_of(self, road: SmallRoad, second: dict[str, Any]) -> str:
        """The resource that holds a person's weight."""
        (record,) = road.rows("select record_id from phi.identifiers where value = %s", second["subject"])[0]
        told = self.told(road)
        remote = road.one("select remote from ops.copies where target = %s and patient_id = %s", EHR, record)
        (found,) = (
            key for key, place in remote.items() if key.startswith("Observation/")
            and "29463-7" in str(told.ehr.wire.call("GET", f"/Observation/{place[0]}").content["code"])
        )  # fmt: skip
        told.ehr.close()
        return found

    def road(self, connection: psycopg.Connection) -> SmallRoad:
        return SmallRoad(self.url, self.folder, connection, cipher=Cipher(KeyRing.load(self.ring)))

    def told(self, road: SmallRoad) -> Told:
        """One with no connection yet, that asked what the server can before."""
        told = Told(road, self.ehr_url)
        if self.asked is None:
            self.asked = told.ehr.capability
            told.ehr.close()
            told.ehr = Ehr(EhrSettings(self.ehr_url, connect_timeout=5.0, read_timeout=20.0))
        told.ehr._capability = self.asked
        return told

    def work(self, name: str) -> None:
        """Each thing once; what is done already is left as it is."""
        with connect(self.url, name) as connection, ExitStack() as ends:
            road = self.road(connection)
            told = self.told(road)
            ends.callback(told.ehr.close)
            if road.cipher.active == FIRST_KEY:
                keys.rotate(self.ring, *BY)
            self.take_back(road, told)
            decide_anew(connection, road.contract, road.cipher, EHR)
            retry_dead(connection, EHR)
            self.decide(road)
            assert self.rounds is not None
            bring_back(connection, road.contract, road.cipher, GATE, self.rounds.rows, ZoneInfo("UTC"))
            self.replay(road)
            told.deliver()
            resealing.reseal(connection, road.cipher, self.folder / "archive")
            prune(connection, Keep(), road.cipher.open, self.folder, None)

    def take_back(self, road: SmallRoad, told: Told) -> None:
        connection = road.connection
        plans = rollback.listed(connection)
        plan_id = uuid.UUID(plans[0]["plan_id"]) if plans else told.choose(contract_versions=(WRONG,))
        plan = rollback.show(connection, plan_id)
        if plan["state"] == "planned":
            told.look(plan_id)
            rollback.approve(connection, plan_id, *BY)
        if plan["state"] != "applied":
            told.apply(plan_id)
        told.deliver()
        if plan["released_at"] is None:
            rollback.release(connection, plan_id, *BY)

    def decide(self, road: SmallRoad) -> None:
        first, second, *_ = self.records(road)
        if not road.one("select count(*) from phi.events where type = %s", matches.TYPES["not_a_match"]):
            matches.decide(road.connection, road.contract, road.cipher, "not_a_match", (first, second), *BY)
        road.chart()
        for patient_id, key in road.rows("select patient_id::text, jsonb_object_keys(conflicts) from ops.copies"):
            settle_conflict(road.connection, EHR, patient_id, key, "theirs")

    def replay(self, road: SmallRoad) -> None:
        connection = road.connection
        plans = replay.listed(connection)
        selection = replay.Selection(contract_versions=(WRONG,))
        plan_id = (
            uuid.UUID(plans[0]["plan_id"]) if plans else replay.choose(connection, selection, road.contract.version)
        )
        state = replay.show(connection, plan_id)["state"]
        if state == "planned":
            replay.dry_run(connection, road.contract, road.cipher, plan_id)
            replay.approve(connection, plan_id, *BY)
        if state != "applied":
            replay.apply(connection, road.contract, road.cipher, plan_id)

    def records(self, road: SmallRoad) -> list[str]:
        """Of the people, in order."""
        rows = road.rows("select record_id::text from phi.identifiers where value ~ '^mend-' order by right(value, 1)")
        return [record_id for (record_id,) in rows]

    def die(self, tracer: Tracer) -> NoReturn:
        """As a child: work until a point to die at, and if none comes end."""
        tracer.install()
        self.work(MORTAL)
        os._exit(0)


def wrong(contract: Contract) -> Contract:
    """The contract after somebody gave a spelling a wrong meaning."""
    codes = {name: dict(found) for name, found in contract.codes.items()}
    codes["yes_no"] |= {"nope-ish": codes["yes_no"]["no"]}
    return contract.model_copy(update={"codes": codes, "version": WRONG})
