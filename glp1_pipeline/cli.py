"""The command line `glp1`: thin, the same functions that the assets call.

Here: reading arguments, printing answers. Not here: any decision. Imports are inside the commands, so that `--help`
and a quick question cost no more than they need.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document in place of text.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Carries the clinical data of a GLP-1 telehealth program: intake to chart to queue to EHR, once and in order.

    \b
    Begin with    glp1 demo            everything on this machine, with samples
    Look          glp1 status          how the whole stands
                  glp1 events          what was quarantined, where and why
                  glp1 why PATIENT     what one patient waits for, since when, and whose it is
    Prove         glp1 reconcile       nothing lost, nothing doubled, the EHR read back
    Mend          glp1 replay          compute events again after a correction

    Settings come from GLP1_* variables; without any, everything runs embedded in the folder .glp1 of the project.
    """


@main.command()
def up() -> None:
    """Start everything (Postgres, EHR, Dagster) and stay up until Ctrl-C; no samples are dropped."""
    from .sandbox import demo

    _told(demo.up)


@main.command(name="demo")
@click.option("--once", is_flag=True, help="End when the samples have settled; exit 1 if anything is not as expected.")
def demo_command(once: bool) -> None:
    """Start everything, drop the samples of data_samples/, show their way, and stay up until Ctrl-C.

    With --once it ends by itself, prints the summary and exits with 1 if the ledger is out of balance or a sample did
    not reach its expected state.
    """
    from .sandbox import demo

    sys.exit(_told(lambda: demo.run(once)))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@AS_JSON
def drop(files: tuple[Path, ...], as_json: bool) -> None:
    """Drop FILES into the landing zone, as a producer should: written beside, flushed, renamed into place.

    A file is a CloudEvents 1.0 JSON event, NDJSON of them, or a FHIR QuestionnaireResponse.
    """
    import uuid

    from .adapters.landing import DROPS, digest

    def work():
        landing = _road().landing
        for file in files:
            with file.open("rb") as stream:
                drop_id = uuid.uuid5(DROPS, digest(stream)[0].hex())
                landing.put(f"{uuid.uuid4()}{file.suffix}", stream)
            yield {"drop_id": str(drop_id), "size_bytes": file.stat().st_size}

    dropped = _told(lambda: list(work()))
    _print(
        as_json, dropped, lambda: [click.echo(f"dropped as {d['drop_id']} ({d['size_bytes']} bytes)") for d in dropped]
    )


@main.command()
@AS_JSON
def status(as_json: bool) -> None:
    """How everything stands: counts along the road, what is held and why, how long each hop takes."""
    from .adapters.status import status as ask

    found = _told(lambda: _ask(ask))

    def show() -> None:
        for name, value in found.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                click.echo(f"{title:26}{'  '.join(f'{k} {v}' for k, v in value.items() if v is not None) or '-'}")
            else:
                click.echo(f"{title:26}{value}")

    _print(as_json, found, show)


@main.command()
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
    from .adapters.status import events as ask

    found = _told(lambda: _ask(lambda connection: ask(connection, status, limit)))

    def show() -> None:
        for event in found:
            place = f"drop {event['drop_id']} line {event['line']}"
            why_so = f": {event['reason']}: {event['hint']}" if event["reason"] else ""
            click.echo(f"{event['event_id']}  {place}  {_age(event['received_at'])} ago{why_so}")
        if not found:
            click.echo(f"no event is {status}")

    _print(as_json, found, show)


@main.command()
@click.argument("patient")
@AS_JSON
def why(patient: str, as_json: bool) -> None:
    """What PATIENT waits for: every unmet gate, open task and unsent write, since when, and whose it is.

    PATIENT is our id, or an id that another system gave (an intake account, say). It prints names and times, no value.
    """
    from .adapters.status import find_patient
    from .adapters.status import why as ask

    def work(connection):
        patient_id = find_patient(connection, patient)
        return None if patient_id is None else ask(connection, patient_id)

    found = _told(lambda: _ask(work))
    if found is None:
        raise click.ClickException(
            "no patient is known by this id: check it, or ask `glp1 status` what is still waiting"
        )
    _print(as_json, found, lambda: _show_why(found))


