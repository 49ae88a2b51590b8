"""Proofs: the balance, and the fingerprint of the state.

Not here: mending what does not hold (`mend`).
"""

from __future__ import annotations

import sys

import click

from .telling import AS_JSON, of_a_system, open_road, question, show_or_json, told


@click.command(short_help="nothing lost, nothing doubled, EHR and CRM read back")
@click.option("--ehr/--no-ehr", "with_ehr", default=True, help="Read the EHR back and compare resource by resource.")
@click.option("--crm/--no-crm", "with_crm", default=True, help="Read the CRM back too, contact by contact.")
@click.option("--parts", "with_parts", is_flag=True, help="Also the counts of each day, source and type.")
@AS_JSON
def reconcile(with_ehr: bool, with_crm: bool, with_parts: bool, as_json: bool) -> None:
    """Prove that nothing was lost or doubled: received = charted + waiting + rejected + dead, as a whole and for each
    day, source and type; and the EHR and the CRM read back.

    Exits with 1 when it does not hold, and says what.
    """
    from ..adapters.balance import balance
    from ..adapters.crm_compare import compare_contacts
    from ..adapters.ehr_compare import compare
    from ..adapters.ehr_unknown import extra_there
    from ..adapters.progress import every_few_seconds

    def work():
        road = open_road()
        with road.connect("glp1 reconcile") as connection:
            found = balance(connection)
            tell = every_few_seconds(lambda now: click.echo(f"read back {now.resources} resources …", err=True))
            compared = None
            if with_ehr:
                compared = compare(connection, road.ehr, road.cipher, progress=tell)
                compared.extra = sum(extra_there(connection, road.ehr, compared.there).values())
            contacts = None
            if with_crm and road.contract.crm:
                contacts = compare_contacts(connection, road.crm, road.contract, road.cipher)
        return found, compared, contacts

    found, compared, contacts = told(lambda: of_a_system(work, "try again, or leave it out by --no-ehr, --no-crm"))
    holds = all(one.holds for one in (found, compared, contacts) if one is not None)
    answer = {
        "holds": holds, "ledger": found.as_dict(), "ehr": compared.as_dict() if compared else None,
        "crm": contacts.as_dict() if contacts else None,
    } | ({"parts": [part.as_dict() for part in found.parts]} if with_parts else {})  # fmt: skip

    def show() -> None:
        click.echo(
            f"received {found.received} = charted {found.charted} + waiting {found.waiting}"
            f" + rejected {found.rejected} + dead {found.dead}"
        )
        click.echo(f"lines {found.lines} = received {found.received} + duplicates {found.duplicates}")
        for part in found.parts if with_parts else ():
            click.echo(
                f"  {part}: received {part.received} = charted {part.charted} + waiting {part.waiting}"
                f" + rejected {part.rejected} + dead {part.dead}"
            )
        click.echo(f"patients {found.patients}; writes {found.writes or '-'}; refused drops {found.refused_drops}")
        if compared:
            click.echo(
                f"EHR: {compared.resources} resources of ours, {compared.equal} as written, {compared.missing} missing,"
                f" {compared.different} different, {compared.edited_there} edited there and left so,"
                f" {compared.doubled} doubled, {compared.extra} unknown here, {compared.not_sent_yet} not sent yet"
            )
        if contacts:
            click.echo(
                f"CRM: {contacts.contacts} contacts of ours, {contacts.equal} as told, {contacts.missing} missing,"
                f" {contacts.different} different, {contacts.edited_there} edited there,"
                f" {contacts.unknown} unknown here, {contacts.not_sent_yet} not sent yet"
            )
        for fault in found.faults:
            click.echo(f"FAULT: {fault}")
        click.echo("in balance" if holds else "OUT OF BALANCE")

    show_or_json(as_json, answer, show)
    sys.exit(0 if holds else 1)


@click.command(short_help="a hash of all state, which no replay changes")
@AS_JSON
def fingerprint(as_json: bool) -> None:
    """A hash of everything that means something. Replaying anything leaves it as it is."""
    from ..adapters.balance import fingerprint as ask

    found = told(lambda: question(ask))
    width = max(map(len, found)) + 2
    show_or_json(as_json, found, lambda: [click.echo(f"{name:{width}}{value}") for name, value in found.items()])
