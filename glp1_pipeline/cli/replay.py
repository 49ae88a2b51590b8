"""Computing again, as a plan: what is chosen, what it would change, who wants it and why, its receipt.

Not here: what a plan does (`adapters.replay`), and conflicts in the EHR (`mend`).
"""

from __future__ import annotations

import uuid
from typing import Any

import click

from .plan import ACTOR, MANY, REASON, must_be_named, tell, tell_list
from .telling import AS_JSON, audited, open_road, patient_of, show_or_json, told

STATUS = click.Choice(["waiting", "charted", "rejected", "dead"])


@click.group(invoke_without_command=True, short_help="compute events again after a correction")
@click.option("--event", "events", type=click.UUID, help="An event to compute again.", **MANY)
@click.option("--day", "days", type=click.DateTime(["%Y-%m-%d"]), help="A day of receipt (UTC).", **MANY)
@click.option("--source", "sources", help="Who sent it, as its events say.", **MANY)
@click.option("--type", "types", help="A kind of event of the contract, intake.submitted say.", **MANY)
@click.option(
    "--status",
    "statuses",
    type=STATUS,
    help="Where it stands.",
    **MANY,
)
@click.option(
    "--failed-with", "reasons", help="Why it was rejected or died, as `glp1 events` says; or the error's class.", **MANY
)
@click.option("--contract", "versions", help="The version of the contract that it was charted with.", **MANY)
@click.option("--patient", "patients", help="All that was said of a patient: our id, or a system's.", **MANY)
@click.option("--dead-writes", is_flag=True, help="Also try dead writes to the EHR again.")
@click.option(
    "--anew", is_flag=True, help="With --dead-writes: those that were refused for what they say are decided anew."
)
@click.option("--apply", "is_applied", is_flag=True, help="Do it, with --actor and --reason. Else nothing is changed.")
@ACTOR
@REASON
@AS_JSON
@click.pass_context
def replay(
    context, events, days, sources, types, statuses, reasons, versions, patients, dead_writes: bool, anew: bool,
    is_applied: bool, actor: str, reason: str, as_json: bool,
) -> None:  # fmt: skip
    """Compute events again from their sealed bytes: after a correction of the contract or of our code.

    Options of several kinds narrow (a day and a source); the same option again widens. Without --apply it makes a
    plan and says what it would change, in names and counts; `glp1 replay approve PLAN` does that plan.

    What did not change changes nothing and writes nothing; replaying three times is the same as once.

    A dead write is sent again as it was. The EHR refuses again what it refused for what it says (`rejected`): with
    --anew that write and those behind it are given up, and the patient is decided anew by what is known now, once our
    code, the contract or the answer is corrected.
    """
    if context.invoked_subcommand is not None:
        return
    asked = bool(events or days or sources or types or statuses or reasons or versions or patients)
    if not asked and not dead_writes:
        raise click.UsageError("say what to replay: --event ID, --day YYYY-MM-DD, --status dead or --dead-writes")
    if anew and not dead_writes:
        raise click.UsageError("--anew is about dead writes: give --dead-writes too")
    if is_applied:
        must_be_named(actor, reason, "--apply", "a replay")

    def work() -> dict[str, Any]:
        from ..adapters import outbox, refused
        from ..adapters import replay as plans

        road = open_road()
        with road.connect("glp1 replay") as connection:
            dead = outbox.pending(connection, "ehr").dead
            found: dict[str, Any] = {"dry_run": not is_applied, "plan_id": None, "events": 0, "difference": {}}
            if asked:
                selection = plans.Selection(
                    tuple(events), tuple(day.date() for day in days), sources, types, statuses, reasons, versions,
                    tuple(uuid.UUID(patient_of(connection, name)) for name in patients),
                )  # fmt: skip
                plan_id = plans.choose(connection, selection, road.contract.version)
                found |= (
                    _apply(road, connection, plan_id, actor, reason) if is_applied else _look(road, connection, plan_id)
                )
                if not found["events"]:
                    found["hint"] = plans.NOTHING_FITS
            if is_applied:
                told: dict[str, Any] = {}
                if dead_writes:
                    audited(road.settings.home, actor, reason, "replay.dead_writes", writes=dead, anew=anew)
                if anew:
                    done = refused.decide_anew(connection, road.contract, road.cipher, "ehr")
                    told = {
                        "writes_given_up": done.given_up, "writes_decided_anew": done.new_writes,
                        "patients_left_as_they_were": done.left,
                    }  # fmt: skip
                retried = outbox.retry_dead(connection, "ehr") if dead_writes else 0
                return {"new_writes": 0, "state_changed": False} | found | told | {"writes_tried_again": retried}
            of_refused = len(refused.refused(connection, "ehr"))
            return found | {"dead_writes": dead, "patients_refused_for_what_is_said": of_refused}

    found = _told(work)
    tell(found, as_json)
    if not as_json and found["dry_run"] and found["events"]:
        click.echo(f"`glp1 replay approve {found['plan_id']} --actor ... --reason ...` does it")


