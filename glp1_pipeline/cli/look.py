"""How the whole stands, and what one patient waits for.

Not here: proofs (`prove`), mending (`mend`).
"""

from __future__ import annotations

from typing import Any

import click

from . import why_order, why_refill
from .telling import AS_JSON, age, open_road, patient_of, question, say_limit, show_or_json, told


@click.command(short_help="how the whole stands, in counts")
@AS_JSON
def status(as_json: bool) -> None:
    """How everything stands: counts along the road, what is held and why, how long each hop takes."""
    from ..adapters.status import status as ask

    found = told(lambda: question(ask))

    def show() -> None:
        for name, value in found.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                click.echo(f"{title:26}{'  '.join(f'{k} {v}' for k, v in value.items() if v is not None) or '-'}")
            else:
                click.echo(f"{title:26}{value}")

    show_or_json(as_json, found, show)


@click.command(short_help="the newest events of a status: where they came from, and why")
@click.option(
    "--status",
    type=click.Choice(["waiting", "charted", "rejected", "dead"]),
    default="rejected",
    show_default=True,
    help="Which events.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
@AS_JSON
def events(status: str, limit: int, as_json: bool) -> None:
    """The newest events of a status: id, place (drop and line), reason, and how to mend it; never a value.

    The ids are what `glp1 replay --event` takes, and the job replay_events in the UI.
    """
    from ..adapters.status import events as ask

    found = told(lambda: question(lambda connection: ask(connection, status, limit)))

    def show() -> None:
        for event in found:
            place = f"drop {event['drop_id']} line {event['line']}"
            why_so = f": {event['reason']}: {event['hint']}" if event["reason"] else ""
            click.echo(f"{event['event_id']}  {place}  {age(event['received_at'])} ago{why_so}")
        if not found:
            click.echo(f"no event is {status}")
        say_limit(found, limit)

    show_or_json(as_json, found, show)


@click.command(short_help="what one patient waits for, since when, and whose it is")
@click.argument("patient")
@AS_JSON
def why(patient: str, as_json: bool) -> None:
    """What PATIENT waits for: every unmet gate, check-in, refused order, held refill, open task and unsent write, since
    when, and whose it is.

    Of a refused order it says which rule refuses it, and who may let it through; and every override of one.

    Of a request for a refill it says which rule holds it, until when that changes by itself, and who may let it go on;
    of a check-in that was missed, since when, and until when it may still be done.

    PATIENT is our id, or an id that another system gave: an intake account, the number of a contact, a pharmacy's or a
    laboratory's, a record number, a member id. One that several patients were given is answered with our ids of them.
    It prints names and times, no value.
    """
    from ..adapters import followups, orders, refills
    from ..adapters.status import why as ask

    def work(connection):
        patient_id = patient_of(connection, patient)
        return ask(connection, patient_id) | {
            "check_ins": followups.waiting(connection, patient_id),
            "refused_orders": orders.refused(connection, open_road().contract, patient_id),
            "order_overrides": orders.overrides(connection, patient_id),
            "refills": refills.holding(connection, open_road().contract, patient_id),
        }

    found = told(lambda: question(work))
    show_or_json(as_json, found, lambda: _show_why(found))


def _show_why(found: dict[str, Any]) -> None:
    click.echo(f"patient {found['patient_id']}: stage {found['stage'] or 'unknown'}, {found['events']} event(s)")
    if found["deceased_since"]:
        click.echo(
            f"deceased, as the EHR says for {age(found['deceased_since'])}: treatments and check-ins are over, nobody"
            " is to be reached, no refill goes on. A mistake is mended there, and all is as before"
        )
    if found["in_queue_since"]:
        click.echo(f"in the provider's queue for {age(found['in_queue_since'])}")
    for gate in found["gates"]:
        missing = ", ".join(f"{m['field']} ({m['state']})" for m in gate["missing"])
        click.echo(
            f"gate {gate['gate']}: {gate['outcome']} for {age(gate['since'])}{': ' + missing if missing else ''}"
        )
    why_order.show(found)
    why_refill.show(found)
    for task in found["tasks"]:
        click.echo(
            f"task {task['task']} ({task['cause']}): {task['owner']}, queue {task['queue']}, open for"
            f" {age(task['since'])}, due {task['due']:%Y-%m-%d %H:%M} UTC"
        )
    for flag in found["flags"]:
        click.echo(f"flag {flag['severity']} {flag['flag']} ({flag['status']}): {', '.join(flag['fields'])}")
    for write in found["writes"]:
        click.echo(
            f"write {write['write']} to the {_name(write)}: {write['status']} for {age(write['since'])},"
            f" {write['tries']} tries{', the last: ' + write['last'] if write['last'] else ''}"
        )
    for away in found["out_of_reach"]:
        click.echo(
            f"the {_name(away)} is out of reach for everybody ({away['reason']}): what waits goes out by itself when it"
            " answers; whose that is says `glp1 health`"
        )
    for lane in found["blocked"]:
        click.echo(f"nothing more is sent to the {_name(lane)}: {lane['reason']}")
    undecided = [conflict for conflict in found["conflicts"] if not conflict["decision"]]
    for conflict in undecided:
        click.echo(
            f"conflict {conflict['resource']} in the {_name(conflict)}: {conflict['reason']} for"
            f" {age(conflict['since'])}, ours is not sent:"
            f" `glp1 {'crm ' if conflict['target'] == 'crm' else ''}conflicts --help` says how to decide"
        )
    for one in found["disagreements"]:
        click.echo(
            f"{one['source']} against {one['owner']} about {one['field']} for {age(one['since'])}: {one['outcome']} by"
            f" rule {one['rule']}"
        )
    for one in found["records"]:
        how = "as record" if one["says_who"] else f"too, said by event {one['event_id']} of record"
        click.echo(f"known to {one['system']} for {age(one['since'])} {how} {one['record']}")
    for event in found["last_events"]:
        reason = f": {event['reason']}: {event['hint']}" if event["reason"] else ""
        click.echo(
            f"event {event['event_id']}: {event['type']}, {event['status']} {age(event['received_at'])} ago{reason}"
        )
    is_held = any(gate["outcome"] == "held" for gate in found["gates"])
    waits = found["check_ins"] or found["refills"] or found["refused_orders"]
    if not (is_held or waits or found["tasks"] or found["writes"] or found["blocked"] or undecided):
        click.echo("nothing is unmet")


def _name(one: dict[str, Any]) -> str:
    """The other system, as people call it."""
    return one["target"].upper()
