"""Rollbacks, against a real Postgres and a real EHR: it reads as before, later edits stay, nothing comes back by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline.adapters import rollback
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.rollbacks import Told
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database, small_road, submission

from .conftest import EhrProcess

KINDS = pytest.mark.parametrize("server_ids", [False, True], ids=["takes our ids", "makes its own ids"])
WEIGHT = {"anthro.weight": {"value": 99.5, "unit": "kg"}}


@pytest.fixture(scope="module")
def url() -> str:
    return migrated_database()


@pytest.fixture
def road(url: str, tmp_path: Path) -> Iterator[SmallRoad]:
    with small_road(url, tmp_path) as made:
        yield made


@pytest.fixture
def told(road: SmallRoad, ehr: EhrProcess) -> Told:
    return Told(road, ehr.url)


def wrong(contract: Contract) -> Contract:
    """The contract after somebody said that a cholecystectomy is no operation, and called it another version."""
    codes = {name: dict(found) for name, found in contract.codes.items()}
    yes_no = codes["yes_no"]
    codes["yes_no"] = yes_no | {"nope-ish": yes_no["no"]}
    return contract.model_copy(update={"codes": codes, "version": "wrong0000000"})


def someone(n: int = 1, **answers: Any) -> dict[str, Any]:
    """Somebody whom no other test knows, in an EHR that all share."""
    return submission(n, subject=f"canary-{uuid.uuid4()}", **answers)


def charted_wrongly(told: Told, *events: dict[str, Any]) -> tuple[SmallRoad, dict[str, Any]]:
    """These people are charted, delivered, and charted again by a wrong contract; the road then, and what the EHR said
    before."""
    told.road.send(*events)
    told.deliver()
    before = told.says()
    bad = told.road.under(wrong(told.road.contract))
    bad.replay()
    told.deliver()
    return bad, before


def unsure(n: int = 1) -> dict[str, Any]:
    """Somebody whose answer only the wrong contract understands, wrongly."""
    return someone(n, **{"hx.men2": "nope-ish"})


def keys(told: Told, kind: str) -> list[str]:
    return [key for key in told.places() if key.startswith(kind + "/")]


@KINDS
def test_the_writes_of_a_wrong_contract_are_taken_back_and_the_ehr_reads_as_before(
    road: SmallRoad, ehr: EhrProcess, server_ids: bool
):
    with FaultProxy(ehr.url, server_ids) as proxy:
        told = Told(road, proxy.url)
        bad, before = charted_wrongly(told, unsure(1), unsure(2), someone(3))
        after = told.says()
        assert {key for key in after if after[key] != before.get(key)}
        plan_id = told.choose(contract_versions=("wrong0000000",))
        seen = told.look(plan_id)
        assert told.says() == after
        assert road.one("select count(*) from ops.writes where status <> 'delivered'") == 0
        done = told.do(plan_id)
        assert done == seen
        assert (done.done, done.new_writes) == (2, 2)
        told.deliver()
        now = told.says()
        assert {key: now[key] for key in before} == before
        assert {told.statuses()[key] for key in after.keys() - before.keys()} <= {"entered-in-error"}
        receipt = rollback.receipt(road.connection, plan_id)
        assert receipt["changed"] == receipt["predicted"]
        assert receipt["sent"] == {"delivered": 2}
        assert rollback.left(road.connection, plan_id) == []
        assert told.compare().holds
        # Nothing of it comes back by itself, whoever computes again, and by the same mistake.
        writes = road.one("select count(*) from ops.writes")
        bad.replay()
        assert road.one("select count(*) from ops.writes") == writes
        assert bad.balance().faults == []
