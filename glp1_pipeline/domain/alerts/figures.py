"""Time to detect, to answer and to recover, computed from incidents (K5).

detect = detected - opened, answer = acknowledged - detected, recover = resolved - opened. Open incidents are counted
with their age and never averaged in. Not here: which incidents (`adapters.alerts`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from .shapes import Incident

FEW = 20
"""Below this many a mean says little: `is_few`."""


def figures(incidents: Iterable[Incident], now: datetime) -> dict[str, Any]:
    """All together and by alert: counts, and seconds as n, sum, mean, median and p95 (None: nothing to count)."""
    everything = list(incidents)
    names = sorted({incident.alert for incident in everything})
    return {
        "all": _figures(everything, now),
        "by_alert": {name: _figures([i for i in everything if i.alert == name], now) for name in names},
    }


def _figures(incidents: Sequence[Incident], now: datetime) -> dict[str, Any]:
    still = [i for i in incidents if i.resolved_at is None]
    return {
        "incidents": len(incidents),
        "open": len(still),
        "oldest_open_seconds": max(((now - i.opened_at).total_seconds() for i in still), default=None),
        "escalated": sum(i.escalated_at is not None for i in incidents),
        "detect": _spread([(i.detected_at - i.opened_at).total_seconds() for i in incidents]),
        "answer": _spread(
            [(i.acknowledged_at - i.detected_at).total_seconds() for i in incidents if i.acknowledged_at]
        ),
        "recover": _spread([(i.resolved_at - i.opened_at).total_seconds() for i in incidents if i.resolved_at]),
    }


def _spread(seconds: list[float]) -> dict[str, Any]:
    n = len(seconds)
    p95 = None if not n else sorted(seconds)[max(0, -(-95 * n // 100) - 1)]
    return {
        "n": n,
        "is_few": n < FEW,
        "sum": round(sum(seconds), 3),
        "mean": round(statistics.fmean(seconds), 3) if n else None,
        "median": round(statistics.median(seconds), 3) if n else None,
        "p95": round(p95, 3) if p95 is not None else None,
    }
