"""How long each hop takes, as numbers that plot. Here: wiring. Not here: measuring (`adapters.hops`)."""

from datetime import timedelta

import dagster as dg

from ..adapters import hops
from ..domain.contract import CRM, EHR
from .chart import WRITES
from .intake import EVENTS
from .owners import INTEGRATION
from .resources import Road

HOPS = dg.AssetSpec(
    "hops",
    deps=[EVENTS, WRITES],
    group_name="recovery",
    owners=[INTEGRATION],
    kinds={"python", "postgres"},
    description="Seconds from receipt to charted, from receipt to the provider's queue and from a change to each "
    "system that must hear of it: median and p95 of the last hour, how long the oldest waits before each now, the "
    "share of attempts that failed and why, and duplicates suppressed. Every five minutes; `glp1 metrics` gives the "
    "same to a scraper, `glp1 trace EVENT` the journey of one event.",
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=30), warn_window=timedelta(minutes=15)
    ),
)


@dg.multi_asset(specs=[HOPS], name="measure_hops")
def measure_hops(road: Road):
    """Measure all hops in one snapshot."""
    with road.connect("glp1 hops") as connection:
        found = hops.measure(connection, (CRM, EHR))
    numbers: dict[str, float | int] = {}
    for hop in (hop for hop in found.hops if hop.window == "1h"):
        name = f"{hop.hop} {hop.target}".strip().replace("_", " ")
        numbers[f"{name}: count"] = hop.count
        if hop.p50 is not None and hop.p95 is not None:
            numbers |= {f"{name}: seconds (median)": round(hop.p50, 3), f"{name}: seconds (p95)": round(hop.p95, 3)}
    for (hop, target), age in found.oldest.items():
        numbers[f"{hop} {target}".strip().replace("_", " ") + ": oldest waits (s)"] = round(age, 1)
    for target in found.targets:
        numbers[f"{target}: error rate"] = round(found.error_rate(target, "1h"), 4)
        numbers |= {f"{target}: error rate, {name}": round(n, 4) for name, n in found.error_rates(target, "1h").items()}
    for (target, window, outcome), count in found.attempts.items():
        if window == "1h":
            numbers[f"{target}: {outcome}"] = count
    numbers["duplicates suppressed"] = found.duplicates
    yield dg.MaterializeResult("hops", metadata=dict(numbers))
