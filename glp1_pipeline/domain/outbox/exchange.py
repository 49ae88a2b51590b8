"""One write's bundle against what the EHR holds: conditions, references, what may be written over and what not.

A write's bundle never has conditions; they come from `remote`, what the EHR last told us of each resource. Two kinds of
server are spoken to: those that take our ids (one transaction) and those that make their own (a conditional create of
the first resources, then a batch). Not here: HTTP, and when to try again (`retry`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..fhir.elements import RESOURCE_SYSTEM

Resource = dict[str, Any]
Remote = Mapping[str, list[str]]
"""`Type/<our id>` -> [id in the EHR, version there]."""

EDITED_SINCE = "edited-since-delivery"
"""In place of the version of a resource that was deleted there: matches none, so the next write asks."""

Conflict = Literal["edited_in_ehr", "deleted_in_ehr", "duplicated_in_ehr"]

FIRST_TYPES = ("Patient", "QuestionnaireResponse")
"""What the others refer to: created first where the server makes the ids."""
TYPES_WITHOUT_OUR_IDENTIFIER = ("Provenance", "QuestionnaireResponse")
"""The first has no identifier in FHIR, the second has room for one and carries the submission's."""


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


def keys_of(bundle: Resource) -> dict[str, Resource]:
    """The resources of a write's bundle by `Type/<our id>`."""
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}": e["resource"] for e in bundle.get("entry", ())}


def without(bundle: Resource, keys: Collection[str]) -> Resource:
    """The write without some of its resources. References to them stay: they are in the EHR."""
    return {**bundle, "entry": [entry for entry in bundle["entry"] if _key(entry) not in keys]}


def conditional_transaction(bundle: Resource, remote: Remote) -> Resource:
    """For servers that take our ids: create only what is unknown, update only the version we know."""
    entries = []
    for entry in bundle["entry"]:
        known = remote.get(entry["request"]["url"])
        condition = {"ifMatch": _etag(known[1])} if known else {"ifNoneMatch": "*"}
        entries.append({**entry, "request": {**entry["request"], **condition}})
    return {**bundle, "entry": entries}


def identity_query(key: str, resource: Resource | None, types_with_identifier: Collection[str]) -> str:
    """The search that finds a resource of ours, whatever id the server gave it.

    Some types have no identifier, some servers no search for it: those carry our id as a tag.
    """
    kind, _, ours = key.partition("/")
    has_ours = _has_identifier(resource, ours) if resource else kind not in TYPES_WITHOUT_OUR_IDENTIFIER
    if kind in types_with_identifier and has_ours:
        return f"identifier={RESOURCE_SYSTEM}|{ours}"
    return f"_tag={RESOURCE_SYSTEM}|{ours}"


def is_ours(resource: Resource, key: str) -> bool:
    """Whether a search hit carries our id: a server that ignores an unknown parameter answers with strangers."""
    kind, _, ours = key.partition("/")
    return resource.get("resourceType") == kind and (_has_identifier(resource, ours) or _has_tag(resource, ours))


