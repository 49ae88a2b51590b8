"""`glp1 alerts`: what is open, who is at it, whether messages arrive, a look without Dagster, how soon all is mended.

Not here: any decision (`domain.alerts`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from .telling import AS_JSON, age, open_road, question, show_or_json, told

DAYS = click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back.")


@click.group(short_help="what is wrong for too long, who is at it, how soon mended")
def alerts() -> None:
    """What somebody is called for: list, answer, test, look now, report.

    What is watched and from which age on: contracts/alerts.yaml. Who is called: contracts/oncall.yaml. Where messages
    go: GLP1_ALERT_URLS, one `channel=address` a word.
    """


@alerts.command("list", short_help="open incidents, the worst first")
@click.option("--all", "wants_all", is_flag=True, help="Also those that ended.")
@DAYS
@AS_JSON
def list_(wants_all: bool, days: int, as_json: bool) -> None:
    """Open incidents, the worst first: number, what, for how long, whose, and who is at it."""
    from ..adapters.alerts import history, open_incidents

    def ask(connection) -> list[dict[str, Any]]:
        known = history(connection, timedelta(days=days)) if wants_all else open_incidents(connection)
        return [asdict(one) for one in known]

    def work() -> list[dict[str, Any]]:
        try:
            return question(ask)
        except ConnectionError:
            if (one := _absence().incident()) is None:
                raise
            return [asdict(one)]

    found = told(work)

    def show() -> None:
        for one in found:
            scope = f" ({one['scope']})" if one["scope"] else ""
            state = "ended" if one["resolved_at"] else "calm" if one["calm_since"] else "open"
            who = f"{one['acknowledged_by']} is at it" if one["acknowledged_at"] else "nobody answered"
            who += ", escalated" if one["escalated_at"] else ""
            click.echo(
                f"{one['incident_id'] or '-':>6}  {one['severity']:9}{one['alert']}{scope}: {one['affected']} for"
                f" {age(one['opened_at'])}, {state}; team {one['owner']} ({one['called']}), {who}"
            )
        if not found:
            click.echo("nothing is open")

    show_or_json(as_json, found, show)


def _named(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say who is at it: nobody is called any more then")
    return value.strip()


@alerts.command(short_help="say that you are at an incident")
@click.argument("incident")
@click.option("--by", required=True, callback=_named, help="Who is at it: your name or role.")
@AS_JSON
def ack(incident: str, by: str, as_json: bool) -> None:
    """Say that you are at INCIDENT: it is not escalated then. It ends by itself when all is well.

    INCIDENT is its number, or the name of an alert of which one is open: `store_away` is answered so on the machine
    that told it, while our own database is away.
    """
    from ..adapters.alerts import acknowledge, open_incidents

    def answered(connection):
        named = [one for one in open_incidents(connection) if incident in (str(one.incident_id), one.alert)]
        number = named[0].incident_id if len(named) == 1 else None
        return acknowledge(connection, number, by) if number else None

    def work():
        noted = _absence().acknowledge(by) if incident == "store_away" else None
        return noted or question(answered)

    found = told(work)
    if found is None:
        raise click.ClickException(
            "not one open incident has this number or name: `glp1 alerts list` shows what is open"
        )
    show_or_json(as_json, asdict(found), lambda: click.echo(f"noted: {found.acknowledged_by} is at {found.alert}"))


@alerts.command(short_help="send a test message over every channel")
@click.option("--channel", "chosen", multiple=True, help="Only this channel; may be repeated.")
@AS_JSON
def test(chosen: tuple[str, ...], as_json: bool) -> None:
    """Send a test message over every channel of the contract; fails if one does not take it."""
    from ..adapters.alerts import Channels, outcomes, send, write_test
    from ..contracts.alerts import load_alerts

    def work() -> tuple[dict[str, str], tuple[str, ...]]:
        road = open_road()
        ways = Channels.from_settings(road.settings)
        named = {channel for team in load_alerts().teams.values() for channel in team.channels}
        wanted = sorted(chosen or named)
        if unknown := set(wanted) - named:
            raise click.ClickException(
                f"no team is called over {', '.join(sorted(unknown))}: see contracts/oncall.yaml"
            )
        with road.connect("glp1 alerts test") as connection:
            ids = write_test(connection, [name for name in wanted if name in ways.names])
            send(connection, ways)
            came = outcomes(connection, ids.values())
        ended = {name: (status if status == "sent" else last or status) for name, (status, last) in
                 ((name, came[ids[name]]) for name in ids)}  # fmt: skip
        return {name: ended.get(name, "no_address") for name in wanted}, ways.faults

    found, faults = told(work)
    show_or_json(as_json, found, lambda: [click.echo(f"{name:20}{outcome}") for name, outcome in found.items()])
    for fault in faults:
        click.echo(fault, err=True)
    if nowhere := [name for name, outcome in found.items() if outcome == "no_address"]:
        click.echo(
            f"nobody is told over {', '.join(nowhere)}: give each an address in GLP1_ALERT_URLS, a line"
            f" `{nowhere[0]}=ADDRESS` (docs/runbook.md, Alerts, Set up)",
            err=True,
        )
    if faults or any(outcome != "sent" for outcome in found.values()):
        sys.exit(1)


@alerts.command(short_help="look now and send what there is to tell, without Dagster")
@AS_JSON
def check(as_json: bool) -> None:
    """Look at everything now and send what there is to tell, without Dagster: for cron, every minute.

    Fails while anything critical is open and nobody has answered, when something could not be measured, or while an
    address in GLP1_ALERT_URLS cannot be used.
    """
    from ..adapters.alerts import unheard
    from ..defs.alerts import look_and_send

    def work() -> dict[str, Any]:
        road = open_road()
        looked, sent = look_and_send(road)
        with road.connect("glp1 alerts check") as connection:
            left = unheard(connection)
        return {
            **asdict(looked), "sent": sent.sent, "not_taken": dict(sent.failed), "given_up": sent.given_up,
            "channels_without_address": list(sent.without_address), "address_faults": list(sent.faults),
            "critical_and_unanswered": left,
        }  # fmt: skip

    found = told(work)
    show_or_json(as_json, found, lambda: [click.echo(f"{n.replace('_', ' '):26}{v}") for n, v in found.items()])
    if found["critical_and_unanswered"] or found["unmeasured"] or found["address_faults"]:
        sys.exit(1)


@alerts.command(short_help="stay, and call for help when our database is away")
@click.option("--every", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds between looks.")
def watch(every: float) -> None:
    """Stay, and call whoever is on call when our own database does not answer, or takes no write, for long enough.

    `glp1 up` keeps one running: Dagster's sensors and all other alerts are silent while the database is away. While
    Dagster makes no page of health, it does; nothing else is looked at.
    """
    import psycopg

    from ..adapters.alerts import Channels
    from ..adapters.health_page import is_unmade, page, page_of, write_page
    from ..adapters.settings import Settings
    from ..adapters.store import connect
    from ..adapters.variables import SettingsError
    from ..contracts import ContractError
    from ..domain.health import Health, unreachable

    def as_all_stands(connection) -> Health:
        from ..defs.health import look  # loads Dagster, which takes seconds: only where a page is to be made

        return look(open_road(), connection)

    def show(seen: Callable[[], Health]) -> None:
        """That there is no page keeps nobody from being called."""
        try:
            write_page(page_of(settings.home), page(seen()))
        except (psycopg.Error, OSError, ContractError) as error:
            click.echo(f"the page of health could not be made ({type(error).__name__}); the next look tries again")

    try:
        settings, absence, was_away = Settings.from_env(), _absence(), False
        for fault in Channels.from_settings(settings).faults:
            click.echo(fault)
        click.echo("watching")
        while True:
            try:
                with connect(settings.store_url(), "glp1 alerts watch") as connection:
                    if absence.is_over(connection):
                        click.echo("the database is back")
                    if was_away or is_unmade(settings.home):
                        show(lambda: as_all_stands(connection))
                was_away = False
            except ConnectionError:
                was_away = True
                sent = absence.lasts(Channels.from_settings(settings))
                click.echo(f"the database is away; sent {sent.sent}, not taken {sum(sent.failed.values())}")
                show(lambda: unreachable(absence.book, _now()))
            time.sleep(every)
    except (SettingsError, ContractError) as error:
        raise click.ClickException(str(error)) from None


@alerts.command(short_help="time to detect, to answer and to recover")
@DAYS
@AS_JSON
def report(days: int, as_json: bool) -> None:
    """Time to detect, to answer and to recover, by alert (K5). Open incidents are counted and not averaged in.

    detect: from the moment that the condition began, by the data's own age, to the look that found it. recover: from
    then to the look that found it well. Below 20 incidents a mean says little.
    """
    from ..adapters.alerts import history
    from ..domain.alerts import figures

    found = told(lambda: question(lambda connection: figures(history(connection, timedelta(days=days)), _now())))

    def show() -> None:
        click.echo(
            f"{'':22}{'n':>5}{'open':>6}{'detect':>10}{'answer':>10}{'recover':>10}{'recover p95':>13}   seconds, mean"
        )
        for name, one in [*found["by_alert"].items(), ("all", found["all"])]:
            told_ = [one["detect"]["mean"], one["answer"]["mean"], one["recover"]["mean"]]
            cells = "".join(f"{'-' if v is None else round(v):>10}" for v in told_)
            p95 = one["recover"]["p95"]
            few = "   few" if one["recover"]["is_few"] else ""
            click.echo(
                f"{name:22}{one['incidents']:>5}{one['open']:>6}{cells}{'-' if p95 is None else round(p95):>13}{few}"
            )

    show_or_json(as_json, found, show)


def _absence():
    """What this machine knows of a time without our own database."""
    from ..adapters.alerts import Absence
    from ..adapters.postgres_place import data_of
    from ..adapters.settings import Settings
    from ..contracts.alerts import load_alerts

    settings = Settings.from_env()
    return Absence(settings.home / "run", load_alerts(), settings.ui_base_url(), data_of(settings))


def _now() -> datetime:
    return datetime.now(UTC)
