"""Alerts and the teams that are called, read from alerts.yaml and oncall.yaml and checked together.

Not part of the Contract on purpose: a new threshold or rota must not change the version that charts are stamped with.
Not here: when an alert fires (`domain.alerts`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel

from ..domain.alerts import Alert, Book, Team
from ..domain.contract import TaskKind
from .reading import ContractError, Folder

HERE = Path(__file__).parent
BY_QUEUE, TASKS = "queue", "tasks.csv"
Model = TypeVar("Model", bound=BaseModel)


def load_alerts(path: Path | None = None) -> Book:
    """Read and check the two files of a contract folder; raises ContractError with every fault at once."""
    folder = Folder(path or HERE)
    book = Book(alerts=_read(folder, "alerts.yaml", Alert, "name"), teams=_read(folder, "oncall.yaml", Team, "team"))
    if not folder.faults:
        _check_teams(book, folder)
        _check_alerts(book, folder)
    if folder.faults:
        raise ContractError(folder.faults)
    return book


def _read(folder: Folder, file: str, model: type[Model], key: str) -> dict[str, Model]:
    tree, found = folder.tree(file), {}
    for name in tree:
        entry = folder.branch(tree, name, file)
        if made := folder.build(model, {key: name, **entry}, key, name, (file, tree.lines[name])):
            found[name] = made
    return found


def _check_teams(book: Book, folder: Folder) -> None:
    attended: dict[str, str] = {}
    for name, team in book.teams.items():

        def wrong(what: str, mend: str, name: str = name) -> None:
            folder.fault_at("team", name, f"team `{name}` {what}", mend)

        if team.escalates_to not in book.teams or team.escalates_to == name:
            wrong(f"escalates to `{team.escalates_to}`", "name another team of this file")
        try:
            ZoneInfo(team.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            wrong(f"has no time zone `{team.time_zone}`", "name one of the tz database")
        for queue in team.queues:
            if attended.setdefault(queue, name) != name:
                wrong(f"attends queue `{queue}`, as does `{attended[queue]}`", "leave it with one of them")
    known = {row["queue"] for _, row in folder.rows(TASKS, tuple(TaskKind.model_fields))}
    for queue in sorted(known - attended.keys()):
        folder.fault("oncall.yaml", 1, f"queue `{queue}` of {TASKS} is attended by no team", "add it to one's `queues`")
    for queue in sorted(attended.keys() - known):
        folder.fault_at("team", attended[queue], f"queue `{queue}` is in no row of {TASKS}", "mend its name")


def _check_alerts(book: Book, folder: Folder) -> None:
    for name, alert in book.alerts.items():
        if alert.owner == BY_QUEUE and alert.watches != "overdue_tasks":
            folder.fault_at("name", name, f"alert `{name}` has no queue as its scope", "name a team as its owner")
        elif alert.owner != BY_QUEUE and alert.owner not in book.teams:
            folder.fault_at("name", name, f"alert `{name}` is owned by no team", "name one of oncall.yaml")