@main.command()
@click.option("--ehr/--no-ehr", "with_ehr", default=True, help="Read the EHR back and compare resource by resource.")
@AS_JSON
def reconcile(with_ehr: bool, as_json: bool) -> None:
    """Prove that nothing was lost or doubled: received = charted + waiting + rejected + dead, and the EHR read back.

    Exits with 1 when it does not hold, and says what.
    """
    from .adapters.balance import balance
    from .adapters.ehr_compare import compare
    from .defs.intake import every_few_seconds

    def work():
        road = _road()
        with road.connect("glp1 reconcile") as connection:
            found = balance(connection)
            tell = every_few_seconds(lambda now: click.echo(f"read back {now.resources} resources …", err=True))
            compared = compare(connection, road.ehr, road.cipher, progress=tell) if with_ehr else None
        return found, compared

    found, compared = _told(work)
    holds = found.holds and (compared is None or compared.holds)
    answer = {"holds": holds, "ledger": found.as_dict(), "ehr": compared.as_dict() if compared else None}

    def show() -> None:
        click.echo(
            f"received {found.received} = charted {found.charted} + waiting {found.waiting}"
            f" + rejected {found.rejected} + dead {found.dead}"
        )
        click.echo(f"lines {found.lines} = received {found.received} + duplicates {found.duplicates}")
        click.echo(f"patients {found.patients}; writes {found.writes or '-'}; refused drops {found.refused_drops}")
        if compared:
            click.echo(
                f"EHR: {compared.resources} resources of ours, {compared.equal} as written, {compared.missing} missing,"
                f" {compared.different} different, {compared.edited_there} edited there and left so,"
                f" {compared.doubled} doubled, {compared.not_sent_yet} not sent yet"
            )
        for fault in found.faults:
            click.echo(f"FAULT: {fault}")
        click.echo("in balance" if holds else "OUT OF BALANCE")

    _print(as_json, answer, show)
    sys.exit(0 if holds else 1)


@main.command()
@AS_JSON
def fingerprint(as_json: bool) -> None:
    """A hash of everything that means something. Replaying anything leaves it as it is."""
    from .adapters.balance import fingerprint as ask

    found = _told(lambda: _ask(ask))
    _print(as_json, found, lambda: [click.echo(f"{name:18}{value}") for name, value in found.items()])


@main.command()
@click.option("--event", "events", multiple=True, type=click.UUID, help="An event to compute again; may be repeated.")
@click.option("--day", "days", multiple=True, type=click.DateTime(["%Y-%m-%d"]), help="A day of receipt (UTC).")
@click.option("--dead-writes", is_flag=True, help="Also try dead writes to the EHR again.")
@click.option("--apply", "is_applied", is_flag=True, help="Do it. Without this only what would be touched is counted.")
@AS_JSON
def replay(events, days, dead_writes: bool, is_applied: bool, as_json: bool) -> None:
    """Compute events again from their sealed bytes: after a correction of the contract or of our code.

    What did not change changes nothing and writes nothing; replaying three times is the same as once.
    """
    from .adapters import charts, outbox
    from .adapters.balance import fingerprint as take_fingerprint

    if not events and not days and not dead_writes:
        raise click.UsageError("say what to replay: --event ID, --day YYYY-MM-DD or --dead-writes")

    def work() -> dict[str, Any]:
        road = _road()
        scope = charts.Scope(tuple(day.date() for day in days), tuple(events), is_replay=True)
        with road.connect("glp1 replay") as connection:
            if not is_applied:
                found = charts.count(connection, scope) if events or days else 0
                return {"dry_run": True, "events": found, "dead_writes": outbox.pending(connection, "ehr").dead}
            before = take_fingerprint(connection)["state"]
            done = charts.chart_events(connection, road.contract, road.cipher, scope) if events or days else None
            retried = outbox.retry_dead(connection, "ehr", "all") if dead_writes else 0
            return {
                "dry_run": False,
                "events": done.events if done else 0,
                "dead": done.dead if done else 0,
                "rejected": done.rejected if done else 0,
                "new_writes": done.writes if done else 0,
                "writes_tried_again": retried,
                "state_changed": before != take_fingerprint(connection)["state"],
            }

    found = _told(work)
    _print(as_json, found, lambda: [click.echo(f"{k.replace('_', ' '):20}{v}") for k, v in found.items()])


