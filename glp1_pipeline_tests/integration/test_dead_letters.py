"""Lines that were refused because the contract lacked something become events by one plan, and their journey tells so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glp1_pipeline.adapters import replay
from glp1_pipeline.adapters.replay import plan as plans
from glp1_pipeline.adapters.trace import trace
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database, small_road, submission


@pytest.fixture
def road(tmp_path: Path) -> Iterator[SmallRoad]:
    with small_road(migrated_database(), tmp_path) as made:
        yield made


def test_refused_lines_are_charted_by_one_plan_as_if_the_contract_had_never_lacked_their_form(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "CHUNK", 2)
    events = [submission(n) for n in range(5)]
    old = road.contract.model_copy(update={"form_versions": road.contract.form_versions[:1]})
    road.under(old).send(*events)
    assert road.events() == {"rejected:unknown_version": 5}
    plan_id = replay.choose(road.connection, replay.Selection(reasons=("unknown_version",)), road.contract.version)
    replay.approve(road.connection, plan_id, "steward-7", "the form is known now")
    done = replay.apply(road.connection, road.contract, road.cipher, plan_id)
    assert (done.done, done.rejected, done.dead) == (5, 0, 0)
    assert road.events() == {"charted": 5}
    assert road.balance().faults == []
    receipt = replay.receipt(road.connection, plan_id)
    assert (receipt["state"], receipt["done"], receipt["chosen"]) == ("applied", 5, 5)
    told = road.rows("select event_id from phi.events order by seq")
    for (event_id,) in told:
        journey = trace(road.connection, event_id)
        assert journey is not None
        assert [one["actor"] for one in journey["replays"]] == ["steward-7"]
    replayed = road.fingerprint()
    with small_road(road.url, road.folder / "again") as fresh:
        fresh.send(*events)
        assert fresh.fingerprint() == replayed
