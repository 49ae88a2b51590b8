"""What the check-ins and refills of a patient make the EHR hear: proposals, issues, overrides, reminders.

Nothing here orders or approves: the most that leaves is a MedicationRequest of intent `proposal`. What was over long
ago is not told anew, whatever is corrected since: it says what was so at its time.
Here: which of it is written now, and what of the former stays as it is. Not here: what is decided (`refill`), one
resource of a kind (`proposals`, `issues`, `overrides`, `reminders`), tasks and flags (`fhir`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from ..chart import Chart, Reported
from ..contract import Contract
from ..fhir import Resource
from ..refill import Refill, Snapshot, is_settled, said
from .desk import Desk
from .issues import issue_role, write_issues
from .overrides import write_order_overrides, write_overrides
from .proposals import proposal_role, write_proposals
from .reminders import write_reminders

__all__ = ["leaving"]


def leaving(
    contract: Contract,
    known: Snapshot,
    refills: Iterable[Refill],
    reports: Sequence[Reported],
    chart_at: Callable[[datetime], Chart],
    *,
    ended: Iterable[str],
    shown: Iterable[str],
    planned: Mapping[str, str],
    elsewhere: Mapping[str, Mapping[str, str]],
    is_moved: bool,
) -> tuple[dict[str, Resource], set[str]]:
    """What is said now by `Type/id`, and what stays as it was said.

    `refills`: requests that were looked at; those that are not had ended before. `ended`: requests that had ended
    before, by whatever contract. `shown`: what else is said of the patient now. `planned`: what was said last, and
    `elsewhere` the same for the other records of the patient. `is_moved`: their records are others than before.
    """
    desk = Desk(contract, known, planned, elsewhere, frozenset(shown), is_moved)
    over = set(ended)
    for one in refills:
        if is_settled(known, one.ended_at) and not _is_told_again(desk, one, over):
            continue
        write_proposals(desk, one)
        write_issues(desk, one)
    words = list(said(reports))
    write_overrides(desk, words)
    write_order_overrides(desk, reports)
    write_reminders(desk, words, reports, chart_at)
    return desk.out, desk.kept()


def _is_told_again(desk: Desk, one: Refill, over: set[str]) -> bool:
    """Of a request that ended long ago: it was told of, and it is another's now or its end is news."""
    first = (proposal_role(one.refill_id, 1), issue_role(one.refill_id, 1))
    is_told = any(desk.is_planned(*role) or desk.is_elsewhere(*role) for role in first)
    return is_told and (desk.is_moved or one.refill_id not in over)
