"""`glp1 health`: each part of the road green, amber or red, whose it is, and what to do next.

Not here: any verdict (`domain.health`).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .telling import AS_JSON, open_road, show_or_json, told

if TYPE_CHECKING:
    from ..adapters.settings import Settings
    from ..domain.health import Part

MARKS = {"red": "✕ red", "amber": "! amber", "green": "✓ green"}


@click.command(short_help="what is green, amber or red, and what to do next")
@click.option("--page", "wants_page", is_flag=True, help="Also write the page anew, and say where it is.")
@AS_JSON
def health(wants_page: bool, as_json: bool) -> None:
    """How every feed, queue, gate, target system and program stands, and what to do next.

    Looks now, without Dagster's processes, with the thresholds and owners of contracts/alerts.yaml and
    contracts/oncall.yaml: red is what an alert calls somebody for, amber what is on the way there or well again for a
    moment. Fails while anything is red, so that cron or a monitor can use it. The page that an ops lead opens in a
    browser is written every two minutes and when an alert begins or ends; where it is, is told last.
    """
    from ..adapters.health_page import page, page_of, write_page
    from ..contracts.alerts import load_alerts
    from ..defs.health import addresses, look
    from ..domain.health import unreachable

    def work() -> dict[str, Any]:
        road = open_road()
        try:
            with road.connect("glp1 health") as connection:
                found = look(road, connection, _dagsters(road.settings))
        except ConnectionError:
            found = unreachable(load_alerts(), datetime.now(UTC))
        if wants_page:
            write_page(page_of(road.settings.home), page(found))
        lights = [asdict(light) for light in found.lights]
        return {
            "made_at": found.made_at, "colour": found.colour, "counts": found.counts, "lights": lights,
            "page": addresses(road.settings),
        }  # fmt: skip

    found = told(work)
    show_or_json(as_json, found, lambda: _show(found))
    if found["colour"] == "red":
        sys.exit(1)


def _dagsters(settings: Settings) -> tuple[Part, ...]:
    """Runs, sensors and schedules. What does not load is a light among the others, and hides none of them."""
    from ..defs.health import of_dagster
    from ..domain.health import Fault, Part

    try:
        from ..definitions import schedules, sensors
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        says, step = f"they do not load: {type(error).__name__}", "Mend the code: the command says in which line."
        fault = Fault("red", says, step, ".venv/bin/python -c 'import glp1_pipeline.definitions'")
        return (Part("program", "definitions", faults=(fault,)),)
    return of_dagster(settings, [one.name for one in (*sensors, *schedules)])


def _show(found: dict[str, Any]) -> None:
    from ..domain.health import in_words

    kind = ""
    for light in found["lights"]:
        if light["kind"] != kind:
            kind = light["kind"]
            click.echo(f"\n{kind}s" if kind != "ledger" else kind)
        since = f"; {light['colour']} {in_words(light['since'], found['made_at'])}" if light["since"] else ""
        click.echo(f"  {MARKS[light['colour']]:9}{light['name']:28}{light['says']}{since}")
        if light["colour"] != "green":
            who = f"team {light['owner']}, on call {light['called']}"
            if light["acknowledged_by"]:
                who += f", {light['acknowledged_by']} is at it"
            elif light["incident_id"] is not None:
                who += f", nobody is at it: glp1 alerts ack {light['incident_id']} --by YOUR-NAME"
            click.echo(f"           {who}")
            click.echo(f"           next: {light['step']}  {light['command']}")
    counts = ", ".join(f"{n} {colour}" for colour, n in found["counts"].items())
    where = found["page"].get("address") or found["page"]["file"]
    click.echo(f"\n{counts}; the page: {where}")
