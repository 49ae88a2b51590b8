"""What stands of the writes of a plan, in our rows and in the EHR, and what is therefore to be done.

Here: reading and deciding, patient by patient, without a lock and without a change; so whoever acts on it asks first
whether it still stands (`Looked.mark`). Not here: acting (`apply`), the decision by itself (`domain.rollback`).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import psycopg
from psycopg import sql

from ...domain.contract import Contract, RollbackRule
from ...domain.crm import COPY
from ...domain.outbox import keys_of
from ...domain.rollback import History, Said, Step, Version, take_back
from ..cipher import Cipher
from ..ehr import Ehr, EhrFailure
from ..ehr.entries import bundle_entries

MOST_VERSIONS = 20
"""Read of each resource: what is further back is left to a person."""
PROOF = "Provenance/"
GONE = ("404", "410")


@dataclass(slots=True)
class Looked:
    """One patient's part of a chunk in one target."""

    target: str
    patient_id: str
    n: int
    remote: dict[str, list[str]]
    planned: dict[str, str]
    conflicts: Collection[str]
    chosen: list[int]
    kind: str
    stage: Literal["settled", "on_its_way", "dead"]
    """Of all that was ever written of them there: a dead write goes nowhere until a person acts."""
    mark: Any
    """What of our rows this rests on: another value means to look again."""
    events: list[str] = field(default_factory=list)
    """Those of the chosen writes."""
    writes: list[_Write] = field(default_factory=list)
    """All delivered ones, the newest first."""
    is_all: bool = True
    """Whether none of their bodies went with age."""
    steps: dict[str, Step] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return self.stage == "settled"

    @property
    def is_to_wait(self) -> bool:
        """Whether the outbox has yet to say what came of it."""
        return any(step.outcome == "on_its_way" for step in self.steps.values())

    @property
    def back(self) -> dict[str, str]:
        """What the EHR calls `Type/<id there>` is to us `Type/<our id>`."""
        return {f"{key.partition('/')[0]}/{place[0]}": key for key, place in self.remote.items()}

    @property
    def proofs(self) -> list[str]:
        """The Provenances of the chosen writes."""
        return [key for write in self.writes if write.is_chosen for key in write.resources if key.startswith(PROOF)]


@dataclass(frozen=True, slots=True)
class _Write:
    is_chosen: bool
    is_rollback: bool
    rule: RollbackRule
    resources: Mapping[str, Any]


STAGE = sql.SQL(
    "case when bool_or(w.status = 'dead') then 'dead' when bool_or(w.status in ('ready', 'in_doubt')) then 'on_its_way'"
    " else 'settled' end"
)
"""`Looked.stage`, of a patient's writes `w` to a target."""
STANDS = sql.SQL(
    "select m.target, m.patient_id::text, c.n, coalesce(linked.remote, '{{}}') || c.remote, c.planned, c.conflicts,"
    " (select {stage} from ops.writes w where w.target = m.target and w.patient_id = m.patient_id), c.remote"
    " from unnest(%(targets)s::text[], %(patients)s::uuid[]) as m(target, patient_id)"
    " join ops.copies c using (target, patient_id)"
    # Where the Patient of a merged record is there: the one refers to the other.
    " left join lateral (select jsonb_object_agg(e.key, e.value) as remote from ops.patient_links l"
    "  join ops.copies o on o.target = m.target and o.patient_id in (l.record_id, l.patient_id),"
    "  jsonb_each(o.remote) e where m.patient_id in (l.record_id, l.patient_id)"
    "  and starts_with(e.key, 'Patient/')) linked on true order by 1, 2"
).format(stage=STAGE)


def look(
    connection: psycopg.Connection, contract: Contract, cipher: Cipher, ehr: Ehr, plan_id: uuid.UUID, chunk: int
) -> list[Looked]:
    """A chunk of a plan, each resource of its writes with what is to become of it. Raises EhrFailure."""
    chosen: dict[tuple[str, str], list[tuple[int, str, list[uuid.UUID]]]] = {}
    for target, patient_id, *write in connection.execute(
        "select w.target, w.patient_id::text, w.write_id, w.kind, w.events from ops.rollback_plan_writes p"
        " join ops.writes w using (write_id) where p.plan_id = %s and p.chunk = %s and p.undone_at is null"
        " order by w.n",
        (plan_id, chunk),
    ):
        chosen.setdefault((target, patient_id), []).append((write[0], write[1], write[2]))
    found = []
    for row in stands(connection, list(chosen)):
        target, patient_id, n, remote, planned, conflicts, stage, _ = row
        writes = chosen[target, patient_id]
        one = Looked(
            target, patient_id, n, remote, planned, conflicts, [write_id for write_id, *_ in writes], writes[-1][1],
            stage, row,
        )  # fmt: skip
        one.events = sorted({str(event) for *_, events in writes for event in events})
        one.writes = _writes(connection, contract, cipher, one)
        found.append(one)
    histories = _histories(ehr, found)
    for one in found:
        one.steps = _steps(one, histories)
    return found


