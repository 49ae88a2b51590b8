"""The road with a real EHR at its end and a provider in it, for tests: what goes round and comes back.

Not here: any expectation.
"""

from __future__ import annotations

from typing import Any

from glp1_pipeline.adapters import store
from glp1_pipeline.adapters.charts import attend_disputes
from glp1_pipeline.adapters.ehr import Entry, polling
from glp1_pipeline.adapters.outbox import Heard
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.deliveries import World
from glp1_pipeline_tests.ehr_changes import Provider, begin_now
from glp1_pipeline_tests.small_road import SmallRoad


class Circle:
    """The road with an EHR at its end, and a provider in it."""

    def __init__(self, road: SmallRoad, ehr_url: str, proxy: FaultProxy) -> None:
        self.road, self.proxy = road, proxy
        self.world = World(road.url, ehr_url, EHR)
        self.world.cipher = road.cipher
        self.client = self.world.ehr(proxy.url, read_timeout=20.0)
        self.provider = Provider(self.world)
        begin_now(self.world)

    def deliver(self) -> None:
        self.world.drain(Heard(self.client, self.hear))
        road = self.road
        if attend_disputes(road.connection, road.contract, road.cipher):
            self.world.drain(Heard(self.client, self.hear))

    def hear(self, change: Entry, ours: dict[str, Any]) -> None:
        road = self.road
        with store.connect(road.url, "glp1 ehr edits") as connection:
            polling.hear(connection, self.client, road.contract, road.cipher, EHR, change, ours)

    def poll(self) -> Any:
        return polling.poll_changes(self.road.connection, self.client, self.road.contract, self.road.cipher, EHR)

    def round(self) -> int:
        """Notice, chart, deliver; how many changes there were."""
        changes = self.poll().changes
        charted = self.road.chart()
        assert (charted.dead, charted.rejected) == (0, 0), self.road.events()
        self.deliver()
        return changes

    def place(self, kind: str, field: str = "") -> str:
        """Where the EHR holds our resource of a kind: the only one, or that which says this of itself."""
        ((remote,),) = self.road.rows("select remote from ops.copies where target = %s", EHR)
        places = [f"{kind}/{known[0]}" for key, known in remote.items() if key.startswith(f"{kind}/")]
        (found,) = [place for place in places if not field or field in str(self.provider.read(place)["code"])]
        return found

    def value(self, field: str) -> Any:
        rows = self.road.rows("select value from phi.chart_values where field = %s", field)
        return rows[0][0].get("value") if rows else None

    def events(self) -> int:
        return self.road.one("select count(*) from phi.events where type = 'chart.updated'")
