"""`glp1 mapping` and `glp1 dictionary`: how well answers map, what no code set knows, what every field means.

Here: reading arguments, printing answers. Not here: any count (`adapters.mapping_check`, `adapters.unmapped`), and the
page itself (`contracts.dictionary`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .telling import AS_JSON, question, say_limit, show_or_json, told

if TYPE_CHECKING:
    from ..adapters.mapping_check import Checked
    from ..adapters.unmapped import Spelling
    from ..domain.contract import Contract


@click.command(short_help="print the data dictionary")
def dictionary() -> None:
    """Print the data dictionary: every field, code, flag, gate, task, message and effect that the contract declares.

    It is Markdown, made from the contract alone. Where a file of the contract does not hold, it says what is wrong, in
    which line, and how to mend it. After a change of the contract, refresh the page that is kept:

    \b
        glp1 dictionary > docs/data-dictionary.md
    """
    from ..contracts.alerts import load_alerts
    from ..contracts.dictionary import render

    contract = _contract()
    told(load_alerts)  # not on the page; but who asks what is wrong with the contract asks here
    click.echo(render(contract), nl=False)


def _contract() -> Contract:
    """As it lies on disk; nothing else is needed, so nothing else is started or imported."""
    from ..contracts import load

    return told(load)


@click.group(short_help="how well answers map to the contract")
def mapping() -> None:
    """How well answers map to the fields of the contract, and what is missing where they do not."""


@mapping.command(short_help="what share of a folder of submissions maps by itself")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--goal", type=click.FloatRange(0, 100), default=95, show_default=True, help="Percent of submissions that must map."
)
@click.option(
    "--places",
    type=click.IntRange(0, 100_000),
    default=0,
    help="Also list this many failures with file and line, to mend them; file names are printed as they are.",
)
@AS_JSON
def check(paths: tuple[Path, ...], goal: float, places: int, as_json: bool) -> None:
    """Map every submission in PATHS and say what share maps without manual correction. Nothing is changed.

    PATHS are files or folders of submissions: CloudEvents 1.0 JSON, NDJSON of them, or FHIR QuestionnaireResponses, as
    the landing zone takes them. Folders are read with all below them (.json, .ndjson, .jsonl; other files are counted
    and passed over). No database, server or key is needed, and files of any size are read in steady memory.

    A submission MAPS when it is accepted and no person has to look at how one of its answers was read. It does not
    when it was refused (by reason), an answer was held or kept as typed (by field and cause), or a question is unknown.
    Contradictions are counted apart: the answers were understood, the patient must say which holds. Values are never
    printed.

    \b
    Exits with 0  at or above the goal
               1  below it
               2  when there was nothing to check

    \b
    Examples
      glp1 mapping check drops/                     a folder and all below it
      glp1 mapping check data_samples/*/input       our own samples, without what they expect
      glp1 mapping check export.ndjson --goal 99    a stricter goal
      glp1 mapping check export.ndjson --places 20  where the first failures are
    """
    from ..adapters.mapping_check import check_mapping
    from ..adapters.progress import every_few_seconds

    tell = every_few_seconds(lambda now: click.echo(f"read {now.documents} submissions, {now.mapped} map …", err=True))
    try:
        checked = check_mapping(_contract(), paths, places, tell)
    except OSError as error:
        raise click.UsageError(f"a path cannot be read: {error.strerror}") from None
    reached = checked.share * 100 >= goal
    answer = checked.as_dict() | {"goal": goal / 100, "reached": bool(checked.documents) and reached}
    show_or_json(as_json, answer, lambda: _show(checked, goal, reached))
    sys.exit(2 if not checked.documents else 0 if reached else 1)


def _show(checked: Checked, goal: float, reached: bool) -> None:
    from ..adapters.mapping_check import most

    if not checked.documents:
        click.echo(f"nothing to check: {checked.files} file(s) read, {checked.passed_over} of other kinds passed over")
        return
    click.echo(
        f"{checked.mapped} of {checked.documents} submissions map without manual correction:"
        f" {checked.share:.2%}, goal {goal:g} %: {'reached' if reached else 'NOT REACHED'}"
    )
    click.echo(f"{checked.answers_mapped} of {checked.answers} answers map: {checked.answer_share:.2%}")
    if checked.failed:
        click.echo("\nanswers that a person has to look at")
    for (field, cause), count in most(checked.failed):
        click.echo(f"{count:9}  {field:26} {cause}")
    if checked.refused:
        click.echo("\nrefused, by reason")
    for reason, count in most(checked.refused):
        click.echo(f"{count:9}  {reason:22} {checked.hints[reason]}")
    if checked.dead:
        click.echo("\nour own code failed")
    for place, count in most(checked.dead):
        click.echo(f"{count:9}  {place}")
    if checked.contradictions:
        click.echo("\ncontradictions, for the patient to settle")
    for name, count in most(checked.contradictions):
        click.echo(f"{count:9}  {name}")
    if checked.places:
        click.echo("\nfirst places")
    for place in checked.places:
        click.echo(f"{place.file}:{place.line}: {place.field + ': ' if place.field else ''}{place.cause}")
    click.echo(
        f"\n{checked.files} file(s) read, {checked.passed_over} of other kinds passed over,"
        f" {checked.other_events} event(s) that are no submissions"
    )


@mapping.command(short_help="spellings that no code set knows")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, commonest first."
)
@AS_JSON
def unmapped(limit: int, as_json: bool) -> None:
    """Spellings that no code set knows, over everything charted: set, answers, fields, since when.

    THESE ARE WORDS OF PATIENTS: for the terminal of a person who may see them; do not pass them on.

    To mend one, add a line to glp1_pipeline/contracts/codes.csv (set, spelling, code; a clinician or pharmacist says
    which code), then replay the days: glp1 replay --day YYYY-MM-DD. What is mended is gone from this list.
    """
    from ..adapters.unmapped import unmapped_spellings

    found = told(lambda: question(lambda connection: unmapped_spellings(connection, limit)))
    show_or_json(as_json, {"unmapped": [one._asdict() for one in found]}, lambda: _list(found, limit))


def _list(found: list[Spelling], limit: int) -> None:
    for one in found:
        since = f"{one.first_seen_at:%Y-%m-%d} to {one.last_seen_at:%Y-%m-%d}"
        spelling = "".join(letter if letter.isprintable() else "\ufffd" for letter in one.spelling)
        click.echo(f"{one.answers:9}  {one.code_set:20} {since}  {', '.join(one.fields)}: {spelling}")
    if not found:
        click.echo("every spelling is known")
    say_limit(found, limit)