def _look(road, connection, plan_id: uuid.UUID) -> dict[str, Any]:
    from ..adapters import replay as plans

    seen = plans.dry_run(connection, road.contract, road.cipher, plan_id, _progress())
    return {
        "plan_id": str(plan_id),
        "events": seen.done,
        "would_write": seen.new_writes,
        "would_die": seen.dead,
        "would_reject": seen.rejected,
        "difference": plans.tree(seen.changes),
    }


def _apply(road, connection, plan_id: uuid.UUID, actor: str, reason: str) -> dict[str, Any]:
    from ..adapters import replay as plans

    plans.approve(connection, plan_id, actor, reason)
    done = plans.apply(connection, road.contract, road.cipher, plan_id, _progress())
    receipt = plans.receipt(connection, plan_id)
    return {
        "plan_id": str(plan_id),
        "state": receipt["state"],
        "events": done.done,
        "dead": done.dead,
        "rejected": done.rejected,
        "new_writes": done.new_writes,
        "state_changed": receipt["fingerprint_before"] != receipt["fingerprint_after"],
        "difference": receipt["changed"],
    }


@replay.command(name="list", short_help="the newest plans")
@AS_JSON
def list_plans(as_json: bool) -> None:
    """The newest plans: where each stands, how far it is, who wanted it and why."""
    found = _told(lambda: _ask(lambda plans, connection: plans.listed(connection)))
    tell_list(found, "events", "chosen", "no plan yet: `glp1 replay --help`", as_json)


@replay.command(short_help="a plan and its receipt")
@click.argument("plan", type=click.UUID)
@AS_JSON
def show(plan: uuid.UUID, as_json: bool) -> None:
    """PLAN whole: its receipt, once it is applied."""
    tell(_told(lambda: _ask(lambda plans, connection: plans.receipt(connection, plan))), as_json)


@replay.command(short_help="approve a plan and do it")
@click.argument("plan", type=click.UUID)
@ACTOR
@REASON
@AS_JSON
def approve(plan: uuid.UUID, actor: str, reason: str, as_json: bool) -> None:
    """Approve PLAN and do it; one that was stopped or killed goes on where it was. Ctrl-C loses nothing."""

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 replay") as connection:
            return {"dry_run": False} | _apply(road, connection, plan, actor, reason)

    tell(_told(work), as_json)


@replay.command(short_help="end a plan after the chunk under way")
@click.argument("plan", type=click.UUID)
@AS_JSON
def stop(plan: uuid.UUID, as_json: bool) -> None:
    """End PLAN after the chunk that is under way. `approve` takes it up again."""

    def work(plans, connection) -> dict[str, Any]:
        plans.stop(connection, plan)
        return plans.receipt(connection, plan)

    found = _told(lambda: _ask(work))
    show_or_json(
        as_json, found, lambda: click.echo(f"{found['state']}: {found['done']} of {found['chosen']} events done")
    )


def _ask(asked) -> Any:
    from ..adapters import replay as plans

    with open_road().connect("glp1 replay") as connection:
        return asked(plans, connection)


def _told(work) -> Any:
    """What a plan refuses is a sentence, not a trace."""
    from ..adapters.charts import ChartFault
    from ..adapters.replay import PlanFault

    return told(work, PlanFault, ChartFault)


def _progress():
    from ..adapters.progress import every_few_seconds

    return every_few_seconds(lambda now: click.echo(f"{now.done} of {now.chosen} events …", err=True))
