"""The chart: events become values, charts, risk flags, gate results, tasks, the provider's queue and writes."""

import statistics
from datetime import timedelta

import dagster as dg

from ..adapters import charts
from ..adapters.progress import every_few_seconds
from ..domain.mapping import NO_FIELD
from .describe import spec
from .intake import Scope
from .matches import MATCHES
from .owners import CLINICAL, OPERATIONS
from .partitions import DAYS, days_of, span, today
from .resources import Road

# Each asset names only its nearest input: the others follow from it. With a second way to the same asset, Dagster
# 1.13 refuses a backfill of these assets ("targeted subset must match"), though the days are the same.
VALUES = spec(
    "patient_values",
    group="chart",
    deps=(MATCHES,),
    why="What each submission says, field by field, mapped by the contract: value, unknown, declined or held, never a "
    "guess. A correction of the contract and a replay of the days mend every value.",
)
CHARTS = spec(
    "charts",
    group="chart",
    owner=CLINICAL,
    deps=(VALUES,),
    why="The chart of each patient: per field the newest answer that says something, with its source.",
)
FLAGS = spec(
    "risk_flags",
    group="chart",
    owner=CLINICAL,
    deps=(CHARTS,),
    why="Red, amber and informative risk flags for triage. Recomputing adds; a red one stays until a provider "
    "refutes it.",
)
GATES = spec(
    "gate_results",
    group="chart",
    owner=OPERATIONS,
    deps=(FLAGS,),
    kinds=("pandera",),
    why="The completeness gate: who may enter the provider's queue, and what is missing for those who may not.",
)
TASKS = spec(
    "tasks",
    group="chart",
    owner=OPERATIONS,
    deps=(GATES,),
    why="Work for people, one task per cause, with its queue, owner and due time. It closes itself when the missing "
    "answer arrives.",
)
QUEUE = spec(
    "provider_queue",
    group="chart",
    owner=CLINICAL,
    deps=(GATES,),
    fresh_for=timedelta(hours=24),
    why="Patients whose chart is complete, waiting for a provider; plotted with the seconds from receipt to queue.",
)
WRITES = spec(
    "writes",
    group="delivery",
    deps=(TASKS,),
    kinds=("fhir",),
    why="The outbox: every change that the EHR or the CRM must hear, made in the transaction of the change itself. A"
    " replay that changes nothing makes none.",
)


COMPLETE_SHARE = 0.8


class ChartConfig(dg.Config):
    """What to chart of the days of this run."""

    scope: Scope = Scope.WHOLE_DAY


@dg.multi_asset(
    specs=[MATCHES, VALUES, CHARTS, FLAGS, GATES, TASKS, QUEUE, WRITES],
    name="chart",
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=False,
    check_specs=[
        dg.AssetCheckSpec(
            "mapped_without_correction",
            asset="patient_values",
            description="Share of the answers of this run that mapped without a person's help; the goal is 95 %. Below "
            "it a field, a spelling or a question is new: its name, of a question the count, is in the numbers.",
        ),
        dg.AssetCheckSpec(
            "no_event_died",
            asset="patient_values",
            description="Events on which our own code failed. Each is kept: mend the code, then replay the day.",
        ),
        dg.AssetCheckSpec(
            "chart_completeness",
            asset="gate_results",
            description=f"Whether at least {COMPLETE_SHARE:.0%} of the patients of this run pass the completeness gate,"
            " and how often each field was missing. One incomplete patient holds nobody else, so this warns, never"
            " blocks. If the share falls, look which field grew: a question was changed, or a code is new.",
        ),
    ],
)
def chart(context: dg.AssetExecutionContext, config: ChartConfig, road: Road):
    """Chart what is pending in the days of this run, or with scope WHOLE_DAY all that was received in them."""
    days = days_of(context)
    with road.keep("glp1 chart") as connection:
        if config.scope is Scope.PENDING and today() in days:
            days += tuple(day for day in charts.pending_days(connection) if day > today())
        scope = charts.Scope(days=days, is_replay=config.scope is Scope.WHOLE_DAY)
        tell = every_few_seconds(lambda now: context.log.info(f"{now.events} events charted, {now.writes} writes made"))
        done = charts.chart_events(connection, road.contract, road.cipher, scope, tell)
    yield from _results(done, span(context))


def _results(done: charts.Charted, of: dict[str, str]):
    yield dg.MaterializeResult("patient_matches", metadata={"patients that gained or lost a record": done.merged} | of)
    unknown = done.problems.get(f"{NO_FIELD}:unknown_question", 0)
    answered, failed = done.values + unknown or 1, done.held_values + unknown
    judged = done.passed + done.held
    yield dg.MaterializeResult(
        "patient_values",
        metadata={"events": done.events, "values": done.values, "held values": done.held_values, "dead": done.dead}
        | of,
        check_results=[
            dg.AssetCheckResult(
                asset_key="patient_values",
                check_name="mapped_without_correction",
                passed=failed / answered <= 0.05,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "mapped share": round(1 - failed / answered, 4),
                    "unknown questions": unknown,
                    **_most(done.problems),
                },
            ),
            dg.AssetCheckResult(
                asset_key="patient_values",
                check_name="no_event_died",
                passed=done.dead == 0,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"dead": done.dead},
            ),
        ],
    )
    yield dg.MaterializeResult("charts", metadata={"patients": done.patients} | of)
    yield dg.MaterializeResult("risk_flags", metadata=dict(done.flags) | of)
    yield dg.MaterializeResult(
        "gate_results",
        metadata={"passed": done.passed, "held": done.held} | of,
        check_results=[
            dg.AssetCheckResult(
                asset_key="gate_results",
                check_name="chart_completeness",
                passed=not judged or done.passed / judged >= COMPLETE_SHARE,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "complete share": round(done.passed / judged, 4) if judged else 1.0,
                    "held": done.held,
                    **_most(done.missing),
                },
            )
        ],
    )
    yield dg.MaterializeResult("tasks", metadata={"opened": done.tasks_opened, "closed": done.tasks_closed} | of)
    seconds = (
        {"seconds from receipt to queue (median)": round(statistics.median(done.queue_seconds), 3)}
        if (done.queue_seconds)
        else {}
    )
    yield dg.MaterializeResult("provider_queue", metadata={"entered": done.entered_queue, **seconds} | of)
    yield dg.MaterializeResult(
        "writes",
        metadata={"writes": done.writes, "resources": done.resources, "contacts for the CRM": done.contacts} | of,
    )


def _most(counts: dict[str, int]) -> dict[str, int]:
    """The most frequent names with their counts: names of fields and causes, never values."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20])
