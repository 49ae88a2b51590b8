"""One person, two runs at once: whatever meets halfway, no event is lost, none is dead, and the chart holds all of it."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import Any

import pytest

from glp1_pipeline.adapters import charts, matches
from glp1_pipeline.adapters.charts import claim, run
from glp1_pipeline.adapters.cipher import Cipher
from glp1_pipeline_tests.small_road import (
    RING,
    SmallRoad,
    amendment,
    connect,
    submission,
)


def record(road: SmallRoad, subject: str) -> str:
    return str(road.one("select record_id from phi.identifiers where value = %s", subject))


def merge(road: SmallRoad, survivor: str, retired: str) -> uuid.UUID:
    return matches.decide(
        road.connection, road.contract, road.cipher, "merge", (survivor, retired), "steward-7", "seen on the phone"
    )


def waiting(road: SmallRoad) -> list[uuid.UUID]:
    return [event for (event,) in road.rows("select event_id from phi.events where status = 'waiting' order by seq")]


def at_once(road: SmallRoad, *scopes: charts.Scope, patch: pytest.MonkeyPatch) -> list[Any]:
    """A run for each scope; those that can wait for each other just before they write."""
    before, meeting = run.save, threading.Barrier(len(scopes))

    def save(*told: Any) -> None:
        with suppress(threading.BrokenBarrierError):  # the others wait for our locks: as they should
            meeting.wait(1)
        before(*told)

    patch.setattr(run, "save", save)
    found: list[Any] = [None] * len(scopes)

    def work(place: int, scope: charts.Scope) -> None:
        try:
            with connect(road.url, f"run {place}") as own:
                found[place] = charts.chart_events(own, road.contract, Cipher(RING), scope)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found[place] = error

    threads = [threading.Thread(target=work, args=told) for told in enumerate(scopes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    patch.setattr(run, "save", before)
    return found


def each(events: list[uuid.UUID]) -> list[charts.Scope]:
    return [charts.Scope(event_ids=(event,)) for event in events]


def value(road: SmallRoad, patient_id: str, field: str) -> Any:
    return road.one(
        "select value ->> 'value' from phi.chart_values where patient_id = %s and field = %s", patient_id, field
    )


def test_events_of_two_records_of_one_patient_do_not_overwrite_each_other(road: SmallRoad, monkeypatch):
    first, second = submission(1), submission(2)
    road.send(first, second)
    keeps = record(road, "canary-0000001")
    merge(road, keeps, record(road, "canary-0000002"))
    road.chart()
    road.drop(
        "two.ndjson",
        amendment(first, 1, {"anthro.weight": {"value": 91, "unit": "kg"}}),
        amendment(second, 1, {"hx.kidney": "ckd"}),
    )
    road.take()
    done = at_once(road, *each(waiting(road)), patch=monkeypatch)
    assert [d.events for d in done] == [1, 1]
    assert road.events() == {"charted": 5}
    assert (value(road, keeps, "anthro.weight"), value(road, keeps, "hx.kidney")) == ("91.0", "ckd")
    assert road.balance().faults == []


def test_one_new_person_by_two_accounts_at_once_has_one_chart(road: SmallRoad, monkeypatch: pytest.MonkeyPatch):
    road.drop("two.ndjson", submission(1), submission(1, subject="canary-second"))
    road.take()
    done = at_once(road, *each(waiting(road)), patch=monkeypatch)
    assert [d.events for d in done] == [1, 1]
    assert road.events() == {"charted": 2}
    assert road.one("select cardinality(events) from phi.charts") == 2
    assert road.balance().faults == []


def test_who_may_be_somebody_of_a_run_under_way_is_left_for_the_next_batch_and_nobody_else_waits(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claim, "BATCH", 3)
    same = submission(1, subject="canary-second")
    road.drop("six.ndjson", submission(1), submission(2), submission(3), submission(4), same, submission(5))
    road.take()
    before, meeting, batches = run.save, threading.Barrier(2), list[int]()

    def save(*told: Any) -> None:
        batches.append(len(told[3].patients))
        if len(batches) <= 2:
            meeting.wait(30)  # both are about to write, so neither waits for the other
        before(*told)

    monkeypatch.setattr(run, "save", save)

    def work() -> None:
        with connect(road.url, "a run of what is pending") as own:
            charts.chart_events(own, road.contract, Cipher(RING), charts.Scope())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not meeting.broken
    # Where each run has one of the keys that the two share, both leave their one.
    assert sorted(batches[:2]) in ([2, 3], [2, 2]), "of each three only who may be the other run's is left"
    assert road.events() == {"charted": 6}
    assert road.rows("select cardinality(events) from phi.charts order by 1") == [(1,)] * 4 + [(2,)]
    assert road.balance().faults == []


def test_two_first_events_of_one_account_at_once_are_both_in_its_chart(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    first = submission(1)
    road.drop("two.ndjson", first, amendment(first, 1, {"anthro.weight": {"value": 91, "unit": "kg"}}))
    road.take()
    done = at_once(road, *each(waiting(road)), patch=monkeypatch)
    assert [d.events for d in done] == [1, 1]
    assert road.one("select cardinality(events) from phi.charts") == 2
    assert road.balance().faults == []


def test_merges_in_both_directions_an_amendment_and_a_replay_at_once_end_in_one_chart(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    first, second, third = submission(1), submission(2), submission(3)
    road.send(first, second, third)
    one, two, three = (record(road, f"canary-000000{n}") for n in (1, 2, 3))
    merge(road, one, two)
    merge(road, three, one)
    road.drop("more.ndjson", amendment(second, 1, {"anthro.weight": {"value": 91, "unit": "kg"}}))
    road.take()
    done = at_once(road, *each(waiting(road)), charts.Scope(is_replay=True), patch=monkeypatch)
    assert [d for d in done if isinstance(d, Exception)] == []
    assert road.events() == {"charted": 6}
    assert road.rows("select patient_id::text, cardinality(events) from phi.charts") == [(three, 4)]
    assert value(road, three, "anthro.weight") == "91.0"
    assert road.balance().faults == []
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before
