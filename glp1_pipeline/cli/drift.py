"""The drift report: which system broke which rule of ownership, by day.

Not here: the conflicts of one patient (`look`), and mending (`mend`).
"""

from __future__ import annotations

from datetime import datetime

import click

from .telling import AS_JSON, question, show_or_json, told


@click.command(short_help="which system wrote against the owner of which field")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="One day of receipt, UTC; without it all, newest first.")
@AS_JSON
def drift(day: datetime | None, as_json: bool) -> None:
    """Which system wrote against the owner of which field, by day and rule: how often, and how many are open still.

    Names and counts, never a value. Who owns what is in contracts/ownership.csv, each rule in docs/ownership.md.
    """
    from ..adapters.charts.conflicts import drift as ask

    found = told(lambda: question(lambda connection: ask(connection, day.date() if day else None)))

    def show() -> None:
        if not found:
            click.echo("no system wrote against an owner" + (" on that day" if day else " yet"))
            return
        click.echo(f"{'day':12}{'system':10}{'field':28}{'rule':20}{'outcome':10}{'times':>7}{'open':>7}")
        for row in found:
            click.echo(
                f"{row['day']!s:12}{row['system']:10}{row['field']:28}{row['rule']:20}{row['outcome']:10}"
                f"{row['times']:>7}{row['open']:>7}"
            )

    show_or_json(as_json, found, show)
