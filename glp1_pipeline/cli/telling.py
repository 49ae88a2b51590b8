"""What all commands share: reaching the road, answering as text or one JSON document, saying faults in a sentence.

Not here: any command.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document in place of text.")


def open_road():
    from ..defs.resources import Road

    return Road()


def question(asked: Callable):
    """The answer of a function of a connection."""
    with open_road().connect("glp1 command line") as connection:
        return asked(connection)


def told(work: Callable, *also: type[Exception]):
    """Run it; what a person can mend is said in one sentence and never as a trace. `also`: errors of this command's
    own whose text tells what to do."""
    try:
        return work()
    except Exception as error:
        if not isinstance(error, (*_telling(), *also)):
            raise
        raise click.ClickException(str(error)) from None


def say_fault(_kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    """The last words of a command that our own code failed in, without values: they go to logs and mails of cron."""
    from ..domain.failures import trace_of

    click.echo(trace_of(error), err=True)


def _telling() -> tuple[type[Exception], ...]:
    """Errors whose text tells a person what to do."""
    from ..adapters.cipher import KeyMissing
    from ..adapters.crm import CrmMisconfigured
    from ..adapters.crosswalk import SeveralPatients
    from ..adapters.ehr import EhrMisconfigured
    from ..adapters.landing import LandingFault
    from ..adapters.postgres import PostgresError
    from ..adapters.schema import SchemaOfLaterCode
    from ..adapters.secrets import SecretError
    from ..adapters.variables import SettingsError
    from ..contracts import ContractError
    from ..sandbox.supervisor import StackError

    return (
        ConnectionError, ContractError, CrmMisconfigured, EhrMisconfigured, KeyMissing, LandingFault, PostgresError,
        SchemaOfLaterCode, SecretError, SettingsError, SeveralPatients, StackError,
    )  # fmt: skip


def or_say(work: Callable):
    """Of a person's word that cannot be taken: the sentence that tells why."""
    from ..adapters.matches import WordRefused

    try:
        return work()
    except WordRefused as error:
        raise click.ClickException(str(error)) from None


def of_a_system(work: Callable, what_then: str):
    """Of work that asks the EHR or the CRM: where it does not answer, a sentence that says so and what to do."""
    from ..adapters.calls import CallFailure
    from ..adapters.ehr import EhrFailure

    try:
        return work()
    except CallFailure as failure:
        name = "EHR" if isinstance(failure, EhrFailure) else "CRM"
        raise click.ClickException(
            f"the {name} does not tell what stands there ({failure.trouble}): {what_then}"
        ) from None


def audited(home: Path, actor: str, reason: str, what: str, **counts: Any) -> None:
    """A line in the audit of this installation, on its disk before anything is done."""
    from ..adapters.audit import note

    try:
        note(home, actor, reason, what, **counts)
    except OSError as error:
        raise click.ClickException(
            f"the audit in GLP1_HOME cannot be written ({error.strerror}), so nothing was done: see that folder's disk"
        ) from None


def patient_of(connection, name: str) -> str:
    """Our id of whom a person names, by it or by an id that another system gave."""
    from ..adapters.crosswalk import find_patient

    if (found := find_patient(connection, name)) is None:
        raise click.ClickException(
            "no patient is known by this id: check it, or ask `glp1 status` what is still waiting"
        )
    return found


def chart_now(connection, road, event_id: uuid.UUID) -> dict[str, Any]:
    """Chart somebody's word at once: who decides wants to see what came of it. A run that is faster does the same."""
    from ..adapters import charts

    done = charts.chart_events(connection, road.contract, road.cipher, charts.Scope(event_ids=(event_id,)))
    row = connection.execute("select status, reason, hint from phi.events where event_id = %s", (event_id,)).fetchone()
    status, why, hint = row or ("waiting", None, None)
    if status in ("rejected", "dead"):
        raise click.ClickException(f"{why}: {hint}")
    return {"event_id": str(event_id), "status": status, "new_writes": done.all_writes}


def show_or_json(as_json: bool, found: Any, show: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(found, default=_plain, ensure_ascii=False))
    else:
        show()


def say_limit(found: list[Any], limit: int) -> None:
    """Below a list that may go on: else what is shown would be taken for all."""
    if len(found) == limit:
        click.echo(f"no more than {limit} are shown: a larger --limit shows what may follow")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def age(since: datetime) -> str:
    seconds = time.time() - since.timestamp()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def when(at: datetime) -> str:
    """in 3 d, or 3 d ago."""
    words = age(at)
    return f"in {words.removeprefix('-')}" if words.startswith("-") else f"{words} ago"
