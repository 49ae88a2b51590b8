"""The CRM from the command line: how it stands, who is in conflict, look now, try again.

Not here: what the CRM is told (`domain.crm`) and conflicts in the EHR (`mend`).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from ..domain.contract import CRM
from .plan import ACTOR, REASON, must_be_named
from .telling import AS_JSON, age, audited, open_road, show_or_json, told

COUNTED = {
    "contact": ("changed contacts", "asked"),
    "archived": ("deleted contacts", "asked"),
    "hint": ("webhooks", "the last"),
    "deletion_hint": ("deletion webhooks", "the last"),
}
"""What a row of ops.poll_cursors counts, and what its time is the time of."""

PATIENCE = 20.0
"""Seconds to wait for a look of somebody else, which mostly takes less than one."""


@click.group(short_help="the contacts in the CRM: what waits, what is in conflict")
def crm() -> None:
    """The contacts in the CRM: what waits, what is in conflict, what changed there."""


@crm.command(short_help="what the CRM is still to be told, and when it was asked")
@AS_JSON
def status(as_json: bool) -> None:
    """What the CRM has not been told yet, and when it was last asked for changes; its page: `glp1 crm page`."""
    from ..adapters import outbox

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 crm status") as connection:
            waiting = outbox.pending(connection, CRM)
            asked = connection.execute(
                "select kind, polled_at, changes from ops.poll_cursors where system = %s order by kind", (CRM,)
            ).fetchall()
            breaker = connection.execute("select state, reason from ops.breakers where target = %s", (CRM,)).fetchone()
            return {
                "ready": waiting.ready,
                "in_doubt": waiting.in_doubt,
                "dead": waiting.dead,
                "conflicts": len(outbox.conflicts(connection, CRM)),
                "breaker": breaker[0] if breaker else "closed",
                "breaker_reason": breaker[1] if breaker else None,
                "asked": {kind: {"at": at, "changes": changes} for kind, at, changes in asked},
            }

    found = told(work)

    def show() -> None:
        for name in ("ready", "in_doubt", "dead", "conflicts", "breaker"):
            reason = f" ({found['breaker_reason']})" if name == "breaker" and found["breaker_reason"] else ""
            click.echo(f"{name.replace('_', ' '):20}{found[name]}{reason}")
        for kind, cursor in found["asked"].items():
            when = f"{age(cursor['at'])} ago" if cursor["at"] else "never"
            title, verb = COUNTED[kind]
            click.echo(f"{title:20}{cursor['changes']} so far, {verb} {when}")

    show_or_json(as_json, found, show)


@crm.command(short_help="the address of the sandbox CRM's page")
def page() -> None:
    """Print the address of the sandbox CRM's page, with the key that opens it in a browser."""
    from ..sandbox.crm import crm_page

    def work() -> str:
        settings = open_road().settings
        if settings.crm_url:
            raise click.ClickException("the CRM is another's (GLP1_CRM_URL): open its own pages")
        return crm_page(settings)

    click.echo(told(work))