@main.command()
@click.option("--keep-theirs", nargs=2, metavar="PATIENT RESOURCE", help="The EHR is right: leave it so.")
@click.option("--send-ours", nargs=2, metavar="PATIENT RESOURCE", help="Ours is right: plan it again, to be sent.")
@AS_JSON
def conflicts(keep_theirs, send_ours, as_json: bool) -> None:
    """Resources that someone edited, deleted or doubled in the EHR after us: ours is not sent until a person decides.

    Either way our later changes of it are sent again, against the version that was found there: one that was edited
    once more since is a conflict again. RESOURCE is as listed, Type/id.
    """
    from .adapters import charts, outbox
    from .adapters.status import find_patient

    if keep_theirs and send_ours:
        raise click.UsageError("one decision at a time: --keep-theirs or --send-ours")

    def work() -> dict[str, Any]:
        road = _road()
        with road.connect("glp1 conflicts") as connection:
            if not keep_theirs and not send_ours:
                return {"conflicts": [found._asdict() for found in outbox.conflicts(connection, "ehr")]}
            patient, key = keep_theirs or send_ours
            patient_id = find_patient(connection, patient)
            decision = "theirs" if keep_theirs else "ours"
            if patient_id is None or not outbox.settle_conflict(connection, "ehr", patient_id, key, decision):
                raise click.ClickException("this is not in conflict: `glp1 conflicts` lists what is")
            if keep_theirs:
                return {"decision": decision, "new_writes": 0}
            events = connection.execute(
                "select event_id from phi.events where record_id = %s and status = 'charted'", (patient_id,)
            ).fetchall()
            scope = charts.Scope(event_ids=tuple(event for (event,) in events), is_replay=True)
            return {
                "decision": decision,
                "new_writes": charts.chart_events(connection, road.contract, road.cipher, scope).writes,
            }

    found = _told(work)

    def show() -> None:
        if "decision" in found:
            click.echo(f"noted: {found['decision']}; {found['new_writes']} new write(s) to the EHR")
            return
        for one in found["conflicts"]:
            said = f", decided: {one['decision']}" if one["decision"] else ""
            since = _age(datetime.fromisoformat(one["since"]))
            click.echo(f"{one['patient_id']}  {one['key']}  {one['reason']} for {since}{said}")
        if not found["conflicts"]:
            click.echo("nothing is in conflict")

    _print(as_json, found, show)


def _road():
    from .defs.resources import Road

    return Road()


def _ask(question: Callable):
    with _road().connect("glp1 command line") as connection:
        return question(connection)


def _told(work: Callable):
    """Run it; what a person can mend is said in one sentence and never as a trace."""
    from .sandbox.demo import TELLING

    try:
        return work()
    except TELLING as error:
        raise click.ClickException(str(error)) from None


def _print(as_json: bool, answer: Any, show: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(answer, default=_plain, ensure_ascii=False))
    else:
        show()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _age(since: datetime) -> str:
    seconds = time.time() - since.timestamp()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _show_why(found: dict[str, Any]) -> None:
    click.echo(f"patient {found['patient_id']}: stage {found['stage'] or 'unknown'}, {found['events']} event(s)")
    if found["in_queue_since"]:
        click.echo(f"in the provider's queue for {_age(found['in_queue_since'])}")
    for gate in found["gates"]:
        missing = ", ".join(f"{m['field']} ({m['state']})" for m in gate["missing"])
        click.echo(
            f"gate {gate['gate']}: {gate['outcome']} for {_age(gate['since'])}{': ' + missing if missing else ''}"
        )
    for task in found["tasks"]:
        click.echo(
            f"task {task['task']} ({task['cause']}): {task['owner']}, queue {task['queue']}, open for"
            f" {_age(task['since'])}, due {task['due']:%Y-%m-%d %H:%M} UTC"
        )
    for flag in found["flags"]:
        click.echo(f"flag {flag['severity']} {flag['flag']} ({flag['status']}): {', '.join(flag['fields'])}")
    for write in found["writes"]:
        click.echo(
            f"write {write['write']} to the EHR: {write['status']} for {_age(write['since'])}, {write['tries']} tries"
        )
    for reason in found["blocked"]:
        click.echo(f"nothing more is sent to the EHR: {reason}")
    undecided = [conflict for conflict in found["conflicts"] if not conflict["decision"]]
    for conflict in undecided:
        click.echo(
            f"conflict {conflict['resource']}: {conflict['reason']} for {_age(conflict['since'])}, ours is not sent:"
            " `glp1 conflicts --help` says how to decide"
        )
    for event in found["last_events"]:
        reason = f": {event['reason']}: {event['hint']}" if event["reason"] else ""
        click.echo(
            f"event {event['event_id']}: {event['type']}, {event['status']} {_age(event['received_at'])} ago{reason}"
        )
    is_held = any(gate["outcome"] == "held" for gate in found["gates"])
    if not (is_held or found["tasks"] or found["writes"] or found["blocked"] or undecided):
        click.echo("nothing is unmet")


if __name__ == "__main__":
    main()
