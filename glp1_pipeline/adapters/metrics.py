"""The numbers of `hops` as OpenMetrics text, and served on loopback for a scraper.

Every label is a name of ours or of the contract: a hop, a target, a window, an outcome. Not here: counting (`hops`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from wsgiref.simple_server import WSGIServer

import psycopg
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from ..domain.contract import CRM, EHR
from .hops import WINDOWS, Hops, measure

TARGETS = (CRM, EHR)
FRESH_SECONDS = 5.0
"""Several scrapers within this time share one look at the database."""


class _Collector(Collector):
    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self.connect, self.lock = connect, Lock()
        self.looked_at, self.found = 0.0, Hops()

    def collect(self) -> Iterable[Metric]:
        with self.lock:
            if time.monotonic() - self.looked_at > FRESH_SECONDS or not self.looked_at:
                with self.connect() as connection:
                    self.found = measure(connection, TARGETS)
                self.looked_at = time.monotonic()
            found = self.found
        return families(found)


def families(found: Hops) -> list[Metric]:
    """Each number with its name, labels and meaning."""
    seconds = GaugeMetricFamily(
        "glp1_hop_seconds", "Seconds that a hop took, by quantile.", labels=("hop", "target", "window", "quantile")
    )
    count = GaugeMetricFamily("glp1_hop_count", "How often a hop was made.", labels=("hop", "target", "window"))
    for hop in found.hops:
        count.add_metric((hop.hop, hop.target, hop.window), hop.count)
        for quantile, value in (("0.5", hop.p50), ("0.95", hop.p95)):
            if value is not None:
                seconds.add_metric((hop.hop, hop.target, hop.window, quantile), value)
    oldest = GaugeMetricFamily(
        "glp1_hop_oldest_waiting_seconds", "How long the oldest waits before a hop now.", labels=("hop", "target")
    )
    for (hop, target), age in found.oldest.items():
        oldest.add_metric((hop, target), age)
    attempts = GaugeMetricFamily(
        "glp1_attempts", "Attempts to deliver, by what came of them.", labels=("target", "window", "outcome")
    )
    for labels, n in found.attempts.items():
        attempts.add_metric(labels, n)
    errors = GaugeMetricFamily(
        "glp1_error_rate", "Share of the attempts that did not deliver.", labels=("target", "window")
    )
    by_class = GaugeMetricFamily(
        "glp1_error_rate_by_class",
        "Share of the attempts that did not deliver, by why.",
        labels=("target", "window", "class"),
    )
    for target in found.targets:
        for window in WINDOWS:
            errors.add_metric((target, window), found.error_rate(target, window))
            for name, rate in found.error_rates(target, window).items():
                by_class.add_metric((target, window, name), rate)
    events = GaugeMetricFamily("glp1_events", "Events that are not charted, by status.", labels=("status",))
    for status, n in found.events.items():
        events.add_metric((status,), n)
    writes = GaugeMetricFamily("glp1_writes", "Writes that are not delivered.", labels=("target", "status"))
    for labels, n in found.writes.items():
        writes.add_metric(labels, n)
    breakers = GaugeMetricFamily("glp1_breaker_open", "1 while nothing is sent to a target.", labels=("target",))
    for target, is_open in found.breakers.items():
        breakers.add_metric((target,), float(is_open))
    return [
        seconds,
        count,
        oldest,
        attempts,
        errors,
        by_class,
        events,
        writes,
        breakers,
        CounterMetricFamily("glp1_lines", "Lines read since ever.", value=found.lines),
        CounterMetricFamily("glp1_duplicates_suppressed", "Lines that were there already.", value=found.duplicates),
        GaugeMetricFamily("glp1_queue_patients", "Patients in the provider's queue.", value=found.queue),
        GaugeMetricFamily("glp1_tasks_open", "Open tasks.", value=found.tasks),
    ]


def text(connect: Callable[[], psycopg.Connection]) -> str:
    """The exposition, once."""
    return generate_latest(_registry(connect)).decode()


def serve(connect: Callable[[], psycopg.Connection], port: int) -> tuple[WSGIServer, int]:
    """Answer scrapers on 127.0.0.1 until the server is shut down; the server and its port (0: any free one)."""
    server, _ = start_http_server(port, addr="127.0.0.1", registry=_registry(connect))
    return server, server.server_port


def _registry(connect: Callable[[], psycopg.Connection]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Collector(connect))
    return registry
