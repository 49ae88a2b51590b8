"""All resources of a chart.

Here: the order of the parts. Not here: the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..chart import Chart
from ..contract import Contract
from .consent import write_consents
from .elements import Resource
from .history import write_history
from .medicines import write_allergies, write_medicines
from .observations import write_observations
from .own_word import own_word
from .page import Page
from .patient import write_patient
from .work import Needed, Raised, write_closed_tasks, write_flags, write_tasks


def chart_resources(
    contract: Contract,
    chart: Chart,
    flags: Mapping[str, Raised],
    tasks: Iterable[Needed],
    *,
    accounts: Sequence[tuple[str, str]] = (),
    closed_tasks: Iterable[tuple[str, str]] = (),
    ended_flags: Iterable[str] = (),
    replaces: Sequence[str] = (),
) -> dict[str, Resource]:
    """Type/id -> resource, of a chart with a submission. The dicts share pieces: read them, do not change them.

    `closed_tasks`: (code, cause) of tasks that this chart no longer needs; `ended_flags`: flags that were shown, or
    may have been, and stand no more; `replaces`: other records of the patient that had a Patient of their own.
    """
    page = Page(contract, chart, own_word(contract, chart))
    write_patient(page, accounts, replaces)
    write_consents(page)
    write_observations(page)
    write_history(page)
    write_allergies(page)
    write_medicines(page)
    write_flags(page, flags, ended_flags)
    write_tasks(page, tasks, flags)
    write_closed_tasks(page, closed_tasks)
    return page.out
