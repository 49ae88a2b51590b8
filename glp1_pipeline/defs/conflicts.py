"""Ownership in numbers: what systems disagree about now, and which system broke which rule on which day.

Here: wiring. Not here: whose word counts (`domain.ownership`), and how conflicts are kept (`adapters`).
"""

from collections import Counter
from datetime import timedelta

import dagster as dg

from ..adapters.charts import attend_disputes, conflicts
from .chart import CHARTS
from .describe import spec
from .owners import STEWARD
from .resources import Road

DRIFT_ROWS = 200
OPEN = "open conflicts"

FIELD_CONFLICTS = spec(
    "field_conflicts",
    group="ownership",
    owner=STEWARD,
    deps=(CHARTS,),
    fresh_for=timedelta(hours=2),
    why="Every field of a patient has one owner in each stage (contracts/ownership.csv). Where another system says "
    "something else, the field's rule decides: it is refused, merged, or held as a task for a data steward. Here is "
    "what is open, by field and rule, and how old the oldest is. It closes by itself as soon as both systems say the "
    "same. For one patient ask `glp1 why PATIENT`.",
)
OWNERSHIP_DRIFT = dg.AssetSpec(
    "ownership_drift",
    deps=[FIELD_CONFLICTS],
    group_name="ownership",
    owners=[STEWARD],
    kinds={"python", "postgres"},
    description="The drift report by day: which system wrote against the owner of which field, which rule settled it, "
    "how often, and how many are still open. Names and counts, newest day first, in the metadata `by day`. One system "
    "high up every day means that it edits what is not its own: talk to whoever runs it. The same as `glp1 drift`.",
)


@dg.multi_asset(
    specs=[FIELD_CONFLICTS, OWNERSHIP_DRIFT],
    name="count_conflicts",
    check_specs=[
        dg.AssetCheckSpec(
            "conflicts_do_not_grow",
            asset="field_conflicts",
            description="Warns when more conflicts are open than at the last count: systems drift apart faster than "
            "stewards settle. Look in the metadata which field and rule grew, and in `ownership_drift` which system.",
        )
    ],
)
def count_conflicts(context: dg.AssetExecutionContext, road: Road):
    """Count what is open, and tell the days' drift."""
    with road.connect("glp1 conflicts") as connection:
        attend_disputes(connection, road.contract, road.cipher)  # whoever found them may have died before
        found, days = conflicts.open_conflicts(connection), conflicts.drift(connection)
    before = open_before(context.instance)
    now = sum(row["open"] for row in found)
    yield dg.MaterializeResult(
        "field_conflicts",
        metadata={
            OPEN: now,
            "for a steward": sum(row["open"] for row in found if row["outcome"] == "task"),
            "oldest in days": max((row["oldest_days"] for row in found), default=0),
            **summed(found, "field"),
            **summed(found, "rule"),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="field_conflicts",
                check_name="conflicts_do_not_grow",
                passed=before is None or now <= before,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={OPEN: now, **({} if before is None else {"at the last count": before})},
            )
        ],
    )
    latest = days[0]["day"] if days else None
    yield dg.MaterializeResult(
        "ownership_drift",
        metadata={
            "by day": dg.MetadataValue.md(as_table(days[:DRIFT_ROWS])),
            "on the latest day": sum(row["times"] for row in days if row["day"] == latest),
            **{f"{system} in all": n for system, n in sorted(_times(days).items())},
        },
    )


def open_before(instance: dg.DagsterInstance) -> int | None:
    """How many were open at the last count; None where nobody counted yet."""
    event = instance.get_latest_materialization_event(dg.AssetKey("field_conflicts"))
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    value = metadata[OPEN].value if OPEN in metadata else None
    return value if isinstance(value, int) else None


def summed(found: list[dict], by: str) -> dict[str, int]:
    """Open conflicts by field or by rule, each a line of its own in the plots."""
    counts: Counter[str] = Counter()
    for row in found:
        counts[f"{by} {row[by]}"] += row["open"]
    return dict(counts)


def as_table(rows: list[dict]) -> str:
    """A markdown table; a sentence where there is nothing to tell."""
    if not rows:
        return "No system wrote against an owner yet."
    names = list(rows[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(str(v) for v in row.values()) for row in rows)])


def _times(days: list[dict]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in days:
        counts[row["system"]] += row["times"]
    return counts


conflicts_schedule = dg.ScheduleDefinition(
    name="field_conflicts_every_15_minutes",
    owners=[STEWARD],
    cron_schedule="*/15 * * * *",
    target=dg.AssetSelection.assets("field_conflicts", "ownership_drift"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts open conflicts between systems, so that drift is seen the day that it begins.",
)
