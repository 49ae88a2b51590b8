"""`glp1 drill`: break something on purpose in an installation made for it, and measure what becomes of it.

Not here: the drills (`sandbox.drills`).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from .telling import AS_JSON, show_or_json, told

FOLDER = "evidence"


@click.group(short_help="break something on purpose, and see that nothing is lost")
def drill() -> None:
    """Drills: list them, run them, read the scorecard of what they showed.

    Each makes one fault in an installation of its own (Postgres, EHR, CRM and the pipeline at work, in a temporary
    folder), waits until the alert rules notice, mends it, waits until all is settled, and then reads everything back:
    nothing may be lost, nothing doubled. Your own installation is never touched; only the evidence is written to the
    folder `evidence` of GLP1_HOME.

    \b
    To drill against another EHR, a test system whose content may be thrown away:
      GLP1_EHR_URL=https://... GLP1_DRILL_SAFE=1 glp1 drill run ehr-503
    Without GLP1_DRILL_SAFE=1 nothing is run while a setting leads to another system.
    """


@drill.command("list", short_help="all drills by area")
@AS_JSON
def list_(as_json: bool) -> None:
    """All drills by area: the name, the alert that must be raised, and what happens."""
    from ..sandbox.drills import all_drills

    drills = all_drills()

    def show() -> None:
        for one in drills:
            click.echo(f"{one.name:28}{one.area:10}{one.alert or '-':16}{one.what}")

    known = [{"name": d.name, "area": d.area, "alert": d.alert, "why_no_alert": d.why_no_alert, "what": d.what,
              "needs_dagster": d.needs_dagster} for d in drills]  # fmt: skip
    show_or_json(as_json, known, show)


@drill.command(short_help="run drills by name or area, or all")
@click.argument("names", nargs=-1, required=True)
@click.option("--without-dagster", is_flag=True, help="Leave out those that need the whole stack (a minute more).")
@AS_JSON
def run(names: tuple[str, ...], without_dagster: bool, as_json: bool) -> None:
    """Run the drills NAMES one after another, those of an area by its name, or `all`.

    Tells what each does, then detection and recovery in seconds, lost, doubled, the alert, and PASSED or FAILED; writes
    a file of evidence for each (JSON, nothing of a person); cleans up. Exits with 1 if any failed.
    """
    from ..adapters.settings import Settings
    from ..sandbox.drills import all_drills
    from ..sandbox.drills.run import run_drills
    from ..sandbox.drills.scorecard import sum_up

    known = all_drills()
    if unknown := set(names) - {d.name for d in known} - {d.area for d in known} - {"all"}:
        raise click.ClickException(f"no drill and no area is called {', '.join(sorted(unknown))}: see glp1 drill list")
    chosen = [d for d in known if {"all", d.name, d.area} & set(names)]
    if without_dagster:
        chosen = [d for d in chosen if not d.needs_dagster]
    folder = Settings.from_env().home / FOLDER

    def say(sentence: str) -> None:
        click.echo(sentence, err=as_json)

    found = told(lambda: [asdict(evidence) for evidence in run_drills(chosen, folder, say)])

    def show() -> None:
        click.echo(f"\n{sum_up(found)}\nEvidence: {folder}")

    show_or_json(as_json, found, show)
    sys.exit(any(one["outcome"] == "failed" for one in found))


@drill.command(short_help="the scorecard: of each drill the newest evidence")
@click.option("--write", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write it as Markdown too.")
@AS_JSON
def score(page: Path | None, as_json: bool) -> None:
    """The scorecard: of each drill the newest evidence. Exits with 1 unless every drill ran and nothing is lost."""
    from ..adapters.settings import Settings
    from ..sandbox.drills import all_drills
    from ..sandbox.drills.run import newest
    from ..sandbox.drills.scorecard import as_markdown, as_text, is_good, ordered, totals

    rows = ordered(newest(Settings.from_env().home / FOLDER), all_drills())
    if page:
        page.write_text(as_markdown(rows), "utf-8")
    answer = {"holds": is_good(rows), **totals(rows), "drills_by_name": rows}
    show_or_json(as_json, answer, lambda: [click.echo(line) for line in as_text(rows)])
    sys.exit(0 if is_good(rows) else 1)
