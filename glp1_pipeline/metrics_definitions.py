"""What Dagster loads in the second code location: the metrics, and nothing else.

A location of its own, so that nothing of the road waits for it, and a fault in it stops nothing.
"""

import dagster as dg

from .defs import metrics

defs = dg.Definitions(
    assets=[metrics.build_metrics],
    jobs=[metrics.metrics_job],
    schedules=[metrics.metrics_schedule],
    executor=dg.in_process_executor,
)
