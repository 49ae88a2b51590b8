"""The stories of treatments, check-ins and refills of data_samples/, on a real database with the real clock's door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glp1_pipeline.adapters import clock
from glp1_pipeline.sandbox.samples import Sample, differences, samples
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database, small_road

STORIES = [s for s in samples() if s.name.startswith(("medication_", "followup_", "refill_"))]
UNSENT = "writes not delivered"
"""No EHR is here to send anything to."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRoad]:
    """All of them in one database, their clocks rung until nothing is due any more."""
    with small_road(migrated_database(), tmp_path_factory.mktemp("stories")) as road:
        for story in STORIES:
            story.drop(road.landing)
        road.take()
        road.chart()
        while clock.ring(road.connection, road.contract, road.cipher):
            road.chart()
        yield road


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_ends_in_the_store_as_it_says(told: SmallRoad, story: Sample) -> None:
    assert [line for line in differences(told.connection, story) if UNSENT not in line] == []


def test_every_clock_of_theirs_has_rung_for_the_last_time(told: SmallRoad) -> None:
    assert not clock.due(told.connection)
    assert told.rows("select moment, next_at from ops.clocks where rung_at is null") == []
    assert told.balance().faults == []


def test_telling_them_again_changes_nothing_and_writes_nothing(told: SmallRoad) -> None:
    before = told.fingerprint()
    for _ in range(3):
        assert told.replay().writes == 0
        assert told.fingerprint() == before
