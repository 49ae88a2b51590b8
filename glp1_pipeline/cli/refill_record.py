"""Decisions on refills, from their sealed records: one explained, and all of them by other rules.

Here: printing values of a patient, for who may see them. Not here: what a record is (`domain.refill.record`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from .telling import AS_JSON, open_road, show_or_json, told

SHOWN = 20


@click.command(short_help="one decision with every value, decided again")
@click.argument("decision", metavar="ID", type=click.UUID)
@AS_JSON
def explain(decision, as_json: bool) -> None:
    """Everything that a decision rests on. ID is a decision's, or a request's: then its last one.

    It opens the record that was sealed when the decision was made, proves by its hash that it is that one, and prints
    every input with its VALUE, where it came from, whether it was reported or verified, when it was measured or said,
    and how old it was at the decision; then the rules as they were asked, the one that decided, and its reasons.

    Then it decides again, from this record and the rules of that day alone, and says `same`, or what differs: then it
    exits with 1.

    These are values of a patient: use it at your own terminal, for whom you may see. Nothing of it is logged.
    """
    from ..adapters import refills
    from ..domain import refill as domain

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 refill explain") as connection:
            decision_id = refills.decision_of(connection, str(decision))
            if decision_id is None:
                raise click.ClickException(
                    "no decision and no request has this id: `glp1 refill show PATIENT` lists them"
                )
            try:
                record, rules, differs = refills.explain(connection, road.cipher, decision_id)
            except refills.RecordFault as fault:
                raise click.ClickException(str(fault)) from None
        made, rule = record.doc["decision"], rules.by_name[record.doc["decision"]["rule"]]
        return {
            "decision_id": record.decision_id,
            "refill_id": record.refill_id,
            "requested_at": record.doc["requested_at"],
            "as_of": record.as_of,
            "made_at": record.made_at,
            "rules_version": record.rules_version,
            "sha256_is_right": True,
            "decision": made,
            "rule_says": rule.description,
            "rules_asked": [{"rule": name, "said": said} for name, said in domain.walked(rules, record.doc)],
            "overrides": record.doc["overrides"],
            "inputs": [asdict(one) for one in domain.inputs_told(record.doc)],
            "again": "same" if not differs else "differs",
            "differs": differs,
        }

    found = told(work)
    show_or_json(as_json, found, lambda: _explain(found))
    if found["differs"]:
        raise SystemExit(1)


def _explain(found: dict[str, Any]) -> None:
    made = found["decision"]
    click.echo(f"decision {found['decision_id']} of request {found['refill_id']}")
    click.echo(f"  as of {found['as_of']:%Y-%m-%d %H:%M} UTC, by rules {found['rules_version']}")
    click.echo("  the sealed record is the one that was made: its hash is right")
    click.echo(f"  {made['outcome']} by rule {made['rule']}: {found['rule_says']}")
    if made["reasons"]:
        click.echo(f"  because of {', '.join(made['reasons'])}")
    for name, reasons in made["also"]:
        click.echo(f"  besides {name}: {', '.join(reasons) or 'no more is said'}")
    for name, event_id in made["overridden"]:
        click.echo(f"  {name} was let through by event {event_id}")
    if made["proposal"]:
        click.echo(f"  proposed to the provider, and never done: {made['proposal']}")
    if made["task"]:
        click.echo(f"  task {made['task']}" + (f", within {made['minutes']} minutes" if made["minutes"] else ""))
    if made["until"]:
        click.echo(f"  it changes by itself at {made['until']}")
    click.echo("rules, in the order they were asked:")
    for one in found["rules_asked"]:
        click.echo(f"  {one['rule']:20}{one['said']}")
    click.echo("inputs:")
    for one in found["inputs"]:
        said = [part for part in (one["source"], one["voice"]) if part]
        said += [f"of {one['at'][:16].replace('T', ' ')}, {one['age_days']} days old then"] if one["at"] else []
        value = one["state"] or json.dumps(one["value"], ensure_ascii=False)
        click.echo(f"  {one['name']:32}{value}" + (f"  ({' '.join(said)})" if said else ""))
    again = "same" if not found["differs"] else f"DIFFERS in {', '.join(found['differs'])}"
    click.echo(f"decided again from this record by the same rules: {again}")


@click.command(name="what-if", short_help="what other rules would have decided")
@click.option(
    "--contracts", "folder", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder like glp1_pipeline/contracts, with the changed rules.",
)  # fmt: skip
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Decisions of this day (UTC) and later. Else all.")
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=SHOWN,
    show_default=True,
    help="How many ids are printed; --json has all.",
)
@AS_JSON
def what_if(folder: Path, since: datetime | None, limit: int, as_json: bool) -> None:
    """What the rules of another contract folder would have decided of the same records: nothing is changed.

    Copy glp1_pipeline/contracts, change the copy's refills.yaml, and try it. It takes every decision that was made,
    decides it again from its own record by the changed table, and says how many would be decided otherwise, from what
    to what, and which. Ids and names, no value.

    It sees what the table decides: rules, their order, limits, outcomes and whom they let through. It does not see
    what is fixed in a record: which fields a check-in asks (gates.yaml) and when it is due (followups.yaml). Each
    decision is looked at by itself: what would have been said or done after another decision nobody knows.
    """
    from .. import contracts
    from ..adapters import refills

    def work() -> dict[str, Any]:
        rules = contracts.load(folder).refills
        road = open_road()
        with road.connect("glp1 refill what-if") as connection:
            found = refills.what_if(connection, road.cipher, rules, since.date() if since else None)
        return {
            "since": since.date().isoformat() if since else None,
            "is_as_now": rules.version == road.contract.refills.version,
            **found,
        }

    found = told(work, refills.RecordFault)

    def show() -> None:
        if found["is_as_now"]:
            click.echo("these are the rules of now")
        click.echo(
            f"{found['different']} of {found['decisions']} decisions would be others,"
            f" of {found['different_requests']} of {found['requests']} requests"
        )
        for move in found["moves"]:
            click.echo(f"{move['decisions']:>7}  {move['from']} -> {move['to']}")
        for one in found["differ"][:limit]:
            click.echo(f"request {one['refill_id']}, decision {one['decision_id']}: {one['from']} -> {one['to']}")
        if len(found["differ"]) > limit:
            click.echo(f"and {len(found['differ']) - limit} more: --json has all")

    show_or_json(as_json, found, show)
