"""`glp1 downtime`: the worklist on paper before the system is down, and what was done by hand back into it.

Not here: what a row means (`domain.downtime`), and files (`adapters.downtime`).
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from .telling import AS_JSON, audited, open_road, show_or_json, told


def _opaque(context: click.Context, parameter: click.Parameter, value: str) -> str:
    from ..domain.events.shapes import TOKEN

    if not TOKEN.fullmatch(value):
        raise click.BadParameter("an opaque name, like a staff id, without spaces")
    return value


def _said(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip() or len(value) > 500:
        raise click.BadParameter("a sentence of at most 500 characters, without a patient's details")
    return value.strip()


def _zone(context: click.Context, parameter: click.Parameter, value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter("a time zone of the tz database, like America/New_York") from None


ACTOR = click.option("--actor", required=True, callback=_opaque, help="Who does this: an opaque name, like a staff id.")
REASON = click.option("--reason", required=True, callback=_said, help="Why, in a sentence. It is kept in the audit.")


@click.group(short_help="working on paper while the system is down")
def downtime() -> None:
    """Working on paper: `pack` before the system goes down, `load` when it is back.

    \b
    1. glp1 downtime pack --to FOLDER --actor YOU --reason "EHR upgrade tonight"
    2. Print the PDF: each queue begins on a page of its own. Work, and write on it.
    3. Fill the CSV in: outcome (done, declined or noted), done_by, done_at, note_code. Leave all other columns.
    4. glp1 downtime load FILE.csv --actor YOU --reason "EHR upgrade" --dry-run; then without --dry-run
    5. Shred the paper and delete the files.

    Who took and brought what, when and why, is a line in GLP1_HOME/audit.ndjson.
    """


@downtime.command(short_help="write the worklist of all open tasks as CSV and PDF")
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="The folder to write to; made where it is not there.",
)  # fmt: skip
@ACTOR
@REASON
@AS_JSON
def pack(folder: Path, actor: str, reason: str, as_json: bool) -> None:
    """Write the worklist of all open tasks as CSV and PDF. THE FILES NAME PATIENTS, with birth date and phone.

    One row per task: whose it is, when it is due, what for, since when the patient is in the provider's queue, what the
    gate still waits for, and room to write. Only you may read the files (mode 600); no file is overwritten.
    """
    from ..adapters import downtime as paper
    from ..domain.charting import GATE

    def work() -> dict[str, Any]:
        road, now = open_road(), datetime.now(UTC)
        with road.connect("glp1 downtime pack") as connection:
            lines = paper.read_worklist(connection, road.contract, GATE)
        patients = len({line.patient_id for line in lines})
        audited(road.settings.home, actor, reason, "downtime.pack", tasks=len(lines), patients=patients)
        try:
            made = paper.write_pack(folder, lines, now)
        except FileExistsError:
            raise click.ClickException("a worklist of this second is there already: try again") from None
        except OSError as error:
            raise click.ClickException(f"the folder cannot be written to ({error.strerror})") from None
        return made._asdict()

    found = told(work)

    def show() -> None:
        click.echo(f"{found['tasks']} tasks of {found['patients']} patients, {found['overdue']} overdue")
        click.echo(f"print  {found['pdf']}\nfill   {found['csv']}")
        click.echo("these files name patients: keep them locked, shred and delete them when they are loaded")

    show_or_json(as_json, found, show)


@downtime.command(short_help="bring back what was done by hand")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@ACTOR
@REASON
@click.option(
    "--time-zone", "zone", default="UTC", show_default=True, callback=_zone,
    help="Of the times in `done_at` that name no offset, like America/New_York.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what each row would do, and change nothing.")
@AS_JSON
def load(file: Path, actor: str, reason: str, zone: ZoneInfo, dry_run: bool, as_json: bool) -> None:
    """Bring back what was done by hand. Each row is an event of the ledger, so loading FILE twice changes nothing.

    \b
    done      closes the task, unless something newer was said about it meanwhile: then it stays open.
    declined  is kept, and the task stays open for whoever decides what follows.
    noted     is kept with its note_code (reached, left-message, ...), and the task stays open.

    Rows are answered one by one, by the number that the worklist gave them and without what stands in them. A row that
    cannot be used stops no other; the command then ends with 1: mend those rows and load the same file again.
    """
    from ..adapters import downtime as paper
    from ..domain.charting import GATE

    def work() -> dict[str, Any]:
        road = open_road()
        try:
            rows = paper.read_rows(file)
        except ValueError as fault:
            raise click.ClickException(str(fault)) from None
        if not dry_run:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            audited(road.settings.home, actor, reason, "downtime.load", rows=len(rows), sha256=digest)
        with road.connect("glp1 downtime load") as connection:
            answers = paper.bring_back(
                connection, road.contract, road.cipher, GATE, rows, zone, is_dry_run=dry_run
            )  # fmt: skip
        counts = Counter(answer.status for answer in answers)
        return {"dry_run": dry_run, "counts": dict(counts), "rows": [answer._asdict() for answer in answers]}

    found = told(work)

    def show() -> None:
        for row in found["rows"]:
            if row["status"] != "blank":
                click.echo(f"row {row['row']:>5}  {row['status'].replace('_', ' '):17}{row['says']}")
        counts = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(found["counts"].items()))
        click.echo(f"{counts or 'no rows'}{' (dry run: nothing was changed)' if dry_run else ''}")

    show_or_json(as_json, found, show)
    if found["counts"].get("bad"):
        sys.exit(1)
