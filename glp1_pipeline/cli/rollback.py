"""Taking back what was written by mistake, as a plan: which writes, what becomes of them, who wants it, its receipt.

Not here: what a plan does (`adapters.rollback`), computing again (`replay`), conflicts in the EHR (`mend`).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import click

from .plan import ACTOR, MANY, REASON, tell, tell_list
from .telling import AS_JSON, of_a_system, open_road, patient_of, show_or_json, told

PLAN = click.argument("plan_id", metavar="PLAN", type=click.UUID)
INSTANT = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])


@click.group(short_help="take back what was written to the EHR by mistake")
def rollback() -> None:
    """Take back what was written to the EHR by mistake: it says again what it said before, as far as nobody changed it.

    First `plan`, then `approve`, then `apply`; the outbox delivers. `show` is the receipt.

    What a write said is replaced by what we had said before; what was new is marked as entered in error, never deleted.
    What somebody changed there since is left and stands in `glp1 conflicts`. What was taken back is not sent again by
    any replay or event while our side says just that: correct the contract and replay, or release it.
    """


@rollback.command(short_help="choose writes: a dry run that asks the EHR, changes nothing")
@click.option("--write", "writes", type=int, help="A write's number, as `glp1 trace` prints it.", **MANY)
@click.option("--run", "runs", help="A run of Dagster that made or delivered the writes.", **MANY)
@click.option("--since", type=INSTANT, help="Delivered at or after it (UTC).")
@click.option("--until", type=INSTANT, help="Delivered before it (UTC).")
@click.option("--contract", "versions", help="The version of the contract that they were made by.", **MANY)
@click.option("--patient", "patients", help="The writes of a patient: our id, or a system's.", **MANY)
@click.option("--target", "targets", help="Only those to this system: ehr, say.", **MANY)
@AS_JSON
def plan(writes, runs, since, until, versions, patients, targets, as_json: bool) -> None:
    """Choose writes and say what taking them back would do: counts by type of resource and outcome, never a value.

    Options of several kinds narrow (a run and a patient); the same option again widens. Nothing is changed. What a
    rollback wrote is chosen by its number alone.

    \b
    restored            would say again what it said before
    entered_in_error    was not there before: would be marked so
    as_before           says that already;  rolled_back_before  is taken back already
    edited_since        somebody changed it there, deleted_since  or deleted it: left, a conflict
    written_since       we wrote it again, by a write that is not chosen: left
    not_ours_before     somebody else's word stood there before; no_history  nobody knows what did: left
    over_already        a reminder or a proposal that is over would be asked for again: left
    shared              somebody else's word stands there beside ours: left
    no_such_status      new, and FHIR cannot say of its type that it was an error (Patient): left
    on_its_way          a write of the patient is not delivered yet: `apply` waits for it, then decides
    not_settled         a write of the patient is dead: left
    forbidden           by contracts/writes.yaml, which says why: left
    """

    if not (writes or runs or since or until or versions or patients):
        raise click.UsageError("say what to take back: --write N, --run ID, --since WHEN, --contract V or --patient ID")

    def work() -> dict[str, Any]:
        from ..adapters import rollback as plans

        road = open_road()
        with road.connect("glp1 rollback") as connection:
            selection = plans.Selection(
                writes, runs, _utc(since), _utc(until), versions,
                tuple(uuid.UUID(patient_of(connection, name)) for name in patients), targets,
            )  # fmt: skip
            plan_id = plans.choose(connection, selection)
            seen = plans.dry_run(connection, road.contract, road.cipher, road.ehr, plan_id, _progress())
            receipt = plans.receipt(connection, plan_id)
        return {
            "dry_run": True,
            "plan_id": str(plan_id),
            "writes": seen.chosen,
            "would_write": seen.new_writes,
            **_counts(plans.by_outcome(receipt["predicted"])),
            "difference": receipt["predicted"],
        }

    tell(_told(work), as_json)


@rollback.command(name="list", short_help="the newest plans")
@AS_JSON
def list_plans(as_json: bool) -> None:
    """The newest plans: where each stands, how far it is, who wanted it and why."""
    found = _told(lambda: _ask(lambda plans, connection: plans.listed(connection)))
    tell_list(found, "writes", "writes", "no plan yet: `glp1 rollback plan --help`", as_json)


@rollback.command(short_help="the receipt: what was taken back, what was left and why")
@PLAN
@AS_JSON
def show(plan_id: uuid.UUID, as_json: bool) -> None:
    """PLAN whole: its receipt, once it is applied, and each resource that was left, with why."""

    def work(plans, connection) -> dict[str, Any]:
        return plans.receipt(connection, plan_id) | {"left": plans.left(connection, plan_id)}

    tell(_told(lambda: _ask(work)), as_json)


@rollback.command(short_help="say who wants a plan and why")
@PLAN
@ACTOR
@REASON
@AS_JSON
def approve(plan_id: uuid.UUID, actor: str, reason: str, as_json: bool) -> None:
    """Say who wants PLAN and why. Nothing is taken back yet: `apply` does it."""

    def work(plans, connection) -> dict[str, Any]:
        plans.approve(connection, plan_id, actor, reason)
        return plans.receipt(connection, plan_id)

    tell(_told(lambda: _ask(work)), as_json)


@rollback.command(short_help="do a plan, in chunks that can be stopped and taken up")
@PLAN
@ACTOR
@REASON
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds to wait for writes that are on their way.",
)
@AS_JSON
def apply(plan_id: uuid.UUID, actor: str, reason: str, wait: float, as_json: bool) -> None:
    """Do PLAN, which was approved; or approve it here by --actor and --reason. One that was stopped or killed goes on
    where it was; Ctrl-C loses nothing. The outbox delivers: `glp1 rollback show` says how far.

    What is on its way to the EHR is first let arrive, then taken back. Where that takes longer than --wait, the plan
    stays under way and Dagster's sensor `rollbacks_due` goes on with it, or this command does, given again.
    """

    def work() -> dict[str, Any]:
        from ..adapters import rollback as plans

        road = open_road()
        with road.connect("glp1 rollback") as connection:
            if actor or reason:
                plans.approve(connection, plan_id, actor, reason)
            seen = plans.apply(connection, road.contract, road.cipher, road.ehr, plan_id, _progress(), wait)
            receipt = plans.receipt(connection, plan_id)
            waiting = {} if seen.is_stopped else {"waiting": seen.waiting}
            return receipt | _counts(plans.by_outcome(receipt["changed"])) | waiting

    tell(_told(work), as_json)


@rollback.command(short_help="end a plan after the chunk under way")
@PLAN
@AS_JSON
def stop(plan_id: uuid.UUID, as_json: bool) -> None:
    """End PLAN after the chunk that is under way. `apply` with --actor and --reason takes it up again."""

    def work(plans, connection) -> dict[str, Any]:
        plans.stop(connection, plan_id)
        return plans.receipt(connection, plan_id)

    found = _told(lambda: _ask(work))
    show_or_json(
        as_json, found, lambda: click.echo(f"{found['state']}: {found['done']} of {found['writes']} writes done")
    )


@rollback.command(short_help="let what was taken back be sent again")
@PLAN
@ACTOR
@REASON
@AS_JSON
def release(plan_id: uuid.UUID, actor: str, reason: str, as_json: bool) -> None:
    """Let what PLAN took back be sent again: after the contract was corrected, for what was right all the while.

    One that was stopped half-way is released too, and goes on no more.

    Nothing is sent by this alone: the next event of a patient, or `glp1 replay`, writes what our side says then.
    """

    def work(plans, connection) -> dict[str, Any]:
        return {"plan_id": str(plan_id), "released": plans.release(connection, plan_id, actor, reason)}

    found = _told(lambda: _ask(work))
    show_or_json(
        as_json, found, lambda: click.echo(f"{found['released']} resources may be sent again: `glp1 replay` sends them")
    )


def _ask(asked) -> Any:
    from ..adapters import rollback as plans

    with open_road().connect("glp1 rollback") as connection:
        return asked(plans, connection)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _counts(outcomes: dict[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): count for name, count in outcomes.items()}


def _told(work) -> Any:
    """What a plan or the EHR refuses is a sentence, not a trace."""
    from ..adapters.rollback import PlanFault

    return told(lambda: of_a_system(work, "try again; what is done stays done"), PlanFault)


def _progress():
    from ..adapters.progress import every_few_seconds

    return every_few_seconds(lambda now: click.echo(f"{now.done} of {now.chosen} writes …", err=True))
