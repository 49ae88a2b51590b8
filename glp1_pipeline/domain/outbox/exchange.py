"""One write's bundle in the form that a server takes: conditions, references, what is sent first.

A write's bundle never has conditions; they come from `remote`, what the EHR last told us of each resource. Two kinds of
server are spoken to: those that take our ids (one transaction) and those that make their own (a conditional create of
the first resources, then a batch). Not here: HTTP, what may be written over (`judging`), and when to
try again (`retry`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..fhir.elements import RESOURCE_SYSTEM
from .judging import Remote
from .merging import Resource

FIRST_TYPES = ("Patient", "QuestionnaireResponse")
"""What the others refer to: created first where the server makes the ids."""
TYPES_WITHOUT_OUR_IDENTIFIER = ("Provenance", "AuditEvent", "QuestionnaireResponse")
"""The first two have no identifier in FHIR, the third has room for one and carries the submission's."""


def keys_of(bundle: Resource) -> dict[str, Resource]:
    """The resources of a write's bundle by `Type/<our id>`."""
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}": e["resource"] for e in bundle.get("entry", ())}


def without(bundle: Resource, keys: Collection[str]) -> Resource:
    """The write without some of its resources. References to them stay: they are in the EHR."""
    return {**bundle, "entry": [entry for entry in bundle["entry"] if _key(entry) not in keys]}


def with_contents(bundle: Resource, contents: Mapping[str, Resource]) -> Resource:
    """The write with other contents for some of its resources."""
    return {**bundle, "entry": [{**e, "resource": contents.get(_key(e), e["resource"])} for e in bundle["entry"]]}


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
