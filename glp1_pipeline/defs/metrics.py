"""The metrics of the program: one table of `analytics` each, built by dbt from `ops` every hour.

Here: wiring. Not here: what is counted (`dbt_project`), and dbt itself (`adapters.dbt`). These stand in a code location
of their own, and dbt runs in a process of its own: no run of intake pays for either.
"""

from datetime import timedelta
from typing import Any

import dagster as dg

from ..adapters import dbt, store
from ..adapters.settings import Settings
from .owners import OPERATIONS

VIEWS = {"patient_starts": "patient_values", "patient_links": "patient_matches"}
"""What is no asset itself -> the asset that it follows from."""
ONE_AT_A_TIME = "select pg_advisory_lock(hashtextextended('glp1 metrics', 12))"


def spec(metric: dbt.Metric) -> dg.AssetSpec:
    """The face of a metric, from what its own project says of it."""
    return dg.AssetSpec(
        metric.name,
        deps=sorted({VIEWS.get(table, table) for table in metric.tables}),
        group_name="metrics",
        owners=[OPERATIONS],
        kinds={"dbt", "postgres"},
        description=f"{metric.description}\n\n*One row per window: a week, or the last 30 days"
        f"{f'; for each {metric.by}' if metric.by else ''}.* Table: `{dbt.SCHEMA}.{metric.name}`, file: "
        f"`dbt_project/models/marts/{metric.name}.sql`.",
        metadata={"dagster/table_name": f"{dbt.SCHEMA}.{metric.name}", "kpi": metric.kpi},
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=6), warn_window=timedelta(hours=3)),
    )


METRICS = dbt.metrics()


@dg.multi_asset(
    specs=[spec(metric) for metric in METRICS],
    name="build_metrics",
    check_specs=[
        dg.AssetCheckSpec(
            "its_tests_hold",
            asset=metric.name,
            description="What the project asserts of this table: windows that are there once, shares of their whole. "
            "A warning: the table was made, and something in it is not as it must be; the metadata name the tests.",
        )
        for metric in METRICS
    ],
)
def build_metrics(context: dg.AssetExecutionContext):
    """Build all of them, and show the last 30 days."""
    settings = Settings.from_env()
    url = settings.metrics_url()
    with store.connect(url, "glp1 metrics") as connection:
        connection.execute(ONE_AT_A_TIME)
        try:
            built = dbt.build(url, settings.home / "dbt")
        except dbt.DbtFailure as failure:
            raise dg.Failure(str(failure)) from None
        context.log.info(f"built {len(built.models)} tables in {built.seconds:.1f} s")
        for metric in METRICS:
            broken = sorted(built.failed_tests.get(metric.name, ()))
            yield dg.MaterializeResult(
                metric.name,
                metadata=numbers(metric, dbt.last_30_days(connection, metric)),
                check_results=[
                    dg.AssetCheckResult(
                        asset_key=metric.name,
                        check_name="its_tests_hold",
                        passed=not broken,
                        severity=dg.AssetCheckSeverity.WARN,
                        metadata={"broken": ", ".join(broken)} if broken else {},
                    )
                ],
            )


def numbers(metric: dbt.Metric, rows: list[dict[str, Any]]) -> dict[str, float | int]:
    """What plots: the headline of the last 30 days. Of too few, the count alone."""
    found: dict[str, float | int] = {}
    for row in rows:
        of = f"{row[metric.by]}: " if metric.by else ""
        for column in metric.headline:
            value = row[column]
            if value is not None and (column not in metric.needs_enough or row["has_enough"]):
                found[f"{of}{column.replace('_', ' ')}"] = round(value, 4) if isinstance(value, float) else value
    return found


metrics_job = dg.define_asset_job(
    "metrics",
    owners=[OPERATIONS],
    selection=dg.AssetSelection.assets(*(metric.name for metric in METRICS)),
    description="Counts every metric anew from `ops`, by dbt. Safe at any time: each table is replaced whole.",
    tags={"glp1/road": "metrics"},
)


@dg.schedule(
    name="metrics_every_hour",
    owners=[OPERATIONS],
    job=metrics_job,
    cron_schedule="7 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts the metrics every hour. Skipped, and says so, where no role for it was set up in a database "
    "that is not the embedded one.",
)
def metrics_schedule(context: dg.ScheduleEvaluationContext):
    settings = Settings.from_env()
    if settings.database_url and not settings.metrics_database_url:
        return dg.SkipReason("set GLP1_METRICS_DATABASE_URL: see the README, To a real installation")
    return dg.RunRequest()
