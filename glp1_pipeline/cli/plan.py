"""What commands share that mend: who wants it and why; of plans, whatever they do, the list and a document in lines.

Not here: choosing, predicting and doing (`replay`, `rollback`).
"""

from __future__ import annotations

from typing import Any

import click

from .telling import age, show_or_json

ACTOR = click.option("--actor", default="", help="Who wants it, as an opaque name.")
REASON = click.option("--reason", default="", help="Why, in words without a value.")
MANY: dict[str, Any] = {"multiple": True}
SHOWN = 30
"""Things left that are printed; --json has all."""


def must_be_named(actor: str, reason: str, option: str, what: str) -> None:
    """Nothing is done for nobody, and nothing without a why."""
    if not (actor.strip() and reason.strip()):
        raise click.UsageError(f"{option} needs --actor and --reason: {what} says who wanted it and why")


def tell(found: dict[str, Any], as_json: bool) -> None:
    show_or_json(as_json, found, lambda: _lines(found, 0))


def tell_list(found: list[dict[str, Any]], what: str, key: str, none: str, as_json: bool) -> None:
    """`what` its plans choose, counted under `key`; `none`: what to say where there is no plan."""

    def show() -> None:
        for plan in found:
            asked = ", ".join(f"{name} {' '.join(values[:3])}" for name, values in plan["selection"].items())
            by = f", by {plan['actor']}: {plan['reason']}" if plan["actor"] else ""
            click.echo(
                f"{plan['plan_id']}  {plan['state']:9} {plan['done']} of {plan[key]} {what}, made"
                f" {age(plan['made_at'])} ago ({asked}){by}"
            )
        if not found:
            click.echo(none)

    show_or_json(as_json, found, show)


def _lines(branch: dict[str, Any], depth: int) -> None:
    for name, value in branch.items():
        title = f"{'  ' * depth}{name.replace('_', ' ') if depth == 0 else name}"
        if isinstance(value, dict):
            click.echo(title if value else f"{title:34}none")
            _lines(value, depth + 1)
        elif name == "left" and isinstance(value, list):
            click.echo(f"{title:34}{len(value)}")
            for one in value[:SHOWN]:
                click.echo(f"  {one['why']:20} {one['target']} {one['patient_id']} {one['resource']}")
        elif name == "approvals":
            for one in value:
                click.echo(f"approved by {one['actor']} at {one['at']}: {one['reason']}")
        elif value is not None:
            click.echo(f"{title:34}{', '.join(value) if isinstance(value, list) else value}")
