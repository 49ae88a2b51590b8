"""The EHR heard: what people change there comes into the ledger as events, and is charted as every event is.

Here: wiring. Not here: how changes are read without loss (`adapters.ehr.polling`), what a resource says
(`domain.changes`), and what the EHR is told (`delivery`).
"""

import statistics
import time
from datetime import UTC, datetime, timedelta

import dagster as dg

from ..adapters.ehr import EhrFailure
from ..adapters.ehr.hints import hints, wait_for_hint
from ..adapters.ehr.polling import has_news, lag_seconds, poll_changes, sweep_age_seconds
from ..domain.contract import EHR
from .owners import INTEGRATION
from .resources import Road
from .ticks import WAIT_SECONDS, has_just_failed, rest, running, wait_until

LOOK_EVERY_SECONDS = 25
"""A tick looks once and then listens for a hint until it is over; the next begins within a second."""
BUSY_SECONDS = 0.5
WHOLE_ROUND_EVERY = timedelta(minutes=5)
"""However quiet it is: deletions, and what the EHR shows late, are seen by a whole round alone."""
ROUND_SECONDS = 45.0
LAGS_AFTER_SECONDS = 15 * 60.0

EHR_CHANGES = dg.AssetSpec(
    "ehr_changes",
    group_name="intake",
    owners=[INTEGRATION],
    kinds={"python", "fhir"},
    description="What people changed in the EHR since the last look: a corrected phone, a new allergy, a weight that a "
    "nurse measured, a resource deleted, two Patients merged. The EHR is asked type by type for what changed since; "
    "the last minutes are read again each time, so that a change which shows late is not passed over. A hint of the "
    "EHR (a subscription, where it offers them) only makes the next look sooner. Our own writes come back too "
    "and are recognised by their version and content: they are no news. Each change is one event in the "
    "ledger (`events`), and whose word counts is decided when it is charted (contracts/ownership.csv). A slice of what "
    "we ever wrote is read again in each round, so that within a day nothing is missing unnoticed: `sweep (hours)` "
    "is how long the one under way has been. `lag (seconds)` is how far behind the EHR we have read to the end, two "
    "minutes or so when all is well.\n\n"
    "*One row per system and kind of resource that is asked for changes.* Table: `ops.poll_cursors`.",
    metadata={"dagster/table_name": "ops.poll_cursors"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=60), warn_window=timedelta(minutes=20)
    ),
)


@dg.multi_asset(
    specs=[EHR_CHANGES],
    name="notice_ehr_changes",
    check_specs=[
        dg.AssetCheckSpec(
            "changes_are_read",
            asset="ehr_changes",
            description=f"Every type of resource was read to its end within the last {LAGS_AFTER_SECONDS / 60:.0f} "
            "minutes. A warning: the EHR does not answer, or changes faster than we read. Nothing is lost, it comes "
            "later; see `stopped` and the EHR's own state.",
        )
    ],
)
def notice_ehr_changes(context: dg.AssetExecutionContext, road: Road):
    """Look once, and bring what is new into the ledger."""
    with road.in_words(), road.connect("glp1 ehr changes") as connection:
        found = poll_changes(connection, road.ehr, road.contract, road.cipher, EHR, seconds=ROUND_SECONDS)
        lag, sweep_age = lag_seconds(connection, EHR), sweep_age_seconds(connection, EHR)
    yield dg.MaterializeResult(
        "ehr_changes",
        metadata={
            "changes": found.changes,
            "deleted": found.deletes,
            "Patients merged there": found.merges,
            "our own writes": found.echoes,
            "of patients that are not ours": found.strangers,
            "to look at again later": found.later,
            "of ours read again": found.swept,
            **({} if lag is None else {"lag (seconds)": round(lag, 1)}),
            **({} if sweep_age is None else {"sweep (hours)": round(sweep_age / 3600, 2)}),
            **(
                {"seconds from change to ledger (median)": round(statistics.median(found.lags), 1)}
                if found.lags
                else {}
            ),
            **({"stopped": found.trouble} if found.trouble else {}),
            **({"another poller is at work": True} if found.is_elsewhere else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="ehr_changes",
                check_name="changes_are_read",
                passed=lag is not None and lag <= LAGS_AFTER_SECONDS,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"lag (seconds)": -1.0 if lag is None else round(lag, 1)},
            )
        ],
    )


def ehr_changes_sensor(job) -> dg.SensorDefinition:
    @dg.sensor(
        name="ehr_changes_due",
        owners=[INTEGRATION],
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks the EHR every {LOOK_EVERY_SECONDS} seconds, and at once when the EHR hints at it, in one "
        "call, whether anything changed; only if so, or every "
        f"{WHOLE_ROUND_EVERY.seconds // 60} minutes, it asks for a run.",
    )
    def ehr_changes_due(context: dg.SensorEvaluationContext, road: Road):
        asked = datetime.fromisoformat(context.cursor) if context.cursor else None

        def is_busy() -> bool:
            return has_just_failed(context.instance, job.name) or running(context.instance, job.name) > 0

        with road.connect("glp1 ehr changes sensor") as connection:
            has_looked, heard = False, 0

            def is_due(left: float) -> bool:
                nonlocal has_looked, heard
                if has_looked and not wait_for_hint(connection, EHR, heard, min(left, 1.0)):
                    return False
                if is_busy():  # what there is, that run takes: the EHR is not asked beside it
                    time.sleep(min(left, BUSY_SECONDS))
                    return False
                has_looked, heard = True, hints(connection)  # a hint that comes while we ask has us ask again
                is_round_due = asked is None or datetime.now(UTC) - asked >= WHOLE_ROUND_EVERY
                return is_round_due or has_news(connection, road.ehr, EHR)

            try:
                # One look at least, then it listens: ticks follow each other, so a look is never long off.
                if not wait_until(WAIT_SECONDS, is_due, is_busy):
                    return dg.SkipReason("nobody changed anything in the EHR")
            except EhrFailure as failure:
                rest(failure.retry_after)
                return dg.SkipReason(f"the EHR cannot be asked now ({failure.trouble}); it is asked again")
        context.update_cursor(datetime.now(UTC).isoformat())
        return dg.RunRequest()

    return ehr_changes_due
