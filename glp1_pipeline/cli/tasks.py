"""Open tasks: the work of a queue, the one first that is due first.

Here: names and times, never an answer. Not here: the tasks of one patient (`glp1 why`), and the worklist with what
somebody must know to work on it (`glp1 downtime pack`).
"""

from __future__ import annotations

import click

from .telling import AS_JSON, open_road, question, show_or_json, told, when


@click.command(short_help="open tasks: of whom, since when, until when, whose")
@click.option("--queue", help="Of this queue alone, as `glp1 health` names it.")
@click.option("--overdue", is_flag=True, help="Only those whose time is past.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@AS_JSON
def tasks(queue: str | None, overdue: bool, limit: int, as_json: bool) -> None:
    """Open tasks, the one first that is due first. Names and times, no answer: `glp1 why PATIENT` tells the rest.

    A task closes by itself when what it asks for arrives.
    """
    from ..adapters import open_tasks

    found, in_all = told(lambda: question(lambda connection: open_tasks.listed(connection, queue, overdue, limit)))
    if queue and not in_all:
        known = told(lambda: {kind.queue for kind in open_road().contract.tasks.values()})
        if queue not in known:  # a misspelled one must not look like one without work: somebody waits to be called
            raise click.UsageError(f"no queue has this name; there are {', '.join(sorted(known))}")

    def show() -> None:
        for one in found:
            late = "OVERDUE, " if one["is_overdue"] else ""
            click.echo(
                f"{one['queue']:<18} {one['task']} ({one['cause']}): {late}due {when(one['due'])}, open since"
                f" {when(one['since'])}\n    patient {one['patient_id']}  {one['owner']}"
            )
        if in_all > len(found):
            click.echo(f"and {in_all - len(found)} more: --limit {in_all} shows all")
        if not in_all:
            click.echo("no open task is so")

    show_or_json(as_json, {"tasks": found, "in_all": in_all}, show)
