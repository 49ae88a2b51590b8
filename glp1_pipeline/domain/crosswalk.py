"""What systems call a person, beside the name that an event goes by: read out of whatever says it.

Here: which identifiers an event tells, and whose they are to tell (`contracts/identifiers.yaml`). None of them says
whose the event is, so none joins two records: a family shares a member id, a copied record number is a slip of the
hand. Not here: whose an event is (`adapters.charts.records`), and keeping them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from .contract import Contract
from .events import Change, Content, Event, Submission
from .events.changes import read_identifiers
from .told import Value

ACCOUNT: Final = "intake-account"
"""Kind of the identifier that the intake form's own account gives a person: it says whose an event is."""
OURS: Final = "urn:glp1-pipeline:"
RECORD, MEMBER, GROUP = "mrn", "payer-member", "payer-group"
LONGEST: Final = 128


class Identifier(NamedTuple):
    system: str
    value: str


class Told(NamedTuple):
    """What one event tells, and how much of it was not its system's to tell."""

    identifiers: tuple[Identifier, ...] = ()
    refused: int = 0


NOTHING: Final = Told()


def told(contract: Contract, event: Event, content: Content, values: Mapping[str, Value]) -> Told:
    """The identifiers of an event by which it does not go itself, each once. Total: no content makes it raise."""
    if isinstance(content, Submission):
        found = _of_the_form(values)
        return Told(tuple(sorted(set(found)))) if found else NOTHING
    if not isinstance(content, Change) or content.is_deleted:
        return NOTHING
    emitter = contract.event_types[event.type].emitter_of(event.source)
    shown = list(_of_resource(contract, emitter, content.content)) if emitter == "ehr" else []
    named, refused = _named(contract, emitter, event, content)
    own = Identifier(f"{content.system}:{event.source}", event.subject)
    return Told(tuple(sorted({*shown, *named} - {own})), refused)


def plain(value: str) -> str:
    """A member id as cards, forms and claims agree on it: letters and digits alone."""
    return re.sub(r"[^0-9A-Z]", "", value.upper())


def _of_the_form(values: Mapping[str, Value]) -> list[Identifier]:
    found: list[Identifier] = []
    if (card := values.get("ins.member_id")) is not None:
        found += _kept(MEMBER, card.get("value"))
    if (card := values.get("ins.bin_pcn_group")) is not None and isinstance(parts := card.get("value"), Mapping):
        found += _kept(GROUP, parts.get("group"))
    return found


def _named(contract: Contract, emitter: str, event: Event, change: Change) -> tuple[list[Identifier], int]:
    """Those of `data.identifiers`. What a resource shows of itself is told by the resource."""
    found: list[Identifier] = []
    refused = 0
    in_resource = read_identifiers(change.content.get("identifier"))
    for system, value in change.identifiers:
        kind, _, issuer = system.partition(":")
        declared = contract.identifiers.get(kind)
        if kind == ACCOUNT or (system, value) in in_resource:
            continue
        is_its_own = kind == emitter and issuer == event.source
        is_whole = bool(issuer) != (kind in (MEMBER, GROUP))
        if is_its_own or (declared is not None and emitter in declared.given_by and is_whole):
            found += _kept(kind, value, issuer)
        else:
            refused += 1
    return found, refused


def _of_resource(contract: Contract, emitter: str, resource: Mapping[str, Any]) -> Iterable[Identifier]:
    """What a Patient or a Coverage shows: by its type where it has one, else any that is no number of the state."""
    kind = resource.get("resourceType")
    if kind not in ("Patient", "Coverage"):
        return
    for one in _objects(resource.get("identifier")):
        system = one.get("system")
        if not isinstance(system, str) or system.startswith((OURS, f"{ACCOUNT}:")):
            continue
        known = system.partition(":")[0]
        if known in contract.identifiers and system.startswith(f"{known}:/"):  # in our own spelling
            if emitter in contract.identifiers[known].given_by:
                yield from _kept(known, one.get("value"), system.partition(":")[2])
        elif (means := _meaning(contract, kind, one, system)) and emitter in contract.identifiers[means].given_by:
            yield from _kept(means, one.get("value"), system if means == RECORD else "")
    if kind == "Coverage":
        yield from _kept(MEMBER, resource.get("subscriberId"))
        for one in _objects(resource.get("class")):
            if _codes(one.get("type")) & {"group", "rxgroup"}:
                yield from _kept(GROUP, one.get("value"))


def _meaning(contract: Contract, kind: str, one: Mapping[str, Any], system: str) -> str:
    """Which of our kinds an identifier is; empty for what is never kept."""
    types = _codes(one.get("type"))
    if types:
        return next((k for k, declared in contract.identifiers.items() if types & set(declared.types)), "")
    never = contract.identifiers[RECORD].never if RECORD in contract.identifiers else ()
    # A Coverage's own number is the policy's, not the person's.
    return RECORD if kind == "Patient" and RECORD in contract.identifiers and not system.startswith(never) else ""


def _kept(kind: str, value: Any, issuer: str = "") -> list[Identifier]:
    if not isinstance(value, str):
        return []
    said = plain(value) if kind in (MEMBER, GROUP) else value.strip()
    system = f"{kind}:{issuer}" if issuer else kind
    is_usable = 0 < len(said) <= LONGEST and len(system) <= 255 and said.isprintable() and system.isprintable()
    return [Identifier(system, said)] if is_usable else []


def _codes(concept: Any) -> set[str]:
    coding = concept.get("coding") if isinstance(concept, Mapping) else None
    return {code for one in _objects(coding) if isinstance(code := one.get("code"), str)}


def _objects(raw: Any) -> list[Mapping[str, Any]]:
    return [one for one in raw if isinstance(one, Mapping)] if isinstance(raw, list) else []
