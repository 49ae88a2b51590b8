"""The CRM heard: what people change there comes into the ledger as events, and is charted as every event is.

Here: wiring. Not here: which change is news (`adapters.crm.changes`), what a contact says (`domain.changes`), and what
the CRM is told (`delivery`).
"""

import time

import dagster as dg

from ..adapters.calls import CallFailure
from ..adapters.crm.changes import has_news, notice
from ..adapters.crm.cursor import LOOK_EVERY_SECONDS, wait_for_due
from .describe import OPS
from .resources import Road
from .ticks import WAIT_SECONDS, has_just_failed, running, wait_until

BUSY_SECONDS = 0.5

CRM_CHANGES = dg.AssetSpec(
    "crm_changes",
    group_name="intake",
    owners=[OPS],
    kinds={"python", "http"},
    description="What people changed in the CRM since the last look: a new phone, an opt-out, a contact deleted. The "
    "CRM is asked by the time of the last change, each look beginning two minutes before the end of the one before, so "
    "that nothing is passed over; what was seen already is known by its version, and our own writes are no news. A "
    "webhook only makes the next look sooner. Each change is one event in the ledger, and whose word counts is decided "
    "there (contracts/ownership.csv).\n\n*One row per system and kind of resource that is asked for changes.* Table: "
    "`ops.poll_cursors`.",
    metadata={"dagster/table_name": "ops.poll_cursors"},
)


@dg.multi_asset(specs=[CRM_CHANGES], name="notice_crm_changes")
def notice_crm_changes(context: dg.AssetExecutionContext, road: Road):
    """Look once, and bring what is new into the ledger."""
    with road.connect("glp1 crm changes") as connection:
        found = notice(connection, road.crm, road.contract, lambda documents: road.append(connection, documents))
    yield dg.MaterializeResult(
        "crm_changes",
        metadata={
            "contacts read": found.contacts,
            "changes": found.changes,
            "deleted": found.deleted,
            "our own writes": found.ours,
        },
    )


def crm_changes_sensor(job) -> dg.SensorDefinition:
    @dg.sensor(
        name="crm_changes_due",
        owners=[OPS],
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks the CRM every {LOOK_EVERY_SECONDS:.0f} seconds, and at once when a webhook comes, whether "
        "somebody changed a contact; only if so it asks for a run.",
    )
    def crm_changes_due(context: dg.SensorEvaluationContext, road: Road):
        with road.connect("glp1 crm changes sensor") as connection:

            def is_busy() -> bool:
                return has_just_failed(context.instance, job.name) or running(context.instance, job.name) > 0

            def is_due(left: float) -> bool:
                if not wait_for_due(connection, min(left, 1.0)):
                    return False
                if is_busy():  # what there is, that run takes: the CRM is not asked beside it
                    time.sleep(BUSY_SECONDS)
                    return False
                return has_news(connection, road.crm, road.contract)

            try:
                if not wait_until(WAIT_SECONDS, is_due, is_busy):
                    return dg.SkipReason("nobody changed a contact in the CRM")
            except CallFailure as failure:
                return dg.SkipReason(f"the CRM cannot be asked now ({failure.trouble}); it is asked again")
        return dg.RunRequest()

    return crm_changes_due
