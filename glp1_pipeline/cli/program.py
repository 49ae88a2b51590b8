"""`glp1 program`: a year of 200 invented patients, to load, to look at, and to hold the pipeline against.

Not here: its stories and how it is run (`sandbox.program`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .telling import AS_JSON, question, show_or_json, told

PATIENTS = click.option(
    "--patients",
    type=click.IntRange(1, 800),
    default=200,
    show_default=True,
    help="How many; the first live one story each.",
)
SEED = click.option("--seed", default=1, show_default=True, help="The same seed makes the same program.")


@click.group(short_help="an invented program of a year")
def program() -> None:
    """A program of a year: invented patients with their treatments, check-ins, refills and all that befalls them.

    \b
    glp1 program run                    load it in a place of its own, and hold it against its stories
    glp1 program write FOLDER           a file a month, to drop where you like: glp1 drop FOLDER/*.ndjson
    glp1 program check                  whether it came to what its stories say, here
    """


@program.command(short_help="load the year into a database of its own, check each story")
@PATIENTS
@SEED
@AS_JSON
def run(patients: int, seed: int, as_json: bool) -> None:
    """Load the year (landing zone, ledger, charts, outbox, clocks) into a database made for it, and check every story.

    Nothing of yours is touched. Exits with 1 if a story did not end as it says, a refill went on without what it needs,
    somebody waits for what `glp1 why` does not tell, or the ledger is out of balance.
    """
    from ..sandbox.program import build
    from ..sandbox.program import run as running

    found = told(lambda: running.run(build(patients, seed), lambda line: click.echo(line, err=as_json)))

    def show() -> None:
        click.echo(
            f"{found.patients} patients, {found.events} events, {found.refills} refills asked for,"
            f" {found.advanced} went on, {found.waiting} patients wait, {found.writes} writes, in {found.seconds} s"
        )
        for fault in found.faults:
            click.echo(f"FAULT: {fault}")
        click.echo("every story is as expected" if not found.faults else f"{len(found.faults)} fault(s)")

    show_or_json(as_json, found.as_dict(), show)
    sys.exit(bool(found.faults))


@program.command(short_help="write the year's events as files")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@PATIENTS
@SEED
def write(folder: Path, patients: int, seed: int) -> None:
    """Write the events as NDJSON, a file a month, and expected.json beside them, into FOLDER."""
    from ..sandbox.program import build

    files = build(patients, seed).write(folder)
    click.echo(f"{len(files)} files in {folder}, and expected.json: what each patient must come to")


@program.command(short_help="whether the program dropped here ended as its stories say")
@PATIENTS
@SEED
@AS_JSON
def check(patients: int, seed: int, as_json: bool) -> None:
    """Whether the program that was dropped here ended as its stories say, once all clocks have rung.

    Exits with 1 if not. Say the same --patients and --seed as when it was written.
    """
    from ..sandbox.program import build
    from ..sandbox.program.check import differences

    made = build(patients, seed)
    found = told(lambda: question(lambda connection: differences(connection, made)))

    def show() -> None:
        for account, faults in found.items():
            for fault in faults:
                click.echo(f"{account}: {fault}")
        click.echo(f"{len(made.expected) - len(found)} of {len(made.expected)} patients are as their stories say")

    show_or_json(as_json, {"holds": not found, "differences": found}, show)
    sys.exit(bool(found))
