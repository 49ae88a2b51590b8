"""A whole month computed again from the doors that the UI has: the job of replays, and a backfill of its days. With
check-ins, refills and moments of the patients' clocks in it, the state stays the one that it was.

Not here: single days and events (`test_replay_doors`), plans (`test_replay`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from glp1_pipeline.adapters import clock
from glp1_pipeline.defs.chart import chart
from glp1_pipeline.defs.partitions import today
from glp1_pipeline.defs.replay import replay_events
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.sandbox.program import build
from glp1_pipeline.sandbox.program.check import differences
from glp1_pipeline.sandbox.program.run import Place, walk
from glp1_pipeline_tests.refill_road import reachable_road
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database

FIRST, DAYS = date(2026, 11, 1), 30
"""The month that what was lived in July is filed under as received: the first month that the UI has partitions of."""
LIVED = ["steady", "vials", "half_answered", "overridden", "nobody_answers", "forgetful", "lost_parcel", "gap"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRoad]:
    """Half a year of some patients, walked week by week with their clocks; each event received when it was said, but for
    July, which is November."""
    year = build(2 * len(LIVED), seed=11, months=8, stories=LIVED)
    folder = tmp_path_factory.mktemp("month")
    with pytest.MonkeyPatch.context() as patch, reachable_road(migrated_database(), folder, patch) as road:
        walk(Place(road.connection, road.contract, road.cipher, road.landing), year, timedelta(days=7))
        assert differences(road.connection, year) == {}
        road.connection.execute(
            "update phi.events set received_on = t.at::date, received_at = t.at from (select event_id,"
            " coalesce(occurred_at, '2026-01-01') + case when date_trunc('month', occurred_at at time zone 'utc') ="
            " '2026-07-01' then make_interval(days => 123) else '0' end as at from phi.events) t"
            " where t.event_id = events.event_id"
        )
        road.count_parts()
        yield road


def month() -> list[str]:
    return [(FIRST + timedelta(days=n)).isoformat() for n in range(DAYS)]


def launch(**config: Any) -> dict[str, Any]:
    done = replay_events.execute_in_process(
        run_config={"ops": {"replay": {"config": config}}}, resources={"road": Road()}
    )
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def in_month(road: SmallRoad) -> Counter[str]:
    rows = road.rows(
        "select case when source = %s then 'clock ' else '' end || type, count(*) from phi.events"
        " where received_on >= %s and received_on < %s group by 1",
        clock.SOURCE, FIRST, FIRST + timedelta(days=DAYS),
    )  # fmt: skip
    return Counter(dict(rows))


def test_the_month_has_check_ins_refills_and_moments_of_clocks_in_it(lived: SmallRoad):
    told = in_month(lived)
    assert {
        "medication.dispensed", "followup.completed", "refill.requested", "refill.approved", "clock followup.requested",
        "clock followup.missed", "clock refill.window_opened",
    } <= told.keys()  # fmt: skip
    assert len(lived.rows("select distinct received_on from phi.events where received_on >= %s", FIRST)) > 15


def test_the_job_replays_a_whole_month_three_times_and_the_fingerprint_is_one(lived: SmallRoad):
    before = lived.fingerprint()
    writes = lived.one("select count(*) from ops.writes")
    for _ in range(3):
        seen = launch(days=month())
        assert (seen["dry run"], seen["difference"]) == (True, {})
        done = launch(plan_id=seen["plan"], dry_run=False, actor="steward-7", reason="PROOF")
        assert done["state"] == "applied"
        assert done["events"] == done["done"] >= in_month(lived).total()
        assert (done["state changed"], done["difference"]) == (False, {})
        assert lived.fingerprint() == before
    assert lived.one("select count(*) from ops.writes") == writes
    assert lived.balance().faults == []


def test_a_backfill_of_its_days_in_one_run_leaves_the_same_fingerprint(lived: SmallRoad):
    before = lived.fingerprint()
    last = min(FIRST + timedelta(days=DAYS - 1), today())
    done = dg.materialize(
        [chart],
        resources={"road": Road()},
        tags={"dagster/asset_partition_range_start": FIRST.isoformat(),
              "dagster/asset_partition_range_end": last.isoformat()},
        selection=[chart],
    )  # fmt: skip
    assert done.success
    charted = [
        one.metadata["events"].value
        for one in done.asset_materializations_for_node("chart")
        if one.asset_key == dg.AssetKey("patient_values")
    ]
    received = "select count(*) from phi.events where received_on between %s and %s and status = 'charted'"
    assert charted
    assert charted == [lived.one(received, FIRST, last)] * len(charted)
    assert lived.fingerprint() == before
    # Dagster shows the numbers of such a run at each of its days.
    days = {str(one.metadata["numbers are of"].value) for one in done.asset_materializations_for_node("chart")}
    assert days == {f"{(last - FIRST).days + 1} days, {FIRST} to {last}"}


def test_its_days_one_by_one_from_the_last_to_the_first_leave_the_same_fingerprint(lived: SmallRoad):
    before = lived.fingerprint()
    for n in reversed(range(DAYS)):
        assert lived.chart(is_replay=True, days=(FIRST + timedelta(days=n),)).writes == 0
    assert lived.fingerprint() == before
