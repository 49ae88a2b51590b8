"""Recovery: the ledger's balance on a clock, and runs whose worker died are ended.

Here: wiring. Not here: what is counted (`adapters.balance`), and replays (`replay`).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from ..adapters.balance import balance
from .chart import WRITES
from .describe import OPS
from .intake import EVENTS
from .resources import Road

SILENT_AFTER = timedelta(seconds=30)
"""A run this old that nobody holds the lock of has no worker any more."""

LEDGER_BALANCE = dg.AssetSpec(
    "ledger_balance",
    deps=[EVENTS, WRITES],
    group_name="recovery",
    owners=[OPS],
    kinds={"python", "postgres"},
    description="received = charted + waiting + rejected + dead, counted every five minutes over everything we ever "
    "received. If it does not hold, something was lost or doubled: the check says what, `glp1 reconcile` compares with "
    "the EHR itself.",
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=30), warn_window=timedelta(minutes=15)
    ),
)


@dg.multi_asset(
    specs=[LEDGER_BALANCE],
    name="count_ledger",
    check_specs=[
        dg.AssetCheckSpec(
            "nothing_lost",
            asset="ledger_balance",
            description="The ledger is in balance, and what must hold with it holds. An error: call the on-call owner.",
        )
    ],
)
def count_ledger(road: Road):
    """Count everything in one snapshot."""
    with road.connect("glp1 balance") as connection:
        found = balance(connection)
    numbers = found.as_dict()
    faults, writes = numbers.pop("faults"), numbers.pop("writes")
    yield dg.MaterializeResult(
        "ledger_balance",
        metadata={**numbers, **{f"writes {status}": count for status, count in writes.items()}},
        check_results=[
            dg.AssetCheckResult(
                asset_key="ledger_balance",
                check_name="nothing_lost",
                passed=found.holds,
                severity=dg.AssetCheckSeverity.ERROR,
                description="; ".join(faults) or "everything adds up",
                metadata={"faults": len(faults)},
            )
        ],
    )


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose worker died, so that the next one may start. What they had not done is still pending "
    "in our tables; nothing is lost.",
)
def dead_runs(context: dg.SensorEvaluationContext, road: Road):
    """A living run holds a lock in our store; a run whose lock is free has no worker."""
    ended = 0
    running = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    )
    with road.connect("glp1 dead runs") as connection:
        for record in running:
            if datetime.now(UTC) - record.update_timestamp.replace(tzinfo=UTC) < SILENT_AFTER:
                continue
            run_id = record.dagster_run.run_id
            (is_held,) = connection.execute(
                "select not pg_try_advisory_lock(k) or not pg_advisory_unlock(k) from hashtextextended(%s, 7) k",
                (run_id,),
            ).fetchone() or (True,)
            if not is_held:
                context.instance.report_run_failed(
                    record.dagster_run, "its worker died; what was pending goes on in a new run"
                )
                ended += 1
    return dg.SkipReason(f"{ended} of {len(running)} running runs had no worker" if running else "no run is under way")


balance_schedule = dg.ScheduleDefinition(
    name="every_5_minutes",
    cron_schedule="*/5 * * * *",
    target=dg.AssetSelection.assets("ledger_balance", "hops", "patient_match_reviews"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts the ledger, measures the hops and counts what waits for a person, also when nothing arrives.",
)
