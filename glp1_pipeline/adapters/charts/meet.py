"""Who the events of a batch are about: the patient that each record is part of.

Here: the steps, in one order, and decisions of stewards. Not here: the record of an event (`records`), who may be the
same person (`likely`), and who is whose patient (`grouping`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from ...domain.charting import Claimed, Read
from ...domain.contract import Contract
from ...domain.crosswalk import ACCOUNT
from ...domain.events import Decision
from .grouping import lock, locked_patients, regroup
from .likely import match


@dataclass(slots=True)
class Met:
    """Records, patients and what was learned of them."""

    patient_of: dict[str, str] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Patients whose records are others than before, and records that are no patient of their own any more."""
    new: set[str] = field(default_factory=set)
    """Records, each a patient, of whom nothing is kept yet, not even that they may be somebody else."""
    again: set[str] = field(default_factory=set)
    """Patients whose matches are others than before."""
    reviews: dict[str, set[str]] = field(default_factory=dict)
    """Patient -> records of others, heard of earlier, of whom a person must say whether they are the same."""
    accounts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    """Records who may be somebody that another run brings just now: who they are is known once it has committed."""


def meet(
    connection, contract: Contract, claimed: Sequence[Claimed], said: Read, new: Set[str], *, may_leave: bool
) -> Met:
    """Who is one person with whom, now that these events are known. From here to the commit the patients are ours.

    `new`: records that nobody told of before.
    `may_leave`: who may be somebody of a run under way is left for another batch, unless all are; else waited for.
    """
    decisions = [c for c in claimed if isinstance(c.content, Decision)]
    records = {c.record_id for c in claimed} | {r for c in decisions for r in _decision(c).records}
    lock(connection, records)
    _save_decisions(connection, decisions)
    touched, left = match(connection, contract, claimed, said, new, len(records) if may_leave else 0)
    touched |= {r for c in decisions for r in _decision(c).records}
    for pair in connection.execute(
        "select record_a, record_b from ops.patient_matches where basis = 'exact' and (record_a = any(%(r)s::uuid[])"
        " or record_b = any(%(r)s::uuid[]))",
        {"r": sorted(records - new)},
    ):
        touched |= {str(record) for record in pair}
    moved = regroup(connection, contract, touched, records) if touched else set()
    met = Met(moved=moved, new=(records & new) - moved - touched, left=left)
    heard = (records | moved | touched) - met.new
    met.patient_of = {record: record for record in met.new} | locked_patients(connection, heard, records)
    met.again = {met.patient_of[record] for record in touched}
    for mine, other in connection.execute(
        "select later, earlier from ops.patient_match_reviews where later = any(%s::uuid[])",
        (sorted(met.patient_of.keys() - met.new),),
    ):
        met.reviews.setdefault(met.patient_of[str(mine)], set()).add(str(other))
    for system, value, record_id in connection.execute(
        "select system, value, record_id from phi.identifiers where record_id = any(%s::uuid[]) order by system, value",
        (sorted(met.patient_of),),
    ):
        if system.startswith(ACCOUNT):  # asked of Postgres, it would look through the accounts of everybody
            met.accounts.setdefault(str(record_id), []).append((system, value))
    return met


def _decision(c: Claimed) -> Decision:
    assert isinstance(c.content, Decision)
    return c.content


def _save_decisions(connection, decisions: Sequence[Claimed]) -> None:
    for c in decisions:
        told = _decision(c)
        connection.execute(
            "insert into phi.match_decisions (event_id, action, record_a, record_b, actor, reason, decided_at)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict (event_id) do nothing",
            (c.event_id, told.action, *told.records, told.actor, told.reason, told.decided_at),
        )
