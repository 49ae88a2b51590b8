"""Alerts on Dagster's clock: a sensor that looks every half minute and sends, and numbers that plot.

Here: wiring, which `glp1 alerts` shares, so that a look needs no Dagster. Not here: when something fires
(`domain.alerts`), what is measured and how it is sent (`adapters.alerts`).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from ..adapters import alerts
from ..adapters.alerts import Absence, Channels, Looked, Sent, World
from ..adapters.postgres_place import data_of
from ..adapters.store import StoreGone
from ..contracts import ContractError
from ..contracts.alerts import load_alerts
from ..domain.alerts import Book, Incident, figures
from .describe import spec
from .owners import INTEGRATION
from .recovery import LEDGER_BALANCE
from .resources import Road, contract

LOOK_EVERY_SECONDS = 30
REPORT_DAYS = 30

INCIDENTS = spec(
    "incidents",
    group="alerts",
    owner=INTEGRATION,
    deps=(LEDGER_BALANCE,),
    fresh_for=timedelta(minutes=30),
    why="Everything that somebody was called for, from the moment that the condition began to the moment that it was "
    "well again. What is watched, from which age on, and whose it is: `contracts/alerts.yaml`; who is on call: "
    "`contracts/oncall.yaml`. `glp1 alerts list` shows what is open, `glp1 alerts ack NUMBER` says that somebody is at "
    "it, and each has a section in docs/runbook.md.",
)


_known: list[Book] = []
"""The last rules of alerting that this process could read."""


def book_and_world(road: Road) -> tuple[Book, World]:
    """What to look by. A mistake in a file of the contract is told like any other trouble: it must not silence all
    that would be told. Raises ContractError only where the rules themselves are broken and were never read before."""
    settings, faulty, event_types = road.settings, (), {}
    try:
        _known[:] = [load_alerts()]
    except ContractError as error:
        if not _known:
            raise
        faulty += error.places
    try:
        event_types = contract().event_types
    except ContractError as error:
        faulty += error.places
    landing = None if "://" in settings.landing_url else Path(settings.landing_url)
    return _known[0], World(landing, event_types, settings.ui_base_url(), tuple(dict.fromkeys(faulty)))


def look_and_send(road: Road, *, is_sensor: bool = False) -> tuple[Looked, Sent]:
    """Look at everything that is due and send what there is to tell; the cheap and urgent first. That the store is away
    or takes no write is told as well, before the ConnectionError goes on."""
    ways = Channels.from_settings(road.settings)
    book, around = book_and_world(road)
    absence = Absence(road.settings.home / "run", book, around.ui, data_of(road.settings))
    try:
        with road.in_words(), road.connect("glp1 alerts") as connection:
            absence.is_over(connection)
            found = alerts.look(connection, book, around, is_sensor=is_sensor)
            told = alerts.send(connection, ways)
            dear = alerts.look(connection, book, around, is_sensor=is_sensor, is_dear=True)
            if dear.messages:
                told = told + alerts.send(connection, ways, deadline=5.0)
    except StoreGone:
        absence.lasts(ways)
        raise
    return found + dear, told


@dg.multi_asset(
    specs=[INCIDENTS],
    name="count_incidents",
    check_specs=[
        dg.AssetCheckSpec(
            "critical_acknowledged",
            asset="incidents",
            description="Warns while anything critical is open and nobody has said that they are at it. "
            "`glp1 alerts list` shows what, `glp1 alerts ack NUMBER --by NAME` answers it.",
        ),
        dg.AssetCheckSpec(
            "somebody_is_told",
            asset="incidents",
            description="Warns when messages wait for a channel that has no address here or does not take them, when "
            "some were given up, or when an address cannot be used: see to GLP1_ALERT_URLS, and try `glp1 alerts test`,"
            " which says what is wrong.",
        ),
    ],
)
def count_incidents(road: Road):
    """Count what is open, and how soon things are found and mended."""
    with road.connect("glp1 incidents") as connection:
        known = alerts.history(connection, timedelta(days=REPORT_DAYS))
        unheard, unsent = alerts.unheard(connection), alerts.unsent(connection)
    unsent["addresses that cannot be used"] = len(Channels.from_settings(road.settings).faults)
    numbers = as_numbers(known, datetime.now(UTC))
    yield dg.MaterializeResult(
        "incidents",
        metadata={**numbers, "critical and unanswered": unheard, **unsent},
        check_results=[
            _check("critical_acknowledged", unheard == 0, {"critical and unanswered": unheard}),
            _check("somebody_is_told", not any(unsent.values()), unsent),
        ],
    )


def _check(name: str, passed: bool, numbers: dict[str, int]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key="incidents",
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=numbers,
    )


def as_numbers(known: list[Incident], now: datetime) -> dict[str, float]:
    """What is open by alert, and K5 of the last days in seconds."""
    found = figures(known, now)
    numbers: dict[str, float] = {"open": found["all"]["open"], f"in {REPORT_DAYS} days": found["all"]["incidents"]}
    for name, one in found["by_alert"].items():
        numbers[f"open {name}"] = one["open"]
    for what in ("detect", "answer", "recover"):
        if found["all"][what]["n"]:
            numbers[f"seconds to {what} (mean)"] = found["all"][what]["mean"]
            numbers[f"seconds to {what} (p95)"] = found["all"][what]["p95"]
    return numbers


@dg.sensor(
    name="alerts",
    owners=[INTEGRATION],
    target=dg.AssetSelection.assets("health_page"),
    minimum_interval_seconds=LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Looks every {LOOK_EVERY_SECONDS} seconds at everything that is watched, opens, escalates and ends "
    "incidents, and sends what there is to tell. When one begins, is escalated or ends, it has the page of health made "
    "anew. Where Dagster itself may be down, `glp1 alerts check` does the same from cron.",
)
def alerts_sensor(road: Road):
    """Look and send."""
    found, told = look_and_send(road, is_sensor=True)
    trouble = f", {sum(told.failed.values())} not taken" if told.failed else ""
    silent = f"; no address for {', '.join(told.without_address)}" if told.without_address else ""
    silent += "".join(f". {fault}" for fault in told.faults)
    news = f"{found.opened} new, {found.escalated} escalated, {found.resolved} ended"
    if found.opened or found.escalated or found.resolved:
        return dg.RunRequest(tags={"glp1/alerts": news})
    return dg.SkipReason(f"{found.open} open, {news}; {told.sent} sent{trouble}{silent}")


alerts_schedule = dg.ScheduleDefinition(
    name="incidents_every_5_minutes",
    owners=[INTEGRATION],
    cron_schedule="*/5 * * * *",
    target=dg.AssetSelection.assets("incidents"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts incidents, so that what is open and how soon things are mended can be plotted.",
)
