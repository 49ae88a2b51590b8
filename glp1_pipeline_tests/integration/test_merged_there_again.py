"""Whom a person told apart the EHR makes one again: nobody is joined by it, a person is asked, and the EHR is answered."""

from __future__ import annotations

from itertools import count
from typing import Any, NamedTuple

import pytest

from glp1_pipeline.adapters import matches
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import submission

PEOPLE = count(1)


class Two(NamedTuple):
    kept: str
    gone: str
    survivor: str
    """Where the EHR has the Patient of the first."""
    retired: str


def decide(circle: Circle, action: matches.Action, two: Two) -> None:
    road = circle.road
    matches.decide(road.connection, road.contract, road.cipher, action, two[:2], "steward-7", "seen on the phone")
    assert (road.chart().dead, circle.deliver()) == (0, None)


def two_people(circle: Circle) -> Two:
    circle.road.send(submission(next(PEOPLE)), submission(next(PEOPLE)))
    circle.deliver()
    assert circle.poll().changes == 0
    (kept, survivor), (gone, retired) = [
        (patient_id, f"Patient/{known[0]}")
        for patient_id, remote in circle.road.rows(
            "select patient_id::text, remote from ops.copies where target = %s order by 1", EHR
        )
        for key, known in remote.items()
        if key.startswith("Patient/")
    ]
    return Two(kept, gone, survivor, retired)


def merge_there(circle: Circle, two: Two) -> None:
    told = {"other": {"reference": two.survivor}, "type": "replaced-by"}
    circle.provider.edit(two.retired, active=False, link=[told])
    circle.provider.edit(two.survivor, link=[{"other": {"reference": two.retired}, "type": "replaces"}])


def later(circle: Circle) -> None:
    """Long after our last write: what stood there before it is no echo any more."""
    circle.road.connection.execute("update ops.writes set settled_at = settled_at - interval '5 minutes'")


def are_apart(circle: Circle) -> bool:
    return circle.road.one("select count(*) from phi.charts") == 2


def work(circle: Circle) -> set[tuple[str, str]]:
    return set(
        circle.road.rows(
            "select owner, split_part(cause, ':', 1) from ops.tasks where status = 'open' and cause like 'match:%%'"
        )
    )


@pytest.fixture(params=["merged and taken apart here", "merged there and taken apart here", "told apart here"])
def two(request: pytest.FixtureRequest, circle: Circle) -> Any:
    found = two_people(circle)
    if request.param == "told apart here":
        decide(circle, "not_a_match", found)
    else:
        if request.param.startswith("merged there"):
            merge_there(circle, found)
            assert circle.round() > 0
        else:
            decide(circle, "merge", found)
        assert not are_apart(circle)
        decide(circle, "unmerge", found)
    assert are_apart(circle)
    assert circle.road.events().keys() == {"charted"}, "one merge is one event, though both Patients tell of it"
    assert [circle.round() for _ in range(2)] == [0, 0]
    later(circle)
    assert "link" not in circle.provider.read(found.retired)
    return found


def test_it_is_asked_about_and_joins_nobody(circle: Circle, two: Two) -> None:
    merge_there(circle, two)
    assert circle.round() > 0
    assert are_apart(circle)
    (pair,) = matches.reviews(circle.road.connection)
    assert {pair["earlier"], pair["later"]} == {two.kept, two.gone}
    assert "told_apart_by_a_person" in pair["guards"]
    assert work(circle) == {("data-steward", "match")}
    assert [circle.round() for _ in range(2)] == [0, 0]
    before = circle.road.fingerprint()
    circle.road.replay()
    assert circle.road.fingerprint() == before


def test_who_says_that_they_are_two_has_the_ehr_told_so(circle: Circle, two: Two) -> None:
    merge_there(circle, two)
    circle.provider.edit(two.retired, maritalStatus={"text": "married"})
    circle.round()
    decide(circle, "not_a_match", two)
    for place in (two.survivor, two.retired):
        there = circle.provider.read(place)
        assert (there["active"], "link" in there) == (True, False), place
    assert circle.provider.read(two.retired)["maritalStatus"] == {"text": "married"}
    assert are_apart(circle)
    assert matches.reviews(circle.road.connection) == []
    assert work(circle) == set()
    assert conflicts(circle.road.connection, EHR) == []
    assert [circle.round() for _ in range(2)] == [0, 0]
    writes = circle.road.one("select count(*) from ops.writes")
    circle.road.replay()
    assert circle.road.one("select count(*) from ops.writes") == writes


def test_who_says_that_they_are_one_after_all_has_one_chart(circle: Circle, two: Two) -> None:
    merge_there(circle, two)
    circle.round()
    decide(circle, "merge", two)
    assert not are_apart(circle)
    assert work(circle) == set()
    assert circle.provider.read(two.retired)["active"] is False
    assert [circle.round() for _ in range(2)] == [0, 0]
    assert circle.road.balance().faults == []


def test_done_there_once_more_it_is_asked_once_more(circle: Circle, two: Two) -> None:
    for _ in range(2):
        merge_there(circle, two)
        assert circle.round() > 0
        assert len(matches.reviews(circle.road.connection)) == 1
        decide(circle, "not_a_match", two)
        assert matches.reviews(circle.road.connection) == []
        later(circle)
    assert are_apart(circle)
    assert circle.provider.read(two.retired)["active"] is True
