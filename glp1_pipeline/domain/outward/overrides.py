"""Each override as an AuditEvent: who, as what, when, which rules by name, for which reason by its code, until when.

Written once and never changed or taken back: it was done, whoever's chart the request is filed in since. The words of
who overrode stay with us. Not here: whether they may (`events.refill`): what was refused is in the ledger, and in no
chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..fhir import Resource
from ..fhir.elements import ASSEMBLER, CODE_SYSTEM, HL7, concept, instant_utc
from ..refill import Said, instant, own_ids
from .desk import AUDIT, REFILL_SYSTEM, Desk, practitioner

TYPE_SYSTEM = CODE_SYSTEM + ":audit"
ROLE_SYSTEM = CODE_SYSTEM + ":role"
_PERSON = {"system": HL7 + "audit-entity-type", "code": "1"}
_PATIENT = {"system": HL7 + "object-role", "code": "1"}
_SUCCESS, _MINOR_FAILURE = "0", "4"


def write_overrides(desk: Desk, words: Sequence[Said]) -> None:
    ids = own_ids(words)
    for word in words:
        role = f"override/{word.event_id}"
        if word.kind == "overridden" and not desk.is_planned(AUDIT, role) and not desk.is_elsewhere(AUDIT, role):
            _write(desk, desk.add(AUDIT, role), word, ids)


def _write(desk: Desk, made: Resource, word: Said, ids: Mapping[str, str]) -> None:
    doc = word.doc
    role = desk.contract.roles.get(doc["role"])
    made["type"] = {"system": TYPE_SYSTEM, "code": "refill.overridden", "display": "A held refill was let go on"}
    made["action"] = "E"
    made["recorded"] = instant_utc(word.at)
    made["outcome"] = _SUCCESS if word.refill_id in ids else _MINOR_FAILURE
    if word.refill_id not in ids:
        made["outcomeDesc"] = "No such request is known."
    made["agent"] = [
        {
            "role": [concept(ROLE_SYSTEM, doc["role"], None if role is None else role.description)],
            "who": practitioner(doc["actor"]),
            "requestor": True,
        }
    ]
    made["source"] = {"observer": ASSEMBLER}
    told = [("rule", name) for name in doc["rules"]] + [("flag", name) for name in doc["flags"]]
    told += [("reason", doc["reason_code"]), ("until", instant_utc(instant(doc["expires_at"])))]
    told.append(("event", word.event_id))
    refill_id = ids.get(word.refill_id, word.refill_id)
    made["entity"] = [
        {"what": desk.patient, "type": _PERSON, "role": _PATIENT},
        {
            "what": {"identifier": {"system": REFILL_SYSTEM, "value": refill_id}},
            "detail": [{"type": name, "valueString": value} for name, value in told],
        },
    ]
