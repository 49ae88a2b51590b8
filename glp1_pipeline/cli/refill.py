"""Refills: what waits, for how long, and how each request came to stand where it does.

Here: the group, requests in names and times. Not here: records with their values (`refill_record`), people's word on a
request or a flag (`refill_word`), check-ins (`followup`).
"""

from __future__ import annotations

from typing import Any

import click

from . import refill_record, refill_word
from .telling import AS_JSON, age, question, say_limit, show_or_json, told, when

OUTCOMES = ("not_eligible", "hold", "hold_urgent", "escalate", "wait_until", "provider_queue")
STATUSES = ("open", "approved", "denied", "dispensed", "replaced", "closed")
NOBODY = "no patient and no request is known by this id: `glp1 refill list` shows the open requests"


@click.group(short_help="requests for refills: what waits, and why")
def refill() -> None:
    """Refills: which wait, what each was decided on and by which rule, and people's word on them.

    A request is decided by the first rule of contracts/refills.yaml that holds, each time that something is said of the
    patient and whenever time alone changes it. Nothing here approves, orders or sends a refill: the best that can
    come of a request is a place in the provider's queue. What a patient still has to do, `glp1 why PATIENT` says.
    """


for command in (refill_record.explain, refill_record.what_if, refill_word.override, refill_word.resolve):
    refill.add_command(command)


@refill.command(name="list", short_help="requests by outcome and status, the longest waiting first")
@click.option("--outcome", "outcomes", type=click.Choice(OUTCOMES), multiple=True, help="How it was decided.")
@click.option(
    "--status", "statuses", type=click.Choice([*STATUSES, "all"]), multiple=True, default=("open",), show_default=True,
    help="Where it stands.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@AS_JSON
def listed(outcomes: tuple[str, ...], statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Requests, the one first that has stood so for the longest: its id, the patient's, how and by which rule it was
    decided, since when, and until when it changes by itself. No value.

    The same option again widens; --status all shows those that are over too.
    """
    from ..adapters import refills

    wanted = [] if "all" in statuses else statuses
    found = told(lambda: question(lambda connection: refills.listed(connection, wanted, outcomes, limit)))

    def show() -> None:
        for one in found:
            until = f", changes by itself {when(one['until'])}" if one["until"] else ""
            click.echo(
                f"{one['refill_id']}  patient {one['patient_id']}  {one['status']}: {one['outcome']} by {one['rule']}"
                f" for {age(one['since'])}{until}"
            )
        if not found:
            click.echo("no request is so")
        say_limit(found, limit)

    show_or_json(as_json, found, show)


@refill.command(short_help="the requests of a patient: every decision, every override")
@click.argument("name", metavar="PATIENT|REFILL")
@AS_JSON
def show(name: str, as_json: bool) -> None:
    """The requests of a patient, or one request: how it stands, every decision, every override. Names and times.

    PATIENT is our id, or an id that another system gave; REFILL is our id of a request, as `glp1 refill list` prints.
    The ids of decisions are what `glp1 refill explain` takes; words of an override are in its sealed event alone.
    """
    from ..adapters import refills

    def work(connection) -> list[dict[str, Any]] | None:
        place = refills.find(connection, name)
        return None if place is None else refills.show(connection, *place)

    found = told(lambda: question(work))
    if found is None:
        raise click.ClickException(NOBODY)
    show_or_json(as_json, found, lambda: _show(found))


def _show(found: list[dict[str, Any]]) -> None:
    for one in found:
        ended = f", {one['status']} {age(one['ended_at'])} ago" if one["ended_at"] else ", open"
        asked = f"asked {age(one['requested_at'])} ago{ended}"
        click.echo(f"request {one['refill_id']} of {one['family'] or 'an unknown product'}: {asked}")
        for made in one["made"]:
            mark = "*" if made["decision_id"] == one["decision_id"] else " "
            click.echo(
                f" {mark} {made['as_of']:%Y-%m-%d %H:%M} UTC  {made['outcome']} by {made['rule']}"
                f"  (decision {made['decision_id']}, rules {made['rules_version']})"
            )
        if one["reasons"]:
            click.echo(f"   because of {', '.join(one['reasons'])}")
        for given in one["overrides"]:
            flags = f" for {', '.join(given['flags'])}" if given["flags"] else ""
            click.echo(
                f"   let through by {given['actor']} ({given['role']}): {', '.join(given['rules'])}{flags},"
                f" {given['reason']}, {'until' if given['is_in_force'] else 'ended'}"
                f" {given['expires_at']:%Y-%m-%d %H:%M} UTC (event {given['event_id']})"
            )
        if one["is_against_hold"]:
            click.echo("   it went on although its decision held it")
    if not found:
        click.echo("nobody asked for a refill yet")
