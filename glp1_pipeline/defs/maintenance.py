"""Keeping it small: the job `maintenance` takes away what nothing needs any more, and how large everything is.

Here: wiring, which `glp1 prune` shares. Not here: what may go (`adapters.retention`) and after how many days
(`adapters.keep`).
"""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import dagster as dg
import psycopg
from pydantic import Field

from ..adapters import retention
from ..adapters.retention import Pruned, dagster_rows
from . import launchpad
from .owners import INTEGRATION
from .resources import Road

MB = 1024 * 1024
TABLE_SIZES = dg.AssetSpec(
    "table_sizes",
    group_name="recovery",
    owners=[INTEGRATION],
    kinds={"python", "postgres"},
    description="How large everything is: rows (as Postgres estimates them) and megabytes of each of our tables, of "
    "Dagster's largest, and of the folders that pile up. Every hour. What keeps it small is the job `maintenance`, by "
    "GLP1_KEEP_..._DAYS; `glp1 prune --dry-run` says what would go now.",
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=6), warn_window=timedelta(hours=3)),
)


@dg.multi_asset(specs=[TABLE_SIZES], name="measure_tables")
def measure_tables(road: Road):
    """Ask Postgres and the disk; nothing is counted row by row."""
    with road.connect("glp1 table sizes") as connection:
        ours = retention.table_sizes(connection)
    with closing(dagster_rows.connect(road.settings.dagster_url())) as connection:
        dagsters = retention.dagster_sizes(connection)
    folders = retention.folder_sizes(road.settings.home)
    numbers: dict[str, float] = {
        "all (MB)": _mb(*ours, *dagsters, *folders),
        "our tables (MB)": _mb(*ours),
        "Dagster's tables (MB)": _mb(*dagsters),
    }
    for one in ours:
        numbers |= {f"{one.schema}.{one.table} (MB)": _mb(one), f"{one.schema}.{one.table} (rows)": one.rows}
    for one in dagsters[:6]:
        numbers |= {f"dagster {one.table} (MB)": _mb(one), f"dagster {one.table} (rows)": one.rows}
    for one in folders:
        numbers |= {f"folder {one.folder} (MB)": _mb(one), f"folder {one.folder} (files)": one.files}
    yield dg.MaterializeResult("table_sizes", metadata=dict(numbers))


def _mb(*ones: retention.TableSize | retention.FolderSize) -> float:
    return round(sum(one.size_bytes for one in ones) / MB, 3)


class MaintenanceConfig(launchpad.Choices):
    """Whether to do it, and for how long. Safe as it stands: a dry run, which changes nothing."""

    dry_run: bool = Field(default=True, description="Say how much would go, by kind; take nothing away.")
    minutes: float = Field(default=10.0, gt=0, description="Stop after so long; the next round goes on where it was.")


def prune_by_settings(
    road: Road, *, is_dry_run: bool, seconds: float, progress: Callable[[str, int], None] = lambda name, count: None
) -> Pruned:
    """One round by the settings of this installation. Raises ConnectionError."""
    settings = road.settings
    with road.connect("glp1 prune") as connection:
        return retention.prune(
            connection,
            settings.keep,
            road.cipher.open,
            settings.home,
            settings.dagster_url(),
            is_dry_run=is_dry_run,
            seconds=seconds,
            progress=progress,
        )


@dg.op(description="Take away what is older than GLP1_KEEP_..._DAYS and nothing needs, or say how much that is.")
def prune(context: dg.OpExecutionContext, config: MaintenanceConfig, road: Road) -> None:
    """Ends with counts by kind."""
    try:
        done = prune_by_settings(
            road,
            is_dry_run=config.dry_run,
            seconds=config.minutes * 60,
            progress=lambda name, count: context.log.info(f"{name.replace('_', ' ')}: {count}"),
        )
    except (ConnectionError, psycopg.OperationalError):
        raise dg.Failure("Postgres went away meanwhile: what went is gone, the next round goes on") from None
    if done.is_left_to_another:
        context.log.info("another process prunes just now: left to it")
    context.add_output_metadata(
        {"dry run": config.dry_run, "came to its end": done.is_over}
        | {name.replace("_", " "): count for name, count in done.gone.items()}
    )


@dg.job(
    name="maintenance",
    description="Keeps everything small: takes away attempts, bodies of old writes, ended incidents, archived drops, "
    "old runs of Dagster and logs after the days that GLP1_KEEP_..._DAYS say. Never events, values, decisions of "
    "people, or receipts. Many short transactions; it may be killed or run twice. By hand it is a dry run unless told "
    "otherwise.",
    tags={"glp1/recovery": "maintenance"},
    owners=[INTEGRATION],
)
def maintenance():
    prune()


maintenance_schedule = dg.ScheduleDefinition(
    name="maintenance_every_night",
    owners=[INTEGRATION],
    cron_schedule="17 9 * * *",
    job=maintenance,
    run_config={"ops": {"prune": {"config": {"dry_run": False}}}},
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Takes away each night (09:17 UTC, when little comes in) what nothing needs any more.",
)
table_sizes_schedule = dg.ScheduleDefinition(
    name="table_sizes_every_hour",
    owners=[INTEGRATION],
    cron_schedule="41 * * * *",
    target=dg.AssetSelection.assets("table_sizes"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Measures how large all tables and folders are, so that growth can be plotted and seen in time.",
)
