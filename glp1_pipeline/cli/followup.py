"""Check-ins before a refill: which are open, due or missed, and all of one patient.

Here: names and times, never an answer. Not here: requests of refills (`refill`), and when a check-in is due
(contracts/followups.yaml).
"""

from __future__ import annotations

from typing import Any

import click

from .telling import AS_JSON, age, patient_of, question, say_limit, show_or_json, told, when

STATUSES = ("planned", "open", "due", "missed", "completed")
MOMENTS = {
    "opens": "opens_at",
    "due": "due_at",
    "missed": "missed_at",
    "refill window": "window_at",
    "runs out": "runs_out_at",
}


@click.group(short_help="check-ins before a refill")
def followup() -> None:
    """Check-ins: what a patient under treatment answers before each refill, on their own clock.

    \b
    planned    not open yet               open   the patient may answer, and is reminded
    due        should have been answered  missed an exception: somebody calls, before the refill window opens
    completed  answered whole             ended  the next supply came, or the treatment was held or stopped

    One opens for each supply that was handed over, or for each cycle of short ones; where nobody told of a hand-over,
    for the order. Days are counted back from the day that the supply runs out, on the patient's calendar
    (contracts/followups.yaml). Late answers count too, until the next supply is handed over. One whose weight grew too
    old before a refill followed is missed anew.
    """


@followup.command(name="list", short_help="check-ins that are not over")
@click.option(
    "--status", "statuses", type=click.Choice(STATUSES), multiple=True, default=("open", "due", "missed"),
    show_default=True, help="Where it stands.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@AS_JSON
def listed(statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Check-ins that are not over, the one first whose refill window opens first. Names and times, no answer."""
    from ..adapters import followups

    found = told(lambda: question(lambda connection: followups.listed(connection, statuses, limit)))

    def show() -> None:
        for one in found:
            click.echo(
                f"{one['followup_id']}  patient {one['patient_id']}  {one['family']} {one['status']}:"
                f" due {when(one['due_at'])}, refill window {when(one['window_at'])}"
            )
        if not found:
            click.echo("no check-in is so")
        say_limit(found, limit)

    show_or_json(as_json, found, show)


@followup.command(short_help="all check-ins of a patient")
@click.argument("patient")
@AS_JSON
def show(patient: str, as_json: bool) -> None:
    """All check-ins of PATIENT, oldest first: when each opened, was due, was missed and was answered.

    Of an answer that is not whole it says what it lacks: field and state, never a value.

    PATIENT is our id, or an id that another system gave.
    """
    from ..adapters import followups

    found = told(lambda: question(lambda connection: followups.show(connection, patient_of(connection, patient))))

    def lines() -> None:
        for one in found:
            click.echo(f"check-in {one['followup_id']} of {one['family']}: {one['status']}{_late(one)}")
            moments = ", ".join(f"{name} {one[key]:%Y-%m-%d %H:%M}" for name, key in MOMENTS.items())
            click.echo(f"  {moments} UTC")
            if one["answered_at"]:
                click.echo(f"  answered {age(one['answered_at'])} ago")
            if one["missing"]:
                click.echo(f"  its answer lacks {', '.join(one['missing'])}")
            if one["ended_at"]:
                click.echo(f"  over for {age(one['ended_at'])}")
        if not found:
            click.echo("no supply was handed over or ordered with its days, so there is no check-in")

    show_or_json(as_json, found, lines)


def _late(one: dict[str, Any]) -> str:
    return " late" if one["was_missed"] and one["status"] == "completed" else ""
