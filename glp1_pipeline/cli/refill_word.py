"""People's word on refills: letting a held request go on, and saying of a risk flag that it holds or does not.

Not here: looking (`refill`), who may (contracts/access.yaml, override_reasons.csv), and what follows (`charts`).
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

import click

from .telling import AS_JSON, chart_now, open_road, or_say, patient_of, show_or_json, told

RESOLUTIONS = ("refuted", "confirmed")
ACTOR = click.option("--actor", required=True, help="Who decides: an opaque name, like a staff id.")
RULES = click.option(
    "--rule", "rules", required=True, multiple=True, help="A rule that is let through; again for more."
)
REASON = click.option(
    "--reason", "reason", required=True, metavar="CODE", help="A code of contracts/override_reasons.csv."
)
TEXT = click.option(
    "--text",
    prompt="Why, in a sentence",
    help="Why, in a sentence of your own; asked for when left out, so that no shell remembers it. It is kept sealed,"
    " with the event alone.",
)
ROLE = click.option("--role", required=True, help="In which role, of contracts/access.yaml.")
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Say whether it may be and what would come of it; change nothing."
)
INSTANT = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"])


@click.command(short_help="let a held request go on: by whom, why, until when")
@click.argument("refill_id", metavar="REFILL", type=click.UUID)
@RULES
@click.option("--flag", "flags", multiple=True, help="A risk flag that is meant, where the rule holds for flags.")
@REASON
@TEXT
@click.option(
    "--until", required=True, type=INSTANT, help="When it ends by itself: 2026-12-24 or 2026-12-24T15:00 (UTC)."
)
@ACTOR
@ROLE
@DRY_RUN
@AS_JSON
def override(refill_id, rules, flags, reason, text, until, actor, role, dry_run: bool, as_json: bool) -> None:
    """Let the held request REFILL go on, for these rules alone, with a reason, until a moment.

    Which role may give which reason for how long is in contracts/access.yaml and override_reasons.csv, which rules may
    be let through for which class of reasons in refills.yaml; the data dictionary shows all three. Some nobody may: a
    check-in that is missing, a thought of suicide, a pregnancy, and the flags that the contract closes.

    A rule that holds for flags (red_flag, red_symptom, administrative) is let through for the named flags alone: one
    that is raised later holds the request again. So does everything when the override ends, by itself.

    It is an event of its own: it is kept for ever, and a replay repeats nothing. It does not approve the refill: the
    request comes into the provider's queue, or is held by the next rule that holds.

    \b
    glp1 refill override 092b29ae-... --rule side_effect --reason ASSESSED_PATIENT \\
        --until 2026-12-24 --actor provider-7 --role provider
    Why, in a sentence: seen by video, eats and drinks
    """
    from ..adapters import refills

    word = refills.Word(rules, flags, reason, text, until if until.tzinfo else until.replace(tzinfo=UTC), actor, role)

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 refill override") as connection:
            if dry_run:
                before, after = or_say(
                    lambda: refills.foresee(connection, road.contract, road.cipher, str(refill_id), word)
                )
                told_of = {"outcome": before.outcome, "rule": before.rule}
                return {"dry_run": True, "before": told_of, "after": {"outcome": after.outcome, "rule": after.rule}}
            event_id = or_say(lambda: refills.override(connection, road.contract, road.cipher, str(refill_id), word))
            return {"dry_run": False, **chart_now(connection, road, event_id), **_stands(connection, str(refill_id))}

    found = told(work)

    def show() -> None:
        if dry_run:
            before, after = found["before"], found["after"]
            click.echo(
                f"it may be: {before['outcome']} by {before['rule']} would be {after['outcome']} by {after['rule']}"
            )
        else:
            click.echo(f"let through by event {found['event_id']}: now {found['outcome']} by {found['rule']}")

    show_or_json(as_json, found, show)


@click.command(short_help="a provider's word on a risk flag: it holds, or it does not")
@click.argument("patient")
@click.argument("flag")
@click.option(
    "--resolution", required=True, type=click.Choice(RESOLUTIONS),
    help="refuted: it does not hold, and goes from the chart. confirmed: it holds, and stays.",
)  # fmt: skip
@click.option("--reason", "reason", required=True, metavar="CODE", help="Why, as a code without a space.")
@ACTOR
@AS_JSON
def resolve(patient: str, flag: str, resolution: str, reason: str, actor: str, as_json: bool) -> None:
    """A provider's word on the risk flag FLAG of PATIENT, as `glp1 why` lists it: refuted or confirmed.

    It is an event of its own. What is said later and raises the flag again counts again. For flags that nobody may
    override this is the only way past them.
    """
    from ..adapters import refills

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 refill resolve") as connection:
            patient_id = patient_of(connection, patient)
            event_id = or_say(
                lambda: refills.resolve(
                    connection, road.contract, road.cipher, patient_id, flag, resolution, reason, actor
                )
            )
            charted = chart_now(connection, road, event_id)
            row = connection.execute(
                "select status from phi.risk_flags where patient_id = %s and flag_id = %s", (patient_id, flag)
            ).fetchone()
        return {**charted, "flag": flag, "status": row[0] if row else "cleared"}

    found = told(work)
    show_or_json(as_json, found, lambda: click.echo(f"said by event {found['event_id']}: {flag} is {found['status']}"))


def _stands(connection, refill_id: str) -> dict[str, Any]:
    row = connection.execute(
        "select outcome, decided_by, decision_id::text from ops.refills where refill_id = %s", (refill_id,)
    ).fetchone()
    return dict(zip(("outcome", "rule", "decision_id"), row or (None, None, None), strict=True))
