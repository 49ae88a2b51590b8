"""What a patient's check-ins and requests wait for, in sentences: the part of `glp1 why` about refills.

Not here: the rest of it (`look`), and reading (`adapters.refills`, `adapters.followups`).
"""

from __future__ import annotations

import time
from typing import Any

import click

from .telling import age, when

BY_ITSELF = {
    "refill.window_opened": "the refill window opens",
    "refill.input_expired": "what it rests on is too old then",
    "refill.override_expired": "an override ends",
}
NOBODY = {
    "wait_until": "nobody's: time alone is needed",
    "not_eligible": "the patient's: their check-in is needed",
}
"""Outcome -> what is said where it is no task of anybody's."""
SINCE = {"open": ("opens_at", "may be answered"), "due": ("due_at", "is due"), "missed": ("missed_at", "was missed")}


def show(found: dict[str, Any]) -> None:
    for one in found["check_ins"]:
        _check_in(one)
    for one in found["refills"]:
        _refill(one)


def _check_in(one: dict[str, Any]) -> None:
    key, words = SINCE[one["status"]]
    is_again = one["status"] == "missed" and one["answered_at"] is not None
    if is_again:
        key, words = "answered_at", "must be done again, it was answered"
    lacks = f"; what was answered lacks {', '.join(one['missing'])}" if one["missing"] else ""
    since = f"{age(one[key])} ago" if is_again else f"for {age(one[key])}"
    click.echo(f"check-in of {one['family']} {words} {since}{lacks}")
    opens = f"{one['window_at']:%Y-%m-%d %H:%M} UTC ({when(one['window_at'])})"
    # What is asked for again was in time once.
    in_time = (
        f"the refill window opened {opens}" if is_again else f"in time before {opens}, when the refill window opens"
    )
    lasts = "runs" if one["runs_out_at"].timestamp() > time.time() else "ran"
    click.echo(
        f"  it may be done until the next supply is handed over; {in_time};"
        f" this supply {lasts} out {when(one['runs_out_at'])}"
    )
    _whose(one["tasks"], "the patient's: nobody is asked to call yet")


def _refill(one: dict[str, Any]) -> None:
    because = f" ({', '.join(one['reasons'])})" if one["reasons"] else ""
    click.echo(f"refill of {one['family'] or 'an unknown product'}: {one['outcome']} for {age(one['since'])}")
    click.echo(f"  rule {one['rule']}: {one['rule_says']}{because}")
    if one["outcome"] not in ("provider_queue", "wait_until"):
        roles = "; ".join(f"{role} ({', '.join(reasons)})" for role, reasons in one["may_override"].items())
        click.echo(f"  may be let through by {roles or 'nobody'}")
    for given in one["overrides"]:
        what = ", ".join([*given["rules"], *given["flags"]])
        click.echo(
            f"  {given['role']} {given['actor']} lets through {what} until {given['expires_at']:%Y-%m-%d %H:%M} UTC"
        )
    if one["changes_at"]:
        reason = BY_ITSELF.get(one["changes_by"] or "", "it goes on by itself")
        if one["changes_at"].timestamp() < time.time():
            reason += "; our clock is behind"
        click.echo(
            f"  changes by itself at {one['changes_at']:%Y-%m-%d %H:%M} UTC ({when(one['changes_at'])}): {reason}"
        )
    else:
        click.echo("  does not change by itself")
    _whose(one["tasks"], NOBODY.get(one["outcome"], "nobody's: what was done by hand changed nothing yet"))
    click.echo(f"  every input: glp1 refill explain {one['decision_id']}")


def _whose(tasks: list[dict[str, Any]], otherwise: str) -> None:
    for task in tasks:
        click.echo(
            f"  whose: {task['owner']}, queue {task['queue']}, for {age(task['since'])}, due"
            f" {task['due']:%Y-%m-%d %H:%M} UTC (task {task['task']})"
        )
    if not tasks:
        click.echo(f"  whose: {otherwise}")
