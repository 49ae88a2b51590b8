"""`glp1 prune`: one round of taking away what nothing needs any more.

Not here: what may go (`adapters.retention`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .telling import AS_JSON, open_road, show_or_json, told

MINUTES = click.FloatRange(0.01, 1440)


@click.command(short_help="take away what is old and nothing needs any more")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only say how much would go.")
@click.option("--minutes", type=MINUTES, default=10.0, show_default=True, help="Stop after so long.")
@AS_JSON
def prune(is_dry_run: bool, minutes: float, as_json: bool) -> None:
    """Take away what is older than GLP1_KEEP_..._DAYS say and nothing needs. The job `maintenance` does it each night.

    What goes: attempts that another followed, bodies of writes that newer ones made old, ended incidents, which events
    a done plan had, archived drops, old runs of Dagster, logs. What never goes: events, values, decisions of people,
    writes, receipts, and of each resource the last three bodies that were delivered. So replay, trace, reconcile and
    the recognition of our own writes work as before. Safe to end at any moment, and to run beside everything else.
    """

    def progress(name: str, count: int) -> None:
        if not is_dry_run:  # that is over at once, and its list is the answer
            click.echo(f"{name.replace('_', ' ')}: {count}", err=True)

    def work() -> dict[str, Any]:
        from ..defs.maintenance import prune_by_settings

        road = open_road()
        done = prune_by_settings(road, is_dry_run=is_dry_run, seconds=minutes * 60, progress=progress)
        return {"dry_run": is_dry_run, "keep_days": asdict(road.settings.keep)} | asdict(done)

    _show_or_json(told(work), as_json)


def _show_or_json(found: dict[str, Any], as_json: bool) -> None:
    def show() -> None:
        if found["is_left_to_another"]:
            click.echo("another process prunes just now: nothing was done here")
            return
        click.echo("would go" if found["dry_run"] else "gone")
        for name, count in found["gone"].items():
            click.echo(f"  {name.replace('_', ' '):34}{count}")
        if not found["is_over"]:
            click.echo("there was no time for the rest: call it again")

    show_or_json(as_json, found, show)
