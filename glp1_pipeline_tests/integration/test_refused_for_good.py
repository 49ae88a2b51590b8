"""What a target refused for what it says: sent again it is refused again, so it is decided anew and a correction arrives."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline.adapters.outbox import retry_dead
from glp1_pipeline.adapters.refused import decide_anew, refused
from glp1_pipeline.adapters.status import why
from glp1_pipeline.sandbox.drills.proxy import Fault, FaultProxy, status
from glp1_pipeline_tests.rollbacks import Told
from glp1_pipeline_tests.small_road import SmallRoad, amendment, small_road, submission

from .conftest import EhrProcess

REFUSED, MENDED = "+12065550198", "+12065550197"


@pytest.fixture
def told(url: str, ehr: EhrProcess, tmp_path: Path) -> Iterator[Told]:
    """An EHR that refuses a Patient with one phone number."""

    def rule(content: Any) -> Fault | None:
        patients = [one["resource"] for one in content.get("entry", ()) if one["request"]["url"].startswith("Patient/")]
        return status(422) if REFUSED in str(patients) else None

    with FaultProxy(ehr.url) as proxy, small_road(url, tmp_path) as road:
        proxy.rule = rule
        yield Told(road, proxy.url)


def someone(**answers: str) -> dict:
    return submission(1, subject=f"canary-{uuid.uuid4()}", **answers)


def statuses(road: SmallRoad) -> list[str]:
    return [one for (one,) in road.rows("select status from ops.writes order by n")]


def anew(road: SmallRoad):
    return decide_anew(road.connection, road.contract, road.cipher, "ehr")


def phones(told: Told) -> list[str]:
    return [
        one["value"]
        for key, said in told.says().items() if key.startswith("Patient/")
        for one in said["telecom"] if one["system"] == "phone"
    ]  # fmt: skip


def test_a_correction_behind_a_refused_write_arrives_once_the_patient_is_decided_anew(told: Told):
    road, first = told.road, someone(**{"demo.mobile": REFUSED})
    road.send(first)
    told.deliver()
    road.send(amendment(first, 1, {"demo.mobile": MENDED}))
    assert statuses(road) == ["dead", "ready"]
    # Sent again as it was, it is refused again, and what was corrected waits behind it.
    assert retry_dead(road.connection, "ehr") == 1
    told.deliver()
    assert statuses(road) == ["dead", "ready"]
    done = anew(road)
    assert (done.patients, done.given_up, done.new_writes, done.left) == (1, 2, 1, 0)
    told.deliver()
    assert statuses(road) == ["cancelled", "cancelled", "delivered"]
    assert phones(told) == [MENDED]
    assert told.compare().holds
    assert road.balance().faults == []
    assert why(road.connection, road.one("select patient_id::text from phi.charts"))["writes"] == []
    assert road.replay().all_writes == 0
    assert anew(road).patients == 0


def test_what_was_there_before_the_refused_write_is_corrected_and_never_doubled(told: Told):
    road, first = told.road, someone()
    road.send(first)
    told.deliver()
    before = told.places()
    road.send(amendment(first, 1, {"demo.mobile": REFUSED, "hx.mtc_personal": "unsure"}))
    told.deliver()
    road.send(amendment(first, 2, {"demo.mobile": MENDED, "hx.mtc_personal": "no"}, minutes=90))
    assert statuses(road) == ["delivered", "dead", "ready"]
    assert anew(road).given_up == 2
    told.deliver()
    assert phones(told) == [MENDED]
    assert {key: place[0] for key, place in told.places().items() if key in before} == {
        key: place[0] for key, place in before.items()
    }
    assert told.compare().holds
    assert road.balance().faults == []


def test_what_is_said_still_is_refused_still_and_nothing_is_lost(told: Told):
    road = told.road
    road.send(someone(**{"demo.mobile": REFUSED}))
    told.deliver()
    assert anew(road).new_writes == 1
    told.deliver()
    assert statuses(road) == ["cancelled", "dead"]
    assert len(refused(road.connection, "ehr")) == 1
    assert road.balance().faults == []


def test_who_cannot_be_charted_now_is_left_as_they_were(told: Told, monkeypatch: pytest.MonkeyPatch):
    road = told.road
    road.send(someone(**{"demo.mobile": REFUSED}))
    told.deliver()

    def broken(*_: object) -> None:
        raise KeyError("a fault of ours")

    before = road.fingerprint()
    monkeypatch.setattr("glp1_pipeline.domain.crm.contact", broken)
    monkeypatch.setattr("glp1_pipeline.domain.fhir.transaction", broken)
    assert anew(road).left == 1
    assert statuses(road) == ["dead"]
    assert road.fingerprint() == before
    assert road.one("select blocked from ops.lanes where target = 'ehr'") == "rejected"


def test_a_write_that_failed_for_another_reason_is_not_given_up(told: Told):
    road = told.road
    road.send(someone())
    road.connection.execute("update ops.writes set status = 'dead', last_class = 'unavailable'")
    assert anew(road).patients == 0
    assert statuses(road) == ["dead"]
