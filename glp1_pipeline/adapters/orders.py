"""Refused orders of treatments: what refuses them, who may let them through, and a person's word that does.

Here: asking, and an override as an event of the ledger. Not here: who may (`domain.events.medication`), when an order
is refused (`domain.medication`), and what follows from it (`charts`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import psycopg

from ..domain import gates
from ..domain.chart import Reported
from ..domain.charting import GATE
from ..domain.contract import Contract
from ..domain.events import Refused
from ..domain.events.medication import OVERRIDDEN, check_order_override
from ..domain.medication import Course, may_let_through, word_on
from ..domain.past import judge
from .charts.reports import reports_of
from .cipher import Cipher
from .matches import WordRefused, put
from .status import records_of

FORESEEN = "foreseen"
LATELY_DAYS = 30


@dataclass(frozen=True, slots=True)
class Word:
    """Which rules somebody wants to let through, and why."""

    rules: tuple[str, ...]
    reason_code: str
    text: str
    actor: str
    role: str

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "rules": list(self.rules)}


@dataclass(frozen=True, slots=True)
class Stands:
    """How an order stands, and the treatment with it: names alone."""

    family: str
    state: str
    outcome: str
    """rejected, held, overridden or accepted."""
    rule: str
    """That refuses it, or was let through."""


def foresee(connection: psycopg.Connection, contract: Contract, event_id: uuid.UUID, word: Word) -> Sequence[Stands]:
    """How a refused order stands by the contract of now, and how it would with this override. WordRefused says why it
    may not be, or would change nothing."""
    return _foreseen(connection, contract, event_id, word)[:2]


def override(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, event_id: uuid.UUID, word: Word
) -> uuid.UUID:
    """Put an override into the ledger, from where it is charted like all else; the id of its event. WordRefused says
    why it may not be, or would change nothing."""
    *_, record_id, ref = _foreseen(connection, contract, event_id, word)
    data = {"record_id": record_id, "medication_request_ref": ref, **word.data()}
    return put(connection, contract, cipher, OVERRIDDEN, record_id, data)


def stands(connection: psycopg.Connection, contract: Contract, event_id: uuid.UUID) -> Stands:
    """How an order stands now."""
    patient_id, reports, _ = _said_with(connection, event_id)
    return _stands(_courses(contract, patient_id, reports), str(event_id))


def refused(connection: psycopg.Connection, contract: Contract, patient_id: str) -> list[dict[str, Any]]:
    """The orders of a patient that stand refused: which rule, since when, whose task it is, and who may let it
    through."""
    found = []
    for family, finding in connection.execute(
        "select family, f from phi.medication_courses, jsonb_array_elements(findings) f where patient_id = %s"
        " order by family, f ->> 'finding'",
        (patient_id,),
    ).fetchall():
        kind = contract.medication.findings.get(finding["finding"])
        if kind is None or kind.kind != "move":
            continue
        tasks = connection.execute(
            "select code, cause, queue, owner, opened_at, due_at from ops.tasks where patient_id = %s"
            " and status = 'open' and code = %s and cause = %s",
            (patient_id, kind.task, kind.finding),
        ).fetchall()
        names = ("task", "cause", "queue", "owner", "since", "due")
        found.append(
            {
                "event_id": finding["sources"][0]["event_id"],
                "family": family,
                "rule": kind.finding,
                "rule_says": kind.description,
                "since": datetime.fromisoformat(finding["at"]),
                "may_override": may_let_through(contract, kind.finding),
                "tasks": [dict(zip(names, task, strict=True)) for task in tasks],
            }
        )
    return found


def overrides(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """Every override of a patient's orders, oldest first: by whom, for which rules and reason, and of which treatment
    it let an order through; of none where it counts for nothing."""
    rows = connection.execute(
        "select v.event_id::text, v.received_at, v.medication -> 'rules', v.medication ->> 'reason_code',"
        " v.medication ->> 'role', v.medication ->> 'actor', (select min(t.family) from ops.medication_transitions t"
        " where t.patient_id = %s and t.event_id = v.event_id and t.outcome = 'overridden') from phi.patient_values v"
        " where v.record_id = any(%s::uuid[]) and v.medication ->> 'kind' = 'overridden' order by 2, 1",
        (patient_id, records_of(connection, patient_id)),
    ).fetchall()
    names = ("event_id", "at", "rules", "reason", "role", "actor", "family")
    return [dict(zip(names, row, strict=True)) for row in rows]


def count_overrides(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Orders that stand by an override, by rule, reason and role: how many, and how many of the last days."""
    rows = connection.execute(
        "select split_part(t.reason, ':', 1), split_part(t.reason, ':', 2), v.medication ->> 'role', count(*),"
        " count(*) filter (where v.received_at > now() - make_interval(days => %s)) from ops.medication_transitions t"
        " join phi.patient_values v using (event_id) where t.outcome = 'overridden' group by 1, 2, 3"
        " order by 4 desc, 1, 2, 3",
        (LATELY_DAYS,),
    )
    return [dict(zip(("rule", "reason", "role", "orders", "lately"), row, strict=True)) for row in rows.fetchall()]


