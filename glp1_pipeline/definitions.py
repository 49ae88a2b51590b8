"""What Dagster loads: names the modules of `defs`, and nothing else.

Explicit on purpose: autoloading imports every installed plugin, which costs each process seconds.
"""

import dagster as dg

from .defs import (
    alerts,
    chart,
    conflicts,
    crm,
    delivery,
    ehr_changes,
    followup,
    health,
    hops,
    intake,
    maintenance,
    mapping,
    matches,
    medication,
    override,
    override_order,
    recovery,
    refill,
    replay,
    rollback,
)
from .defs.owners import INTEGRATION
from .defs.resources import Road

intake_job = dg.define_asset_job(
    "intake",
    owners=[INTEGRATION],
    selection=dg.AssetSelection.assets("drops", "events", *(s.key for s in chart.chart.specs)),
    description="From the landing zone to the provider's queue and the outbox, all that is pending in one run. "
    "Launched by hand for a day it recomputes that day; replaying changes only what the contract changed.",
    tags={"glp1/road": "intake"},
)
delivery_job = dg.define_asset_job(
    "delivery",
    owners=[INTEGRATION],
    selection=dg.AssetSelection.assets("deliveries"),
    description="Brings what the outbox holds to the EHR: order kept per patient, unknown outcomes read back first.",
    tags={"glp1/road": "delivery"},
)
crm_delivery_job = dg.define_asset_job(
    "crm_delivery",
    owners=[INTEGRATION],
    selection=dg.AssetSelection.assets("crm_deliveries"),
    description="Tells the CRM how far each patient is, and never anything clinical; what was edited there is heard "
    "first.",
    tags={"glp1/road": "delivery"},
)
ehr_changes_job = dg.define_asset_job(
    "ehr_changes",
    owners=[INTEGRATION],
    selection=dg.AssetSelection.assets("ehr_changes"),
    description="Brings what people changed in the EHR into the ledger; our own writes that come back are no news.",
    tags={"glp1/road": "inbound"},
)
crm_changes_job = dg.define_asset_job(
    "crm_changes",
    owners=[INTEGRATION],
    selection=dg.AssetSelection.assets("crm_changes"),
    description="Brings what people changed in the CRM into the ledger; our own writes that come back are no news.",
    tags={"glp1/road": "inbound"},
)

sensors = [
    intake.intake_sensor(intake_job),
    delivery.delivery_sensor(delivery_job),
    delivery.crm_delivery_sensor(crm_delivery_job),
    ehr_changes.ehr_changes_sensor(ehr_changes_job),
    crm.crm_changes_sensor(crm_changes_job),
    followup.patient_clocks,
    recovery.dead_runs,
    rollback.rollbacks_due,
    alerts.alerts_sensor,
]
schedules = [
    recovery.balance_schedule,
    conflicts.conflicts_schedule,
    mapping.unmapped_schedule,
    medication.treatments_schedule,
    refill.refills_schedule,
    alerts.alerts_schedule,
    health.health_schedule,
    maintenance.maintenance_schedule,
    maintenance.table_sizes_schedule,
]

defs = dg.Definitions(
    assets=[
        intake.receive,
        chart.chart,
        ehr_changes.notice_ehr_changes,
        crm.notice_crm_changes,
        delivery.deliver,
        delivery.deliver_to_crm,
        recovery.count_ledger,
        hops.measure_hops,
        maintenance.measure_tables,
        alerts.count_incidents,
        health.health_page([one.name for one in (*sensors, *schedules)]),
        matches.count_reviews,
        conflicts.count_conflicts,
        mapping.count_unmapped_codes,
        medication.count_treatments,
        followup.count_follow_ups,
        refill.count_refills,
    ],
    jobs=[
        intake_job,
        delivery_job,
        crm_delivery_job,
        ehr_changes_job,
        crm_changes_job,
        replay.replay_events,
        rollback.rollback_writes,
        matches.decide_match,
        override.override_refill,
        override_order.override_order,
        maintenance.maintenance,
    ],
    sensors=sensors,
    schedules=schedules,
    resources={"road": Road()},
    executor=dg.in_process_executor,
)
