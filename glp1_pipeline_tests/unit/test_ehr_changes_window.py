"""No change is passed over: whatever the server's clocks say, however late it shows one, wherever a pass is cut off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters.ehr.window import LATE, MOST_REMEMBERED, Window

BEGIN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """A change: when it was made, by a node whose clock runs ahead so far, and how long it took to commit (seconds)."""

    at: int
    ahead: int
    commits_after: int


changes = st.lists(
    st.builds(Made, st.integers(0, 3600), st.integers(0, 40), st.integers(0, 75)), min_size=1, max_size=25
)
looks = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 8) | st.none()), min_size=1, max_size=30)
"""Seconds until the next look, and how many changes it gets to read before it is cut off (None: all)."""


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def look(window: Window, made: list[tuple[str, datetime, datetime]], now: datetime, most: int | None) -> set[str]:
    """One round, as the poller does it; returns what it read."""
    if window.low is None and window.newest is None:
        for stamp in sorted(stamp for _, stamp, visible_at in made if visible_at <= now)[-1:]:
            window.see(stamp, now)
    at = window.begin(now)
    there = sorted(
        ((stamp, name) for name, stamp, visible_at in made if visible_at <= now and (at is None or stamp >= at))
    )
    read = set()
    for stamp, name in there[:most]:
        read.add(name)
        window.note(name, "1", stamp, now)
        window.position = stamp
    if most is None or len(there) <= most:
        window.end()
    return read


@settings(max_examples=600, deadline=None)
@given(changes, looks, st.integers(0, 7200), st.integers(0, 3600), st.floats(0, 1))
def test_no_change_is_passed_over(made: list[Made], rounds, clock_ahead: int, set_back_at: int, how_far: float):
    """The server's clock is ahead of ours, and somewhen set back towards the right time."""
    events = []
    for n, one in enumerate(made):
        offset = clock_ahead if one.at < set_back_at else clock_ahead * how_far
        stamp = BEGIN + seconds(one.at + offset + one.ahead)
        events.append((str(n), stamp, BEGIN + seconds(one.at + one.commits_after)))
    window, read, now = Window(), set(), BEGIN
    for wait, most in rounds:
        now += seconds(wait)
        read |= look(window, events, now, most)
        window = Window.load(window.low, json.loads(json.dumps(window.dump())))  # as by another process
    now = max(now, BEGIN + seconds(3600 + 75))
    for _ in range(3):
        now += seconds(30)
        read |= look(window, events, now, None)
    assert read == {name for name, _, _ in events}


def test_when_nothing_happens_less_and_less_is_read_again():
    window, now = Window(), BEGIN
    events = [(str(n), BEGIN + seconds(n), BEGIN + seconds(n)) for n in range(100)]
    now = BEGIN + seconds(100)
    last = look(window, events, now, None)
    assert len(last) == 100
    for _ in range(3):
        now += LATE
        last = look(window, events, now, None)
    assert last == {"99"}
    assert window.is_met("99", "1")
    assert not window.is_met("99", "2")


def test_what_is_remembered_has_an_end():
    window = Window()
    window.begin(BEGIN)
    for n in range(MOST_REMEMBERED + 10):
        window.note(str(n), "1", BEGIN + seconds(n), BEGIN)
    window.end()
    assert len(window.met) == MOST_REMEMBERED
    assert window.is_met(str(MOST_REMEMBERED + 9), "1")