@crm.command(short_help="contacts not written as they should be; or decide of one")
@click.option("--leave", metavar="PATIENT", help="The CRM is right: leave its contact as it is.")
@click.option("--take", metavar="PATIENT", help="It is the same person: link the contact, or make a deleted one again.")
@ACTOR
@REASON
@AS_JSON
def conflicts(leave: str | None, take: str | None, actor: str, reason: str, as_json: bool) -> None:
    """Contacts that were not written as they should be, and why; or decide about one.

    same_email: a contact that is not linked has the address. already_linked: another patient's contact has it (merge
    them with `glp1 match`, or mend the address). deleted_in_crm: somebody deleted the contact. A decision needs --actor
    and --reason: who decided and why is a line in GLP1_HOME/audit.ndjson.
    """
    from ..adapters import charts, outbox
    from ..adapters.crosswalk import find_patient
    from ..adapters.status import events_of
    from ..domain.crm import COPY

    if leave and take:
        raise click.UsageError("one decision at a time: --leave or --take")
    if leave or take:
        must_be_named(actor, reason, "a decision", "it")

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 crm conflicts") as connection:
            patient = leave or take
            if patient is None:
                return {"conflicts": [found._asdict() for found in outbox.conflicts(connection, CRM)]}
            patient_id = find_patient(connection, patient)
            decision = "theirs" if leave else "ours"
            if patient_id is None or not outbox.conflicts(connection, CRM, patient_id):
                raise click.ClickException("this contact is not in conflict: `glp1 crm conflicts` lists what is")
            said = {"target": CRM, "patient": patient_id, "decision": decision}
            audited(road.settings.home, actor, reason, "conflict.settled", **said)
            outbox.settle_conflict(connection, CRM, patient_id, COPY, decision)
            if leave:
                charts.attend_disputes(connection, road.contract, road.cipher)
                return {"decision": decision, "new_writes": 0}
            scope = charts.Scope(event_ids=events_of(connection, patient_id), is_replay=True)
            done = charts.chart_events(connection, road.contract, road.cipher, scope)
            return {"decision": decision, "new_writes": done.contacts}

    found = told(work)

    def show() -> None:
        if "decision" in found:
            click.echo(f"noted: {found['decision']}; {found['new_writes']} new write(s)")
            return
        for one in found["conflicts"]:
            said = f", decided: {one['decision']}" if one["decision"] else ""
            click.echo(f"{one['patient_id']}  {one['reason']} for {age(datetime.fromisoformat(one['since']))}{said}")
        if not found["conflicts"]:
            click.echo("no contact is in conflict")

    show_or_json(as_json, found, show)


@crm.command(short_help="ask the CRM for changes now")
@AS_JSON
def look(as_json: bool) -> None:
    """Ask the CRM for changes now, and bring what is new into the ledger."""
    from ..adapters.calls import CallFailure
    from ..adapters.crm import CrmMisconfigured
    from ..adapters.crm.changes import notice

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 crm look") as connection:
            try:
                ask = lambda: notice(  # noqa: E731
                    connection, road.crm, road.contract, lambda documents: road.append(connection, documents)
                )
                until = time.monotonic() + PATIENCE
                while (found := ask()).is_left_to_another and time.monotonic() < until:
                    time.sleep(0.5)
            except (CallFailure, CrmMisconfigured) as error:
                raise click.ClickException(f"the CRM cannot be asked now: {error}") from None
            if found.is_left_to_another:
                raise click.ClickException(
                    "the CRM was not asked: another look is under way and does not end; whether the CRM answers says"
                    " `glp1 crm status`"
                )
            return {"contacts": found.contacts, "changes": found.changes, "deleted": found.deleted, "ours": found.ours}

    found = told(work)
    show_or_json(as_json, found, lambda: [click.echo(f"{name:20}{count}") for name, count in found.items()])


@crm.command(short_help="try again what the CRM refused for good")
@click.option("--anew", is_flag=True, help="Those refused for what they say are decided anew, as things are known now.")
@ACTOR
@REASON
@AS_JSON
def retry(anew: bool, actor: str, reason: str, as_json: bool) -> None:
    """Give writes that the CRM refused for good a new life: each is looked up there before it is sent.

    It is sent as it was, and an address that the CRM refuses is refused again: once it is corrected, --anew. Needs
    --actor and --reason: who wanted it and why is a line in GLP1_HOME/audit.ndjson.
    """
    from ..adapters import outbox, refused

    must_be_named(actor, reason, "this", "it")

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 crm retry") as connection:
            writes = outbox.pending(connection, CRM).dead
            audited(road.settings.home, actor, reason, "crm.retry", writes=writes, anew=anew)
            done = refused.decide_anew(connection, road.contract, road.cipher, CRM) if anew else None
            told = {"contacts_decided_anew": done.new_writes} if done else {}
            return {"writes_tried_again": outbox.retry_dead(connection, CRM)} | told

    found = told(work)
    show_or_json(as_json, found, lambda: click.echo(f"{found['writes_tried_again']} write(s) are tried again"))
