"""The one partitioning of the whole road: days of receipt in UTC, today included. It is the unit of replay."""

from datetime import UTC, date, datetime

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1)


def today() -> date:
    return datetime.now(UTC).date()


def span(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Of which days a run's numbers are, where it is more than one: Dagster shows them at each of the days."""
    days = days_of(context)
    return {"numbers are of": f"{len(days)} days, {min(days)} to {max(days)}"} if len(days) > 1 else {}


def days_of(context: dg.AssetExecutionContext) -> tuple[date, ...]:
    """Those of this run, which must have some."""
    # Dagster itself would say that it "cannot access partition_key", and only after the work.
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "this run has no day: in the Launchpad fill in *Partition*, or materialize the asset by"
            " its tab *Partitions*. Nothing was done",
            allow_retries=False,
        )
    return tuple(date.fromisoformat(key) for key in context.partition_keys)
