"""What the EHR holds of ours that our database does not know: after a restore it may know more than we do.

Here: asking and counting. Not here: what we know and it does not have (`ehr_compare`), and what becomes of it: a change
that is decided again finds it there (`outbox.courier`), any other edit is read in (`ehr.changes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from ..domain.outbox.exchange import is_ours
from .ehr import Ehr
from .ehr.feed import Feed


@dataclass
class Unknown:
    """Counts by type of resource."""

    looked_at: int = 0
    resources: Counter[str] = field(default_factory=Counter)
    """That carry our identifier and that we know nothing of."""
    versions: Counter[str] = field(default_factory=Counter)
    """That we know, in a version that we do not."""

    @property
    def is_nothing(self) -> bool:
        return not self.resources and not self.versions

    def as_dict(self) -> dict[str, Any]:
        return {"looked_at": self.looked_at, "resources": dict(self.resources), "versions": dict(self.versions)}


def unknown_there(
    connection: psycopg.Connection,
    ehr: Ehr,
    since: datetime | None,
    target: str = "ehr",
    progress: Callable[[Unknown], None] = lambda _: None,
) -> Unknown:
    """Look at every resource of a type of ours that changed in the EHR at `since` or later (None: ever).

    `connection` is in autocommit mode. Of types that carry no identifier of ours (Provenance) nothing is told.
    """
    found = Unknown()
    kinds = [kind for (kind,) in connection.execute(
        "select distinct split_part(key, '/', 1) from ops.copies c, jsonb_object_keys(c.planned) key"
        " where c.target = %s order by 1",
        (target,),
    )]  # fmt: skip
    for kind in sorted({"Patient", *kinds} & ehr.capability.types):
        for page, _ in Feed(ehr).changed(kind, since):
            ours = {e.remote_id: e for e in page if _carries_ours(e.content)}
            found.looked_at += len(page)
            known = dict(
                connection.execute(
                    "select e.value ->> 0, e.value ->> 1 from ops.copies c, jsonb_each(c.remote) e where c.target = %s"
                    " and starts_with(e.key, %s) and e.value ->> 0 = any(%s)",
                    (target, f"{kind}/", list(ours)),
                ).fetchall()
            )
            for remote_id, entry in ours.items():
                if remote_id not in known:
                    found.resources[kind] += 1
                elif known[remote_id] != entry.version:
                    found.versions[kind] += 1
            progress(found)
    return found


def _carries_ours(resource: dict[str, Any]) -> bool:
    kind = resource.get("resourceType")
    given = resource.get("identifier") or []
    told = [i.get("value") for i in (given if isinstance(given, list) else [given])]
    told += [tag.get("code") for tag in (resource.get("meta") or {}).get("tag") or []]
    return any(is_ours(resource, f"{kind}/{value}") for value in told if value)
