"""Recovery: the ledger's balance on a clock, and runs whose worker died are ended.

Here: wiring. Not here: what is counted (`adapters.balance`), and replays (`replay`).
"""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.launcher import WorkerStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from ..adapters.alive import without_worker
from ..adapters.balance import Balance, balance
from ..adapters.balance_parts import STATUSES
from .chart import WRITES
from .intake import EVENTS
from .owners import INTEGRATION
from .partitions import today
from .resources import Road

SILENT_AFTER = timedelta(seconds=30)
"""So long after its start a run has taken its lock."""
FREE_FOR = timedelta(seconds=15)
"""A lock that is free at two looks so far apart is held by nobody: who lives takes it again sooner, see `alive`."""

MOST_PARTS = 40
"""Of one day that are told: a source is whatever a sender calls itself, and may be another in each event."""
COUNTED = "received", *STATUSES
LEDGER_BALANCE = dg.AssetSpec(
    "ledger_balance",
    deps=[EVENTS, WRITES],
    group_name="recovery",
    owners=[INTEGRATION],
    kinds={"python", "postgres"},
    description="received = charted + waiting + rejected + dead, counted every five minutes over everything we ever "
    "received, as a whole and for each day, source and type. If it does not hold, something was lost or doubled: the "
    "check says what, `glp1 reconcile` compares with the EHR itself.",
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
        found = balance(connection, is_by_clock=True)
    numbers = found.as_dict()
    faults, writes = numbers.pop("faults"), numbers.pop("writes")
    numbers |= of_today(found)
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


def of_today(found: Balance) -> dict[str, int | dg.TableMetadataValue]:
    """How many days, sources and types do not add up; and, as one table, what came today by source and type, the
    largest of them. As numbers of their own they would be pages of flat plots."""
    odd = sum(not part.is_even for part in found.parts)
    told: dict[str, int | dg.TableMetadataValue] = {
        "days, sources and types": len(found.parts),
        "of them out of balance": odd,
    }
    of_the_day = [part for part in found.parts if part.day == today()]
    rows = [
        dg.TableRecord({"source": part.source, "type": part.type, **{n: getattr(part, n) for n in COUNTED}})
        for part in sorted(of_the_day, key=lambda part: part.received, reverse=True)[:MOST_PARTS]
    ]
    return told | ({"today": dg.MetadataValue.table(rows)} if rows else {})


@dg.sensor(
    name="dead_runs",
    owners=[INTEGRATION],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose worker died, so that the next one may start. What they had not done is still pending "
    "in our tables; nothing is lost.",
)
def dead_runs(context: dg.SensorEvaluationContext, road: Road):
    """A living run holds a lock in our store; a run whose lock stays free has no worker any more. One that no worker
    had yet waits for its turn: Dagster's run monitoring ends it when it waits too long."""
    under_way = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    running = context.instance.get_run_records(dg.RunsFilter(statuses=under_way))
    with road.connect("glp1 dead runs") as connection:
        up_since: datetime
        now: datetime
        ((up_since, now),) = connection.execute("select pg_postmaster_start_time(), clock_timestamp()").fetchall()
        free = without_worker(connection, [record.dagster_run.run_id for record in running])
    looks = {run_id: datetime.fromisoformat(at) for run_id, at in json.loads(context.cursor or "{}").items()}
    # A look before Postgres started again tells nothing: its end let go of the locks of those who live, too.
    looks = {run_id: at for run_id, at in looks.items() if at > up_since}
    free_since = {run_id: looks.get(run_id, now) for run_id in free}
    ended = 0
    for record in running:
        run_id, age = record.dagster_run.run_id, datetime.now(UTC) - record.update_timestamp.replace(tzinfo=UTC)
        is_silent = run_id in free and age >= SILENT_AFTER and now - free_since[run_id] >= FREE_FOR
        if is_silent and _had_a_worker(context.instance, record.dagster_run):
            context.instance.report_run_failed(
                record.dagster_run, "its worker died; what was pending goes on in a new run"
            )
            ended += 1
    context.update_cursor(json.dumps({run_id: at.isoformat() for run_id, at in free_since.items()}))
    return dg.SkipReason(f"{ended} of {len(running)} running runs had no worker" if running else "no run is under way")


def _had_a_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.status is dg.DagsterRunStatus.STARTED:
        return True
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
        return False
    return launcher.check_run_worker_health(run).status is not WorkerStatus.UNKNOWN  # its task is in the queue still


balance_schedule = dg.ScheduleDefinition(
    name="every_5_minutes",
    owners=[INTEGRATION],
    cron_schedule="*/5 * * * *",
    target=dg.AssetSelection.assets("ledger_balance", "hops", "patient_match_reviews"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts the ledger, measures the hops and counts what waits for a person, also when nothing arrives.",
)
