"""What tests of the ledger ask of it: whether it adds up, and the bytes that it kept. Not here: any other expectation."""

from __future__ import annotations

from .small_road import SmallRoad


def content_of(road: SmallRoad) -> list[bytes]:
    rows = road.rows("select event_id, kid, body from phi.events order by seq")
    return [road.cipher.open(kid, bytes(body), f"events|{event_id}") for event_id, kid, body in rows]


def assert_in_balance(road: SmallRoad) -> None:
    found = road.balance()
    assert found.faults == []
    assert found.lines == found.received + found.duplicates
    assert all(lines == events + rejected + again for _, lines, events, rejected, again, _ in road.drops())
