"""A steward's word on a field that systems disagree about.

Not here: edits in the EHR against ours (`mend`), and who is who (`match`).
"""

from __future__ import annotations

from typing import Any

import click

from .telling import AS_JSON, open_road, show_or_json, told


@click.command()
@click.argument("patient")
@click.argument("field")
@click.option(
    "--keep",
    type=click.Choice(["holding", "offered"]),
    required=True,
    help="The value that the chart has now, or the one that was offered against it.",
)
@click.option("--source", help="Whose offer, where several systems offer one.")
@click.option("--actor", required=True, help="Who decides: an opaque name, like a staff id.")
@click.option("--reason", required=True, help="Why, in a sentence. It is kept with the event.")
@AS_JSON
def settle(patient: str, field: str, keep, source, actor: str, reason: str, as_json: bool) -> None:
    """Settle a conflict about FIELD of PATIENT, as `glp1 why` lists it. The word is an event of its own."""
    from ..adapters import charts
    from ..adapters.crosswalk import find_patient
    from ..adapters.settling import settle_field

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 settle") as connection:
            patient_id = find_patient(connection, patient)
            if patient_id is None:
                raise click.ClickException("no patient is known by this id")
            try:
                event_id = settle_field(
                    connection, road.contract, road.cipher, patient_id, field, keep, actor, reason, source
                )
            except ValueError as error:
                raise click.ClickException(str(error)) from None
            done = charts.chart_events(connection, road.contract, road.cipher, charts.Scope(event_ids=(event_id,)))
        return {"event_id": str(event_id), "new_writes": done.writes + done.contacts}

    found = told(work)
    said = f"settled by event {found['event_id']}, {found['new_writes']} write(s)"
    show_or_json(as_json, found, lambda: click.echo(said))