def stands(connection: psycopg.Connection, whose: Sequence[tuple[str, str]]) -> list[tuple]:
    """What our rows say now of these patients in these targets: `Looked.mark` of each, in one order."""
    return connection.execute(
        STANDS, {"targets": [target for target, _ in whose], "patients": [patient for _, patient in whose]}
    ).fetchall()


def _writes(connection, contract: Contract, cipher: Cipher, one: Looked) -> list[_Write]:
    found = []
    for write_id, kind, is_rollback, kid, body in connection.execute(
        "select w.write_id, w.kind, exists (select from ops.rollback_plan_writes r where r.undone_by = w.write_id),"
        " b.kid, b.body from ops.writes w left join phi.write_bodies b using (write_id) where w.target = %s"
        " and w.patient_id = %s and (w.status = 'delivered' or w.write_id = any(%s)) order by w.n desc",
        (one.target, one.patient_id, one.chosen),
    ):
        if body is None:
            one.is_all = False
            continue
        content = orjson.loads(cipher.open(kid, bytes(body), f"writes|{write_id}"))
        declared = contract.writes.get(kind)
        rule: RollbackRule = declared.rollback if declared else "forbidden"
        resources = keys_of(content) if "entry" in content else {COPY: content}
        found.append(_Write(write_id in one.chosen, is_rollback, rule, resources))
    return found


def _steps(one: Looked, histories: Mapping[tuple[str, str, str], History]) -> dict[str, Step]:
    keys = sorted({key for write in one.writes if write.is_chosen for key in write.resources})
    steps = {}
    for key in keys:
        if key.startswith(PROOF):  # it tells what was written, and that stays true
            continue
        said = [
            Said(write.resources[key], write.is_chosen, write.is_rollback, write.rule)
            for write in one.writes
            if key in write.resources
        ]
        if not one.is_settled and all(write.rule != "forbidden" for write in said if write.is_chosen):
            steps[key] = Step("on_its_way" if one.stage == "on_its_way" else "not_settled")
            continue
        history = histories.get((one.target, one.patient_id, key))
        steps[key] = take_back(
            said, history, one.remote.get(key), one.back, is_in_conflict=key in one.conflicts, is_all=one.is_all
        )
    return steps


def _histories(ehr: Ehr, found: Sequence[Looked]) -> dict[tuple[str, str, str], History]:
    """By target, patient and resource the versions in the EHR; of a type without history the one that stands now."""
    wanted: dict[tuple[str, str, str], str] = {}
    for one in found:
        if not one.is_settled:
            continue
        for write in one.writes:
            for key in write.resources if write.is_chosen and write.rule != "forbidden" else ():
                kind = key.partition("/")[0]
                if not key.startswith(PROOF) and key in one.remote:
                    place = f"{kind}/{one.remote[key][0]}"
                    has_history = kind in ehr.capability.instances_with_history
                    wanted[one.target, one.patient_id, key] = (
                        f"{place}/_history?_count={MOST_VERSIONS}" if has_history else place
                    )
    answers = ehr.batch_get(list(wanted.values()))
    return {name: _history(answer) for name, answer in zip(wanted, answers, strict=True)}


def _history(answer: Mapping[str, Any]) -> History:
    told = answer.get("resource")
    if str(answer["response"].get("status", ""))[:3] in GONE:
        return History([("", None)], is_whole=False)
    if not isinstance(told, dict):
        raise EhrFailure("rubbish", 200)
    if told.get("resourceType") != "Bundle":
        return History([_version(told)], is_whole=False)
    versions = [_version(entry.get("resource")) for entry in bundle_entries(told, "history")]
    has_more = any(link.get("relation") == "next" for link in told.get("link") or ())
    total = told.get("total") or len(versions)
    if not isinstance(total, int):
        raise EhrFailure("rubbish", 200)
    return History(versions, is_whole=not has_more and total <= len(versions))


def _version(resource: Any) -> Version:
    """A version of a history; a deletion has no content."""
    if resource is None:
        return "", None
    version = str((resource.get("meta") or {}).get("versionId", "")) if isinstance(resource, dict) else ""
    if not version:
        raise EhrFailure("rubbish", 200)
    return version, resource
