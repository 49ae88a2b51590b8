"""What Dagster loads: names the modules of `defs`, and nothing else.

Explicit on purpose: autoloading imports every installed plugin, which costs each process seconds.
"""

import dagster as dg

from .defs import chart, conflicts, delivery, intake, mapping, matches, recovery
from .defs.resources import Road

intake_job = dg.define_asset_job(
    "intake",
    selection=dg.AssetSelection.assets("drops", "events", *(s.key for s in chart.chart.specs)),
    description="From the landing zone to the provider's queue and the outbox, all that is pending in one run. "
    "Launched by hand for a day it recomputes that day; replaying changes only what the contract changed.",
    tags={"glp1/road": "intake"},
)
delivery_job = dg.define_asset_job(
    "delivery",
    selection=dg.AssetSelection.assets("deliveries"),
    description="Brings what the outbox holds to the EHR: order kept per patient, unknown outcomes read back first.",
    tags={"glp1/road": "delivery"},
)

defs = dg.Definitions(
    assets=[
        intake.receive,
        chart.chart,
        delivery.deliver,
        recovery.count_ledger,
        matches.count_reviews,
        conflicts.count_conflicts,
        mapping.count_unmapped_codes,
    ],
    jobs=[intake_job, delivery_job, recovery.replay_events, matches.decide_match],
    sensors=[intake.intake_sensor(intake_job), delivery.delivery_sensor(delivery_job), recovery.dead_runs],
    schedules=[recovery.balance_schedule],
    resources={"road": Road()},
    executor=dg.in_process_executor,
)
