"""Deciding what stands against an edit in the EHR.

Not here: computing again (`replay`), and decisions about who is who (`match`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from .plan import ACTOR, REASON, must_be_named
from .telling import AS_JSON, age, audited, open_road, show_or_json, told


@click.command(short_help="what somebody changed in the EHR against us")
@click.option("--keep-theirs", nargs=2, metavar="PATIENT RESOURCE", help="The EHR is right: leave it so.")
@click.option("--send-ours", nargs=2, metavar="PATIENT RESOURCE", help="Ours is right: plan it again, to be sent.")
@ACTOR
@REASON
@AS_JSON
def conflicts(keep_theirs, send_ours, actor: str, reason: str, as_json: bool) -> None:
    """Resources that someone edited, deleted or doubled in the EHR after us: ours is not sent until a person decides.

    Either way our later changes of it are sent again, against the version that was found there: one that was edited
    once more since is a conflict again. RESOURCE is as listed, Type/id. A decision needs --actor and --reason: who
    decided and why is a line in GLP1_HOME/audit.ndjson.
    """
    from ..adapters import charts, outbox
    from ..adapters.crosswalk import find_patient
    from ..adapters.status import events_of

    if keep_theirs and send_ours:
        raise click.UsageError("one decision at a time: --keep-theirs or --send-ours")
    if keep_theirs or send_ours:
        must_be_named(actor, reason, "a decision", "it")

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 conflicts") as connection:
            if not keep_theirs and not send_ours:
                return {"conflicts": [found._asdict() for found in outbox.conflicts(connection, "ehr")]}
            patient, key = keep_theirs or send_ours
            patient_id = find_patient(connection, patient)
            # A record that is part of another's patient has a Patient of its own there, and conflicts of its own.
            whose = {one.patient_id for one in outbox.conflicts(connection, "ehr") if one.key == key}
            if patient.lower() in whose and patient.lower() != patient_id:
                if send_ours:
                    raise click.ClickException(
                        "this record is part of another's patient: ours stands there. Mend it in the EHR, then"
                        " --keep-theirs"
                    )
                patient_id = patient.lower()
            decision = "theirs" if keep_theirs else "ours"
            if patient_id is None or patient_id not in whose:
                raise click.ClickException("this is not in conflict: `glp1 conflicts` lists what is")
            said = {"target": "ehr", "patient": patient_id, "resource": key, "decision": decision}
            audited(road.settings.home, actor, reason, "conflict.settled", **said)
            outbox.settle_conflict(connection, "ehr", patient_id, key, decision)
            if keep_theirs:
                charts.attend_disputes(connection, road.contract, road.cipher)
                return {"decision": decision, "new_writes": 0}
            scope = charts.Scope(event_ids=events_of(connection, patient_id), is_replay=True)
            return {
                "decision": decision,
                "new_writes": charts.chart_events(connection, road.contract, road.cipher, scope).writes,
            }

    found = told(work)

    def show() -> None:
        if "decision" in found:
            click.echo(f"noted: {found['decision']}; {found['new_writes']} new write(s) to the EHR")
            return
        for one in found["conflicts"]:
            said = f", decided: {one['decision']}" if one["decision"] else ""
            since = age(datetime.fromisoformat(one["since"]))
            click.echo(f"{one['patient_id']}  {one['key']}  {one['reason']} for {since}{said}")
        if not found["conflicts"]:
            click.echo("nothing is in conflict")

    show_or_json(as_json, found, show)
