"""Rollback from the UI: the job `rollback_writes`, whose Launchpad says what each choice means.

Here: wiring. Not here: what a plan is and does (`adapters.rollback`).
"""

import enum
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from ..adapters import rollback as plans
from ..adapters.ehr import EhrFailure
from ..adapters.progress import every_few_seconds
from . import launchpad
from .owners import INTEGRATION
from .resources import Road
from .ticks import has_just_failed, running

FAILED_PAUSE_SECONDS = 300.0
SHOWN = 1000
"""Resources left that the output names; `glp1 rollback show` names all."""


class Mistake(enum.Enum):
    """Why writes are taken back. Run config is kept in Dagster and shown in the UI: no words of one's own there."""

    NOT_SAID = ""
    CODE_MAP = "a code map was wrong"
    CONTRACT = "another part of the contract was wrong"
    OUR_CODE = "our code was wrong"
    WRONG_SOURCE = "a source sent what it should not"
    DRILL = "a drill"
    OTHER = "another reason, noted elsewhere"


class RollbackConfig(launchpad.Choices):
    """Which writes to take back, and whether to do it. Safe as it stands: a dry run, which changes nothing."""

    write_ids: list[int] = Field(
        default=[], max_length=10_000, description="Numbers of writes, as `glp1 trace` prints them."
    )
    run_ids: list[str] = Field(
        default=[], description="Runs of Dagster that made or delivered the writes: a whole run id, as its page shows."
    )
    since: str = Field(default="", description="Delivered at or after this instant, as 2026-11-23T14:00 (UTC).")
    until: str = Field(default="", description="Delivered before this instant, as 2026-11-23T15:30 (UTC).")
    contract_versions: list[str] = Field(
        default=[], description="Versions of the contract that the writes were made by: those of a mistake, say."
    )
    patients: list[str] = Field(
        default=[], description="Our ids of patients, as `glp1 why` prints them: the writes of all their records."
    )
    targets: list[str] = Field(
        default=[], description="Systems that were written to, `ehr` say. It narrows, and chooses nothing by itself."
    )
    plan_id: str = Field(
        default="", description="A plan that was made before (the output of a dry run names it): do that one, or go on "
        "with one that was stopped or killed. All choices above stay empty.",
    )  # fmt: skip
    dry_run: bool = Field(
        default=True, description="Say what would be taken back, by type and outcome, and what be left; change nothing."
    )
    wait_seconds: float = Field(
        default=60.0, ge=0, le=3600, description="How long to wait for writes that are on their way to the EHR. What "
        "is not settled then is gone on with by the sensor `rollbacks_due`.",
    )  # fmt: skip
    actor: str = Field(
        default="",
        description="Who wants it, as an opaque name. Needed where it is no dry run, and nobody approved the plan.",
    )
    reason: Mistake = Field(
        default=Mistake.NOT_SAID,
        description="Why. Needed where it is no dry run. In words of your own: `glp1 rollback`.",
    )


@dg.op(description="Make a plan of the chosen writes and say what would be taken back, or do it in chunks.")
def take_back(context: dg.OpExecutionContext, config: RollbackConfig, road: Road) -> None:
    """A dry run ends with the plan and its counts; else with the receipt. Delivery goes on by itself."""
    tell = every_few_seconds(lambda now: context.log.info(f"{now.done} of {now.chosen} writes"))
    (plan_id,) = launchpad.ids("plan_id", [config.plan_id]) if config.plan_id else (None,)
    selection = _selection(config, road)
    try:
        with road.connect("glp1 rollback") as connection:
            plan_id = plan_id or plans.choose(connection, selection)
            context.log.info(f"plan {plan_id}")
            if config.dry_run:
                plans.dry_run(connection, road.contract, road.cipher, road.ehr, plan_id, tell)
            else:
                if config.actor or config.reason.value or not config.plan_id:
                    plans.approve(connection, plan_id, config.actor, config.reason.value)
                plans.apply(connection, road.contract, road.cipher, road.ehr, plan_id, tell, config.wait_seconds)
            receipt, left = plans.receipt(connection, plan_id), plans.left(connection, plan_id)
    except plans.PlanFault as fault:
        raise dg.Failure(str(fault), allow_retries=False) from None
    except EhrFailure as failure:
        raise dg.Failure(
            f"the EHR does not tell what stands there ({failure.trouble}): try again; what is done stays done"
        ) from None
    # A plan may be approved by `glp1 rollback` first, in somebody's own words.
    del receipt["reason"], receipt["approvals"]
    told = receipt["predicted" if config.dry_run else "changed"]
    outcomes = plans.by_outcome(told)
    context.add_output_metadata(
        {
            "plan": receipt["plan_id"],
            "state": receipt["state"],
            "dry run": config.dry_run,
            "writes": receipt["writes"],
            "done": receipt["done"],
            **({"waiting": receipt["writes"] - receipt["done"]} if receipt["state"] == "applying" else {}),
            "taken back": outcomes["taken back"],
            "left": outcomes["left"],
            "held": receipt["held"],
            "difference": dg.MetadataValue.json(told),
            "left for a person": dg.MetadataValue.json(left[:SHOWN]),
            "receipt": dg.MetadataValue.json(receipt),
        }
    )


def _selection(config: RollbackConfig, road: Road) -> plans.Selection:
    return plans.Selection(
        write_ids=tuple(config.write_ids),
        run_ids=tuple(config.run_ids),
        since=_instant("since", config.since),
        until=_instant("until", config.until),
        contract_versions=tuple(config.contract_versions),
        patients=launchpad.ids("patients", config.patients),
        targets=launchpad.names("targets", config.targets, {kind.target for kind in road.contract.writes.values()}),
    )


def _instant(field: str, told: str) -> datetime | None:
    if not told:
        return None
    at = launchpad.read(field, told, datetime.fromisoformat, "an instant that is not as 2026-11-23T14:00")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dg.job(
    name="rollback_writes",
    description="Take back what was written to the EHR by mistake: by run, window of time, version of the contract, "
    "patient or number. First a dry run, which asks the EHR and says by type what would say again what it said before, "
    "what be marked as entered in error, and what be left because somebody changed it since. Then with an actor and a "
    "reason, as new writes through the outbox. Nothing of it is sent again until our side says something else or "
    "somebody releases it (`glp1 rollback release`).",
    tags={"glp1/recovery": "rollback"},
    owners=[INTEGRATION],
)
def rollback_writes():
    take_back()


@dg.sensor(
    name="rollbacks_due",
    owners=[INTEGRATION],
    job=rollback_writes,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Goes on with an approved rollback whose writes were on their way when it was applied, as soon as they "
    "are settled, and with one whose process died.",
)
def rollbacks_due(context: dg.SensorEvaluationContext, road: Road):
    """One plan at a time: its approval stands, so nobody is asked again."""
    job = rollback_writes.name
    if running(context.instance, job) or has_just_failed(context.instance, job, FAILED_PAUSE_SECONDS):
        return dg.SkipReason("a rollback is at work, or has just failed")
    with road.connect("glp1 rollback sensor") as connection:
        due = plans.due(connection, road.contract)
    if not due:
        return dg.SkipReason("no rollback waits for what is settled now")
    config = RollbackConfig(plan_id=str(due[0]), dry_run=False)
    return dg.RunRequest(run_config=dg.RunConfig({take_back.name: config}))
