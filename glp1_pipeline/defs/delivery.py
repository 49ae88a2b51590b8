"""Delivery: the outbox goes out to the EHR and to the CRM, patients in parallel, each patient's changes in order."""

import statistics
from datetime import timedelta
from typing import Any

import dagster as dg

from ..adapters import outbox
from ..adapters.charts import attend_disputes
from ..adapters.ehr import Entry, polling
from ..domain.contract import CRM, EHR
from .chart import WRITES
from .describe import spec
from .owners import INTEGRATION
from .partitions import DAYS, days_of, today
from .resources import Road
from .ticks import WAIT_SECONDS, has_just_failed, running, wait_until

KIND = "ehr_chart"
CRM_KIND = "crm_contact"
RUN_SECONDS = 120.0
"""A run delivers for so long at most; what is left is due for the next one."""

DELIVERIES = spec(
    "deliveries",
    group="delivery",
    deps=(WRITES,),
    kinds=("fhir",),
    fresh_for=timedelta(hours=24),
    why="Every attempt to bring a change to the EHR over HTTP. A time-out is read back before anything is sent again,"
    " so a chart is there once.",
)


CRM_DELIVERIES = dg.AssetSpec(
    "crm_deliveries",
    deps=[WRITES],
    group_name="delivery",
    owners=[INTEGRATION],
    kinds={"python", "http"},
    description="Every attempt to bring a patient's contact to the CRM: name, address and phone while they are ours to "
    "say, where in the program the person is, and opt-outs. Never an answer about health: `contracts/crm.yaml` is the "
    "whole list. Whatever somebody edited there is put into the ledger before it is written over.\n\n*One row per "
    "attempt to deliver a write of target `crm`.* Table: `ops.deliveries`.",
    metadata={"dagster/table_name": "ops.deliveries"},
)


@dg.multi_asset(
    specs=[DELIVERIES],
    name="deliver",
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[
        dg.AssetCheckSpec(
            "all_delivered",
            asset="deliveries",
            description="Writes that the EHR refused for good: each needs a person. `glp1 status` counts them and "
            "`glp1 why PATIENT` explains one. A resource that someone edited there is left as it is and counted as a "
            "conflict, with a task for a data steward: `glp1 conflicts` lists them.",
        )
    ],
)
def deliver(context: dg.AssetExecutionContext, road: Road):
    """Deliver what is due now, whatever day it is from; a replay of a past day finds nothing due and says so."""
    _ = days_of(context)
    cipher = road.cipher

    def hear(change: Entry, ours: dict[str, Any]) -> None:
        with road.connect("glp1 ehr edits") as connection:
            polling.hear(connection, road.ehr, road.contract, cipher, EHR, change, ours)

    with road.in_words():
        report = outbox.deliver_pending(
            road.connect,
            outbox.Heard(road.ehr, hear),
            road.contract.writes[KIND],
            cipher.open,
            deadline=RUN_SECONDS,
        )
    with road.connect("glp1 delivery") as connection:
        asked = attend_disputes(connection, road.contract, cipher)
        waiting = outbox.pending(connection, EHR)
    yield dg.MaterializeResult(
        "deliveries",
        metadata={
            **dict(report.outcomes),
            "resources": report.resources,
            "still waiting": waiting.ready + waiting.in_doubt,
            "edits decided or to decide (patients)": asked,
            **({"stopped": report.stopped} if report.stopped else {}),
            **({"milliseconds (median)": round(statistics.median(report.ms), 1)} if report.ms else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="deliveries",
                check_name="all_delivered",
                passed=waiting.dead == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"dead": waiting.dead},
            )
        ],
    )


@dg.multi_asset(
    specs=[CRM_DELIVERIES],
    name="deliver_to_crm",
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[
        dg.AssetCheckSpec(
            "all_contacts_delivered",
            asset="crm_deliveries",
            description="Writes that the CRM refused for good, and contacts in conflict: deleted there, or with an "
            "address that another contact has. Each needs a person: `glp1 crm conflicts` lists them.",
        )
    ],
)
def deliver_to_crm(context: dg.AssetExecutionContext, road: Road):
    """Deliver what is due to the CRM now; a replay of a past day finds nothing due and says so."""
    _ = days_of(context)
    cipher = road.cipher

    def append(documents: list[bytes]) -> None:
        with road.connect("glp1 crm edits") as connection:
            road.append(connection, documents)

    with road.in_words():
        report = outbox.deliver_pending(
            road.connect,
            outbox.Contacts(road.crm, road.contract, append),
            road.contract.writes[CRM_KIND],
            cipher.open,
            deadline=RUN_SECONDS,
        )
    with road.connect("glp1 crm delivery") as connection:
        attend_disputes(connection, road.contract, cipher)
        waiting, disputed = outbox.pending(connection, CRM), len(outbox.conflicts(connection, CRM))
    yield dg.MaterializeResult(
        "crm_deliveries",
        metadata={
            **dict(report.outcomes),
            "still waiting": waiting.ready + waiting.in_doubt,
            "conflicts": disputed,
            **({"stopped": report.stopped} if report.stopped else {}),
            **({"milliseconds (median)": round(statistics.median(report.ms), 1)} if report.ms else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="crm_deliveries",
                check_name="all_contacts_delivered",
                passed=waiting.dead + disputed == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"dead": waiting.dead, "conflicts": disputed},
            )
        ],
    )


def delivery_sensor(job) -> dg.SensorDefinition:
    return _writes_due("ehr_writes_due", EHR, "EHR", job)


def crm_delivery_sensor(job) -> dg.SensorDefinition:
    return _writes_due("crm_writes_due", CRM, "CRM", job)


def _writes_due(name: str, target: str, system: str, job) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        owners=[INTEGRATION],
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Waits until a write to the {system} is due (new, or its time to be tried again has come) and asks"
        " for a run that delivers all that is due.",
    )
    def writes_due(context: dg.SensorEvaluationContext, road: Road):
        with road.connect(f"glp1 {target} delivery sensor") as connection:

            def is_due(left: float) -> bool:
                return outbox.wait_for_due(connection, target, min(left, 1.0))

            def is_busy() -> bool:
                return has_just_failed(context.instance, job.name) or running(context.instance, job.name) > 0

            if not wait_until(WAIT_SECONDS, is_due, is_busy):
                return dg.SkipReason(f"no write to the {system} is due")
        return dg.RunRequest(partition_key=today().isoformat())

    return writes_due
