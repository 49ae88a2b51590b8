"""Check-ins on the patients' own clocks: the sensor that moves them, and how all check-ins stand, in numbers.

Here: wiring. Not here: when a check-in is due (`domain.followup`), how a moment becomes an event (`adapters.clock`),
and counting (`adapters.followups`).
"""

from datetime import timedelta
from typing import Any

import dagster as dg

from ..adapters import clock, followups
from .describe import spec
from .medication import MEDICATION_COURSES
from .owners import INTEGRATION, OPERATIONS
from .resources import Road
from .ticks import WAIT_SECONDS

STATUSES = ("planned", "open", "due", "missed", "completed")
"""Of check-ins that are not over."""

FOLLOW_UPS = spec(
    "follow_ups",
    group="followup",
    owner=OPERATIONS,
    deps=(MEDICATION_COURSES,),
    fresh_for=timedelta(hours=2),
    why="What a patient under treatment is asked before each refill: one check-in for each supply that was handed "
    "over, or for each cycle of short ones. It opens, is due and is missed on the patient's own calendar, counted "
    "back from the day that the supply runs out (contracts/followups.yaml); one that is missed is an exception, with "
    "a task, strictly before the refill window opens. It is written together with the chart; here it is counted by "
    "status. For one patient ask `glp1 followup show PATIENT`.",
)


@dg.multi_asset(
    specs=[FOLLOW_UPS],
    name="count_follow_ups",
    check_specs=[
        dg.AssetCheckSpec(
            "exceptions_before_the_window",
            asset="follow_ups",
            description="Fails when an exception of the last four weeks came only after its refill window had opened, "
            "or when moments of a check-in are not in their order. The clock was behind (sensor `patient_clocks`, "
            "alert `clock_behind`), or the days in contracts/followups.yaml are wrong. A hand-over that we heard of "
            "too late does not count.",
        ),
        dg.AssetCheckSpec(
            "clocks_are_on_time",
            asset="follow_ups",
            description="Warns while moments that were reached have not become events: is the sensor `patient_clocks` "
            "on, is there a backlog in the ledger? Nothing is lost, they ring one after the other when it goes on.",
        ),
    ],
)
def count_follow_ups(road: Road):
    """Count where check-ins stand, and how much time is left for those that were missed."""
    with road.connect("glp1 follow-ups") as connection:
        found, late = followups.count(connection), followups.late_exceptions(connection)
    yield dg.MaterializeResult(
        "follow_ups",
        metadata=numbers(found, late),
        check_results=[
            dg.AssetCheckResult(
                asset_key="follow_ups",
                check_name="exceptions_before_the_window",
                passed=not late["late"] and not late["out_of_order"],
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "exceptions": late["exceptions"],
                    "after the window": late["late"],
                    "moments out of order": late["out_of_order"],
                },
            ),
            dg.AssetCheckResult(
                asset_key="follow_ups",
                check_name="clocks_are_on_time",
                passed=not found["behind"],
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"moments due": found["behind"]},
            ),
        ],
    )


def numbers(found: dict[str, Any], late: dict[str, int]) -> dict[str, float]:
    """Each a line of its own in the plots; what nobody can know yet is left out."""
    open_now = found["exceptions"]
    plotted: dict[str, float | None] = {
        **{f"status {status}": found["live"].get(status, 0) for status in STATUSES},
        "open exceptions": open_now["open"],
        "open exceptions, window open": open_now["window_open"],
        "hours to the window (median)": open_now["hours_to_window"],
        "hours to the window (least)": open_now["least_hours"],
        **{f"{what} in {followups.LATELY_DAYS} days": n for what, n in found["lately"].items()},
        f"exceptions in {followups.LATELY_DAYS} days": late["exceptions"],
        "moments due": found["behind"],
    }
    return {name: value for name, value in plotted.items() if value is not None}


@dg.sensor(
    name="patient_clocks",
    owners=[INTEGRATION],
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Moves the patients' clocks: a moment that is reached (a check-in opens, is due or was missed, a "
    "refill window opens, an override ends) becomes an event in the ledger, once, and the next run of intake charts "
    "what follows. It starts no run and remembers nothing; after a standstill it rings what was reached meanwhile. "
    "While many events wait it holds back, so that what people send never waits behind thousands of moments of one "
    "morning.",
)
def patient_clocks(road: Road):
    """Listen for as long as a tick lasts."""
    with road.connect("glp1 clock sensor") as connection:
        rung = clock.ring_on(connection, road.contract, road.cipher, WAIT_SECONDS)
    return dg.SkipReason(f"{rung} moments reached" if rung else "no moment was reached")
