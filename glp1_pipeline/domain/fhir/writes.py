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


class TwiceInOneBundle(ValueError):
    """Two entries of one transaction have the same identity; some servers keep one of them and say nothing."""


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


def content_hash(resource: Resource) -> str:
    """Sixteen hex digits of what a resource says, whatever the order of its keys."""
    return blake2b(orjson.dumps(resource, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def bundle(*parts: Mapping[str, Resource] | Iterable[Resource]) -> Resource:
    """One transaction of all resources given, each put under its own id."""
    entries: list[Resource] = []
    seen: set[str] = set()
    for group in parts:
        for resource in group.values() if isinstance(group, Mapping) else group:
            url = f"{resource['resourceType']}/{resource['id']}"
            if url in seen:
                raise TwiceInOneBundle(f"two entries for {url}: keep the newer one, or send two transactions")
            seen.add(url)
            entries.append(
                {
                    "fullUrl": f"urn:uuid:{resource['id']}",
                    "resource": resource,
                    "request": {"method": "PUT", "url": url},
                }
            )
    return {"resourceType": "Bundle", "type": "transaction", **({"entry": entries} if entries else {})}
