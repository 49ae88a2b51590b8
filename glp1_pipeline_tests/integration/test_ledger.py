"""The ledger, against a real Postgres: every line once, and what comes again is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson

from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline_tests.ledgers import assert_in_balance, content_of
from glp1_pipeline_tests.small_road import RING, SmallRoad, submission

# By day, source and type


def test_what_is_missing_of_one_source_is_told_though_another_has_as_many_too_much(road: SmallRoad):
    web = {**submission(2), "source": "/intake/kiosk"}
    road.drop("a.ndjson", submission(1), submission(1), web, b"no event")
    road.take()
    road.connection.execute("insert into phi.feeds values ('/intake/kiosk', 'intake-2', now(), now())")
    assert_in_balance(road)
    told = [(part.source, part.type, part.received, part.waiting, part.rejected) for part in road.parts()]
    assert sorted(told)[0] == ("intake-2", "intake.submitted", 1, 1, 0)
    assert sorted(told)[2] == ("unreadable", "", 1, 0, 1)
    assert len(told) == 3
    road.connection.execute("update phi.events set source = '/intake/kiosk' where type is not null")
    day = road.one("select received_on from phi.events limit 1")
    (more, less) = sorted(road.balance().faults)  # in all there are as many as were received
    assert more == f"{day} intake-2 intake.submitted: 1 received, 2 in the ledger"
    assert less.endswith("intake.submitted: 1 received, 0 in the ledger")


def test_what_is_missing_of_one_day_is_told_with_its_day_and_no_source_by_its_own_name(road: SmallRoad):
    road.drop("a.ndjson", *[submission(n) for n in range(3)])
    road.take()
    road.connection.execute("update phi.events set received_on = received_on - 1 where line = 2")
    assert [fault.partition(": ")[2] for fault in road.balance().faults] == [
        "0 received, 1 in the ledger",
        "3 received, 2 in the ledger",
    ]
    assert "/intake" not in str(road.balance().faults)


# Each once


def test_an_event_twice_in_one_file_is_one_event_and_a_duplicate(road: SmallRoad):
    road.drop("a.ndjson", submission(1), submission(2), submission(1))
    got = road.take()
    assert (got.drops, got.lines, got.events, got.duplicates) == (1, 3, 2, 1)
    assert road.events() == {"waiting": 2}
    assert_in_balance(road)


def test_an_event_in_two_files_is_one_event_and_a_duplicate(road: SmallRoad):
    road.drop("a.json", submission(1))
    road.drop("b.ndjson", submission(2), submission(1))
    got = road.take()
    assert (got.drops, got.events, got.duplicates) == (2, 2, 1)
    assert_in_balance(road)


def test_the_same_file_again_and_renamed_is_counted_and_changes_nothing(road: SmallRoad):
    events = [submission(n) for n in range(3)]
    road.drop("a.ndjson", *events, b"no event")
    road.take()
    before = road.fingerprint()
    for times, name in enumerate(("a.ndjson", "b.ndjson", "c.json"), 2):
        road.drop(name, *events, b"no event")
        got = road.take()
        assert (got.lines, got.events, got.rejected, got.duplicates) == (4, 0, 0, 4)
        assert road.drops() == [("settled", 4 * times, 3, 1, 4 * (times - 1), times)]
        assert road.landing.ready() == []
    assert road.fingerprint() == before
    assert_in_balance(road)


def test_a_redelivery_in_the_middle_of_a_run_is_settled_once_more(road: SmallRoad):
    road.drop("a.ndjson", submission(1))
    road.drop("b.ndjson", submission(1))
    got = road.take()
    assert (got.drops, got.events, got.duplicates) == (2, 1, 1)
    assert road.drops() == [("settled", 2, 1, 0, 1, 2)]


def test_the_same_key_with_other_content_is_a_conflict_and_the_first_stays(road: SmallRoad):
    first = submission(1)
    other = submission(1, channel="web", locale="es-US")
    third = submission(1, channel="ios", locale="fr-CA")
    road.drop("a.ndjson", first, other, other)
    road.drop("b.ndjson", third, first, other)
    got = road.take()
    assert (got.events, got.rejected, got.duplicates) == (1, 2, 3)
    assert road.events() == {"waiting": 1, "rejected:conflict": 2}
    assert sorted(content_of(road)) == sorted(orjson.dumps(e) for e in (first, other, third))
    assert_in_balance(road)


def turned(told: Any) -> Any:
    """The same with the keys of every object in the opposite order."""
    if isinstance(told, dict):
        return {key: turned(told[key]) for key in reversed(list(told))}
    return [turned(one) for one in told] if isinstance(told, list) else told


def test_the_same_content_written_otherwise_is_a_duplicate_and_what_only_looks_so_is_a_conflict(road: SmallRoad):
    event = submission(1, duration_s=300, **{"demo.legal_first": "José", "anthro.weight": {"value": 100, "unit": "kg"}})
    first = orjson.dumps(event)

    def weighing(number: bytes) -> bytes:
        return first.replace(b'"value":100,', b'"value":' + number + b",")

    alike = [
        orjson.dumps(turned(event)), json.dumps(event, indent=1).replace("\n", " ").encode(), weighing(b"100.0"),
        weighing(b"1e2"), first.replace(b"/intake/web", b"\\/intake\\/web"),
    ]  # fmt: skip
    other = [
        weighing(b"101"), weighing(b"100.00000000000000001"), weighing(b'"100"'),
        first.replace(b'"duration_s":300', b'"duration_s":true'), first.replace("é".encode(), "e\u0301".encode()),
    ]  # fmt: skip
    assert len({first, *alike, *other}) == 11
    road.drop("a.ndjson", first, *alike, *other)
    got = road.take()
    assert (got.events, got.duplicates, got.reasons) == (1, 5, {"conflict": 5})
    for number, line in enumerate([*alike, *other]):
        road.drop(f"{number}.ndjson", line + b" ")  # as drops of their own, beside the first in the ledger
    got = road.take()
    assert (got.events, got.rejected, got.duplicates) == (0, 0, 10)  # a conflict that comes again is no second one
    assert content_of(road)[0] == first
    assert_in_balance(road)


def test_beside_a_first_that_no_key_opens_another_writing_is_kept_as_a_conflict(road: SmallRoad):
    event = submission(1)
    road.drop("a.ndjson", event)
    road.take()
    without = replace(road, cipher=Cipher(KeyRing("k2", {"k2": b"k" * 32}, RING.patient_key)))
    without.drop("b.ndjson", orjson.dumps(turned(event)))
    got = without.take()
    assert (got.events, got.duplicates, got.reasons) == (0, 0, {"conflict": 1})
    assert_in_balance(road)


def test_ids_of_two_sources_do_not_meet(road: SmallRoad):
    road.drop("a.ndjson", submission(1), submission(1, source="/intake/kiosk"))
    assert road.take().events == 2
