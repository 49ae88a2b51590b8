"""Reading back what the EHR holds of us, for `glp1 reconcile`: many resources a call, compared by the caller.

Not here: the reading of one write whose outcome is unknown (`Ehr.look`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from glp1_pipeline.domain.outbox.exchange import identity_query, is_ours

from .ehr import Ehr
from .entries import bundle_entries, is_of


class ReadBack(NamedTuple):
    key: str
    exists: bool
    version: str | None
    content: dict[str, Any] | None


def read_back(ehr: Ehr, entries: Mapping[str, Sequence[str]]) -> Iterator[ReadBack]:
    """Each resource as the EHR holds it, in the order given: `Type/<our id>` -> [id in the EHR, ...]."""
    pairs = iter(entries.items())
    while chunk := list(islice(pairs, ehr.settings.max_batch_entries)):
        answers = ehr.batch_get([f"{key.partition('/')[0]}/{remote[0]}" for key, remote in chunk])
        for (key, _), answer in zip(chunk, answers, strict=True):
            resource = answer.get("resource")
            is_there = isinstance(resource, dict) and resource.get("resourceType") == key.partition("/")[0]
            if isinstance(resource, dict) and is_there:
                yield ReadBack(key, True, str((resource.get("meta") or {}).get("versionId", "")), resource)
            else:
                yield ReadBack(key, False, None, None)


def count_by_identifier(ehr: Ehr, keys: Iterable[str]) -> Iterator[tuple[str, int]]:
    """How many resources in the EHR carry our id: 1 is right, more is a duplicate. Keys are `Type/<our id>`.

    Resources that carry no identifier of ours (Provenance, QuestionnaireResponse) are found by the tag that they get
    on servers which make the ids; where the server takes our ids there can be no second one.
    """
    types = ehr.capability.types_with_identifier
    remaining = iter(keys)
    while chunk := list(islice(remaining, ehr.settings.max_batch_entries)):
        urls = {key: f"{key.partition('/')[0]}?{identity_query(key, None, types)}" for key in chunk}
        counts: dict[str, int] = {}
        answers = ehr.batch_get([f"{url}&_summary=count" for url in urls.values()])
        for key, answer in zip(chunk, answers, strict=True):
            total = (answer.get("resource") or {}).get("total")
            if isinstance(total, int):
                counts[key] = total
        uncounted = [key for key in chunk if key not in counts]  # not every server tells a total
        for key, answer in zip(uncounted, ehr.batch_get([urls[key] for key in uncounted]), strict=True):
            hits = bundle_entries(answer.get("resource"), "searchset")
            counts[key] = sum(is_of(hit, key.partition("/")[0]) and is_ours(hit["resource"], key) for hit in hits)
        yield from counts.items()
