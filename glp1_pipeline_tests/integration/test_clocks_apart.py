"""The store's clock is another than ours, or was set back: nothing stands still for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from glp1_pipeline.defs import chart as charting
from glp1_pipeline.defs import intake as wiring
from glp1_pipeline.defs.partitions import today
from glp1_pipeline_tests.small_road import SmallRoad, amendment, submission, weight

WAITING = "select count(*) from phi.events where status = 'waiting'"


def given(road: SmallRoad) -> Any:
    """The test's own road, in the place of the one that settings give."""

    class Given(dg.ConfigurableResource):
        contract = property(lambda _: road.contract)
        cipher = property(lambda _: road.cipher)
        landing = property(lambda _: road.landing)

        def connect(self, name: str = "") -> psycopg.Connection:
            return psycopg.connect(road.url, autocommit=True)

        keep = connect

    return Given()


@pytest.mark.parametrize("days_ahead", [1, 3])
def test_what_came_on_a_day_that_has_begun_by_the_stores_clock_alone_is_charted_today(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch, days_ahead: int
):
    monkeypatch.setattr(wiring, "WAIT_SECONDS", 0.5)
    road.drop("one.ndjson", submission(1))
    road.take()
    ahead = today() + timedelta(days=days_ahead)
    road.connection.execute("update phi.events set received_on = %s", (ahead,))
    road.count_parts()
    road.drop("two.ndjson", submission(2))
    road.take()
    sensor = wiring.intake_sensor(dg.define_asset_job("intake", selection=dg.AssetSelection.assets(charting.chart)))
    definitions = dg.Definitions(assets=[charting.chart], sensors=[sensor], resources={"road": given(road)})
    with dg.DagsterInstance.ephemeral() as instance:
        told = sensor.evaluate_tick(
            dg.build_sensor_context(
                instance,
                repository_def=definitions.get_repository_def(),
                sensor_name="intake_drops",
                resources={"road": given(road)},
            )
        )
        (request,) = list(told.run_requests or ())
        assert request.partition_key == today().isoformat()
        done = dg.materialize(
            [charting.chart],
            partition_key=request.partition_key,
            run_config=request.run_config,
            resources={"road": given(road)},
            instance=instance,
        )
    assert done.success
    assert road.one(WAITING) == 0
    assert road.balance().faults == []
    assert road.one("select count(*) from phi.events where received_on = %s", ahead) == 1


def test_a_replay_of_today_takes_no_other_day(road: SmallRoad):
    road.send(submission(1))
    road.drop("two.ndjson", submission(2))
    road.take()
    road.connection.execute(
        "update phi.events set received_on = %s where status = 'waiting'", (today() + timedelta(days=1),)
    )
    dg.materialize(
        [charting.chart],
        partition_key=today().isoformat(),
        run_config={"ops": {"chart": {"config": {"scope": "WHOLE_DAY"}}}},
        resources={"road": given(road)},
    )
    assert road.one(WAITING) == 1


def test_a_patients_next_write_waits_for_no_clock_that_was_ahead_when_the_last_one_was_delivered(road: SmallRoad):
    first = submission(1)
    road.send(first)
    road.connection.execute("update ops.lanes set has_work = false, next_at = now() + interval '1 hour'")
    road.send(amendment(first, 1, weight(99.0)))
    assert road.one("select count(*) from ops.lanes where has_work") > 0
    assert road.one("select bool_and(next_at <= now()) from ops.lanes where has_work")


def test_a_lane_that_is_to_be_tried_again_later_keeps_its_time_when_more_is_to_be_told(road: SmallRoad):
    first = submission(1)
    road.send(first)
    road.connection.execute("update ops.lanes set next_at = now() + interval '1 hour'")
    road.send(amendment(first, 1, weight(99.0)))
    assert road.one("select bool_and(next_at > now()) from ops.lanes")
