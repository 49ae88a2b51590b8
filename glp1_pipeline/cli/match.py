"""Who may be the same person, and what people decide about it.

Not here: when two records match (`domain.identity`).
"""

from __future__ import annotations

from typing import Any

import click

from .telling import AS_JSON, age, chart_now, open_road, or_say, question, say_limit, show_or_json, told

ACTOR = click.option("--actor", required=True, help="Who decides: an opaque name, like a staff id.")
REASON = click.option("--reason", required=True, help="Why, in a sentence. It is kept with the event.")

TITLES = {
    "first": "first name", "given": "its parts", "called": "preferred name", "formal": "may be short for",
    "last": "last name", "surnames": "its parts", "suffix": "suffix", "dob": "birth date", "sex": "sex at birth",
    "phone": "phone", "email": "email", "number": "house number", "street": "street", "unit": "unit", "city": "city",
    "zip": "zip", "state": "state",
}  # fmt: skip
"""What is compared, in words. Besides there are ids, by the system that gave them."""
ORDER = {name: place for place, name in enumerate(TITLES)}


@click.group(short_help="who may be the same person, and decisions about it")
def match() -> None:
    """Records that may be one person: look, decide, merge and take apart again.

    A record is a person as one account knows them; a patient is one or more records. Every decision is an event, and
    nothing is lost by it: taking apart returns each value, task and write to whom its event belongs.
    """


@match.command(name="list", short_help="pairs that wait for a decision, the likeliest first")
@click.option("--merged", is_flag=True, help="Show the records that are part of another's patient.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many, likeliest first."
)
@AS_JSON
def listed(merged: bool, limit: int, as_json: bool) -> None:
    """Pairs that wait for a decision, the likeliest first, with what agrees and what held them back (names only)."""
    from ..adapters import matches

    found = told(lambda: question(lambda c: (matches.links if merged else matches.reviews)(c, limit)))

    def show() -> None:
        for one in found:
            if merged:
                click.echo(f"{one['record_id']}  is part of {one['patient_id']} for {age(one['since'])}")
            else:
                held = f"; held back by {', '.join(one['guards'])}" if one["guards"] else ""
                click.echo(
                    f"{one['earlier']} {one['later']}  weight {one['weight']:.1f}, {age(one['since'])}\n"
                    f"    {', '.join(one['agreements'])}{held}"
                )
        if not found:
            click.echo("no record is part of another's patient" if merged else "no pair waits for a decision")
        say_limit(found, limit)

    show_or_json(as_json, found, show)


@match.command(short_help="what two records say, side by side")
@click.argument("record", type=click.UUID)
@click.argument("other", type=click.UUID)
@AS_JSON
def show(record, other, as_json: bool) -> None:
    """What RECORD and OTHER say of who they are, side by side, `=` where it is the same. Prints values: for the eyes
    of who decides.

    It is shown as it is compared: in small letters without signs, a phone by its digits, an address in its parts. Last
    come the ids that each system gave.
    """
    from ..adapters import matches

    found = told(lambda: question(lambda c: matches.beside(c, (str(record), str(other)))))

    def lines() -> None:
        rows = [
            (TITLES.get(name, f"id of {name}"), _plain(name, mine), _plain(name, theirs))
            for name, (mine, theirs) in sorted(found.items(), key=lambda one: ORDER.get(one[0], len(ORDER)))
        ]
        wide, wider = (max((len(row[n]) for row in rows), default=0) for n in (0, 1))
        for title, mine, theirs in rows:
            click.echo(f"{title:{wide}}  {'=' if mine == theirs else ' '}  {mine:{wider}}  |  {theirs}")
        if not rows:
            click.echo("nothing is known of either")

    show_or_json(as_json, found, lines)


def _plain(name: str, told: Any) -> str:
    if name == "dob" and told:
        return f"{told[:4]}-{told[4:6]}-{told[6:]}"
    return (", ".join(told) if isinstance(told, list) else told) or "-"


def _decide(action, first, second, actor: str, reason: str, as_json: bool) -> None:
    from ..adapters import matches

    def work() -> dict[str, Any]:
        road = open_road()
        with road.connect("glp1 match") as connection:
            pair = (str(first), str(second))
            event_id = or_say(
                lambda: matches.decide(connection, road.contract, road.cipher, action, pair, actor, reason)
            )
            return chart_now(connection, road, event_id)

    found = told(work)
    said = f"done by event {found['event_id']}, {found['new_writes']} write(s)"
    show_or_json(as_json, found, lambda: click.echo(said))


@match.command(short_help="they are one person")
@click.argument("survivor", type=click.UUID)
@click.argument("retired", type=click.UUID)
@ACTOR
@REASON
@AS_JSON
def accept(survivor, retired, actor: str, reason: str, as_json: bool) -> None:
    """They are one person: SURVIVOR keeps the chart, RETIRED becomes part of it.

    The first of a listed pair was heard of first. In the EHR the retired Patient is linked and out of use.
    """
    _decide("merge", survivor, retired, actor, reason, as_json)


@match.command(short_help="they are two people")
@click.argument("record", type=click.UUID)
@click.argument("other", type=click.UUID)
@ACTOR
@REASON
@AS_JSON
def reject(record, other, actor: str, reason: str, as_json: bool) -> None:
    """They are two people: the pair is not proposed again, and nothing joins them by itself."""
    _decide("not_a_match", record, other, actor, reason, as_json)


@match.command(short_help="they were merged and are two people")
@click.argument("survivor", type=click.UUID)
@click.argument("restored", type=click.UUID)
@ACTOR
@REASON
@AS_JSON
def undo(survivor, restored, actor: str, reason: str, as_json: bool) -> None:
    """They were merged and are two people: RESTORED gets back all that its own events say, SURVIVOR keeps the rest.

    Also when the survivor was edited since: an edit goes where its own event belongs.
    """
    _decide("unmerge", survivor, restored, actor, reason, as_json)
