"""What surrounds resources when they are written: provenance, the hash that tells a change, the transaction.

Here: pure functions of resources. Not here: when to write and what came of it (`outbox`, the EHR adapter).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Final

import orjson

from .elements import ASSEMBLER, EVENT_SYSTEM, HL7, Resource, concept, instant_utc, resource_id

WRITE_SYSTEM: Final = "urn:glp1-pipeline:write"
CONTRACT_URI: Final = "urn:glp1-pipeline:contract:"

_ASSEMBLES: Final = [{"type": concept(HL7 + "provenance-participant-type", "assembler"), "who": ASSEMBLER}]


def provenance(
    patient_id: str, n: int, targets: list[str], recorded: datetime, event_ids: Iterable[str], contract_version: str
) -> Resource:
    """Who wrote the n-th change of a patient's chart, of what events and by which contract."""
    made: Resource = {
        "resourceType": "Provenance",
        "id": resource_id(patient_id, f"Provenance/{n}"),
        "meta": {"tag": [{"system": WRITE_SYSTEM, "code": f"{patient_id}.{n}"}]},
        "target": [{"reference": target} for target in targets],
        "recorded": instant_utc(recorded),
        "policy": [CONTRACT_URI + contract_version],
        "agent": _ASSEMBLES,
    }
    entities = [{"role": "source", "what": _source(event)} for event in event_ids]
    if entities:
        made["entity"] = entities
    return made


def _source(event: str) -> Resource:
    if event.startswith("QuestionnaireResponse/"):
        return {"reference": event}
    return {"identifier": {"system": EVENT_SYSTEM, "value": event}}


def dump(resource: Resource) -> bytes:
    """A resource as it is hashed and as it is sent: the same bytes whatever the order of its keys."""
    return orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)


def content_hash(dumped: bytes) -> str:
    """Sixteen hex digits of what a dumped resource says."""
    return blake2b(dumped, digest_size=8).hexdigest()


def transaction(dumped: Mapping[str, bytes]) -> bytes:
    """One transaction of dumped resources by `Type/id`, of one at least, each put under its own id: no identity twice,
    no byte made twice."""
    parts = [b'{"entry":[']
    for key, content in dumped.items():
        rid = key.partition("/")[2]
        begun = f'{{"fullUrl":"urn:uuid:{rid}","request":{{"method":"PUT","url":"{key}"}},"resource":'
        parts += (begun.encode(), content, b"},")
    parts[-1] = b'}],"resourceType":"Bundle","type":"transaction"}'
    return b"".join(parts)
