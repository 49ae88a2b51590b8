"""The CRM heard: what people change there comes into the ledger as events, and is charted as every event is.

Here: wiring. Not here: which change is news (`adapters.crm.changes`), what a contact says (`domain.changes`), and what
the CRM is told (`delivery`).
"""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg

from ..adapters.calls import CallFailure
from ..adapters.crm.changes import Noticed, has_news, notice
from ..adapters.crm.cursor import LOOK_EVERY_SECONDS, lag_seconds, wait_for_due
from .owners import INTEGRATION
from .resources import Road
from .ticks import WAIT_SECONDS, has_just_failed, rest, running, wait_until

BUSY_SECONDS = 0.5
RUN_EVERY = timedelta(minutes=5)
"""However quiet it is: the asset says that the CRM is still heard, or what stops us."""
LAGS_AFTER_SECONDS = 15 * 60.0

CRM_CHANGES = dg.AssetSpec(
    "crm_changes",
    group_name="intake",
    owners=[INTEGRATION],
    kinds={"python", "http"},
    description="What people changed in the CRM since the last look: a new phone, an opt-out, a contact deleted. The "
    "CRM is asked by the time of the last change, each look beginning two minutes before the end of the one before, so "
    "that nothing is passed over; what was seen already is known by its version, and our own writes are no news. A "
    "webhook only makes the next look sooner. Each change is one event in the ledger, and whose word counts is decided "
    "there (contracts/ownership.csv). `lag (seconds)` is how long ago the CRM was last read to the end, and `stopped` "
    "why it cannot be read now.\n\n*One row per system and kind of resource that is asked for changes.* Table: "
    "`ops.poll_cursors`.",
    metadata={"dagster/table_name": "ops.poll_cursors"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=60), warn_window=timedelta(minutes=20)
    ),
)


@dg.multi_asset(
    specs=[CRM_CHANGES],
    name="notice_crm_changes",
    check_specs=[
        dg.AssetCheckSpec(
            "changes_are_read",
            asset="crm_changes",
            description=f"The CRM was read to its end within the last {LAGS_AFTER_SECONDS / 60:.0f} minutes. A "
            "warning: it does not answer, or does not let us in. Nothing is lost, it comes later; see `stopped`, and "
            "`glp1 crm status`.",
        )
    ],
)
def notice_crm_changes(context: dg.AssetExecutionContext, road: Road):
    """Look once, and bring what is new into the ledger."""
    found, stopped = Noticed(), None
    with road.in_words(), road.connect("glp1 crm changes") as connection:
        try:
            found = notice(connection, road.crm, road.contract, lambda documents: road.append(connection, documents))
        except CallFailure as failure:  # it goes on where it stopped, and says so here meanwhile
            stopped = failure.trouble
        lag = lag_seconds(connection)
    yield dg.MaterializeResult(
        "crm_changes",
        metadata={
            "contacts read": found.contacts,
            "changes": found.changes,
            "deleted": found.deleted,
            "our own writes": found.ours,
            **({} if lag is None else {"lag (seconds)": round(lag, 1)}),
            **({"stopped": stopped} if stopped else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="crm_changes",
                check_name="changes_are_read",
                passed=lag is not None and lag <= LAGS_AFTER_SECONDS,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"lag (seconds)": -1.0 if lag is None else round(lag, 1)},
            )
        ],
    )


def crm_changes_sensor(job) -> dg.SensorDefinition:
    @dg.sensor(
        name="crm_changes_due",
        owners=[INTEGRATION],
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks the CRM every {LOOK_EVERY_SECONDS:.0f} seconds, and at once when a webhook comes, whether "
        f"somebody changed a contact; only if so, or every {RUN_EVERY.seconds // 60} minutes, it asks for a run.",
    )
    def crm_changes_due(context: dg.SensorEvaluationContext, road: Road):
        asked = datetime.fromisoformat(context.cursor) if context.cursor else None

        with road.connect("glp1 crm changes sensor") as connection:

            def is_busy() -> bool:
                return has_just_failed(context.instance, job.name) or running(context.instance, job.name) > 0

            def is_due(left: float) -> bool:
                if not wait_for_due(connection, min(left, 1.0)):
                    return False
                if is_busy():  # what there is, that run takes: the CRM is not asked beside it
                    time.sleep(BUSY_SECONDS)
                    return False
                is_run_due = asked is None or datetime.now(UTC) - asked >= RUN_EVERY
                return is_run_due or has_news(connection, road.crm, road.contract)

            try:
                if not wait_until(WAIT_SECONDS, is_due, is_busy):
                    return dg.SkipReason("nobody changed a contact in the CRM")
            except CallFailure as failure:
                rest(failure.retry_after)
                return dg.SkipReason(f"the CRM cannot be asked now ({failure.trouble}); it is asked again")
        context.update_cursor(datetime.now(UTC).isoformat())
        return dg.RunRequest()

    return crm_changes_due
