"""Whether two contents are the same, and one content made of ours and theirs where both changed it.

Not here: what is sent against which version (`judging`), and in which form (`exchange`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..fhir import content_hash, dump
from ..fhir.elements import RESOURCE_SYSTEM

Resource = dict[str, Any]

ITS_OWN = ("id", "meta", "text")
"""What a server may add or change by itself."""
OURS_TO_SAY: Mapping[str, tuple[Resource, ...]] = {"link": ({"type": "replaces"}, {"type": "replaced-by"})}
"""Items that are ours to say where they are in dispute, also that there are none."""


def is_same(ours: Resource, theirs: Resource | None, back: Mapping[str, str]) -> bool:
    """Whether the content is equal but for what a server may add of its own: ids, meta, narrative, how it refers."""
    return theirs is not None and _unordered(_content(ours, back)) == _unordered(_content(theirs, back))


def _unordered(content: Resource) -> Resource:
    """Identifiers in one order: it says nothing, and not every server keeps it."""
    given = content.get("identifier")
    return {**content, "identifier": sorted(given, key=dump)} if isinstance(given, list) else content


def _whole(value: Any) -> Any:
    """Numbers in one spelling: 70.0 that was sent may come back as 70."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {k: _whole(v) for k, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _content(resource: Resource, back: Mapping[str, str]) -> Resource:
    return {k: _plain(v, back) for k, v in resource.items() if k not in ITS_OWN}


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


def digest(resource: Resource, back: Mapping[str, str]) -> str:
    """Equal where `is_same` is."""
    return content_hash(dump(_whole(_unordered(_content(resource, back)))))


def is_noted(noted: Collection[str], resource: Resource, back: Mapping[str, str]) -> bool:
    """Whether one of these digests, kept since it was noted, is of this content. Before the order of identifiers and
    the spelling of numbers were left out of them, digests were of the content as it came."""
    return digest(resource, back) in noted or content_hash(dump(_content(resource, back))) in noted


def started_from(theirs: Resource, said: Sequence[Resource], back: Mapping[str, str]) -> Resource | None:
    """Which of what we said they changed: the one most alike, of equals the first."""
    there = _content(theirs, back)

    def likeness(one: Resource) -> int:
        return sum(value == there.get(name) for name, value in _content(one, back).items())

    return max(said, key=likeness, default=None)


def merged(
    ours: Resource,
    theirs: Resource,
    base: Resource,
    back: Mapping[str, str],
    over: Collection[str] = (),
    heard: Resource | None = None,
    yields: bool = False,
) -> Resource | None:
    """Theirs with what we say anew: each element by itself, of a list each item. None where both changed the same.

    `base`: what both started from. `over`: elements of which somebody settled that ours is right. `heard`: what stood
    there when we last heard of a change and made `ours`: what we only say after them is no word of ours against what
    they say next. `yields`: where both changed the same, theirs stands; and all of it where they made another thing of
    it, an order of a proposal.
    """
    if yields and ours.get("intent") != theirs.get("intent"):
        return dict(theirs)
    mine, there, before = (_content(one, back) for one in (ours, theirs, base))
    after = before if heard is None else _content(heard, back)
    result = {name: ours[name] for name in ITS_OWN if name in ours}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name in ITS_OWN:
            continue
        if name.removeprefix("_") in over:
            value = _over(name, ours.get(name), theirs.get(name), base.get(name))
            if value not in (None, []):
                result[name] = value
            continue
        o, t, b, h = mine.get(name), there.get(name), before.get(name), after.get(name)
        if o == t or (t == b and t == h):
            value = ours.get(name)
        elif o in (b, h):
            value = theirs.get(name)
        else:
            value = None
            if not t == b != h and isinstance(o, list) and isinstance(t, list) and isinstance(b or [], list):
                started = _started(o, t, b or [], h or [])
                value = None if started is None else _merged_items(ours[name], theirs[name], o, t, started)
            if value is None and not yields:
                return None
            value = theirs.get(name) if value is None else value
        if value is not None and value != []:
            result[name] = value
    return result


def _over(name: str, ours: Any, theirs: Any, base: Any) -> Any:
    """Ours; of a list, with those of their items that are of no kind that we ever said."""
    if not any(isinstance(one, list) for one in (ours, theirs)):
        return ours
    said = [_kind(item) for item in (*(ours or ()), *(base or ()), *OURS_TO_SAY.get(name, ()))]
    return [*(ours or ()), *(item for item in theirs or () if _kind(item) not in said)]


def _kind(item: Any) -> Any:
    """What tells items of one list apart: an extension's address, a name's use, a phone's use, a link's type."""
    return [item.get(part) for part in ("url", "system", "use", "type")] if isinstance(item, dict) else item


def _started(o: list[Any], t: list[Any], b: list[Any], h: list[Any]) -> list[Any] | None:
    """The items that both started from: where we took up a word of theirs, those of what stood there then that we ever
    spoke of. None where they put one back there that we no longer say."""
    if any(item in o for item in h if item not in b):
        return [item for item in h if item in o or item in b] + [item for item in b if item in o and item not in h]
    return None if any(item in b and item not in h and item not in o for item in t) else b


def still_ours(sent: Resource, heard: Resource, back: Mapping[str, str]) -> Resource:
    """Of what we sent, what still stood there when they had changed it: put back by them, the rest is their word."""
    stood, said = _content(heard, back), _content(sent, back)
    left = {name: sent[name] for name in ITS_OWN if name in sent}
    for name, value in said.items():
        other = stood.get(name)
        if isinstance(value, list) and isinstance(other, list):
            left[name] = [raw for raw, item in zip(sent[name], value, strict=True) if item in other]
        elif value == other:
            left[name] = sent[name]
    return left


def says_all(ours: Resource, theirs: Resource, back: Mapping[str, str]) -> bool:
    """Whether all that we say stands there, whatever else does."""
    mine, there = _content(ours, back), _content(theirs, back)

    def stands(name: str, value: Any) -> bool:
        other = there.get(name)
        if isinstance(value, list) and isinstance(other, list):
            return all(item in other for item in value)
        return value == other

    return all(stands(name, value) for name, value in mine.items())


def _merged_items(ours: list[Any], theirs: list[Any], o: list[Any], t: list[Any], b: list[Any]) -> list[Any] | None:
    """Their items but for those that we took away, then those that we add. `o`, `t`: the same to compare, `b`: what
    both started from. None where both took one away and they put another there that we do not say: in its place."""
    gone = [item for item in b if item not in o and item not in t]
    said_by_both = [item for item in t if item in o and item not in b]
    if len(gone) > len(said_by_both) and any(item not in o and item not in b for item in t):
        return None
    kept = [raw for raw, item in zip(theirs, t, strict=True) if item in o or item not in b]
    return kept + [raw for raw, item in zip(ours, o, strict=True) if item not in t and item not in b]
