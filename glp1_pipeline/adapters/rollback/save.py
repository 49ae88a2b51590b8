"""A chunk's rows, in the caller's transaction: the new writes, what became of each resource, the marks that it is done.

Not here: deciding (`look`), and when (`apply`).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence

from psycopg.types.json import Jsonb

from ...domain.charting import Write
from ...domain.contract import Contract
from ...domain.fhir import content_hash, dump
from ...domain.outbox import EDITED_SINCE
from ...domain.rollback import IN_CONFLICT, bundle
from ..cipher import Cipher
from ..enqueue import enqueue
from .look import Looked


def counted(looked: Sequence[Looked]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in looked:
        for key, step in one.steps.items():
            found[f"resources/{key.partition('/')[0]}/{step.outcome}"] += 1
        found[f"writes/{one.target}"] += any(step.content is not None for step in one.steps.values())
    return dict(+found)


def save(connection, contract: Contract, cipher: Cipher, plan_id: uuid.UUID, looked: Sequence[Looked]) -> None:
    now = connection.execute("select now()").fetchone()[0]
    writes: list[Write] = []
    hashes: dict[tuple[str, str, str], str] = {}
    for one in looked:
        contents = {key: step.content for key, step in one.steps.items() if step.content is not None}
        if contents:
            body = bundle(one.patient_id, one.n + 1, contents, now, one.proofs, contract.version)
            after = {key: content_hash(dump(content)) for key, content in contents.items()}
            hashes |= {(one.target, one.patient_id, key): digest for key, digest in after.items()}
            writes.append(Write(one.patient_id, one.n + 1, after, body, one.events, one.target, one.kind))
        _mark_conflicts(connection, one)
    made = enqueue(connection, cipher, writes, contract.version, now) if writes else {}
    # What our side says is not touched: as long as it says the same, nothing of this is sent again.
    connection.execute(
        "update ops.copies c set n = c.n + 1 from unnest(%s::text[], %s::uuid[]) as u(t, p)"
        " where c.target = u.t and c.patient_id = u.p",
        ([w.target for w in writes], [w.patient_id for w in writes]),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ops.rollback_resources (plan_id, target, patient_id, resource, outcome, hash_before,"
            " hash_after) values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (plan_id, one.target, one.patient_id, key, step.outcome, one.planned.get(key),
                 hashes.get((one.target, one.patient_id, key)))
                for one in looked for key, step in one.steps.items()
            ],
        )  # fmt: skip
    undone = [(write_id, made.get((one.target, one.patient_id))) for one in looked for write_id in one.chosen]
    connection.execute(
        "update ops.rollback_plan_writes w set undone_at = clock_timestamp(), undone_by = (select u.by"
        " from unnest(%s::bigint[], %s::bigint[]) as u(id, by) where u.id = w.write_id)"
        " where plan_id = %s and write_id = any(%s)",
        ([w for w, _ in undone], [by for _, by in undone], plan_id, [w for w, _ in undone]),
    )
    connection.execute(
        "update ops.rollback_plans set changed = changed || (select coalesce(jsonb_object_agg(key,"
        " value::bigint + coalesce((changed ->> key)::bigint, 0)), '{}') from jsonb_each_text(%s)) where plan_id = %s",
        (Jsonb(counted(looked)), plan_id),
    )


def _mark_conflicts(connection, one: Looked) -> None:
    """What somebody changed there is theirs until a person decides, and the version found is what it is decided on."""
    new = {
        key: (IN_CONFLICT[step.outcome], [one.remote[key][0], step.version or EDITED_SINCE])
        for key, step in one.steps.items()
        if step.outcome in IN_CONFLICT and key not in one.conflicts
    }
    if new:
        connection.execute(
            "update ops.copies set remote = remote || %s, conflicts = conflicts || (select jsonb_object_agg(key,"
            " jsonb_build_object('reason', value, 'since', now())) from jsonb_each(%s))"
            " where target = %s and patient_id = %s",
            (
                Jsonb({key: place for key, (_, place) in new.items()}),
                Jsonb({key: reason for key, (reason, _) in new.items()}),
                one.target,
                one.patient_id,
            ),
        )
