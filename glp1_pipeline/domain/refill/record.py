"""The record of a decision: all that it rests on, in one document that never changes.

Here: the document, its hash and its id, and whether deciding again from it gives the same. Not here: where it is kept
(the store).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from ..refill_model import RefillRules
from .decide import decide, from_docs, to_doc
from .requests import Made, Refill

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:glp1-pipeline:refill-decision")


@dataclass(frozen=True, slots=True)
class Record:
    decision_id: str
    """From the content: the same decision made twice is one record."""
    refill_id: str
    as_of: datetime
    sha256: bytes
    body: bytes
    rule: str
    outcome: str


def record_of(refill: Refill, made: Made, rules: RefillRules) -> Record:
    doc = {
        "refill_id": refill.refill_id,
        "requested_at": refill.requested_at.isoformat(),
        "as_of": made.as_of.isoformat(),
        "rules_version": rules.version,
        "inputs": made.inputs,
        "overrides": [to_doc(override) for override in made.overrides],
        "decision": made.decision.to_doc(),
    }
    body = orjson.dumps(doc, option=orjson.OPT_SORT_KEYS)
    sha256 = hashlib.sha256(body).digest()
    decision_id = str(uuid.uuid5(_NAMESPACE, sha256.hex()))
    return Record(decision_id, refill.refill_id, made.as_of, sha256, body, made.decision.rule, made.decision.outcome)


def decide_again(doc: Mapping[str, Any], rules: RefillRules) -> dict[str, Any]:
    """The decision of a record, by these rules."""
    as_of = datetime.fromisoformat(doc["as_of"])
    return decide(rules, doc["inputs"], from_docs(doc["overrides"]), as_of).to_doc()


def differences(doc: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """Names of the parts of the decision that differ; none where it is the same."""
    before = doc["decision"]
    return sorted(key for key in {*before, *again} if before.get(key) != again.get(key))


def ages(doc: Mapping[str, Any]) -> dict[str, float]:
    """Input -> its age in days when the decision was made, for those that say when they were measured or said."""
    as_of = datetime.fromisoformat(doc["as_of"])
    found = {}
    for name, one in doc["inputs"].items():
        if isinstance(at := one.get("at"), str):
            measured = datetime.fromisoformat(at)
            measured = measured if measured.tzinfo else measured.replace(tzinfo=as_of.tzinfo)
            found[name] = round((as_of - measured).total_seconds() / 86400, 1)
    return found