def _foreseen(connection, contract: Contract, event_id: uuid.UUID, word: Word) -> tuple[Stands, Stands, str, str]:
    patient_id, reports, ordered = _said_with(connection, event_id)
    before = _stands(_courses(contract, patient_id, reports), str(event_id))
    if before.outcome in ("accepted", "overridden"):
        how = "nothing refuses this order" if before.outcome == "accepted" else "this order was let through already"
        raise WordRefused(f"{how}: there is nothing to let through")
    if before.outcome == "held":
        raise WordRefused(f"the order cannot be used ({before.rule}): a provider must write another one")
    ref = (ordered.medication or {})["ref"]
    try:
        check_order_override(contract, {"medication_request_ref": ref, **word.data()})
    except Refused as refusal:
        raise WordRefused(refusal.hint) from None
    (now,) = connection.execute("select now()").fetchone() or (None,)
    assert now is not None
    after = _stands(
        _courses(contract, patient_id, [*reports, _as_said(contract, ordered, ref, word, now)]), str(event_id)
    )
    if after.outcome != "overridden":
        raise WordRefused(_changes_nothing(contract, before, after, word))
    return before, after, ordered.record_id, ref


def _said_with(connection, event_id: uuid.UUID) -> tuple[str, list[Reported], Reported]:
    """The patient of an order, all that was said of them, and the order among it."""
    row = connection.execute(
        "select coalesce(l.patient_id, v.record_id)::text from phi.patient_values v left join ops.patient_links l"
        " using (record_id) where v.event_id = %s and v.medication ->> 'kind' = 'ordered'",
        (event_id,),
    ).fetchone()
    if row is None:
        raise WordRefused("no order is known by this event: `glp1 why PATIENT` shows those that are refused")
    reports = list(reports_of(connection, records_of(connection, row[0])))
    return row[0], reports, next(report for report in reports if report.event_id == str(event_id))


def _as_said(contract: Contract, ordered: Reported, ref: str, word: Word, now: datetime) -> Reported:
    """The override as it would be heard."""
    fact = word_on(contract, ref, word.rules, word.reason_code, word.role, word.actor, now)
    return replace(
        ordered, event_id=FORESEEN, submission_id=f"{OVERRIDDEN}/{FORESEEN}", authored_at=now, received_at=now,
        values={}, identifiers=(), contradictions=(), medication=fact.to_doc(),
    )  # fmt: skip


def _courses(contract: Contract, patient_id: str, reports: Sequence[Reported]) -> Sequence[Course]:
    return judge(contract, patient_id, reports, gates.passes(contract, contract.gates[GATE])).courses


def _stands(courses: Sequence[Course], event_id: str) -> Stands:
    for course in courses:
        told = [move for move in course.history if move.event_id == event_id]
        if refused := [move for move in told if move.outcome in ("rejected", "held")]:
            return Stands(course.family, course.state, refused[-1].outcome, refused[-1].rule)
        if told or any(fact.event_id == event_id for fact in course.orders):
            rules = course.let_through.get(event_id, {})
            return Stands(course.family, course.state, "overridden" if rules else "accepted", ", ".join(rules))
    raise WordRefused("this order stands no more: what it says was changed, or taken back")


def _changes_nothing(contract: Contract, before: Stands, after: Stands, word: Word) -> str:
    nothing = "it would change nothing: the order is refused by rule"
    for rule in (before.rule, after.rule):
        if not may_let_through(contract, rule):
            return f"{nothing} {rule}, which nobody may override"
        if rule not in word.rules:
            return f"{nothing} {rule}{' too' if rule != before.rule else ''}: --rule {rule}"
    return (
        "it would change nothing: another order came since, or so many doses were missed that nobody lets a step up"
        " through: a provider must write the order to go on with, or to begin again"
    )
