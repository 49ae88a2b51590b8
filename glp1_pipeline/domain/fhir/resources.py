"""All resources of a chart.

Here: the order of the parts. Not here: the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..chart import Chart
from ..contract import Contract
from .consent import write_consents
from .elements import Resource
from .history import write_history
from .medicines import write_allergies, write_medicines
from .observations import write_observations
from .page import Page
from .patient import write_patient
from .work import Raised, ToDo, write_flags, write_tasks


def chart_resources(
    contract: Contract,
    chart: Chart,
    flags: Iterable[Raised] = (),
    tasks: Iterable[ToDo] = (),
    *,
    accounts: Sequence[tuple[str, str]] = (),
    closed_tasks: Iterable[ToDo] = (),
) -> dict[str, Resource]:
    """Type/id -> resource. The dicts share pieces: read them, do not change them."""
    page = Page(contract, chart)
    write_patient(page, accounts)
    write_consents(page)
    write_observations(page)
    write_history(page)
    write_allergies(page)
    write_medicines(page)
    write_flags(page, flags)
    write_tasks(page, tasks, closed=False)
    write_tasks(page, closed_tasks, closed=True)
    return page.out
