"""Replay from the UI: the job `replay_events`, whose Launchpad says what each choice means.

Here: wiring. Not here: what a plan is and does (`adapters.replay`).
"""

import enum
from datetime import date

import dagster as dg
from pydantic import Field

from ..adapters import replay as plans
from ..adapters.balance_parts import STATUSES
from ..adapters.progress import every_few_seconds
from . import launchpad
from .owners import INTEGRATION
from .resources import Road


class Why(enum.Enum):
    """Why a replay is done. Run config is kept in Dagster and shown in the UI: no words of one's own there."""

    NOT_SAID = ""
    CODE_MAP_CORRECTED = "a code map was corrected"
    CONTRACT_CORRECTED = "another part of the contract was corrected"
    CODE_MENDED = "our code was mended"
    MISSED_WORK = "it was not done the first time"
    PROOF = "to prove that nothing changes"
    OTHER = "another reason, noted elsewhere"


class ReplayConfig(launchpad.Choices):
    """Which events to compute again, and whether to do it. Safe as it stands: a dry run, which changes nothing."""

    event_ids: list[str] = Field(
        default=[], max_length=10_000, description="Ids of events, as `glp1 events` and `glp1 why` print them."
    )
    days: list[str] = Field(default=[], description="Days of receipt in UTC, as 2026-11-23.")
    sources: list[str] = Field(default=[], description="Who sent them, as the events say.")
    types: list[str] = Field(default=[], description="Kinds of event of the contract, `intake.submitted` say.")
    statuses: list[str] = Field(default=[], description="Where they stand: waiting, charted, rejected or dead.")
    failed_with: list[str] = Field(
        default=[],
        description="Why they were rejected or died, as `glp1 events` says, or the error's class.",
    )
    contract_versions: list[str] = Field(
        default=[], description="Versions of the contract that they were charted with: those of a mistake, say."
    )
    patients: list[str] = Field(
        default=[], description="Our ids of patients, as `glp1 why` prints them: all that was ever said of them."
    )
    plan_id: str = Field(
        default="", description="A plan that was made before (the output of a dry run names it): do that one, or go on "
        "with one that was stopped or killed. All choices above stay empty.",
    )  # fmt: skip
    dry_run: bool = Field(default=True, description="Say what it would change, by field and count; change nothing.")
    actor: str = Field(default="", description="Who wants it, as an opaque name. Needed where it is no dry run.")
    reason: Why = Field(
        default=Why.NOT_SAID,
        description="Why. Needed where it is no dry run. In words of your own: `glp1 replay`.",
    )


@dg.op(description="Make a plan of the chosen events and say what it would change, or do it in chunks.")
def replay(context: dg.OpExecutionContext, config: ReplayConfig, road: Road) -> None:
    """A dry run ends with the plan and its difference; else with the receipt."""
    tell = every_few_seconds(lambda now: context.log.info(f"{now.done} of {now.chosen} events"))
    (plan_id,) = launchpad.ids("plan_id", [config.plan_id]) if config.plan_id else (None,)
    selection = _selection(config, road)
    try:
        with road.connect("glp1 replay") as connection:
            plan_id = plan_id or plans.choose(connection, selection, road.contract.version)
            context.log.info(f"plan {plan_id}")
            if config.dry_run:
                plans.dry_run(connection, road.contract, road.cipher, plan_id, tell)
            else:
                plans.approve(connection, plan_id, config.actor, config.reason.value)
                plans.apply(connection, road.contract, road.cipher, plan_id, tell)
            receipt = plans.receipt(connection, plan_id)
    except plans.PlanFault as fault:
        raise dg.Failure(str(fault), allow_retries=False) from None
    # A plan may be approved by `glp1 replay` first, in somebody's own words.
    del receipt["reason"], receipt["approvals"]
    before, after = receipt["fingerprint_before"], receipt["fingerprint_after"]
    context.add_output_metadata(
        {
            "plan": receipt["plan_id"],
            "state": receipt["state"],
            "dry run": config.dry_run,
            "events": receipt["chosen"],
            **({} if receipt["chosen"] else {"hint": plans.NOTHING_FITS}),
            "done": receipt["done"],
            **({} if config.dry_run else {"state changed": before != after}),
            "difference": dg.MetadataValue.json(receipt["predicted" if config.dry_run else "changed"]),
            "receipt": dg.MetadataValue.json(receipt),
        }
    )


def _selection(config: ReplayConfig, road: Road) -> plans.Selection:
    return plans.Selection(
        event_ids=launchpad.ids("event_ids", config.event_ids),
        days=tuple(
            launchpad.read("days", day, date.fromisoformat, "a day that is not as 2026-11-23") for day in config.days
        ),
        sources=tuple(config.sources),
        types=launchpad.names("types", config.types, road.contract.event_types),
        statuses=launchpad.names("statuses", config.statuses, STATUSES),
        reasons=tuple(config.failed_with),
        contract_versions=tuple(config.contract_versions),
        patients=launchpad.ids("patients", config.patients),
    )


@dg.job(
    name="replay_events",
    description="Compute chosen events again from their sealed bytes: after a correction of the contract or of our "
    "code. First a dry run, which says by field and count what would change; then with an actor and a reason. What did "
    "not change writes nothing, so that nothing that reached people is done twice.",
    tags={"glp1/recovery": "replay"},
    owners=[INTEGRATION],
)
def replay_events():
    replay()
