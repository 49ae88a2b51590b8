"""What all commands share: reaching the road, answering as text or one JSON document, saying faults in a sentence.

Not here: any command.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
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


def told(work: Callable):
    """Run it; what a person can mend is said in one sentence and never as a trace."""
    from ..adapters.crosswalk import SeveralPatients
    from ..sandbox.demo import TELLING

    try:
        return work()
    except (*TELLING, SeveralPatients) as error:
        raise click.ClickException(str(error)) from None


def show_or_json(as_json: bool, found: Any, show: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(found, default=_plain, ensure_ascii=False))
    else:
        show()


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
