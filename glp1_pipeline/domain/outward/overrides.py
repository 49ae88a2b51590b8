"""Each override as an AuditEvent: who, as what, when, which rules by name, for which reason by its code, until when.

Of a held refill and of a refused order. Written once and never changed or taken back: it was done, whoever's chart the
request or order is filed in since. The words of who overrode stay with us. Not here: whether they may
(`events.overriding`): what was refused is in the ledger, and in no chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..chart import Reported
from ..events.medication import OVERRIDDEN
from ..fhir import Resource
from ..fhir.elements import ASSEMBLER, CODE_SYSTEM, HL7, concept, instant_utc
from ..medication import Fact
from ..refill import Said, instant, own_ids
from .desk import AUDIT, ORDER_SYSTEM, REFILL_SYSTEM, Desk, practitioner

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


def write_order_overrides(desk: Desk, reports: Iterable[Reported]) -> None:
    let = {word.event_id for c in desk.known.courses for words in c.let_through.values() for word in words.values()}
    for report in reports:
        if report.medication is None or report.medication["kind"] != "overridden":
            continue
        role = f"override/{report.event_id}"
        if not desk.is_planned(AUDIT, role) and not desk.is_elsewhere(AUDIT, role):
            word = Fact.from_doc(report.medication, report.event_id, report.source)
            _write_of_order(desk, desk.add(AUDIT, role), word, word.event_id in let)


def _write_of_order(desk: Desk, made: Resource, word: Fact, is_success: bool) -> None:
    _say_who(desk, made, word.role, word.actor, instant_utc(word.at))
    made["type"] = {"system": TYPE_SYSTEM, "code": OVERRIDDEN, "display": "A refused order was let through"}
    made["outcome"] = _SUCCESS if is_success else _MINOR_FAILURE
    if not is_success:
        made["outcomeDesc"] = "It let no order through when it was heard."
    told = [("rule", name) for name in word.rules] + [("reason", word.reason_code), ("event", word.event_id)]
    _say_of_what(desk, made, ORDER_SYSTEM, word.ref, told)


def _write(desk: Desk, made: Resource, word: Said, ids: Mapping[str, str]) -> None:
    doc = word.doc
    _say_who(desk, made, doc["role"], doc["actor"], instant_utc(word.at))
    made["type"] = {"system": TYPE_SYSTEM, "code": "refill.overridden", "display": "A held refill was let go on"}
    made["outcome"] = _SUCCESS if word.refill_id in ids else _MINOR_FAILURE
    if word.refill_id not in ids:
        made["outcomeDesc"] = "No such request is known."
    told = [("rule", name) for name in doc["rules"]] + [("flag", name) for name in doc["flags"]]
    told += [("reason", doc["reason_code"]), ("until", instant_utc(instant(doc["expires_at"])))]
    told.append(("event", word.event_id))
    _say_of_what(desk, made, REFILL_SYSTEM, ids.get(word.refill_id, word.refill_id), told)


def _say_who(desk: Desk, made: Resource, role_name: str, actor: str, at: str) -> None:
    role = desk.contract.roles.get(role_name)
    made["action"] = "E"
    made["recorded"] = at
    made["agent"] = [
        {
            "role": [concept(ROLE_SYSTEM, role_name, None if role is None else role.description)],
            "who": practitioner(actor),
            "requestor": True,
        }
    ]
    made["source"] = {"observer": ASSEMBLER}


def _say_of_what(desk: Desk, made: Resource, system: str, name: str, told: Iterable[tuple[str, str]]) -> None:
    made["entity"] = [
        {"what": desk.patient, "type": _PERSON, "role": _PATIENT},
        {
            "what": {"identifier": {"system": system, "value": name}},
            "detail": [{"type": key, "valueString": value} for key, value in told],
        },
    ]
