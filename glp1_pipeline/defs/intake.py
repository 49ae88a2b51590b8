"""Intake: the landing zone becomes the event ledger, and one run carries what is pending to the provider's queue."""

from datetime import timedelta
from enum import Enum

import dagster as dg

from ..adapters import ledger
from ..adapters.charts import is_backlog, pending_days
from ..adapters.progress import every_few_seconds
from .describe import spec
from .owners import INTEGRATION
from .partitions import DAYS, span, today
from .resources import Road, Shown
from .ticks import WAIT_SECONDS, has_just_failed, running, wait_until

BACKLOG = 2000
"""Waiting events that are worth a second run: a processor's work for some seconds."""


class Scope(Enum):
    PENDING = "pending"
    WHOLE_DAY = "whole_day"


DROPS = spec(
    "drops",
    group="intake",
    kinds=("file",),
    fresh_for=timedelta(hours=24),
    why="Files that producers dropped into the landing zone, how far each was read and what came of its lines.",
)
EVENTS = spec(
    "events",
    group="intake",
    deps=(DROPS, "ehr_changes", "crm_changes"),
    fresh_for=timedelta(hours=24),
    why="The event ledger: every event we ever received, once, with its exact bytes sealed. Nothing later is lost, "
    "since all else is recomputed from here.",
)


@dg.multi_asset(
    specs=[DROPS, EVENTS],
    name="receive",
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=False,
    check_specs=[
        dg.AssetCheckSpec(
            "every_line_understood",
            asset="events",
            description="Lines of this run that were quarantined: malformed, of an unknown version, in conflict. Each "
            "is kept with its reason; `glp1 status` lists the reasons. A warning, since the rest went on.",
        )
    ],
)
def receive(context: dg.AssetExecutionContext, road: Road):
    """Read every ready drop into the ledger; a replay of a past day finds nothing new and says so."""
    of = span(context)
    with road.keep("glp1 receive") as connection:
        tell = every_few_seconds(lambda now: context.log.info(f"{now.lines} lines read, {now.events} events new"))
        named = road.settings.drop_sources
        got = ledger.take(connection, road.landing, road.contract, road.cipher, tell, named)
    yield dg.MaterializeResult(
        "drops",
        metadata={
            "drops": got.drops,
            "refused": got.refused_drops,
            "lines": got.lines,
            "left unfinished": got.left_behind,
            **of,
        },
    )
    yield dg.MaterializeResult(
        "events",
        metadata={"events": got.events, "rejected": got.rejected, "duplicates": got.duplicates, **of},
        check_results=[
            dg.AssetCheckResult(
                asset_key="events",
                check_name="every_line_understood",
                passed=got.rejected + got.refused_drops == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "rejected": got.rejected,
                    "refused drops": got.refused_drops,
                    # Not a number of its own each: a reason that is seen once would be a plot of one dot for ever.
                    "reasons": dg.MetadataValue.json(got.reasons),
                },
            )
        ],
    )


def intake_sensor(job) -> dg.SensorDefinition:
    @dg.sensor(
        name="intake_drops",
        owners=[INTEGRATION],
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Waits for drops in the landing zone and asks for one run that carries all of them, and whatever "
        "a killed run left behind, to the provider's queue. Remembers nothing: what is new is in the landing zone, "
        "what is pending is in the ledger.",
    )
    def intake_drops(context: dg.SensorEvaluationContext, road: Road):
        with road.connect("glp1 intake sensor") as connection:

            def is_due(left: float) -> bool:
                if pending_days(connection):
                    return True
                try:
                    return road.landing.wait(min(left, 1.0))
                except OSError as error:
                    raise Shown(
                        f"the landing zone cannot be listed ({error.strerror}): mount it, or mend its owner and mode."
                        " Nothing is lost: what is dropped there is read when it can be. "
                    ) from None

            def is_busy() -> bool:
                # One run takes all that is pending; a backlog gets a second one, which charts beside the first.
                return has_just_failed(context.instance, job.name) or running(context.instance, job.name) >= (
                    2 if is_backlog(connection, BACKLOG) else 1
                )

            if not wait_until(WAIT_SECONDS, is_due, is_busy):
                return dg.SkipReason("nothing new in the landing zone, nothing pending in the ledger")
            # By the store's clock a day may have begun that is none yet by ours: today's run takes it along.
            days = {min(day, today()) for day in pending_days(connection)}
            days |= {today()} if road.landing.ready(limit=1) else set()
        config = {"ops": {"chart": {"config": {"scope": Scope.PENDING.name}}}}
        return [dg.RunRequest(partition_key=day.isoformat(), run_config=config) for day in sorted(days)]

    return intake_drops
