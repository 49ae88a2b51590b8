"""What is to be said of a resource when writes of it are taken back: what it said before, that it was an error, or
nothing.

Nothing that anybody said since is written over, and nothing is brought back of which we do not know that it stood
there. Here: pure decisions and the new write's content. Not here: reading versions and rows (`adapters.rollback`),
sending (`adapters.outbox`: order, If-Match, unknown outcomes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final, Literal

from .contract import RollbackRule
from .fhir import Resource, can_withdraw, dump, provenance, transaction, withdrawn
from .fhir.elements import HL7, concept
from .outbox import is_same

Outcome = Literal[
    "restored",  # says again what it said before
    "entered_in_error",  # was not there before: stays, and says that it was an error
    "as_before",  # says already what it said before
    "rolled_back_before",  # an earlier rollback took it back
    "edited_since",  # somebody changed it in the EHR, or it was in conflict already
    "deleted_since",  # somebody deleted it there
    "shared",  # somebody else's word stands there beside ours
    "written_since",  # we wrote it again, by a write that was not chosen
    "not_ours_before",  # what stood there before the write is not what we had said
    "no_history",  # the EHR does not tell what stood there before
    "over_already",  # it would ask again for what is over: a reminder that was sent, a proposal that was decided
    "no_such_status",  # new by the write, and FHIR cannot say of its type that it was an error
    "on_its_way",  # a write of the patient is not delivered yet, and is waited for
    "not_settled",  # a write of the patient is dead
    "forbidden",  # by the contract
]
TAKEN_BACK: Final[tuple[Outcome, ...]] = ("restored", "entered_in_error")
NOTHING_TO_DO: Final[tuple[Outcome, ...]] = ("as_before", "rolled_back_before")
IN_CONFLICT: Final[Mapping[Outcome, str]] = {"edited_since": "edited_in_ehr", "deleted_since": "deleted_in_ehr"}
"""Left for a person, who finds it among the conflicts of the EHR."""

REQUESTS: Final = ("CommunicationRequest", "MedicationRequest")
"""Of these an active one asks somebody to do something."""
DATA_OPERATION: Final = HL7 + "v3-DataOperation"


@dataclass(frozen=True, slots=True)
class Said:
    """What one delivered write said of a resource."""

    content: Resource
    is_chosen: bool
    """Whether the write is to be taken back."""
    is_rollback: bool
    rule: RollbackRule


Version = tuple[str, Resource | None]
"""Number and content; no content: it was deleted then."""


@dataclass(frozen=True, slots=True)
class History:
    """Versions of a resource in the EHR, the newest first."""

    versions: Sequence[Version]
    is_whole: bool
    """Whether the oldest is the first that there ever was."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a resource."""

    outcome: Outcome
    content: Resource | None = None
    """What it is to say; None where it is left."""
    version: str | None = None
    """Of one left in conflict, the version found there; None where it is deleted."""


def take_back(
    said: Sequence[Said],
    history: History | None,
    known: Sequence[str] | None,
    back: Mapping[str, str],
    *,
    is_in_conflict: bool,
    is_all: bool,
) -> Step:
    """Decide for one resource. `said`: the delivered writes of it, the newest first, one of them chosen at least.

    `known`: what we know of its place there: id, version, and more where others speak in it too. `back`: our names of
    what is referred to there. `is_all`: whether `said` goes back to the first write of the resource.
    """
    rule: RollbackRule = next(one.rule for one in said if one.is_chosen)
    if rule == "forbidden":
        return Step("forbidden")
    newest = said[0]
    if not newest.is_chosen:
        return Step("rolled_back_before" if newest.is_rollback else "written_since")
    if history is None or not history.versions:
        return Step("no_history")
    version, now = history.versions[0]
    if now is None:
        return Step("deleted_since")
    if known is not None and len(known) > 2:
        return Step("shared")
    is_as_left = known is not None and known[1] == version
    if is_in_conflict or not (is_as_left or is_same(newest.content, now, back)):
        return Step("edited_since", version=version)
    return _back_from(said, history, now, back, rule, is_all)


def _back_from(
    said: Sequence[Said], history: History, now: Resource, back: Mapping[str, str], rule: RollbackRule, is_all: bool
) -> Step:
    chosen = [one.content for one in takewhile(lambda one: one.is_chosen, said)]
    base = said[len(chosen)].content if len(said) > len(chosen) else None
    if rule == "restore":
        stood = _before(history, chosen, back)
        if not stood and (base is not None or not (history.is_whole or is_all)):
            return Step("no_history")
        if stood and (base is None or not is_same(base, stood[0][1], back)):
            return Step("not_ours_before")
        if base is not None and _asks_again(base, now):
            return Step("over_already")
        if base is not None:
            return Step("as_before") if is_same(base, now, back) else Step("restored", base)
    kind, rid = said[0].content["resourceType"], said[0].content["id"]
    if not can_withdraw(f"{kind}/{rid}"):
        return Step("no_such_status")
    error = withdrawn(said[0].content)
    return Step("as_before") if is_same(error, now, back) else Step("entered_in_error", error)


def _asks_again(base: Resource, now: Resource) -> bool:
    """Whether somebody would act on it a second time."""
    return base["resourceType"] in REQUESTS and base.get("status") == "active" != now.get("status")


def _before(history: History, chosen: Sequence[Resource], back: Mapping[str, str]) -> Sequence[Version]:
    """The versions that stood there before these contents, the newest first; empty: none did that we know of.

    A content may stand in several versions, and in none where its write left the resource out.
    """
    place = 0
    for content in chosen:
        while place < len(history.versions) and is_same(content, history.versions[place][1], back):
            place += 1
    return history.versions[place:]


def bundle(
    patient_id: str,
    n: int,
    contents: Mapping[str, Resource],
    recorded: datetime,
    proofs: Sequence[str],
    contract_version: str,
) -> bytes:
    """The n-th write of a patient, which takes others back. `proofs`: the Provenances of those, as `Provenance/id`."""
    proof = provenance(patient_id, n, sorted(contents), recorded, (), contract_version)
    proof["activity"] = concept(DATA_OPERATION, "UPDATE", "taken back")
    if proofs:
        proof["entity"] = [{"role": "revision", "what": {"reference": one}} for one in proofs]
    dumped = {key: dump(content) for key, content in contents.items()}
    return transaction(dumped | {f"Provenance/{proof['id']}": dump(proof)})
