"""A steward's word on a field that systems disagree about.

Not here: edits in the EHR against ours (`mend`), and who is who (`match`).
"""

from __future__ import annotations

from typing import Any

import click

from .match import ACTOR, REASON
from .telling import AS_JSON, chart_now, open_road, or_say, patient_of, show_or_json, told


@click.command(short_help="decide a disputed field")
@click.argument("patient")
@click.argument("field")
@click.option(
    "--keep",
    type=click.Choice(["holding", "offered"]),
    required=True,
    help="The value that the chart has now, or the one that was offered against it.",
)
@click.option("--source", help="Whose offer, where several systems offer one.")
@ACTOR
@REASON
@AS_JSON
def settle(patient: str, field: str, keep, source, actor: str, reason: str, as_json: bool) -> None:
    """Settle a conflict about FIELD of PATIENT, as `glp1 why` lists it. The word is an event of its own."""
    from ..adapters.settling import settle_field

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 settle") as connection:
            patient_id = patient_of(connection, patient)
            event_id = or_say(
                lambda: settle_field(
                    connection, road.contract, road.cipher, patient_id, field, keep, actor, reason, source
                )
            )
            return chart_now(connection, road, event_id)

    found = told(work)
    said = f"settled by event {found['event_id']}, {found['new_writes']} write(s)"
    show_or_json(as_json, found, lambda: click.echo(said))