def first_creates(
    bundle: Resource, remote: Remote, todo: Collection[str], types: Collection[str]
) -> tuple[list[str], Resource]:
    """For servers that make the ids: what others refer to, created where it is not there yet, in one transaction."""
    new = [e for e in bundle["entry"] if _key(e) in todo and _key(e) not in remote]
    chosen = [e for e in new if e["resource"]["resourceType"] in FIRST_TYPES]
    local = {_key(entry): {"reference": entry["fullUrl"]} for entry in chosen}
    inside = {_key(entry) for entry in bundle["entry"]}
    entries = [_create(entry, remote, types, local, inside) for entry in chosen]
    return [_key(entry) for entry in chosen], {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def rest_as_batch(
    bundle: Resource, remote: Remote, todo: Collection[str], types: Collection[str]
) -> tuple[list[str], Resource]:
    """For servers that make the ids: each entry for itself, by the server's id where it is known."""
    keys, entries = [], []
    inside = {_key(entry) for entry in bundle["entry"]}
    for entry in bundle["entry"]:
        key = _key(entry)
        if key not in todo:
            continue
        keys.append(key)
        known = remote.get(key)
        if known is None:
            entries.append(_create(entry, remote, types, {}, inside))
            continue
        kind = key.partition("/")[0]
        resource = {**_tagged(entry["resource"], types), "id": known[0]}
        request = {"method": "PUT", "url": f"{kind}/{known[0]}", "ifMatch": _etag(known[1])}
        entries.append({"resource": _refer(resource, remote, {}, inside), "request": request})
    return keys, {"resourceType": "Bundle", "type": "batch", "entry": entries}


def judge(
    sent: Mapping[str, Resource],
    remote: Remote,
    found: Mapping[str, Found | None],
    earlier: Callable[[], Mapping[str, list[Resource]]],
    *,
    is_atomic: bool,
    held: Collection[str] = (),
    insisted: Collection[str] = (),
) -> Verdict:
    """Decide from what was read back. `earlier` tells what we sent of each resource before this write.

    Nothing that somebody else changed is written over: a version that moved is taken as ours only when the content
    is what we sent. `held`: in conflict since an earlier write and not decided by a person, so never sent. `insisted`:
    a person said that ours is right, so it is made again where it was deleted.
    """
    verdict = Verdict()
    back = {f"{key.partition('/')[0]}/{f.remote_id}": key for key, f in found.items() if f is not None}
    back |= {f"{key.partition('/')[0]}/{known[0]}": key for key, known in remote.items()}
    proof = [key for key in sent if key.startswith("Provenance/")]
    # One transaction: where its provenance is, all of it was. What differs now was edited since, or was left out.
    landed = is_atomic and any(found.get(key) is not None for key in proof)
    for key, resource in sent.items():
        there, known = found.get(key), remote.get(key)
        if there is not None and there.matches == 1 and is_same(resource, there.resource, back):
            verdict.done[key] = [there.remote_id, there.version]
            continue
        conflict = _conflict(there, known, is_insisted=key in insisted)
        if conflict is None and landed:
            conflict = "deleted_in_ehr" if there is None else "edited_in_ehr"
        elif conflict is None and there is not None and there.resource is not None:
            is_as_we_left_it = known is not None and there.version == known[1]
            if key in held or not (
                is_as_we_left_it or any(is_same(was, there.resource, back) for was in earlier().get(key, ()))
            ):
                conflict = "edited_in_ehr"
        if conflict is not None:
            verdict.conflicts[key] = conflict
            verdict.places[key] = _left_at(key, there, known)
        else:
            verdict.send[key] = [there.remote_id, there.version] if there and there.resource is not None else None
    if not verdict.done and verdict.conflicts and all(key in proof for key in verdict.send):
        verdict.send = {}  # a provenance of nothing
    verdict.landed = landed or not verdict.send
    return verdict


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


def is_same(ours: Resource, theirs: Resource | None, back: Mapping[str, str]) -> bool:
    """Whether the content is equal but for what a server may add of its own: ids, meta, narrative, how it refers."""
    return theirs is not None and _content(ours, back) == _content(theirs, back)


def _content(resource: Resource, back: Mapping[str, str]) -> Resource:
    return {k: _plain(v, back) for k, v in resource.items() if k not in ("id", "meta", "text")}


def _plain(value: Any, back: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_plain(item, back) for item in value]
    if not isinstance(value, dict):
        return value
    identifier = value.get("identifier")
    if isinstance(value.get("reference"), str):
        parts = value["reference"].split("/_history/")[0].split("/")
        target = "/".join(parts[-2:])
        rest = {k: _plain(v, back) for k, v in value.items() if k not in ("reference", "type", "identifier")}
        return {**rest, "reference": back.get(target, target)}
    if "type" in value and isinstance(identifier, dict) and identifier.get("system") == RESOURCE_SYSTEM:
        rest = {k: _plain(v, back) for k, v in value.items() if k not in ("type", "identifier")}
        return {**rest, "reference": f"{value['type']}/{identifier.get('value')}"}
    return {k: _plain(v, back) for k, v in value.items()}


def _key(entry: Resource) -> str:
    return f"{entry['resource']['resourceType']}/{entry['resource']['id']}"


def _etag(version: str) -> str:
    return f'W/"{version}"'


def _has_identifier(resource: Resource, ours: str) -> bool:
    given = resource.get("identifier") or []
    listed = given if isinstance(given, list) else [given]
    return any(i.get("system") == RESOURCE_SYSTEM and i.get("value") == ours for i in listed)


def _has_tag(resource: Resource, ours: str) -> bool:
    tags = (resource.get("meta") or {}).get("tag") or []
    return any(tag.get("system") == RESOURCE_SYSTEM and tag.get("code") == ours for tag in tags)


def _tagged(resource: Resource, types: Collection[str]) -> Resource:
    key = f"{resource['resourceType']}/{resource['id']}"
    if not identity_query(key, resource, types).startswith("_tag") or _has_tag(resource, resource["id"]):
        return resource
    meta = resource.get("meta") or {}
    tag = {"system": RESOURCE_SYSTEM, "code": resource["id"]}
    return {**resource, "meta": {**meta, "tag": [*(meta.get("tag") or []), tag]}}


def _create(
    entry: Resource, remote: Remote, types: Collection[str], local: Mapping[str, Resource], inside: Collection[str]
) -> Resource:
    resource = entry["resource"]
    query = identity_query(_key(entry), resource, types)
    body = _tagged(resource, types)
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": query}
    stripped = {k: v for k, v in body.items() if k != "id"}
    return {"fullUrl": entry["fullUrl"], "resource": _refer(stripped, remote, local, inside), "request": request}


def _refer(value: Any, remote: Remote, local: Mapping[str, Resource], inside: Collection[str]) -> Any:
    """References as this server can follow them: by its id, else inside the transaction, else by our identifier."""
    if isinstance(value, list):
        return [_refer(item, remote, local, inside) for item in value]
    if not isinstance(value, dict):
        return value
    target = value.get("reference")
    if isinstance(target, str):
        kind, _, ours = target.partition("/")
        rest = {k: v for k, v in value.items() if k != "reference"}
        if target in local:
            return {**rest, **local[target]}
        if target in remote:
            return {**rest, "reference": f"{kind}/{remote[target][0]}"}
        if target in inside:
            return {**rest, "type": kind, "identifier": {"system": RESOURCE_SYSTEM, "value": ours}}
        # What says of itself whom it means can do without an id that this server never gave.
        return rest if "identifier" in rest else value
    return {k: _refer(v, remote, local, inside) for k, v in value.items()}
