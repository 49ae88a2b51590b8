"""Health for ops leads: a page that is made again every two minutes, and numbers that plot.

Here: wiring, which `glp1 health` shares, so that a look needs no Dagster. Not here: verdicts (`domain.health`), reading
(`adapters.health`), and how the page looks (`adapters.health_page`).
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
from dagster._core.scheduler.instigation import InstigatorStatus, SensorInstigatorData
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage

from ..adapters.health import look_at_health
from ..adapters.health_page import page, page_of, write_page
from ..adapters.retention import dagster_rows
from ..adapters.settings import Settings
from ..adapters.store import StoreGone
from ..domain.contract import CRM, EHR
from ..domain.health import COLOURS, Fault, Health, Part
from .alerts import book_and_world
from .owners import OPERATIONS
from .recovery import LEDGER_BALANCE
from .resources import Road

GATE_TASK = "missing-high-risk-input"
"""The task that a held patient makes first: its queue's team answers for the gates."""

HEALTH_PAGE = dg.AssetSpec(
    "health_page",
    deps=[LEDGER_BALANCE],
    group_name="recovery",
    owners=[OPERATIONS],
    kinds={"python", "html"},
    description="One page for ops leads: each feed, queue, gate, target system and program green, amber or red, since "
    "when, whose it is and what to do next. Written every two minutes and whenever an alert begins or ends to "
    "GLP1_HOME/health/index.html, without a name of a patient; its address is in the metadata. While Dagster or our "
    "database is down, `glp1 alerts watch` writes it. `glp1 health` says the same at once.",
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=10), warn_window=timedelta(minutes=6)
    ),
)


def look(road: Road, connection: psycopg.Connection, more: tuple[Part, ...] = ()) -> Health:
    book, around = book_and_world(road)
    gates, targets, queue = frozenset[str](), {EHR, CRM}, ""
    if around.event_types:
        contract = road.contract
        targets = {kind.target for kind in contract.writes.values()}
        queue = contract.tasks[GATE_TASK].queue
        # That of check-ins holds a request, and is told with the requests.
        gates = contract.gates.keys() - {contract.followups.gate}
    told = Part("program", "contract", ", ".join(around.faulty) or f"version {road.contract.version}")
    return look_at_health(connection, book, around, gates, targets, queue, (*more, told))


def of_dagster(settings: Settings, automation: Collection[str]) -> tuple[Part, ...]:
    """What Dagster's own records tell, read without its processes; nothing before its first start."""
    from .storage import Storage

    try:
        with dagster_rows.connect(url := settings.dagster_url()) as connection:
            if not dagster_rows.has_tables(connection):
                return ()
    except StoreGone as gone:
        step = "What runs and sensors did cannot be told until it answers."
        return (Part("program", "records of Dagster", faults=(Fault("amber", str(gone), step, "glp1 status"),)),)
    kept = Storage(url)
    return runs_of(kept.run_storage, datetime.now(UTC)), switched_off(kept.schedule_storage, automation)


def runs_of(kept: RunStorage, now: datetime) -> Part:
    """Runs that failed within the last hour, those among them whose worker died."""
    failed = kept.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - timedelta(hours=1)), limit=1000
    )
    if not failed:
        return Part("program", "runs", "0 failed in the last hour")
    jobs = sorted(
        {record.dagster_run.job_name for record in failed if not record.dagster_run.job_name.startswith("__")}
    )
    ended = min(record.end_time or now.timestamp() for record in failed)
    says = f"{len(failed)} failed in the last hour" + (f" ({', '.join(jobs)})" if jobs else "")
    step = "See why under Runs in the UI; what they had not done is pending, and the next run takes it."
    return Part(
        "program", "runs", faults=(Fault("amber", says, step, "glp1 status", datetime.fromtimestamp(ended, UTC)),)
    )


def addresses(settings: Settings) -> dict[str, str]:
    """Where the page is: its file, and its address on this machine where the receiver of webhooks runs."""
    found = {"file": str(page_of(settings.home))}
    if port := settings.state.get("crm_hook_port"):
        found["address"] = f"http://127.0.0.1:{port}/health-page"
    return found


def switched_off(kept: ScheduleStorage, names: Collection[str]) -> Part:
    """Sensors and schedules among `names` that somebody turned off: what they would do is not done, and only some of
    it is told by an alert, and late."""
    off = {
        state.instigator_name: state.instigator_data
        for state in kept.all_instigator_state(instigator_statuses={InstigatorStatus.STOPPED})
        if state.instigator_name in names
    }
    if not off:
        return Part("program", "sensors and schedules", f"all {len(names)} are on")
    last = [data.last_tick_timestamp for data in off.values() if isinstance(data, SensorInstigatorData)]
    since = min((datetime.fromtimestamp(at, UTC) for at in last if at), default=None)
    says, step = f"turned off: {', '.join(sorted(off))}", "Ask who turned it off and why; turn it on under Automation."
    return Part("program", "sensors and schedules", faults=(Fault("amber", says, step, "glp1 status", since),))


def health_page(automation: Collection[str]) -> dg.AssetsDefinition:
    """`automation`: names of all sensors and schedules, each of which is to be on."""

    @dg.multi_asset(specs=[HEALTH_PAGE], name="write_health_page")
    def write_health_page(context: dg.AssetExecutionContext, road: Road):
        """Look at everything, at Dagster's runs and sensors too, and write the page."""
        runs, schedules = context.instance.run_storage, context.instance.schedule_storage
        assert schedules  # an instance without one runs no schedule
        dagsters = runs_of(runs, datetime.now(UTC)), switched_off(schedules, automation)
        with road.connect("glp1 health page") as connection:
            health = look(road, connection, dagsters)
        path = write_page(page_of(road.settings.home), page(health))
        where = addresses(road.settings)
        yield dg.MaterializeResult(
            "health_page",
            metadata={
                **{f"{colour} lights": health.counts[colour] for colour in COLOURS},
                "page": dg.MetadataValue.path(str(path)),
                **({"address": dg.MetadataValue.url(where["address"])} if "address" in where else {}),
                "not green": [f"{one.kind} {one.name}: {one.colour}" for one in health.lights if one.colour != "green"],
            },
        )

    return write_health_page


health_schedule = dg.ScheduleDefinition(
    name="health_page_every_2_minutes",
    owners=[OPERATIONS],
    cron_schedule="*/2 * * * *",
    target=dg.AssetSelection.assets("health_page"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Makes the page of health again, so that an ops lead who opens it sees how all stands now.",
)
