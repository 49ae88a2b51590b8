"""The one partitioning of the whole road: days of receipt in UTC, today included. It is the unit of replay."""

from datetime import UTC, date, datetime

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1)


def today() -> date:
    return datetime.now(UTC).date()


def days_of(context: dg.AssetExecutionContext) -> tuple[date, ...]:
    return tuple(date.fromisoformat(key) for key in context.partition_keys)
