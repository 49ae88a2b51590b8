"""What may be written over, decided from what was read back: nothing that somebody else changed.

Not here: how contents are compared and merged (`merging`), and in which form a write is sent (`exchange`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .merging import Resource, digest, is_noted, is_same, merged, started_from

Remote = Mapping[str, list[str]]
"""`Type/<our id>` -> [id in the EHR, version there]. Where somebody else's word stands there beside ours, third the
digest of both: each write looks first."""

WORK_TYPES = ("Task", "Flag", "CommunicationRequest", "DetectedIssue", "MedicationRequest")
"""What we write for people to work on, and they change as they do: where both changed the same, theirs stands."""
MERGED_TYPES = ("Patient", *WORK_TYPES)
"""Many fields are in one resource, or it is work; people of both systems write in it. Of others each is one fact: who
changes it too is in conflict with us."""
EDITED_SINCE = "edited-since-delivery"
"""In place of the version of a resource that was deleted there: matches none, so the next write asks."""

Conflict = Literal["edited_in_ehr", "deleted_in_ehr", "duplicated_in_ehr"]


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as the EHR holds it now. `resource` None: it was there and is deleted."""

    remote_id: str
    version: str
    resource: Resource | None
    matches: int = 1


@dataclass(slots=True)
class Verdict:
    """After reading back: what is there already, what to send against which version, what others changed."""

    done: dict[str, list[str]] = field(default_factory=dict)
    send: dict[str, list[str] | None] = field(default_factory=dict)
    conflicts: dict[str, Conflict] = field(default_factory=dict)
    """What is left as it is there: the rest of the write goes without it."""
    places: dict[str, list[str]] = field(default_factory=dict)
    """Of each conflict, the id and version found there: others refer to it, and a person may decide upon it."""
    landed: bool = False
    merged: dict[str, Resource] = field(default_factory=dict)
    """What is sent in place of ours, also where it is there: beside ours it says what somebody else says."""
    unheard: dict[str, Resource] = field(default_factory=dict)
    """Changed there since we looked, with what of ours they changed: the ledger must hear of these before they are
    written over, counted as ours, or left to a person who may say that ours is right."""


def judge(
    sent: Mapping[str, Resource],
    remote: Remote,
    found: Mapping[str, Found | None],
    earlier: Callable[[], Mapping[str, list[Resource]]],
    *,
    is_atomic: bool,
    held: Collection[str] = (),
    insisted: Collection[str] = (),
    over: Mapping[str, Collection[str]] = MappingProxyType({}),
    heard: Mapping[str, Resource | None] = MappingProxyType({}),
    may_merge: bool = False,
) -> Verdict:
    """Decide from what was read back. `earlier` tells what we sent of each resource before this write.

    Nothing that somebody else changed is written over: a version that moved is taken as ours only when the content
    is what we sent. `held`: in conflict since an earlier write and not decided by a person, so never sent. `insisted`:
    a person said that ours is right, so it is made again where it was deleted. `may_merge`: the ledger can hear of what
    somebody changed (`Verdict.unheard`); in a resource of many fields it is then kept beside what we say anew. `over`:
    of a resource the elements of which somebody settled that ours is right, as of the version in `remote`: they are
    said again over what stands there, all else of theirs stays; at another version it is for a person once more.
    `heard`: there is somebody else's word in it, so our earlier one, found there again, is theirs; with what stood
    there when we last knew, where that is known.
    """
    verdict = Verdict()
    back = {f"{key.partition('/')[0]}/{f.remote_id}": key for key, f in found.items() if f is not None}
    back |= {f"{key.partition('/')[0]}/{known[0]}": key for key, known in remote.items()}
    proof = [key for key in sent if key.startswith("Provenance/")]
    # One transaction: where its provenance is, all of it was. What differs now was edited since, or was left out. But
    # a provenance that we were told of before the rest shows a server whose transactions are not whole.
    landed = is_atomic and any(found.get(key) is not None and key not in remote for key in proof)
    for key, resource in sent.items():
        there, known = found.get(key), remote.get(key)
        if there is not None and there.matches == 1 and is_same(resource, there.resource, back):
            verdict.done[key] = [there.remote_id, there.version]
            continue
        conflict = _conflict(there, known, is_insisted=key in insisted)
        if conflict is None and landed and there is None:
            conflict = "deleted_in_ehr"
        elif conflict is None and there is not None and there.resource is not None:
            is_shared = known is not None and is_theirs_too(known)
            # What we made of both may have landed unnoticed.
            is_left = known is not None and (
                there.version == known[1] or (is_shared and is_noted(known[2:], there.resource, back))
            )
            if key in over and is_left:
                said = [*earlier().get(key, ()), resource]
                if _merge(verdict, key, there, said, True, back, over[key]):
                    continue
            if landed or key in held or key in over:
                is_theirs = True
            elif is_left:
                is_theirs = is_shared
            else:
                is_theirs = key in heard or not any(
                    is_same(was, there.resource, back) for was in earlier().get(key, ())
                )
            if is_theirs:
                is_settled = key in insisted or key in over
                can_merge = may_merge and key.partition("/")[0] in MERGED_TYPES and not is_settled
                # This write as well may have landed, or a part of it, before they came: last, since it may not have.
                if can_merge:
                    said = [*earlier().get(key, ()), resource]
                    if _merge(verdict, key, there, said, is_left, back, heard=heard.get(key)):
                        continue
                conflict = "edited_in_ehr"
                if may_merge and not is_left:
                    said = [*earlier().get(key, ()), resource]
                    verdict.unheard[key] = started_from(there.resource, said, back) or resource
        if conflict is not None:
            verdict.conflicts[key] = conflict
            verdict.places[key] = _left_at(key, there, known)
        else:
            verdict.send[key] = [there.remote_id, there.version] if there and there.resource is not None else None
    if not verdict.done and verdict.conflicts and all(key in proof for key in verdict.send):
        verdict.send = {}  # a provenance of nothing
    verdict.landed = landed or not verdict.send
    return verdict


def _merge(
    verdict: Verdict,
    key: str,
    there: Found,
    said: list[Resource],
    is_known: bool,
    back: Mapping[str, str],
    over: Collection[str] = (),
    heard: Resource | None = None,
) -> bool:
    """Make one content of theirs and ours, the last of `said`; False where both changed the same."""
    assert there.resource is not None
    base = started_from(there.resource, said, back) or said[-1]
    content = merged(said[-1], there.resource, base, back, over, heard, yields=key.partition("/")[0] in WORK_TYPES)
    if content is None:
        return False
    made = digest(content, back)
    outcome = verdict.done if made == digest(there.resource, back) else verdict.send
    outcome[key] = [there.remote_id, there.version, made]
    verdict.merged[key] = content
    if not is_known:
        verdict.unheard[key] = base
    return True


def is_theirs_too(known: list[str]) -> bool:
    return len(known) > 2


def _conflict(there: Found | None, known: list[str] | None, *, is_insisted: bool) -> Conflict | None:
    """What needs no look at the content."""
    if there is None:
        return "deleted_in_ehr" if known is not None else None
    if there.matches > 1:
        return "duplicated_in_ehr"
    return "deleted_in_ehr" if there.resource is None and not is_insisted else None


def _left_at(key: str, there: Found | None, known: list[str] | None) -> list[str]:
    if there is not None and there.resource is not None:
        return [there.remote_id, there.version]
    return [there.remote_id if there else known[0] if known else key.partition("/")[2], EDITED_SINCE]
