"""A provider's word on a refused order of a treatment: it goes all the same.

Not here: looking (`medication`), who may (contracts/access.yaml, override_reasons.csv, medication.yaml), and what
follows (`charts`).
"""

from __future__ import annotations

from typing import Any

import click

from .refill_word import ACTOR, DRY_RUN, REASON, ROLE, RULES, TEXT
from .telling import AS_JSON, chart_now, open_road, or_say, show_or_json, told


@click.command(short_help="let a refused order go: against which rules, by whom, why")
@click.argument("order", metavar="ORDER", type=click.UUID)
@RULES
@REASON
@TEXT
@ACTOR
@ROLE
@DRY_RUN
@AS_JSON
def override(order, rules, reason, text, actor, role, dry_run: bool, as_json: bool) -> None:
    """Let the refused ORDER of a treatment go, against these rules alone, with a reason, until the next order.

    ORDER is the event of the order, as `glp1 why PATIENT` and `glp1 medication show PATIENT` print it. Which rule may
    be overridden for which class of reasons is in contracts/medication.yaml, by which role in access.yaml and
    override_reasons.csv; the data dictionary shows all three. Some nobody may: two products at once, a dose that is no
    step of the ladder, a jump of a compounded dose, a step up over so many missed doses that it would be a restart.

    It is an event of its own: it is kept for ever, and a replay repeats nothing. It counts for this order as it was
    written, and until the next order of a GLP-1 medicine: a later one is judged by the rules again. What was done of
    the treatment since the order was written (held, stopped, handed over) stays done.

    \b
    glp1 medication override 092b29ae-... --rule skip_a_step_up --reason PRIOR_THERAPY_DOCUMENTED \\
        --actor provider-7 --role provider
    Why, in a sentence: the record of the former clinic shows three months at this dose
    """
    from ..adapters import orders

    word = orders.Word(rules, reason, text, actor, role)

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 medication override") as connection:
            if dry_run:
                before, after = or_say(lambda: orders.foresee(connection, road.contract, order, word))
                told_of = {"outcome": before.outcome, "rule": before.rule, "state": before.state}
                then = {"outcome": after.outcome, "rule": after.rule, "state": after.state}
                return {"dry_run": True, "family": before.family, "before": told_of, "after": then}
            event_id = or_say(lambda: orders.override(connection, road.contract, road.cipher, order, word))
            charted = chart_now(connection, road, event_id)
            now = or_say(lambda: orders.stands(connection, road.contract, order))
            return {
                "dry_run": False, **charted, "family": now.family, "outcome": now.outcome, "rule": now.rule,
                "state": now.state,
            }  # fmt: skip

    found = told(work)

    def show() -> None:
        if dry_run:
            before, after = found["before"], found["after"]
            click.echo(
                f"it may be: refused by {before['rule']}, {found['family']} is {before['state']};"
                f" let through it would be {after['state']}"
            )
        else:
            click.echo(f"let through by event {found['event_id']}: {found['family']} is {found['state']}")

    show_or_json(as_json, found, show)
