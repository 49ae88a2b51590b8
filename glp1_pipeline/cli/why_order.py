"""Which orders of a patient are refused, and what was let through, in sentences: the part of `glp1 why` about orders.

Not here: the rest of it (`look`), and reading (`adapters.orders`).
"""

from __future__ import annotations

from typing import Any

import click

from .telling import age


def show(found: dict[str, Any]) -> None:
    for one in found["refused_orders"]:
        click.echo(f"order of {one['family']} refused for {age(one['since'])} (event {one['event_id']})")
        click.echo(f"  rule {one['rule']}: {one['rule_says']}")
        roles = "; ".join(f"{role} ({', '.join(reasons)})" for role, reasons in one["may_override"].items())
        click.echo(f"  may be let through by {roles or 'nobody'}")
        for task in one["tasks"]:
            click.echo(
                f"  whose: {task['owner']}, queue {task['queue']}, for {age(task['since'])}, due"
                f" {task['due']:%Y-%m-%d %H:%M} UTC (task {task['task']})"
            )
        if not one["tasks"]:
            click.echo("  whose: nobody's: what was done by hand changed nothing yet")
    for given in found["order_overrides"]:
        what = f"lets an order of {given['family']} through" if given["family"] else "lets no order through"
        click.echo(
            f"{given['role']} {given['actor']} {what} against {', '.join(given['rules'])}, reason {given['reason']},"
            f" {age(given['at'])} ago (event {given['event_id']})"
        )
