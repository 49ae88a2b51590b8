"""Mapping as a whole: what the code sets lack.

Here: wiring. Not here: the count (`adapters.unmapped`), and how many answers of one run mapped (`chart`).
"""

from typing import Any

import dagster as dg

from ..adapters.unmapped import Unmapped, count_unmapped
from .chart import VALUES
from .owners import CLINICAL
from .resources import Road

SPELLINGS = "spellings of "
"""Begins the name of a number in the metadata: how many spellings a code set lacks."""

UNMAPPED_CODES = dg.AssetSpec(
    "unmapped_codes",
    deps=[VALUES],
    group_name="chart",
    owners=[CLINICAL],
    kinds={"python", "postgres"},
    description="Spellings that no code set knows, over everything charted. Their answers are held, or kept as typed, "
    "and each is a task; the rest of their submissions went on. `glp1 mapping unmapped` shows the spellings to a "
    "person who may see them; a line in `codes.csv` and a replay of the days mend every answer.\n\n*One row per code "
    "set and spelling.* View: `phi.unmapped_codes`.",
    metadata={"dagster/table_name": "phi.unmapped_codes"},
)


@dg.multi_asset(
    specs=[UNMAPPED_CODES],
    name="count_unmapped_codes",
    check_specs=[
        dg.AssetCheckSpec(
            "no_new_spellings",
            asset="unmapped_codes",
            description="Whether a code set lacks more spellings than at the last count. A warning: somebody should "
            "add lines to codes.csv, before the tasks of their patients pile up.",
        )
    ],
)
def count_unmapped_codes(context: dg.AssetExecutionContext, road: Road):
    """Count by code set; spellings stay in the store."""
    with road.connect("glp1 unmapped codes") as connection:
        found = count_unmapped(connection)
    grown = grown_sets(found, last_counts(context.instance))
    yield dg.MaterializeResult(
        "unmapped_codes",
        metadata=told(found),
        check_results=[
            dg.AssetCheckResult(
                asset_key="unmapped_codes",
                check_name="no_new_spellings",
                passed=not grown,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"code sets that lack more than before: {', '.join(grown)}" if grown else "nothing is new",
                metadata=dict(grown),
            )
        ],
    )


def told(found: dict[str, Unmapped]) -> dict[str, Any]:
    """Names of code sets and counts; times here are of receipt, and only of a whole set."""
    totals = {
        "unmapped spellings": sum(lack.spellings for lack in found.values()),
        "unmapped answers": sum(lack.answers for lack in found.values()),
    }
    return totals | {f"{SPELLINGS}{name}": lack.spellings for name, lack in found.items()}


def last_counts(instance: dg.DagsterInstance) -> dict[str, int]:
    """Code set -> how many spellings it lacked when it was counted last."""
    event = instance.get_latest_materialization_event(UNMAPPED_CODES.key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {
        name.removeprefix(SPELLINGS): value.value
        for name, value in metadata.items()
        if name.startswith(SPELLINGS) and isinstance(value, dg.IntMetadataValue) and value.value is not None
    }


def grown_sets(found: dict[str, Unmapped], before: dict[str, int]) -> dict[str, int]:
    """Code set -> how many spellings more than before."""
    return {name: more for name, lack in found.items() if (more := lack.spellings - before.get(name, 0)) > 0}


unmapped_schedule = dg.ScheduleDefinition(
    name="unmapped_codes_every_15_minutes",
    owners=[CLINICAL],
    cron_schedule="4,19,34,49 * * * *",
    target=dg.AssetSelection.assets("unmapped_codes"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts what the code sets lack, so that a new spelling is noticed the same day.",
)
